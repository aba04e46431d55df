/*
 * vsock_host.c: the host's end of the guest's vsock connections
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each end of a connection is a VsockPeer: a UNIX socket, or the heartbeat, which has
 * none. Flow, from the guest: vsockHostAccept() -> one end of a pair of sockets, whose other end
 * goes to the services process; or connect() to "vsock_N"; or, as there is none, to the host's own
 * vsock, which vsockHostOnDialed() sees the end of. From the host: "vsock" is ready -> accept4() ->
 * the client's line, which is looked at in the socket's own buffer until it is complete ->
 * vsockConnect() -> "OK M\n". From the services process: vsockHostOnAsked() -> a pair of sockets ->
 * vsockConnect() -> the other end of it.
 *
 * Sockets are watched edge-triggered: each event is passed on once, and the engine reads
 * or writes until there is no more. Room to write is watched for only while it is waited
 * for: otherwise each read of a peer would wake us.
 */

#include "vsock/vsock_host.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "common/log.h"
#include "common/vsock_socket.h"
#include "link/vsock_link.h"

/* "CONNECT ", the digits of a port, and the newline; "\r\n" is taken as well */
#define CONNECT_LINE_MAX 32
#define CONNECT_WORD "CONNECT "

/* How long a program may take to write its line, in microseconds */
#define CONNECT_LINE_TIMEOUT (10 * G_USEC_PER_SEC)

/* Programs that have not written their line yet */
#define CONNECT_PENDING_MAX 1024

/* Clients taken from the listening socket at a time, so that others get their turn */
#define ACCEPT_BATCH 16

#define TICK_MS 500

/* To connect to a socket that is not open to us, and the pause before each try but the first.
 * Nothing else is served meanwhile. */
#define VSOCK_HOST_TRIES 5
#define VSOCK_HOST_PAUSE_MS 4

/*
 * How long the host's own vsock may take to answer. A kernel without a loopback gives none: it is
 * not asked again for a while then, so that the guest is refused at once. In microseconds.
 */
#define FORWARD_TIMEOUT G_USEC_PER_SEC
#define FORWARD_PAUSE (10 * G_USEC_PER_SEC)

/* Unread bytes that are thrown away at a time */
#define DISCARD_SIZE 16384

/*
 * What is under way at the guest's end has to fit into the sockets' buffers, which outlive
 * us. These are twice net.core.wmem_max at most, 416 KiB as a rule, and half that before the
 * end; in bytes.
 */
#define HOST_BUFFER_SIZE (256 * 1024)

/* Values for SO_SNDBUF, which doubles them: of a few connections, and at the end */
#define LARGE_SEND_BUFFER (256 * 1024)
#define LAST_SEND_BUFFER (1024 * 1024)

/* Descriptors beside those of the connections */
#define OTHER_FDS 64

typedef struct {
    PollerWatch watch; /* fd -1: the heartbeat's */
    VsockHost *host;
    VsockConnection *connection; /* NULL: its line is awaited */
    gint64 deadline; /* of the line, of @dialing or of @other */
    bool wantsWrite;
    bool dialing;         /* the host's own vsock has not answered yet */
    int other;            /* the services process's end, until the guest has accepted; or -1 */
    int64_t id;           /* of what @other is the answer to */
    bool grown;           /* its socket's buffer */
    bool heartbeatSeen;   /* a byte has come */
    bool heartbeatAnswer; /* and is to be sent back */
    bool heartbeatWrong;  /* or was none */
} VsockPeer;

struct _VsockHost {
    Poller *poller;
    Vsock *vsock;
    bool dials; /* programs of the host have their sockets in the working directory */
    PollerWatch listener; /* fd -1: none */
    bool paused;          /* no descriptors left: the listener is not watched */
    bool ready;
    bool finishing;
    GHashTable *pending; /* a set of VsockPeer: those whose line is awaited */
    GHashTable *asked;   /* likewise: those that the services process waits for */
    VsockLink *link;     /* NULL: there can be no services */
    gint64 forwardAfter; /* the host's own vsock is asked again */
    guint tick;
    void (*heartbeat)(VsockHeartbeat what, uint8_t byte, void *opaque);
    void *opaque;
    LogLimit logLimit;
};

static void
vsockHostOnPeer(PollerWatch *watch, uint32_t events);

static gboolean
vsockHostOnTick(gpointer opaque);

/* Time limits are looked at now and then, while there are any. */
static void
vsockHostArmTick(VsockHost *host)
{
    if (host->tick == 0)
        host->tick = g_timeout_add(TICK_MS, vsockHostOnTick, host);
}

static VsockPeer *
vsockHostNewPeer(VsockHost *host, int fd)
{
    VsockPeer *peer = g_new0(VsockPeer, 1);

    peer->host = host;
    peer->other = -1;
    peer->watch.fd = fd;
    peer->watch.opaque = peer;
    peer->watch.ready = vsockHostOnPeer;
    return peer;
}

static int
vsockHostWatchPeer(VsockPeer *peer)
{
    const int size = LARGE_SEND_BUFFER;

    /* A burst of one of a few connections fits in then. */
    if (vsockCount(peer->host->vsock) <= VSOCK_BUFFERS_LARGE)
        setsockopt(peer->watch.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    return pollerAdd(peer->host->poller, &peer->watch,
                     EPOLLIN | EPOLLRDHUP | EPOLLET | (peer->dialing ? EPOLLOUT : 0));
}

/*
 * Closes the socket so that its program reads an end of file. With bytes left unread in it,
 * the program would get ECONNRESET; behind shutdown() no more of them can come.
 */
static void
vsockHostCloseSocket(int fd)
{
    char unread[DISCARD_SIZE];
    ssize_t n;

    shutdown(fd, SHUT_RD);
    do {
        n = recv(fd, unread, sizeof(unread), MSG_DONTWAIT);
    } while (n > 0 || (n < 0 && errno == EINTR));
    close(fd);
}

static void
vsockHostFreePeer(VsockPeer *peer)
{
    if (peer->watch.fd >= 0) {
        pollerRemove(peer->host->poller, &peer->watch);
        vsockHostCloseSocket(peer->watch.fd);
    }
    if (peer->other >= 0)
        close(peer->other);
    g_free(peer);
}

/*
 * Connects to the socket of @port in the working directory, so that neither the length of its path
 * nor what it is named by now matter. Returns -1 with errno set.
 */
static int
vsockHostDial(uint32_t port)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    g_snprintf(address.sun_path, sizeof(address.sun_path), "vsock_%u", port);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        int err = errno;

        close(fd);
        errno = err;
        return -1;
    }
    return fd;
}

/*
 * As vsockHostDial(). A socket that has just been made may not be open to us yet: the daemon sees
 * to that as soon as it hears of it.
 */
static int
vsockHostDialPatiently(uint32_t port)
{
    int tries = 0;
    int fd;

    while ((fd = vsockHostDial(port)) < 0 && errno == EACCES && ++tries < VSOCK_HOST_TRIES)
        poll(NULL, 0, VSOCK_HOST_PAUSE_MS);
    return fd;
}

/* Begins to connect to @port of the host's own vsock. Returns -1 with errno set. */
static int
vsockHostForward(VsockHost *host, uint32_t port)
{
    int fd;

    if (g_get_monotonic_time() < host->forwardAfter) {
        errno = ENOENT;
        return -1;
    }
    fd = vsockSocketConnect(VMADDR_CID_LOCAL, port, 0);
    /* Whatever there is not, port, loopback or vsock: nobody listens. */
    if (fd < 0 && errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS)
        errno = ENOENT;
    return fd;
}

/*
 * Connects with who has @port of the host, *@dialing: in a while. Returns the descriptor, or -1
 * with errno set.
 */
static int
vsockHostReach(VsockHost *host, uint32_t port, bool *dialing)
{
    int fd;

    if (host->link && vsockLinkServes(host->link, port))
        return vsockLinkDial(host->link, port);
    if (!host->dials) {
        errno = ENOENT;
        return -1;
    }
    fd = vsockHostDialPatiently(port);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    fd = vsockHostForward(host, port);
    *dialing = fd >= 0;
    return fd;
}

static void
vsockHostRefused(VsockHost *host, uint32_t port, int err)
{
    /* Nobody listens: nothing to write about. */
    if (err == ENOENT || err == ECONNREFUSED || err == ENOTCONN)
        return;
    logLimited(&host->logLimit, "vsock: the guest's connection with port %u is refused: %s", port,
               err == EAGAIN ? "the backlog of its socket is full" : g_strerror(err));
}

static void *
vsockHostAccept(VsockConnection *connection, uint32_t port, void *opaque)
{
    VsockHost *host = opaque;
    VsockPeer *peer;
    bool dialing = false;
    int fd = -1;

    if (port != VSOCK_HEARTBEAT_PORT && (fd = vsockHostReach(host, port, &dialing)) < 0) {
        vsockHostRefused(host, port, errno);
        return NULL;
    }

    peer = vsockHostNewPeer(host, fd);
    peer->connection = connection;
    peer->dialing = dialing;
    if (fd >= 0 && vsockHostWatchPeer(peer) < 0) {
        vsockHostFreePeer(peer);
        return NULL;
    }
    if (dialing) {
        peer->deadline = g_get_monotonic_time() + FORWARD_TIMEOUT;
        vsockConnectionDefer(connection, FORWARD_TIMEOUT);
        vsockHostArmTick(host);
    }
    return peer;
}

/* Looks whether the host's own vsock has answered. Returns whether @peer is connected now. */
static bool
vsockHostOnDialed(VsockPeer *peer, uint32_t events)
{
    int err;

    if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
        return false;
    err = vsockSocketError(peer->watch.fd);
    peer->dialing = false;
    if (err != 0) {
        if (err == ETIMEDOUT)
            peer->host->forwardAfter = g_get_monotonic_time() + FORWARD_PAUSE;
        vsockConnectionRefuse(peer->connection);
        return false;
    }
    pollerModify(peer->host->poller, &peer->watch, EPOLLIN | EPOLLRDHUP | EPOLLET);
    vsockConnectionAccept(peer->connection);
    return true;
}

static void
vsockHostConnected(void *opaque, uint32_t port)
{
    VsockPeer *peer = opaque;
    char line[32];
    int len = g_snprintf(line, sizeof(line), "OK %u\n", port);

    if (peer->other >= 0) {
        g_hash_table_remove(peer->host->asked, peer);
        vsockLinkReply(peer->host->link, peer->id, peer->other);
        peer->other = -1;
        return;
    }
    /* The first bytes on a new socket: there is room for them. A program that has left
     * already is noticed as any other is. */
    if (send(peer->watch.fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EPIPE &&
        errno != ECONNRESET)
        logLimited(&peer->host->logLimit, "vsock: a program does not take its OK: %s",
                   g_strerror(errno));
}

static ssize_t
vsockHostWriteHeartbeat(VsockPeer *peer, const struct iovec *iov, size_t n)
{
    ssize_t taken = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        uint8_t byte;

        if (iov[i].iov_len == 0)
            continue;
        taken += iov[i].iov_len;
        if (peer->heartbeatSeen)
            continue;
        /* in the guest's memory: read once */
        byte = *(const volatile uint8_t *)iov[i].iov_base;
        peer->heartbeatSeen = true;
        peer->heartbeatAnswer = byte == VSOCK_HEARTBEAT_BYTE;
        peer->heartbeatWrong = !peer->heartbeatAnswer;
        peer->host->heartbeat(peer->heartbeatAnswer ? VSOCK_HEARTBEAT_GOOD : VSOCK_HEARTBEAT_WRONG,
                              byte, peer->host->opaque);
        vsockConnectionReadable(peer->connection);
    }
    return taken;
}

static ssize_t
vsockHostReadHeartbeat(VsockPeer *peer, const struct iovec *iov)
{
    if (!peer->heartbeatSeen)
        return -EAGAIN;
    if (peer->heartbeatWrong)
        return -EPROTO;
    if (!peer->heartbeatAnswer)
        return 0;
    *(uint8_t *)iov[0].iov_base = VSOCK_HEARTBEAT_BYTE;
    peer->heartbeatAnswer = false;
    return 1;
}

/*
 * Lets more fit into the socket's buffer, once, when this is the end anyway: there it
 * outlives us. Returns whether it is to be tried again.
 */
static bool
vsockHostGrow(VsockPeer *peer)
{
    const int size = LAST_SEND_BUFFER;

    if (!peer->host->finishing || peer->grown)
        return false;
    peer->grown = true;
    return setsockopt(peer->watch.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0;
}

static ssize_t
vsockHostWrite(void *opaque, const struct iovec *iov, size_t n)
{
    VsockPeer *peer = opaque;
    ssize_t written;

    if (peer->watch.fd < 0)
        return vsockHostWriteHeartbeat(peer, iov, n);
    do {
        written = writev(peer->watch.fd, iov, (int)n);
    } while (written < 0 && (errno == EINTR || (errno == EAGAIN && vsockHostGrow(peer))));
    /* A peer's full buffer may also show as a lack of memory for now. */
    if (written < 0)
        return errno == ENOBUFS || errno == ENOMEM ? -EAGAIN : -errno;
    return written;
}

static ssize_t
vsockHostRead(void *opaque, const struct iovec *iov, size_t n)
{
    VsockPeer *peer = opaque;
    ssize_t got;

    if (peer->watch.fd < 0)
        return vsockHostReadHeartbeat(peer, iov);
    do {
        got = readv(peer->watch.fd, iov, (int)n);
    } while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

static void
vsockHostWantWrite(void *opaque, bool want)
{
    VsockPeer *peer = opaque;

    if (peer->watch.fd < 0 || (!want && !peer->wantsWrite))
        return;
    /* Wanting it again tells also of room that there was all the time. */
    peer->wantsWrite = want;
    pollerModify(peer->host->poller, &peer->watch,
                 EPOLLIN | EPOLLRDHUP | EPOLLET | (want ? EPOLLOUT : 0));
}

static void
vsockHostShutdown(void *opaque, bool toWrite)
{
    VsockPeer *peer = opaque;

    /* It fails when the program has gone, of which an event tells. */
    if (peer->watch.fd >= 0)
        shutdown(peer->watch.fd, toWrite ? SHUT_WR : SHUT_RD);
}

/* The services process gets no connection, because of the errno @err. */
static void
vsockHostFailAsked(VsockPeer *peer, int err)
{
    g_hash_table_remove(peer->host->asked, peer);
    vsockLinkReplyError(peer->host->link, peer->id, err);
}

/* A descriptor is free again. */
static void
vsockHostResume(VsockHost *host)
{
    if (host->paused && pollerAdd(host->poller, &host->listener, EPOLLIN) == 0)
        host->paused = false;
}

static void
vsockHostClose(void *opaque)
{
    VsockPeer *peer = opaque;
    VsockHost *host = peer->host;

    if (peer->watch.fd < 0 && !peer->heartbeatSeen && host->ready)
        host->heartbeat(VSOCK_HEARTBEAT_CLOSED, 0, host->opaque);
    if (peer->dialing && g_get_monotonic_time() >= peer->deadline)
        host->forwardAfter = g_get_monotonic_time() + FORWARD_PAUSE;
    if (peer->other >= 0)
        vsockHostFailAsked(peer, g_get_monotonic_time() < peer->deadline ? ECONNREFUSED :
                                                                           ETIMEDOUT);
    vsockHostFreePeer(peer);
    vsockHostResume(host);
    /* The guest may have to confirm it. */
    vsockHostArmTick(host);
}

static const VsockPeerOps vsockHostOps = {
    .accept = vsockHostAccept,
    .connected = vsockHostConnected,
    .write = vsockHostWrite,
    .read = vsockHostRead,
    .wantWrite = vsockHostWantWrite,
    .shutdown = vsockHostShutdown,
    .close = vsockHostClose,
};

/* Ends a client whose line is awaited. */
static void
vsockHostDropClient(VsockPeer *peer)
{
    VsockHost *host = peer->host;

    g_hash_table_remove(host->pending, peer);
    vsockHostFreePeer(peer);
    vsockHostResume(host);
}

/* Parses the line "CONNECT N" of @len bytes. */
static bool
vsockHostParseLine(const char *line, size_t len, uint32_t *port)
{
    size_t start = strlen(CONNECT_WORD);
    uint64_t number = 0;
    size_t i;

    if (len > 0 && line[len - 1] == '\r')
        len--;
    if (len <= start || memcmp(line, CONNECT_WORD, start) != 0)
        return false;
    for (i = start; i < len; i++) {
        if (!g_ascii_isdigit(line[i]))
            return false;
        number = number * 10 + (line[i] - '0');
        if (number >= UINT32_MAX) /* the highest one means "any" */
            return false;
    }
    *port = (uint32_t)number;
    return true;
}

/*
 * Looks whether the client's line is complete; what is behind it stays in the socket, for
 * the guest. Returns false when @peer is gone.
 */
static bool
vsockHostReadLine(VsockPeer *peer, bool more)
{
    VsockHost *host = peer->host;
    char line[CONNECT_LINE_MAX];
    uint32_t port;
    const char *end;
    ssize_t n = recv(peer->watch.fd, line, sizeof(line), MSG_PEEK | MSG_DONTWAIT);

    end = n > 0 ? memchr(line, '\n', n) : NULL;
    if (!end && n != 0 && n < (ssize_t)sizeof(line) && more)
        return true;

    if (!end || !vsockHostParseLine(line, end - line, &port)) {
        if (n > 0)
            logLimited(&host->logLimit, "vsock: a program's first line is not 'CONNECT PORT'");
        vsockHostDropClient(peer);
        return false;
    }
    if (recv(peer->watch.fd, line, end - line + 1, MSG_DONTWAIT) != end - line + 1 ||
        !host->ready || !(peer->connection = vsockConnect(host->vsock, port, peer))) {
        vsockHostDropClient(peer);
        return false;
    }
    g_hash_table_remove(host->pending, peer);
    vsockHostArmTick(host);
    vsockHostResume(host);
    return true;
}

static void
vsockHostOnPeer(PollerWatch *watch, uint32_t events)
{
    VsockPeer *peer = watch->opaque;
    bool more = !(events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP));

    if (!peer->connection && (!vsockHostReadLine(peer, more) || !peer->connection))
        return;
    if (peer->dialing && !vsockHostOnDialed(peer, events))
        return;

    if (!more || (events & EPOLLIN))
        vsockConnectionReadable(peer->connection);
    if (events & EPOLLHUP)
        vsockConnectionHungUp(peer->connection);
    else if ((events & EPOLLOUT) && peer->wantsWrite)
        vsockConnectionWritable(peer->connection);
}

static void
vsockHostPause(VsockHost *host)
{
    if (host->paused)
        return;
    pollerRemove(host->poller, &host->listener);
    host->paused = true;
}

static void
vsockHostOnListener(PollerWatch *watch, uint32_t events G_GNUC_UNUSED)
{
    VsockHost *host = watch->opaque;
    int i;

    for (i = 0; i < ACCEPT_BATCH; i++) {
        VsockPeer *peer;
        int fd;

        if (g_hash_table_size(host->pending) >= CONNECT_PENDING_MAX) {
            vsockHostPause(host);
            return;
        }
        fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
                logLimited(&host->logLimit, "vsock: a program has to wait: %s", g_strerror(errno));
                vsockHostPause(host);
                vsockHostArmTick(host);
            }
            return;
        }

        peer = vsockHostNewPeer(host, fd);
        if (vsockHostWatchPeer(peer) < 0) {
            vsockHostFreePeer(peer);
            return;
        }
        peer->deadline = g_get_monotonic_time() + CONNECT_LINE_TIMEOUT;
        g_hash_table_add(host->pending, peer);
        vsockHostArmTick(host);
    }
}

/* The services process wants to be connected with the guest's @port. */
static void
vsockHostOnAsked(int64_t id, uint32_t port, void *opaque)
{
    VsockHost *host = opaque;
    VsockPeer *peer;
    int fds[2];
    int rc;

    if (!host->ready ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
        vsockLinkReplyError(host->link, id, host->ready ? errno : ECONNREFUSED);
        return;
    }
    peer = vsockHostNewPeer(host, fds[0]);
    peer->other = fds[1];
    peer->id = id;
    peer->deadline = g_get_monotonic_time() + VSOCK_CONNECT_TIMEOUT;
    g_hash_table_add(host->asked, peer);
    if ((rc = vsockHostWatchPeer(peer)) < 0 ||
        !(peer->connection = vsockConnect(host->vsock, port, peer))) {
        vsockHostFailAsked(peer, rc < 0 ? -rc : EAGAIN);
        vsockHostFreePeer(peer);
        return;
    }
    vsockHostArmTick(host);
    pollerContinue(host->poller);
}

/* Nobody waits for these connections any more, which end as those do that a program has left. */
static void
vsockHostOnLost(void *opaque)
{
    VsockHost *host = opaque;
    g_autoptr(GList) all = g_hash_table_get_keys(host->asked);
    GList *item;

    for (item = all; item; item = item->next) {
        VsockPeer *peer = item->data;

        close(peer->other);
        peer->other = -1;
    }
    g_hash_table_remove_all(host->asked);
}

static const VsockLinkEvents vsockHostLinkEvents = {
    .connect = vsockHostOnAsked,
    .lost = vsockHostOnLost,
};

static gboolean
vsockHostOnTick(gpointer opaque)
{
    VsockHost *host = opaque;
    g_autoptr(GList) all = g_hash_table_get_keys(host->pending);
    gint64 now = g_get_monotonic_time();
    GList *item;

    for (item = all; item; item = item->next) {
        VsockPeer *peer = item->data;

        if (peer->deadline <= now) {
            logLimited(&host->logLimit, "vsock: a program has not written its line in time");
            vsockHostDropClient(peer);
        }
    }
    vsockHostResume(host);
    if (vsockExpire(host->vsock, now) || g_hash_table_size(host->pending) > 0 || host->paused) {
        pollerContinue(host->poller);
        return G_SOURCE_CONTINUE;
    }
    pollerContinue(host->poller);
    host->tick = 0;
    return G_SOURCE_REMOVE;
}

/* Each connection is a descriptor: as many as this process may have. */
static void
vsockHostRaiseLimit(void)
{
    struct rlimit limit;
    rlim_t wanted = VSOCK_CONNECTIONS_MAX + CONNECT_PENDING_MAX + OTHER_FDS;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = MIN(wanted, limit.rlim_max);
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        logWarning("vsock: the limit of open files cannot be raised: %s", g_strerror(errno));
}

VsockHost *
vsockHostNew(Poller *poller, uint32_t cid, bool dials, int listenFd, int servicesFd,
             void (*heartbeat)(VsockHeartbeat what, uint8_t byte, void *opaque), void *opaque)
{
    VsockHost *host = g_new0(VsockHost, 1);

    vsockHostRaiseLimit();
    host->poller = poller;
    host->vsock = vsockNew(cid, HOST_BUFFER_SIZE, &vsockHostOps, host);
    host->dials = dials;
    host->listener.fd = listenFd;
    host->listener.ready = vsockHostOnListener;
    host->listener.opaque = host;
    host->pending = g_hash_table_new(NULL, NULL);
    host->asked = g_hash_table_new(NULL, NULL);
    host->heartbeat = heartbeat;
    host->opaque = opaque;
    if (listenFd >= 0 && pollerAdd(poller, &host->listener, EPOLLIN) < 0)
        logWarning("vsock: programs of the host cannot connect: %s", g_strerror(errno));
    if (servicesFd >= 0)
        host->link = vsockLinkNew(servicesFd, &vsockHostLinkEvents, host);
    return host;
}

void
vsockHostFree(VsockHost *host)
{
    g_autoptr(GList) all = NULL;
    GList *item;

    if (!host)
        return;
    host->ready = false;
    if (host->listener.fd >= 0) {
        vsockHostPause(host);
        host->paused = false;
    }
    vsockFree(host->vsock);
    all = g_hash_table_get_keys(host->pending);
    for (item = all; item; item = item->next)
        vsockHostDropClient(item->data);
    if (host->tick > 0)
        g_source_remove(host->tick);
    vsockLinkFree(host->link);
    g_hash_table_unref(host->asked);
    g_hash_table_unref(host->pending);
    g_free(host);
}

Vsock *
vsockHostEngine(VsockHost *host)
{
    return host->vsock;
}

void
vsockHostFinish(VsockHost *host)
{
    host->finishing = true;
    vsockDeliver(host->vsock);
}

void
vsockHostSetReady(VsockHost *host, bool ready)
{
    host->ready = ready;
}
