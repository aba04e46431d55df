/*
 * vsocktest.c: the virtio-vsock protocol where the time of a peer's answer counts
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Peers are made up here, so that they can fail between two packets of one row, which no
 * test with real sockets can bring about. All else of the protocol is in vsockdevicetest.
 */

#include <errno.h>

#include "vsock/vsock.h"

#define GUEST_CID 5
#define GUEST_PORT 1000
#define HOST_PORT 2000

/* A row of packets of so many pieces is passed on with the third one. */
#define PIECES 500
#define PACKETS 3

typedef struct {
    Vsock *vsock;
    VsockConnection *connection;
    ssize_t room;     /* of write(), in bytes, or -errno */
    GByteArray *data; /* what it has taken */
    bool closed;
} Peer;

static void *
peerAccept(VsockConnection *connection, uint32_t port, void *opaque)
{
    Peer *peer = opaque;

    g_assert_cmpint(port, ==, HOST_PORT);
    peer->connection = connection;
    return peer;
}

static ssize_t
peerWrite(void *opaque, const struct iovec *iov, size_t n)
{
    Peer *peer = opaque;
    guint before = peer->data->len;
    size_t i;

    g_assert_false(peer->closed);
    if (peer->room <= 0)
        return peer->room < 0 ? peer->room : -EAGAIN;
    for (i = 0; i < n && peer->room > 0; i++) {
        size_t size = MIN(iov[i].iov_len, (size_t)peer->room);

        g_byte_array_append(peer->data, iov[i].iov_base, size);
        peer->room -= size;
    }
    return peer->data->len - before;
}

static ssize_t
peerRead(void *opaque, const struct iovec *iov G_GNUC_UNUSED, size_t n G_GNUC_UNUSED)
{
    const Peer *peer = opaque;

    g_assert_false(peer->closed);
    return 0;
}

static void
peerWantWrite(void *opaque, bool want G_GNUC_UNUSED)
{
    const Peer *peer = opaque;

    g_assert_false(peer->closed);
}

static void
peerShutdown(void *opaque, bool toWrite G_GNUC_UNUSED)
{
    const Peer *peer = opaque;

    g_assert_false(peer->closed);
}

static void
peerClose(void *opaque)
{
    Peer *peer = opaque;

    g_assert_false(peer->closed);
    peer->closed = true;
}

static const VsockPeerOps peerOps = {
    .accept = peerAccept,
    .write = peerWrite,
    .read = peerRead,
    .wantWrite = peerWantWrite,
    .shutdown = peerShutdown,
    .close = peerClose,
};

/* Sends a packet of the guest with @size bytes of @data in pieces of a byte each. */
static void
guestSend(Peer *peer, uint16_t op, uint8_t *data, size_t size)
{
    struct virtio_vsock_hdr header = {
        .src_cid = GUINT64_TO_LE(GUEST_CID),
        .dst_cid = GUINT64_TO_LE(VSOCK_CID_PARENT),
        .src_port = GUINT32_TO_LE(GUEST_PORT),
        .dst_port = GUINT32_TO_LE(HOST_PORT),
        .len = GUINT32_TO_LE((uint32_t)size),
        .type = GUINT16_TO_LE(VIRTIO_VSOCK_TYPE_STREAM),
        .op = GUINT16_TO_LE(op),
        .buf_alloc = GUINT32_TO_LE(65536),
    };
    g_autofree struct iovec *iov = g_new(struct iovec, size + 1);
    size_t i;

    iov[0] = (struct iovec){&header, sizeof(header)};
    for (i = 0; i < size; i++)
        iov[i + 1] = (struct iovec){data + i, 1};
    vsockReceive(peer->vsock, iov, size + 1);
}

/* Takes the next packet for the guest; returns its operation, 0 when there is none. */
static uint16_t
guestReceive(Peer *peer)
{
    uint8_t data[256];
    struct virtio_vsock_hdr header;
    struct iovec iov = {data, sizeof(data)};
    VsockBuffer buffer = {&iov, 1, sizeof(data), 0};

    while (vsockWanted(peer->vsock) > 0) {
        if (vsockTransmit(peer->vsock, &buffer, 1) == 0)
            continue;
        memcpy(&header, data, sizeof(header));
        return GUINT16_FROM_LE(header.op);
    }
    return VIRTIO_VSOCK_OP_INVALID;
}

static void
peerInit(Peer *peer)
{
    *peer = (Peer){
        .vsock = vsockNew(GUEST_CID, VSOCK_BUFFER_SIZE, &peerOps, peer),
        .data = g_byte_array_new(),
        .room = G_MAXSSIZE,
    };
    guestSend(peer, VIRTIO_VSOCK_OP_REQUEST, NULL, 0);
    vsockFlush(peer->vsock);
    g_assert_cmpint(guestReceive(peer), ==, VIRTIO_VSOCK_OP_RESPONSE);
}

static void
peerFree(Peer *peer)
{
    vsockFree(peer->vsock);
    g_assert_true(peer->closed);
    g_byte_array_unref(peer->data);
}

/* The guest's row of packets, of numbers that count up */
static void
guestSendRow(Peer *peer, uint8_t row[PACKETS][PIECES])
{
    size_t i;
    size_t j;

    for (i = 0; i < PACKETS; i++) {
        for (j = 0; j < PIECES; j++)
            row[i][j] = (uint8_t)((i * PIECES + j) * 7);
        guestSend(peer, VIRTIO_VSOCK_OP_RW, row[i], PIECES);
    }
    vsockFlush(peer->vsock);
}

/* The peer fills up within a row: nothing overtakes what waits for it. */
static void
testRowFillsPeer(void)
{
    Peer peer;
    uint8_t row[PACKETS][PIECES];

    peerInit(&peer);
    peer.room = PIECES / 2;
    guestSendRow(&peer, row);
    g_assert_cmpint(peer.data->len, ==, PIECES / 2);
    peer.room = G_MAXSSIZE;
    vsockConnectionWritable(peer.connection);
    g_assert_cmpmem(peer.data->data, peer.data->len, row, sizeof(row));
    peerFree(&peer);
}

/* The peer, which has sent its last byte, takes nothing more either from within a row on. */
static void
testRowEndsPeer(void)
{
    Peer peer;
    uint8_t row[PACKETS][PIECES];

    peerInit(&peer);
    vsockConnectionReadable(peer.connection);
    g_assert_cmpint(guestReceive(&peer), ==, VIRTIO_VSOCK_OP_SHUTDOWN);
    peer.room = -EPIPE;
    guestSendRow(&peer, row);
    g_assert_true(peer.closed);
    g_assert_cmpint(guestReceive(&peer), ==, VIRTIO_VSOCK_OP_SHUTDOWN);
    guestSend(&peer, VIRTIO_VSOCK_OP_RST, NULL, 0);
    vsockFlush(peer.vsock);
    g_assert_cmpint(vsockCount(peer.vsock), ==, 0);
    peerFree(&peer);
}

static void *
clientAccept(VsockConnection *connection G_GNUC_UNUSED, uint32_t port G_GNUC_UNUSED, void *opaque)
{
    return opaque;
}

static void
clientClose(void *opaque)
{
    ++*(unsigned int *)opaque;
}

static const VsockPeerOps clientOps = {.accept = clientAccept, .close = clientClose};

/* Clients of the host leave the guest some of the connections that there can be. */
static void
testClientsLeaveRoom(void)
{
    unsigned int closed = 0;
    unsigned int n = 0;
    Peer peer = {.vsock = vsockNew(GUEST_CID, VSOCK_BUFFER_SIZE, &clientOps, &closed)};

    while (vsockConnect(peer.vsock, GUEST_PORT, &closed))
        n++;
    g_assert_cmpuint(n, ==, VSOCK_CONNECTIONS_MAX / 4 * 3);
    while (guestReceive(&peer) == VIRTIO_VSOCK_OP_REQUEST)
        ;
    guestSend(&peer, VIRTIO_VSOCK_OP_REQUEST, NULL, 0);
    vsockFlush(peer.vsock);
    g_assert_cmpint(guestReceive(&peer), ==, VIRTIO_VSOCK_OP_RESPONSE);
    vsockFree(peer.vsock);
    g_assert_cmpuint(closed, ==, n + 1);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vsock/row-fills-peer", testRowFillsPeer);
    g_test_add_func("/vsock/row-ends-peer", testRowEndsPeer);
    g_test_add_func("/vsock/clients-leave-room", testClientsLeaveRoom);
    return g_test_run();
}
