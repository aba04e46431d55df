/*
 * vsock.c: the virtio-vsock protocol of stream sockets, the host's side of it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A connection is in one of these states:
 *
 *   REQUESTED    the host wants it, the guest has not answered
 *   DEFERRED     the guest wants it, the host's end has not answered
 *   ESTABLISHED  data may flow
 *   CLOSING      the host's end is gone, the guest has been told and has not answered
 *   LINGERING    the guest's end is gone; what it sent is still being delivered
 *
 * Flow, from the guest: vsockReceive() checks the header and finds the connection -> one
 * function for each operation. Data of packets in a row of one connection are gathered, for
 * one write -> vsockFlush() -> the peer, or the connection's backlog. To the guest:
 * whatever there is to send is a flag of its connection, never a queued packet, so that
 * memory is bounded by the number of connections; connections with anything to send are
 * in the list "ready", from which vsockTransmit() serves one after the other. Only resets
 * that belong to no connection are queued.
 */

#include "vsock/vsock.h"

#include <errno.h>
#include <string.h>

#include "vsock/backlog.h"
#include "vsock/iov.h"
#include "common/log.h"

/* Resets that belong to no connection and that the guest has not fetched yet */
#define VSOCK_RESETS_MAX 256

/* Ports that connections from the host have at its end, as other implementations do */
#define VSOCK_FIRST_HOST_PORT 0x40000000

/* Entries of one vsockTransmit() */
#define VSOCK_IOV_MAX 1024

typedef struct virtio_vsock_hdr VsockHeader;

typedef enum {
    STATE_REQUESTED,
    STATE_DEFERRED,
    STATE_ESTABLISHED,
    STATE_CLOSING,
    STATE_LINGERING,
} VsockState;

/* What is to be sent on a connection, in this order */
enum {
    SEND_REQUEST = 1 << 0,
    SEND_RESPONSE = 1 << 1,
    SEND_CREDIT_UPDATE = 1 << 2,
    SEND_CREDIT_REQUEST = 1 << 3,
    SEND_SHUTDOWN = 1 << 4,
};

typedef struct {
    uint32_t guestPort;
    uint32_t hostPort;
    uint64_t hostCid;
} VsockKey;

struct _VsockConnection {
    VsockKey key; /* first: the table's keys point to it */
    Vsock *vsock;
    VsockState state;
    void *peer; /* NULL: gone */
    gint64 deadline; /* 0: none */

    /* to the guest */
    unsigned int send;    /* SEND_... */
    uint32_t sendShut;    /* flags of the last shutdown sent or to be sent */
    bool readable;        /* the peer may have something to read */
    bool ended;           /* the peer has sent its last byte */
    bool hungUp;          /* the peer has gone in both directions */
    bool creditRequested; /* since credit ran out */
    size_t wanted;        /* buffers that the next read is likely to fill */
    uint32_t sent;        /* bytes, as all counters modulo 2^32 */
    uint32_t guestSize;   /* of the guest's buffer */
    uint32_t guestTaken;  /* bytes that the guest says it has taken */
    GList readyLink;
    bool isReady;

    /* from the guest */
    uint32_t size;        /* what may be received, and not taken, in bytes */
    uint32_t guestShut;   /* VIRTIO_VSOCK_SHUTDOWN_...: what the guest has given up */
    bool deaf;            /* the peer takes nothing more: data of the guest are dropped */
    uint32_t received;    /* bytes */
    uint32_t taken;       /* bytes that have left for the peer */
    uint32_t takenTold;   /* of these the guest knows */
    Backlog backlog;      /* received, not taken */
};

struct _Vsock {
    uint64_t cid;
    uint32_t bufferSize;
    const VsockPeerOps *ops;
    void *opaque;
    GHashTable *connections; /* by VsockKey; those that the guest knows */
    GHashTable *lingering;   /* a set */
    GQueue ready;
    VsockHeader resets[VSOCK_RESETS_MAX];
    size_t firstReset;
    size_t nresets;
    uint32_t nextPort;
    size_t ndeadlines;
    LogLimit logLimit;
    struct iovec iov[VSOCK_IOV_MAX];

    /* Data of the guest, in its memory, that go to their peer in one piece */
    VsockConnection *gathering; /* NULL: none */
    struct iovec gathered[VSOCK_IOV_MAX];
    size_t ngathered; /* entries */
    uint32_t gatheredSize; /* bytes */
};

static guint
vsockKeyHash(gconstpointer opaque)
{
    const VsockKey *key = opaque;

    return (key->guestPort * 2654435761u) ^ (key->hostPort * 40503u) ^ (guint)key->hostCid;
}

static gboolean
vsockKeyEqual(gconstpointer a, gconstpointer b)
{
    const VsockKey *one = a;
    const VsockKey *other = b;

    return one->guestPort == other->guestPort && one->hostPort == other->hostPort &&
           one->hostCid == other->hostCid;
}

Vsock *
vsockNew(uint32_t cid, uint32_t bufferSize, const VsockPeerOps *ops, void *opaque)
{
    Vsock *vsock = g_new0(Vsock, 1);

    vsock->cid = cid;
    vsock->bufferSize = bufferSize;
    vsock->ops = ops;
    vsock->opaque = opaque;
    vsock->connections = g_hash_table_new(vsockKeyHash, vsockKeyEqual);
    vsock->lingering = g_hash_table_new(NULL, NULL);
    g_queue_init(&vsock->ready);
    vsock->nextPort = VSOCK_FIRST_HOST_PORT;
    return vsock;
}

size_t
vsockCount(const Vsock *vsock)
{
    return g_hash_table_size(vsock->connections) + g_hash_table_size(vsock->lingering);
}

/* Free space of the guest's buffer, in bytes; nothing when it shrank below what is in it. */
static uint32_t
vsockCredit(const VsockConnection *connection)
{
    uint32_t inFlight = connection->sent - connection->guestTaken;

    return inFlight < connection->guestSize ? connection->guestSize - inFlight : 0;
}

static bool
vsockCanRead(const VsockConnection *connection)
{
    return connection->state == STATE_ESTABLISHED && connection->readable && !connection->ended &&
           !(connection->guestShut & VIRTIO_VSOCK_SHUTDOWN_RCV);
}

/* Puts the connection into the list of those with something to send, if it has anything. */
static void
vsockUpdateReady(VsockConnection *connection)
{
    if (vsockCanRead(connection) && vsockCredit(connection) == 0 && !connection->creditRequested) {
        connection->creditRequested = true;
        connection->send |= SEND_CREDIT_REQUEST;
    }
    if (connection->isReady || connection->state == STATE_LINGERING ||
        (connection->send == 0 && !(vsockCanRead(connection) && vsockCredit(connection) > 0)))
        return;
    connection->isReady = true;
    connection->readyLink.data = connection;
    g_queue_push_tail_link(&connection->vsock->ready, &connection->readyLink);
}

static void
vsockSend(VsockConnection *connection, unsigned int what)
{
    connection->send |= what;
    vsockUpdateReady(connection);
}

static void
vsockSetDeadline(VsockConnection *connection, gint64 timeout)
{
    Vsock *vsock = connection->vsock;

    vsock->ndeadlines -= connection->deadline != 0;
    connection->deadline = timeout > 0 ? g_get_monotonic_time() + timeout : 0;
    vsock->ndeadlines += connection->deadline != 0;
}

static void
vsockClosePeer(VsockConnection *connection)
{
    void *peer = g_steal_pointer(&connection->peer);

    if (peer)
        connection->vsock->ops->close(peer);
}

/* The guest does not know the connection any more, or must not. */
static void
vsockDetach(VsockConnection *connection)
{
    Vsock *vsock = connection->vsock;

    vsockSetDeadline(connection, 0);
    if (vsock->gathering == connection)
        vsock->gathering = NULL;
    if (connection->isReady)
        g_queue_unlink(&vsock->ready, &connection->readyLink);
    connection->isReady = false;
    if (connection->state != STATE_LINGERING)
        g_hash_table_remove(vsock->connections, &connection->key);
}

static void
vsockDestroy(VsockConnection *connection)
{
    vsockDetach(connection);
    vsockClosePeer(connection);
    if (connection->state == STATE_LINGERING)
        g_hash_table_remove(connection->vsock->lingering, connection);
    backlogClear(&connection->backlog);
    g_free(connection);
}

/*
 * The guest's end is gone. What has been received is still delivered, however long the
 * peer takes, but no longer than the helper lives.
 */
static void
vsockLinger(VsockConnection *connection)
{
    Vsock *vsock = connection->vsock;

    if (connection->backlog.length == 0) {
        vsockDestroy(connection);
        return;
    }
    vsockDetach(connection);
    connection->state = STATE_LINGERING;
    g_hash_table_add(vsock->lingering, connection);
    vsock->ops->shutdown(connection->peer, false);
}

void
vsockReset(Vsock *vsock)
{
    g_autoptr(GList) all = g_hash_table_get_values(vsock->connections);
    GList *item;

    for (item = all; item; item = item->next)
        vsockLinger(item->data);
    vsock->nresets = 0;
}

void
vsockDeliver(Vsock *vsock)
{
    g_autoptr(GList) all = g_hash_table_get_values(vsock->lingering);
    GList *item;

    for (item = all; item; item = item->next)
        vsockConnectionWritable(item->data);
}

void
vsockFree(Vsock *vsock)
{
    g_autoptr(GList) all = NULL;
    GList *item;

    if (!vsock)
        return;
    vsockReset(vsock);
    all = g_hash_table_get_values(vsock->lingering);
    for (item = all; item; item = item->next)
        vsockDestroy(item->data);
    g_hash_table_unref(vsock->connections);
    g_hash_table_unref(vsock->lingering);
    g_free(vsock);
}

/* Queues the answer to @packet that there is no such connection. */
static void
vsockQueueReset(Vsock *vsock, uint32_t hostPort, uint64_t hostCid, uint32_t guestPort,
                uint16_t type)
{
    VsockHeader *reset;

    /* vsockCanReceive() keeps one for each packet and time-out; what finds no place is a
     * connection that the host has ended, whose guest hears of it when it uses it. */
    if (vsock->nresets == VSOCK_RESETS_MAX)
        return;
    reset = &vsock->resets[(vsock->firstReset + vsock->nresets++) % VSOCK_RESETS_MAX];
    *reset = (VsockHeader){
        .src_cid = GUINT64_TO_LE(hostCid),
        .dst_cid = GUINT64_TO_LE(vsock->cid),
        .src_port = GUINT32_TO_LE(hostPort),
        .dst_port = GUINT32_TO_LE(guestPort),
        .type = GUINT16_TO_LE(type),
        .op = GUINT16_TO_LE(VIRTIO_VSOCK_OP_RST),
    };
}

static void
vsockResetConnection(VsockConnection *connection)
{
    vsockQueueReset(connection->vsock, connection->key.hostPort, connection->key.hostCid,
                    connection->key.guestPort, VIRTIO_VSOCK_TYPE_STREAM);
    vsockDestroy(connection);
}

/* The guest has broken the protocol on @connection. */
static void
vsockViolation(VsockConnection *connection, const char *what)
{
    vsockFlush(connection->vsock);
    logLimited(&connection->vsock->logLimit,
               "vsock: the connection of the guest's port %u with port %u is reset: %s",
               connection->key.guestPort, connection->key.hostPort, what);
    vsockResetConnection(connection);
}

/*
 * What one connection more, or one that grows, may have. As the first size is given only
 * while there are so few connections in all, and likewise the second one, no more than so
 * many of them ever have it.
 */
static uint32_t
vsockBufferSize(const Vsock *vsock)
{
    size_t count = vsockCount(vsock);

    if (count <= VSOCK_BUFFERS_LARGE)
        return vsock->bufferSize;
    return count <= VSOCK_BUFFERS_MIDDLE ? VSOCK_BUFFER_SIZE_MIDDLE : VSOCK_BUFFER_SIZE_SMALL;
}

static VsockConnection *
vsockAdd(Vsock *vsock, const VsockKey *key, VsockState state)
{
    VsockConnection *connection = g_new0(VsockConnection, 1);

    connection->key = *key;
    connection->vsock = vsock;
    connection->state = state;
    connection->wanted = 1;
    g_hash_table_insert(vsock->connections, &connection->key, connection);
    connection->size = vsockBufferSize(vsock);
    return connection;
}

/* Tells the guest, in time, that it may send more. */
static void
vsockUpdateCredit(VsockConnection *connection)
{
    uint32_t known = connection->received - connection->takenTold;
    /* Some kernels send no more at a time than they would take, whatever we promise. */
    uint32_t window = MIN(connection->size, connection->guestSize);
    bool due = known >= window / 2 && connection->taken != connection->takenTold;

    if (connection->guestShut & VIRTIO_VSOCK_SHUTDOWN_SEND)
        return;
    /* It may grow when others have gone; what was promised is not taken back. */
    if (connection->backlog.length == 0 && vsockBufferSize(connection->vsock) > connection->size) {
        connection->size = vsockBufferSize(connection->vsock);
        due = true;
    }
    if (due)
        vsockSend(connection, SEND_CREDIT_UPDATE);
}

static void
vsockSendShutdown(VsockConnection *connection, uint32_t flags)
{
    if ((connection->sendShut | flags) == connection->sendShut)
        return;
    connection->sendShut |= flags;
    vsockSend(connection, SEND_SHUTDOWN);
}

/* Neither end can send anything to the other any more: the guest is to confirm it. */
static void
vsockBeginClosing(VsockConnection *connection)
{
    vsockClosePeer(connection);
    connection->state = STATE_CLOSING;
    vsockSendShutdown(connection, VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND);
    vsockSetDeadline(connection, VSOCK_CLOSE_TIMEOUT);
}

static void
vsockDropBacklog(VsockConnection *connection)
{
    connection->taken += connection->backlog.length;
    backlogClear(&connection->backlog);
}

/* The peer will take nothing more: what comes for it is dropped, and the guest is told. */
static void
vsockSetDeaf(VsockConnection *connection)
{
    connection->deaf = true;
    vsockDropBacklog(connection);
    connection->vsock->ops->wantWrite(connection->peer, false);
}

/*
 * All that the guest has sent is with the peer, or the peer does not take it: what is to
 * happen behind the data happens now. May destroy @connection.
 */
static void
vsockFlushed(VsockConnection *connection)
{
    if (connection->state == STATE_LINGERING) {
        vsockDestroy(connection);
        return;
    }
    if (connection->deaf) {
        /* Nothing goes either way any more */
        if (connection->ended || (connection->guestShut & VIRTIO_VSOCK_SHUTDOWN_RCV))
            vsockBeginClosing(connection);
        else
            vsockSendShutdown(connection, VIRTIO_VSOCK_SHUTDOWN_RCV);
    } else if (connection->guestShut & VIRTIO_VSOCK_SHUTDOWN_SEND) {
        connection->vsock->ops->shutdown(connection->peer, true);
    }
}

/* Hands @iov to the peer. Returns the bytes taken; connection->deaf may be set. */
static size_t
vsockWrite(VsockConnection *connection, const struct iovec *iov, size_t n)
{
    ssize_t written = connection->vsock->ops->write(connection->peer, iov, n);

    if (written >= 0) {
        connection->taken += (uint32_t)written;
        return written;
    }
    if (written != -EAGAIN)
        vsockSetDeaf(connection);
    return 0;
}

void
vsockConnectionWritable(VsockConnection *connection)
{
    struct iovec iov[2];

    while (connection->backlog.length > 0) {
        size_t n = vsockWrite(connection, iov, backlogPeek(&connection->backlog, iov));

        if (connection->deaf)
            break;
        if (n == 0) {
            connection->vsock->ops->wantWrite(connection->peer, true);
            vsockUpdateCredit(connection);
            return;
        }
        backlogSkip(&connection->backlog, n);
    }

    if (!connection->deaf)
        connection->vsock->ops->wantWrite(connection->peer, false);
    if (connection->state != STATE_LINGERING)
        vsockUpdateCredit(connection);
    vsockFlushed(connection);
}

void
vsockConnectionReadable(VsockConnection *connection)
{
    connection->readable = true;
    vsockUpdateReady(connection);
}

void
vsockConnectionHungUp(VsockConnection *connection)
{
    connection->hungUp = true;
    if (connection->state == STATE_LINGERING) {
        vsockDestroy(connection);
        return;
    }
    if (connection->state == STATE_ESTABLISHED && !connection->deaf) {
        vsockSetDeaf(connection);
        vsockFlushed(connection);
        return;
    }
    vsockUpdateReady(connection);
}

VsockConnection *
vsockConnect(Vsock *vsock, uint32_t port, void *peer)
{
    VsockKey key = {.guestPort = port, .hostCid = VSOCK_CID_PARENT};
    VsockConnection *connection;

    if (vsockCount(vsock) >= VSOCK_CONNECTIONS_HOST_MAX)
        return NULL;
    do {
        key.hostPort = vsock->nextPort++;
        if (vsock->nextPort == UINT32_MAX)
            vsock->nextPort = VSOCK_FIRST_HOST_PORT;
    } while (g_hash_table_contains(vsock->connections, &key));

    connection = vsockAdd(vsock, &key, STATE_REQUESTED);
    connection->peer = peer;
    vsockSetDeadline(connection, VSOCK_CONNECT_TIMEOUT);
    vsockSend(connection, SEND_REQUEST);
    return connection;
}

/* Takes what the guest says about its buffer. Returns false when that cannot be. */
static bool
vsockTakeCredit(VsockConnection *connection, const VsockHeader *header)
{
    uint32_t taken = GUINT32_FROM_LE(header->fwd_cnt);

    if (taken - connection->guestTaken > connection->sent - connection->guestTaken)
        return false;
    connection->guestTaken = taken;
    connection->guestSize = GUINT32_FROM_LE(header->buf_alloc);
    if (vsockCredit(connection) > 0)
        connection->creditRequested = false;
    return true;
}

static void
vsockOnRequest(Vsock *vsock, const VsockKey *key, const VsockHeader *header)
{
    VsockConnection *connection;

    if (vsockCount(vsock) >= VSOCK_CONNECTIONS_MAX) {
        logLimited(&vsock->logLimit, "vsock: the guest's connection with port %u is refused: it "
                   "has %d already", key->hostPort, VSOCK_CONNECTIONS_MAX);
        vsockQueueReset(vsock, key->hostPort, key->hostCid, key->guestPort,
                        VIRTIO_VSOCK_TYPE_STREAM);
        return;
    }

    connection = vsockAdd(vsock, key, STATE_ESTABLISHED);
    connection->guestSize = GUINT32_FROM_LE(header->buf_alloc);
    connection->guestTaken = connection->sent = GUINT32_FROM_LE(header->fwd_cnt);
    connection->peer = vsock->ops->accept(connection, key->hostPort, vsock->opaque);
    if (!connection->peer)
        vsockResetConnection(connection);
    else if (connection->state == STATE_ESTABLISHED)
        vsockSend(connection, SEND_RESPONSE);
}

void
vsockConnectionDefer(VsockConnection *connection, gint64 timeout)
{
    connection->state = STATE_DEFERRED;
    vsockSetDeadline(connection, timeout);
}

void
vsockConnectionAccept(VsockConnection *connection)
{
    vsockSetDeadline(connection, 0);
    connection->state = STATE_ESTABLISHED;
    vsockSend(connection, SEND_RESPONSE);
}

void
vsockConnectionRefuse(VsockConnection *connection)
{
    vsockResetConnection(connection);
}

static void
vsockOnResponse(VsockConnection *connection)
{
    if (connection->state != STATE_REQUESTED) {
        vsockViolation(connection, "it was accepted twice");
        return;
    }
    vsockSetDeadline(connection, 0);
    connection->state = STATE_ESTABLISHED;
    connection->vsock->ops->connected(connection->peer, connection->key.hostPort);
    if (connection->hungUp)
        vsockConnectionHungUp(connection);
    else
        vsockUpdateReady(connection);
}

static void
vsockOnShutdown(VsockConnection *connection, const VsockHeader *header)
{
    const uint32_t both = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND;
    uint32_t fresh = GUINT32_FROM_LE(header->flags) & both & ~connection->guestShut;

    if (connection->state == STATE_REQUESTED || connection->state == STATE_DEFERRED) {
        vsockViolation(connection, "it was shut down before it was accepted");
        return;
    }
    connection->guestShut |= fresh;
    if (connection->guestShut == both) {
        vsockQueueReset(connection->vsock, connection->key.hostPort, connection->key.hostCid,
                        connection->key.guestPort, VIRTIO_VSOCK_TYPE_STREAM);
        vsockLinger(connection);
        return;
    }
    if (connection->state == STATE_CLOSING)
        return;
    if (fresh & VIRTIO_VSOCK_SHUTDOWN_RCV)
        connection->vsock->ops->shutdown(connection->peer, false);
    if ((fresh & VIRTIO_VSOCK_SHUTDOWN_SEND) && connection->backlog.length == 0 &&
        !connection->deaf)
        connection->vsock->ops->shutdown(connection->peer, true);
}

static void
vsockAddToBacklog(VsockConnection *connection, const struct iovec *iov, size_t n)
{
    if (connection->backlog.length == 0)
        connection->vsock->ops->wantWrite(connection->peer, true);
    backlogAppend(&connection->backlog, connection->size, iov, n);
}

void
vsockFlush(Vsock *vsock)
{
    VsockConnection *connection = g_steal_pointer(&vsock->gathering);
    size_t written;

    if (!connection)
        return;
    written = vsockWrite(connection, vsock->gathered, vsock->ngathered);
    if (connection->deaf) {
        connection->taken += vsock->gatheredSize - written;
        vsockFlushed(connection);
        return;
    }
    if (written < vsock->gatheredSize)
        vsockAddToBacklog(connection, vsock->gathered,
                          iovSkip(vsock->gathered, vsock->ngathered, written));
    vsockUpdateCredit(connection);
}

/* Data of the guest, which stay where they are until vsockFlush() */
static void
vsockGather(VsockConnection *connection, const struct iovec *payload, size_t n, uint32_t len)
{
    Vsock *vsock = connection->vsock;

    if (!vsock->gathering) {
        vsock->gathering = connection;
        vsock->ngathered = vsock->gatheredSize = 0;
    }
    memcpy(vsock->gathered + vsock->ngathered, payload, n * sizeof(*payload));
    vsock->ngathered += n;
    vsock->gatheredSize += len;
}

static void
vsockOnData(VsockConnection *connection, const struct iovec *payload, size_t n, uint32_t len)
{
    Vsock *vsock = connection->vsock;

    /* First of all, as it may leave a backlog or close the peer. */
    if (vsock->gathering && vsock->ngathered + n > VSOCK_IOV_MAX)
        vsockFlush(vsock);

    if (connection->state == STATE_REQUESTED || connection->state == STATE_DEFERRED) {
        vsockViolation(connection, "data came before it was accepted");
        return;
    }
    if (connection->guestShut & VIRTIO_VSOCK_SHUTDOWN_SEND) {
        vsockViolation(connection, "data came behind the end of data");
        return;
    }
    if (len > connection->size - (connection->received - connection->taken)) {
        vsockViolation(connection, "the guest sent more than it had credit for");
        return;
    }

    connection->received += len;
    if (connection->state == STATE_CLOSING || connection->deaf)
        connection->taken += len;
    else if (connection->backlog.length > 0)
        vsockAddToBacklog(connection, payload, n);
    else if (len > 0)
        vsockGather(connection, payload, n, len);
}

static void
vsockDispatch(VsockConnection *connection, const VsockHeader *header, const struct iovec *payload,
              size_t n)
{
    uint16_t op = GUINT16_FROM_LE(header->op);

    if (op == VIRTIO_VSOCK_OP_RST) {
        vsockLinger(connection);
        return;
    }
    if (op == VIRTIO_VSOCK_OP_REQUEST) {
        vsockViolation(connection, "it was requested again");
        return;
    }
    if (!vsockTakeCredit(connection, header)) {
        vsockViolation(connection, "the guest has taken more than it was sent");
        return;
    }
    /* Whatever the packet is: the room that it tells of may be what was waited for. */
    vsockUpdateReady(connection);

    switch (op) {
    case VIRTIO_VSOCK_OP_RESPONSE:
        vsockOnResponse(connection);
        return;
    case VIRTIO_VSOCK_OP_SHUTDOWN:
        vsockOnShutdown(connection, header);
        return;
    case VIRTIO_VSOCK_OP_RW:
        vsockOnData(connection, payload, n, GUINT32_FROM_LE(header->len));
        return;
    case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
        return;
    case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
        vsockSend(connection, SEND_CREDIT_UPDATE);
        return;
    default:
        vsockViolation(connection, "an operation is unknown");
        return;
    }
}

/* Whether a packet is for us at all; if not, that is the end of it. */
static bool
vsockCheckHeader(Vsock *vsock, const VsockHeader *header)
{
    uint64_t src = GUINT64_FROM_LE(header->src_cid);
    uint64_t dst = GUINT64_FROM_LE(header->dst_cid);
    uint16_t type = GUINT16_FROM_LE(header->type);

    if (src != vsock->cid) {
        logLimited(&vsock->logLimit, "vsock: a packet from CID %" G_GUINT64_FORMAT
                   ", which is not the guest's, is dropped", src);
        return false;
    }
    if ((dst == VSOCK_CID_HOST || dst == VSOCK_CID_PARENT) && type == VIRTIO_VSOCK_TYPE_STREAM)
        return true;

    logLimited(&vsock->logLimit, "vsock: a packet for CID %" G_GUINT64_FORMAT
               ", port %u, type %u is refused", dst, GUINT32_FROM_LE(header->dst_port), type);
    if (GUINT16_FROM_LE(header->op) != VIRTIO_VSOCK_OP_RST)
        vsockQueueReset(vsock, GUINT32_FROM_LE(header->dst_port), dst,
                        GUINT32_FROM_LE(header->src_port), type);
    return false;
}

void
vsockReceive(Vsock *vsock, const struct iovec *iov, size_t n)
{
    VsockHeader header;
    VsockConnection *connection;
    VsockKey key;
    uint32_t len;
    size_t npayload;

    if (iovCopyFrom(iov, n, &header, sizeof(header)) < sizeof(header)) {
        logLimited(&vsock->logLimit, "vsock: a packet shorter than its header is dropped");
        return;
    }
    if (!vsockCheckHeader(vsock, &header))
        return;

    key.guestPort = GUINT32_FROM_LE(header.src_port);
    key.hostPort = GUINT32_FROM_LE(header.dst_port);
    key.hostCid = GUINT64_FROM_LE(header.dst_cid);
    connection = g_hash_table_lookup(vsock->connections, &key);
    if (connection != vsock->gathering || header.op != GUINT16_TO_LE(VIRTIO_VSOCK_OP_RW))
        vsockFlush(vsock);
    if (!connection) {
        if (header.op == GUINT16_TO_LE(VIRTIO_VSOCK_OP_REQUEST))
            vsockOnRequest(vsock, &key, &header);
        else if (header.op != GUINT16_TO_LE(VIRTIO_VSOCK_OP_RST))
            vsockQueueReset(vsock, key.hostPort, key.hostCid, key.guestPort,
                            VIRTIO_VSOCK_TYPE_STREAM);
        return;
    }

    len = header.op == GUINT16_TO_LE(VIRTIO_VSOCK_OP_RW) ? GUINT32_FROM_LE(header.len) : 0;
    npayload = iovSlice(iov, n, sizeof(header), len, vsock->iov, VSOCK_IOV_MAX);
    if (iovSize(vsock->iov, npayload) < len) {
        vsockViolation(connection, "a packet has less data than it says");
        return;
    }
    vsockDispatch(connection, &header, vsock->iov, npayload);
}

bool
vsockCanReceive(const Vsock *vsock)
{
    return vsock->nresets < VSOCK_RESETS_MAX;
}

size_t
vsockWanted(const Vsock *vsock)
{
    const VsockConnection *connection = g_queue_peek_head(&((Vsock *)vsock)->ready);

    if (vsock->nresets > 0)
        return 1;
    if (!connection)
        return 0;
    return connection->send != 0 ? 1 : connection->wanted;
}

/* The next packet without data, or one of the kind VIRTIO_VSOCK_OP_INVALID for none. */
static uint16_t
vsockNextControl(VsockConnection *connection)
{
    static const struct {
        unsigned int flag;
        uint16_t op;
    } order[] = {
        {SEND_REQUEST, VIRTIO_VSOCK_OP_REQUEST},
        {SEND_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE},
        {SEND_CREDIT_UPDATE, VIRTIO_VSOCK_OP_CREDIT_UPDATE},
        {SEND_CREDIT_REQUEST, VIRTIO_VSOCK_OP_CREDIT_REQUEST},
        {SEND_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN},
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(order); i++) {
        if (connection->send & order[i].flag) {
            connection->send &= ~order[i].flag;
            return order[i].op;
        }
    }
    return VIRTIO_VSOCK_OP_INVALID;
}

/* Writes the header of a packet of @connection with @len bytes of data. */
static void
vsockFill(VsockConnection *connection, uint16_t op, uint32_t len, VsockBuffer *buffer)
{
    VsockHeader header = {
        .src_cid = GUINT64_TO_LE(connection->key.hostCid),
        .dst_cid = GUINT64_TO_LE(connection->vsock->cid),
        .src_port = GUINT32_TO_LE(connection->key.hostPort),
        .dst_port = GUINT32_TO_LE(connection->key.guestPort),
        .len = GUINT32_TO_LE(len),
        .type = GUINT16_TO_LE(VIRTIO_VSOCK_TYPE_STREAM),
        .op = GUINT16_TO_LE(op),
        .flags = op == VIRTIO_VSOCK_OP_SHUTDOWN ? GUINT32_TO_LE(connection->sendShut) : 0,
        .buf_alloc = GUINT32_TO_LE(connection->size),
        .fwd_cnt = GUINT32_TO_LE(connection->taken),
    };

    connection->takenTold = connection->taken;
    connection->send &= ~SEND_CREDIT_UPDATE;
    iovCopyTo(buffer->iov, buffer->n, &header, sizeof(header));
    buffer->used = sizeof(header) + len;
}

/* Spreads @len bytes, which are in place already, over packets. Returns their number. */
static size_t
vsockFillData(VsockConnection *connection, uint32_t len, VsockBuffer *buffers)
{
    size_t used = 0;

    while (len > 0) {
        VsockBuffer *buffer = &buffers[used++];
        uint32_t piece = (uint32_t)MIN(len, buffer->size - VSOCK_HEADER_SIZE);

        connection->sent += piece;
        vsockFill(connection, VIRTIO_VSOCK_OP_RW, piece, buffer);
        len -= piece;
    }
    return used;
}

/*
 * The peer has nothing more to say (0), or has failed (-errno). May destroy @connection.
 *
 * One that has left without reading all is no failure: between two Linux hosts the other
 * side gets its end of file then as well.
 */
static void
vsockOnPeerEnd(VsockConnection *connection, ssize_t rc)
{
    connection->ended = true;
    if (rc < 0 && rc != -ECONNRESET) {
        vsockResetConnection(connection);
        return;
    }
    if (rc < 0 && !connection->deaf)
        vsockSetDeaf(connection);
    if (connection->deaf)
        vsockBeginClosing(connection);
    else
        vsockSendShutdown(connection, VIRTIO_VSOCK_SHUTDOWN_SEND);
}

/* Reads from the peer into the guest's buffers. Returns how many have been filled. */
static size_t
vsockTransmitData(VsockConnection *connection, VsockBuffer *buffers, size_t n)
{
    Vsock *vsock = connection->vsock;
    uint64_t room = vsockCredit(connection);
    size_t niov = 0;
    size_t used;
    size_t i;
    ssize_t len;

    for (i = 0; i < n && room > 0 && niov < VSOCK_IOV_MAX; i++) {
        uint64_t piece = MIN(room, buffers[i].size - VSOCK_HEADER_SIZE);

        niov += iovSlice(buffers[i].iov, buffers[i].n, VSOCK_HEADER_SIZE, piece,
                         vsock->iov + niov, VSOCK_IOV_MAX - niov);
        room -= piece;
    }
    /* Buffers of nothing but a header */
    if (niov == 0)
        return 0;

    len = vsock->ops->read(connection->peer, vsock->iov, niov);
    if (len <= 0) {
        connection->readable = false;
        connection->wanted = 1;
        if (len != -EAGAIN)
            vsockOnPeerEnd(connection, len);
        return 0;
    }
    used = vsockFillData(connection, (uint32_t)len, buffers);
    connection->wanted = used == n ? MIN(2 * n, VSOCK_BUFFERS_MAX) : used;
    return used;
}

size_t
vsockTransmit(Vsock *vsock, VsockBuffer *buffers, size_t n)
{
    VsockConnection *connection;
    GList *link;
    uint16_t op;
    size_t used;

    if (n == 0)
        return 0;
    if (vsock->nresets > 0) {
        iovCopyTo(buffers[0].iov, buffers[0].n, &vsock->resets[vsock->firstReset],
                  sizeof(VsockHeader));
        buffers[0].used = sizeof(VsockHeader);
        vsock->firstReset = (vsock->firstReset + 1) % VSOCK_RESETS_MAX;
        vsock->nresets--;
        return 1;
    }

    link = g_queue_pop_head_link(&vsock->ready);
    if (!link)
        return 0;
    connection = link->data;
    connection->isReady = false;

    op = vsockNextControl(connection);
    if (op != VIRTIO_VSOCK_OP_INVALID) {
        vsockFill(connection, op, 0, buffers);
        vsockUpdateReady(connection);
        return 1;
    }
    if (!vsockCanRead(connection))
        return 0;

    used = vsockTransmitData(connection, buffers, n);
    /* It may be gone, then there was nothing to send; if not, it has had its turn. */
    if (used > 0)
        vsockUpdateReady(connection);
    return used;
}

bool
vsockHasDeadlines(const Vsock *vsock)
{
    return vsock->ndeadlines > 0;
}

bool
vsockExpire(Vsock *vsock, gint64 now)
{
    g_autoptr(GList) all = g_hash_table_get_values(vsock->connections);
    GList *item;

    /* Each takes the place of a reset, and a guest may fetch none: the rest is for later. */
    for (item = all; item && vsockCanReceive(vsock); item = item->next) {
        VsockConnection *connection = item->data;

        if (connection->deadline != 0 && connection->deadline <= now)
            vsockResetConnection(connection);
    }
    return vsockHasDeadlines(vsock);
}
