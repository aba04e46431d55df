/*
 * vsock.h: the virtio-vsock protocol of stream sockets, the host's side of it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source: Virtual I/O Device (VIRTIO) 1.2, section 5.10. Packets of the guest go in by
 * vsockReceive(), packets for it come out of vsockTransmit() into the buffers that it has
 * offered. What is at the host's end of a connection, its peer, is behind a table of
 * functions. Nothing here knows of rings or of the host's sockets, and nothing blocks.
 *
 * What a peer does not take at once is kept, up to VSOCK_BUFFER_SIZE for a connection and
 * 45 MiB for all of them; the guest gets no credit for more. Nothing is kept for the other
 * direction: data are read from the peer straight into the guest's buffers, once there are
 * some.
 */

#pragma once

#include <glib.h>
#include <linux/virtio_vsock.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define VSOCK_HEADER_SIZE sizeof(struct virtio_vsock_hdr)

/* CIDs of the host as the guest may address it; VSOCK_CID_PARENT is what it sees of us. */
#define VSOCK_CID_HOST 2
#define VSOCK_CID_PARENT 3

/* Connections at once, those included that only have something to deliver to their peer */
#define VSOCK_CONNECTIONS_MAX 2048

/* The host connects while there are fewer: clients of the host must not take all from the guest. */
#define VSOCK_CONNECTIONS_HOST_MAX (VSOCK_CONNECTIONS_MAX / 4 * 3)

/*
 * What the guest may send on one connection before its peer takes it, in bytes: at most
 * while there are few connections (see vsockNew()), while there are some more, and of all
 * others, so that thousands that are not read are bearable
 */
#define VSOCK_BUFFER_SIZE (512 * 1024)
#define VSOCK_BUFFERS_LARGE 16
#define VSOCK_BUFFER_SIZE_MIDDLE (64 * 1024)
#define VSOCK_BUFFERS_MIDDLE 128
#define VSOCK_BUFFER_SIZE_SMALL (16 * 1024)

/* How long the guest may take to answer, in microseconds */
#define VSOCK_CONNECT_TIMEOUT (10 * G_USEC_PER_SEC)
#define VSOCK_CLOSE_TIMEOUT (8 * G_USEC_PER_SEC)

/* Buffers of the guest that vsockTransmit() can use at once */
#define VSOCK_BUFFERS_MAX 16

typedef struct _Vsock Vsock;
typedef struct _VsockConnection VsockConnection;

/*
 * The host's end of connections. All are called from within functions of this file, and
 * must not call any of them but vsockConnectionReadable() and vsockConnectionDefer().
 */
typedef struct _VsockPeerOps VsockPeerOps;
struct _VsockPeerOps {
    /*
     * The guest wants to be connected with @port. Returns the peer, of which close() will
     * be the last call, or NULL when there is none. If it is not known yet whether the peer
     * takes the connection: see vsockConnectionDefer().
     */
    void *(*accept)(VsockConnection *connection, uint32_t port, void *opaque);
    /*
     * The guest has accepted the connection of vsockConnect(); @port is the host's port.
     */
    void (*connected)(void *peer, uint32_t port);
    /* Takes data of the guest. Returns the bytes taken or -errno; -EAGAIN: see wantWrite(). */
    ssize_t (*write)(void *peer, const struct iovec *iov, size_t n);
    /* Gives data for the guest. Returns the bytes, 0 for the end, or -errno; after -EAGAIN
     * vsockConnectionReadable() tells when there are some again. -ECONNRESET is an end as
     * well, of a peer that takes nothing more. */
    ssize_t (*read)(void *peer, const struct iovec *iov, size_t n);
    /* Whether vsockConnectionWritable() is to be called, once for each wish, when there is room. */
    void (*wantWrite)(void *peer, bool want);
    /* The guest sends nothing more (write), or reads nothing more. */
    void (*shutdown)(void *peer, bool write);
    /* The connection is over; the peer is not used any more. */
    void (*close)(void *peer);
};

/* One buffer of the guest */
typedef struct _VsockBuffer VsockBuffer;
struct _VsockBuffer {
    const struct iovec *iov;
    size_t n;
    uint64_t size; /* bytes in all, at least VSOCK_HEADER_SIZE */
    uint32_t used; /* bytes written, set by vsockTransmit() */
};

/*
 * @cid is the guest's. @bufferSize, in bytes, from VSOCK_BUFFER_SIZE_MIDDLE to
 * VSOCK_BUFFER_SIZE, is what few connections have each. @ops must outlive the engine. Never
 * NULL.
 */
Vsock *vsockNew(uint32_t cid, uint32_t bufferSize, const VsockPeerOps *ops, void *opaque);
void vsockFree(Vsock *vsock);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Vsock, vsockFree)

/*
 * The guest's driver is gone: closes all peers, but those that have not taken yet what the
 * guest has sent, and forgets all packets for the guest.
 */
void vsockReset(Vsock *vsock);

/* Tries again to deliver what peers have not taken whose connections are over. */
void vsockDeliver(Vsock *vsock);

/*
 * Takes a packet of the guest, @n entries of @iov, in its memory. What breaks the
 * protocol costs the guest that connection. Its data may be used in place up to vsockFlush(),
 * which passes on what several packets have brought; it is to be called before any other
 * function but this one and vsockCanReceive().
 */
void vsockReceive(Vsock *vsock, const struct iovec *iov, size_t n);
void vsockFlush(Vsock *vsock);

/*
 * Whether vsockReceive() may be called: there is a limit to the answers that the guest
 * does not fetch.
 */
bool vsockCanReceive(const Vsock *vsock);

/*
 * How many buffers the next packets could use, at most VSOCK_BUFFERS_MAX; 0: there is
 * nothing to send. vsockTransmit() fills the first of @n buffers, and returns how many;
 * none when there was nothing to send after all.
 */
size_t vsockWanted(const Vsock *vsock);
size_t vsockTransmit(Vsock *vsock, VsockBuffer *buffers, size_t n);

/*
 * Connects @peer with the guest's @port. Returns the connection, or NULL when there are
 * too many; connected() or close() follows, not at once.
 */
VsockConnection *vsockConnect(Vsock *vsock, uint32_t port, void *peer);

/*
 * From within accept(): the guest is not answered before vsockConnectionAccept() or
 * vsockConnectionRefuse(), the latter of which closes the peer, as @timeout microseconds do;
 * until then no other function is called with the connection, and close() alone with its peer.
 */
void vsockConnectionDefer(VsockConnection *connection, gint64 timeout);
void vsockConnectionAccept(VsockConnection *connection);
void vsockConnectionRefuse(VsockConnection *connection);

/* The peer may have data or its end to read. */
void vsockConnectionReadable(VsockConnection *connection);
/* The peer has room for more data. */
void vsockConnectionWritable(VsockConnection *connection);
/* The peer has gone in both directions, although there may be data of it left to read. */
void vsockConnectionHungUp(VsockConnection *connection);

/*
 * Resets the connections whose time has come at @now (g_get_monotonic_time()). Returns
 * whether there are others that wait for the guest.
 */
bool vsockExpire(Vsock *vsock, gint64 now);

/* Whether any connection waits for an answer that vsockExpire() would not wait for long. */
bool vsockHasDeadlines(const Vsock *vsock);

/* Number of connections, for tests and limits */
size_t vsockCount(const Vsock *vsock);
