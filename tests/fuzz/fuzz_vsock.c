/*
 * fuzz_vsock.c: fuzz target for the virtio-vsock protocol
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The input is a row of steps, a byte each and what it needs behind it: packets of the
 * guest, events of the host's sockets, buffers to be filled. The peers are made up here;
 * they check that they are used as vsock.h promises, and the packets that come out are
 * checked against the guest's credit.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vsock/vsock.h"

#define CID 5
#define PEERS_MAX 64
#define PORTS 4 /* so that packets meet their connections */

typedef struct {
    VsockConnection *connection;
    bool inUse;
    bool wantsWrite;
    bool ended;
} Peer;

static const uint8_t *input;
static size_t left;
static Peer peers[PEERS_MAX];
static Vsock *vsock;

static uint32_t
fuzzTake(size_t size)
{
    uint32_t value = 0;

    size = MIN(size, left);
    memcpy(&value, input, size);
    input += size;
    left -= size;
    return value;
}

static Peer *
fuzzNewPeer(void)
{
    size_t i;

    for (i = 0; i < PEERS_MAX; i++) {
        if (!peers[i].inUse) {
            peers[i] = (Peer){.inUse = true};
            return &peers[i];
        }
    }
    return NULL;
}

static void
fuzzCheckPeer(const Peer *peer)
{
    if (!peer->inUse)
        abort();
}

static void *
fuzzAccept(VsockConnection *connection, uint32_t port, void *opaque G_GNUC_UNUSED)
{
    Peer *peer = port == 0 ? NULL : fuzzNewPeer();

    if (peer)
        peer->connection = connection;
    return peer;
}

static void
fuzzConnected(void *peer, uint32_t port G_GNUC_UNUSED)
{
    fuzzCheckPeer(peer);
}

static ssize_t
fuzzWrite(void *peer, const struct iovec *iov, size_t n)
{
    uint32_t how = fuzzTake(1);
    uint64_t size = 0;
    size_t i;

    fuzzCheckPeer(peer);
    for (i = 0; i < n; i++)
        size += iov[i].iov_len;
    if (size == 0)
        abort();
    if (how < 0x20)
        return -EAGAIN;
    if (how < 0x28)
        return -EPIPE;
    return how < 0x80 ? (ssize_t)MAX(1, size * how / 0x100) : (ssize_t)size;
}

static ssize_t
fuzzRead(void *opaque, const struct iovec *iov, size_t n)
{
    Peer *peer = opaque;
    uint32_t how = fuzzTake(1);
    size_t size = 0;
    size_t i;

    fuzzCheckPeer(peer);
    if (peer->ended || n == 0)
        abort();
    if (how < 0x20)
        return -EAGAIN;
    peer->ended = how < 0x30;
    if (how < 0x28)
        return -ECONNRESET;
    if (how < 0x30)
        return 0;
    for (i = 0; i < n && (how >= 0x80 || i == 0); i++) {
        memset(iov[i].iov_base, 0xaa, iov[i].iov_len);
        size += iov[i].iov_len;
    }
    return (ssize_t)size;
}

static void
fuzzWantWrite(void *opaque, bool want)
{
    Peer *peer = opaque;

    fuzzCheckPeer(peer);
    peer->wantsWrite = want;
}

static void
fuzzShutdown(void *peer, bool toWrite G_GNUC_UNUSED)
{
    fuzzCheckPeer(peer);
}

static void
fuzzClose(void *opaque)
{
    Peer *peer = opaque;

    fuzzCheckPeer(peer);
    peer->inUse = false;
    peer->connection = NULL;
}

static const VsockPeerOps fuzzOps = {
    .accept = fuzzAccept,
    .connected = fuzzConnected,
    .write = fuzzWrite,
    .read = fuzzRead,
    .wantWrite = fuzzWantWrite,
    .shutdown = fuzzShutdown,
    .close = fuzzClose,
};

/* A packet of the guest: mostly a good one, so that the input gets somewhere. */
static void
fuzzReceivePacket(void)
{
    static uint8_t payload[65536];
    uint32_t odd = fuzzTake(1);
    uint32_t ports = fuzzTake(1);
    struct virtio_vsock_hdr header = {
        .src_cid = odd & 1 && odd & 2 ? fuzzTake(1) : CID,
        .dst_cid = odd & 4 && odd & 8 ? fuzzTake(1) : VSOCK_CID_HOST + (odd & 1),
        .src_port = ports % PORTS,
        .dst_port = ports & 0x80 ? 0x40000000 + (ports >> 4) % PORTS : (ports >> 4) % PORTS,
        .len = fuzzTake(2),
        .type = odd & 0x10 && odd & 0x20 ? fuzzTake(1) : VIRTIO_VSOCK_TYPE_STREAM,
        .op = fuzzTake(1) % 9,
        .flags = fuzzTake(1) & 3,
        .buf_alloc = odd & 0x40 ? fuzzTake(4) : 65536,
        .fwd_cnt = odd & 0x80 ? fuzzTake(4) : 0,
    };
    uint32_t cut = fuzzTake(1);
    struct iovec iov[] = {
        {&header, sizeof(header)},
        {payload, header.len},
        {payload, 1},
    };

    if (cut == 1)
        iov[0].iov_len = 43;
    if (cut == 2 && header.len > 0)
        iov[1].iov_len--;
    vsockReceive(vsock, iov, cut == 3 ? 3 : header.len > 0 && cut != 4 ? 2 : 1);
}

/* Packets in a row, up to four */
static void
fuzzReceive(void)
{
    uint32_t n = fuzzTake(1) % 4;
    uint32_t i;

    for (i = 0; i <= n && vsockCanReceive(vsock); i++)
        fuzzReceivePacket();
    vsockFlush(vsock);
}

static void
fuzzTransmit(void)
{
    static uint8_t memory[VSOCK_BUFFERS_MAX][256];
    struct iovec iov[VSOCK_BUFFERS_MAX][2];
    VsockBuffer buffers[VSOCK_BUFFERS_MAX];
    size_t n = fuzzTake(1) % (VSOCK_BUFFERS_MAX + 1);
    size_t used;
    size_t i;

    for (i = 0; i < n; i++) {
        uint32_t wanted = fuzzTake(1);
        uint8_t size = (uint8_t)MAX(wanted, VSOCK_HEADER_SIZE + 1);
        uint8_t cut = (uint8_t)(fuzzTake(1) % size);

        iov[i][0] = (struct iovec){memory[i], cut};
        iov[i][1] = (struct iovec){memory[i] + cut, size - cut};
        buffers[i] = (VsockBuffer){iov[i], 2, size, 0};
    }
    used = vsockTransmit(vsock, buffers, n);
    if (used > n)
        abort();
    for (i = 0; i < used; i++) {
        struct virtio_vsock_hdr header;

        memcpy(&header, memory[i], sizeof(header));
        if (buffers[i].used != sizeof(header) + header.len || buffers[i].used > buffers[i].size ||
            header.dst_cid != CID || (header.len > 0 && header.op != VIRTIO_VSOCK_OP_RW))
            abort();
    }
}

static void
fuzzEvent(void)
{
    uint32_t what = fuzzTake(1);
    Peer *peer = &peers[what % 8];

    if (!peer->inUse || !peer->connection)
        return;
    if (what < 0x60)
        vsockConnectionReadable(peer->connection);
    else if (what < 0xc0 && peer->wantsWrite)
        vsockConnectionWritable(peer->connection);
    else if (what >= 0xc0)
        vsockConnectionHungUp(peer->connection);
}

static void
fuzzConnect(void)
{
    Peer *peer = fuzzNewPeer();

    if (!peer)
        return;
    peer->connection = vsockConnect(vsock, fuzzTake(1) % PORTS, peer);
    if (!peer->connection)
        peer->inUse = false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t i;

    input = data;
    left = size;
    memset(peers, 0, sizeof(peers));
    vsock = vsockNew(CID, VSOCK_BUFFER_SIZE, &fuzzOps, NULL);

    while (left > 0) {
        switch (fuzzTake(1) % 16) {
        case 0:
            fuzzConnect();
            break;
        case 1:
        case 2:
        case 3:
        case 4:
            fuzzEvent();
            break;
        case 5:
        case 6:
        case 7:
        case 8:
            fuzzTransmit();
            break;
        case 9:
            vsockExpire(vsock, fuzzTake(1) < 0x10 ? G_MAXINT64 : 0);
            break;
        case 10:
            if (fuzzTake(1) < 0x10)
                vsockReset(vsock);
            vsockDeliver(vsock);
            break;
        default:
            fuzzReceive();
            break;
        }
    }

    vsockFree(vsock);
    for (i = 0; i < PEERS_MAX; i++) {
        if (peers[i].inUse)
            abort();
    }
    return 0;
}
