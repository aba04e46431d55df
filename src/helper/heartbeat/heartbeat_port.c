/*
 * heartbeat_port.c: port 9000 of the host's vsock, where enclaves send their heartbeat
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: vsockSocketListen() until it succeeds -> Listener -> heartbeatPortOnPeer() -> a
 * HeartbeatPeer, which is read from as soon as its CID is expected, and only then, so that
 * its byte waits in the socket -> heartbeatPeerOnReady() -> heartbeat().
 *
 * An enclave gains nothing from many connections: each CID has a few, its latest ones.
 */

#include "heartbeat/heartbeat_port.h"

#include <errno.h>
#include <glib-unix.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/failure.h"
#include "heartbeat/heartbeat.h"
#include "common/listener.h"
#include "common/log.h"
#include "common/vsock_socket.h"
#include "vsock/vsock_host.h"

/* Between two attempts to get the port, in milliseconds */
#define HEARTBEAT_PORT_RETRY_MS 250

/* Connections, of all CIDs and of one */
#define HEARTBEAT_PEERS_MAX 64
#define HEARTBEAT_PEERS_PER_CID 4

typedef struct {
    HeartbeatPort *port;
    int fd;
    uint32_t cid;
    guint watch;
    guint hold; /* the timer of a peer that nobody expects; 0: it is expected */
} HeartbeatPeer;

struct _HeartbeatPort {
    const HeartbeatPortEvents *events;
    void *opaque;
    int fd; /* -1: not ours yet */
    Listener *listener;
    guint retry;
    int err; /* what has been told by state(); -1: nothing */
    GPtrArray *peers; /* in the order in which they came */
    LogLimit logLimit;
};

static void
heartbeatPeerFree(void *opaque)
{
    HeartbeatPeer *peer = opaque;

    if (peer->watch > 0)
        g_source_remove(peer->watch);
    if (peer->hold > 0)
        g_source_remove(peer->hold);
    close(peer->fd);
    g_free(peer);
}

static void
heartbeatPeerDrop(HeartbeatPeer *peer)
{
    g_ptr_array_remove(peer->port->peers, peer);
}

static gboolean
heartbeatPeerOnHold(gpointer opaque)
{
    HeartbeatPeer *peer = opaque;

    logLimited(&peer->port->logLimit, "A connection of CID %u with the heartbeat's port %d is "
               "dropped: no enclave of this broker has this CID", peer->cid, VSOCK_HEARTBEAT_PORT);
    peer->hold = 0;
    heartbeatPeerDrop(peer);
    return G_SOURCE_REMOVE;
}

/* Judges what the enclave has sent, and answers. */
static void
heartbeatPeerJudge(const HeartbeatPeer *peer, ssize_t n, uint8_t byte, Failure *failure)
{
    const uint8_t answer = VSOCK_HEARTBEAT_BYTE;

    if (n <= 0)
        heartbeatFailClosed(failure);
    else if (byte != VSOCK_HEARTBEAT_BYTE)
        heartbeatFailWrong(failure, byte);
    else if (send(peer->fd, &answer, 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        logWarning("The heartbeat of CID %u cannot be answered: %s", peer->cid, g_strerror(errno));
}

static gboolean
heartbeatPeerOnReady(gint fd, GIOCondition condition G_GNUC_UNUSED, gpointer opaque)
{
    HeartbeatPeer *peer = opaque;
    HeartbeatPort *port = peer->port;
    uint32_t cid = peer->cid;
    g_auto(Failure) failure = {0};
    bool expected = peer->hold == 0;
    uint8_t byte = 0;
    ssize_t n = 0;

    if (expected) {
        n = recv(fd, &byte, 1, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return G_SOURCE_CONTINUE;
        heartbeatPeerJudge(peer, n, byte, &failure);
    }

    peer->watch = 0;
    heartbeatPeerDrop(peer);
    if (expected)
        port->events->heartbeat(cid, failure.text, port->opaque);
    return G_SOURCE_REMOVE;
}

/* Of a peer that nobody expects only its end is noticed. */
static void
heartbeatPeerUpdate(HeartbeatPeer *peer, bool expected)
{
    if (peer->watch > 0 && expected == (peer->hold == 0))
        return;
    if (peer->watch > 0)
        g_source_remove(peer->watch);
    if (peer->hold > 0)
        g_source_remove(peer->hold);
    peer->hold = expected ? 0 : g_timeout_add(HEARTBEAT_PORT_HOLD_MS, heartbeatPeerOnHold, peer);
    peer->watch = g_unix_fd_add(peer->fd, expected ? G_IO_IN : 0, heartbeatPeerOnReady, peer);
}

void
heartbeatPortUpdate(HeartbeatPort *port)
{
    guint i;

    for (i = 0; i < port->peers->len; i++) {
        HeartbeatPeer *peer = g_ptr_array_index(port->peers, i);

        heartbeatPeerUpdate(peer, port->events->isExpected(peer->cid, port->opaque));
    }
}

/* Makes room for a new peer of @cid. Returns false when there is none. */
static bool
heartbeatPortMakeRoom(HeartbeatPort *port, uint32_t cid)
{
    HeartbeatPeer *oldest = NULL;     /* of @cid */
    HeartbeatPeer *unexpected = NULL; /* the oldest of these */
    guint count = 0;
    guint i;

    for (i = port->peers->len; i > 0; i--) {
        HeartbeatPeer *peer = g_ptr_array_index(port->peers, i - 1);

        if (peer->cid == cid) {
            oldest = peer;
            count++;
        }
        if (peer->hold > 0)
            unexpected = peer;
    }

    if (count < HEARTBEAT_PEERS_PER_CID && port->peers->len < HEARTBEAT_PEERS_MAX)
        return true;
    logLimited(&port->logLimit, "There are too many connections with the heartbeat's port %d: one "
               "of %u of CID %u is dropped", VSOCK_HEARTBEAT_PORT, count + 1, cid);
    if (count >= HEARTBEAT_PEERS_PER_CID)
        heartbeatPeerDrop(oldest);
    else if (unexpected)
        heartbeatPeerDrop(unexpected);
    else
        return false;
    return true;
}

static void
heartbeatPortOnPeer(int fd, void *opaque)
{
    HeartbeatPort *port = opaque;
    uint32_t cid;
    HeartbeatPeer *peer;

    if (vsockSocketPeer(fd, &cid) < 0 || !heartbeatPortMakeRoom(port, cid)) {
        close(fd);
        return;
    }
    peer = g_new0(HeartbeatPeer, 1);
    peer->port = port;
    peer->fd = fd;
    peer->cid = cid;
    g_ptr_array_add(port->peers, peer);
    heartbeatPeerUpdate(peer, port->events->isExpected(peer->cid, port->opaque));
}

static gboolean
heartbeatPortOnRetry(gpointer opaque)
{
    HeartbeatPort *port = opaque;
    int err;

    port->fd = vsockSocketListen(VSOCK_HEARTBEAT_PORT);
    err = port->fd < 0 ? errno : 0;
    if (port->fd >= 0)
        port->listener = listenerNew(port->fd, "A heartbeat", heartbeatPortOnPeer, port);

    if (err != port->err) {
        port->err = err;
        port->events->state(err, port->opaque);
    }
    if (err == 0)
        port->retry = 0;
    return err == 0 ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

HeartbeatPort *
heartbeatPortNew(const HeartbeatPortEvents *events, void *opaque)
{
    HeartbeatPort *port = g_new0(HeartbeatPort, 1);

    port->events = events;
    port->opaque = opaque;
    port->err = -1;
    port->peers = g_ptr_array_new_with_free_func(heartbeatPeerFree);
    if (heartbeatPortOnRetry(port) == G_SOURCE_CONTINUE)
        port->retry = g_timeout_add(HEARTBEAT_PORT_RETRY_MS, heartbeatPortOnRetry, port);
    return port;
}

void
heartbeatPortFree(HeartbeatPort *port)
{
    if (!port)
        return;
    if (port->retry > 0)
        g_source_remove(port->retry);
    listenerFree(port->listener);
    if (port->fd >= 0)
        close(port->fd);
    g_ptr_array_unref(port->peers);
    g_free(port);
}
