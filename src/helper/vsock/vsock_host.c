/*
 * vsock_host.c: the host's end of the guest's vsock connections
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each end of a connection is a VsockPeer: a UNIX socket, or the heartbeat, which has
 * none. Flow, from the guest: vsockHostAccept() -> connect() to "vsock_N". From the host:
 * "vsock" is ready -> accept4() -> the client's line, which is looked at in the socket's
 * own buffer until it is complete -> vsockConnect() -> "OK M\n".
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

#include "common/log.h"

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
    gint64 deadline; /* of the line */
    bool wantsWrite;
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
    return pollerAdd(peer->host->poller, &peer->watch, EPOLLIN | EPOLLRDHUP | EPOLLET);
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

static void *
vsockHostAccept(VsockConnection *connection, uint32_t port, void *opaque)
{
    VsockHost *host = opaque;
    VsockPeer *peer;
    int fd = -1;

    if (port != VSOCK_HEARTBEAT_PORT) {
        if (!host->dials)
            return NULL;
        fd = vsockHostDialPatiently(port);
        if (fd < 0) {
            /* Nobody listens: nothing to write about. */
            if (errno != ENOENT && errno != ECONNREFUSED)
                logLimited(&host->logLimit, "vsock: the guest's connection with port %u is "
                           "refused: %s", port,
                           errno == EAGAIN ? "the backlog of its socket is full" :
                                             g_strerror(errno));
            return NULL;
        }
    }

    peer = vsockHostNewPeer(host, fd);
    peer->connection = connection;
    if (fd >= 0 && vsockHostWatchPeer(peer) < 0) {
        vsockHostFreePeer(peer);
        return NULL;
    }
    return peer;
}

static void
vsockHostConnected(void *opaque, uint32_t port)
{
    VsockPeer *peer = opaque;
    char line[32];
    int len = g_snprintf(line, sizeof(line), "OK %u\n", port);

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
vsockHostNew(Poller *poller, uint32_t cid, bool dials, int listenFd,
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
    host->heartbeat = heartbeat;
    host->opaque = opaque;
    if (listenFd >= 0 && pollerAdd(poller, &host->listener, EPOLLIN) < 0)
        logWarning("vsock: programs of the host cannot connect: %s", g_strerror(errno));
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
