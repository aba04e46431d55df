/*
 * vsock_ports.c: the ports of the host's vsock that enclaves' services are promised
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: "serve" -> a VsockPort for each port, of which several links may be holders -> Listener ->
 * vsockPortOnConnection() -> vsockPortsRoute(), by the CID of the connection -> the link of this
 * enclave, or a VsockHeld, which is routed anew with each "enclave". "connect" -> a VsockDial ->
 * vsockDialOnReady() or vsockDialOnTime() -> the link.
 */

#include "link/vsock_ports.h"

#include <errno.h>
#include <glib-unix.h>
#include <unistd.h>

#include "common/listener.h"
#include "common/log.h"
#include "common/vsock_socket.h"
#include "services_protocol.h"

/* Connections that are held, of all CIDs and of one */
#define VSOCK_HELD_MAX 64
#define VSOCK_HELD_PER_CID 16

typedef struct {
    VsockPorts *ports;
    uint32_t port;
    int fd;
    Listener *listener;
    unsigned int holders;
} VsockPort;

/* A connection with a CID that no link has been told */
typedef struct {
    VsockPorts *ports;
    int fd;
    uint32_t cid;
    uint32_t port;
    guint timer;
} VsockHeld;

/* A connection with an enclave that is asked for */
typedef struct {
    VsockPortsLink *link;
    int64_t id;
    int fd;
    guint watch;
    guint timer;
} VsockDial;

struct _VsockPorts {
    GHashTable *ports;  /* of VsockPort, by their numbers */
    GPtrArray *links;   /* those that have been told their CID, the newest one last */
    GPtrArray *held;    /* of VsockHeld, in the order in which they came */
    LogLimit logLimit;
};

struct _VsockPortsLink {
    VsockPorts *all;
    Link *link;
    VsockPort *ports[NITRO_SERVICES_MAX];
    size_t nports;
    bool hasCid;
    uint32_t cid;
    GPtrArray *dials; /* of VsockDial */
};

static void
vsockPortFree(void *opaque)
{
    VsockPort *port = opaque;

    listenerFree(port->listener);
    close(port->fd);
    g_free(port);
}

static void
vsockHeldFree(void *opaque)
{
    VsockHeld *held = opaque;

    g_clear_handle_id(&held->timer, g_source_remove);
    if (held->fd >= 0)
        close(held->fd);
    g_free(held);
}

static void
vsockDialFree(void *opaque)
{
    VsockDial *dial = opaque;

    g_clear_handle_id(&dial->watch, g_source_remove);
    g_clear_handle_id(&dial->timer, g_source_remove);
    if (dial->fd >= 0)
        close(dial->fd);
    g_free(dial);
}

VsockPorts *
vsockPortsNew(void)
{
    VsockPorts *ports = g_new0(VsockPorts, 1);

    ports->ports = g_hash_table_new_full(g_int_hash, g_int_equal, NULL, vsockPortFree);
    ports->links = g_ptr_array_new();
    ports->held = g_ptr_array_new_with_free_func(vsockHeldFree);
    return ports;
}

void
vsockPortsFree(VsockPorts *ports)
{
    if (!ports)
        return;
    g_hash_table_unref(ports->ports);
    g_ptr_array_unref(ports->links);
    g_ptr_array_unref(ports->held);
    g_free(ports);
}

/* Connections, from the enclaves */

static bool
vsockPortsLinkHas(const VsockPortsLink *link, uint32_t port)
{
    size_t i;

    for (i = 0; i < link->nports; i++) {
        if (link->ports[i]->port == port)
            return true;
    }
    return false;
}

/* The newest link of @cid, or NULL */
static VsockPortsLink *
vsockPortsFind(const VsockPorts *ports, uint32_t cid)
{
    guint i;

    for (i = ports->links->len; i > 0; i--) {
        VsockPortsLink *link = g_ptr_array_index(ports->links, i - 1);

        if (link->cid == cid)
            return link;
    }
    return NULL;
}

/* Gives the connection @fd, which is taken over, to @link if it is one of its ports. */
static void
vsockPortsGive(VsockPortsLink *link, uint32_t port, int fd)
{
    if (!vsockPortsLinkHas(link, port)) {
        logLimited(&link->all->logLimit, "A connection of CID %u with port %u is refused: its "
                   "services have no such port", link->cid, port);
        close(fd);
    } else if (linkSendConnection(link->link, port, fd) < 0) {
        logLimited(&link->all->logLimit, "A connection of CID %u with port %u is refused: its "
                   "services take none at present", link->cid, port);
    }
}

static gboolean
vsockHeldOnTime(gpointer opaque)
{
    VsockHeld *held = opaque;

    logLimited(&held->ports->logLimit, "A connection of CID %u with port %u is refused: no enclave "
               "with services has this CID", held->cid, held->port);
    held->timer = 0;
    g_ptr_array_remove(held->ports->held, held);
    return G_SOURCE_REMOVE;
}

/* How many are held of @cid; @oldest is the first one that came of them. */
static guint
vsockPortsCountHeld(const VsockPorts *ports, uint32_t cid, VsockHeld **oldest)
{
    guint count = 0;
    guint i;

    for (i = ports->held->len; i > 0; i--) {
        VsockHeld *held = g_ptr_array_index(ports->held, i - 1);

        if (held->cid == cid) {
            *oldest = held;
            count++;
        }
    }
    return count;
}

/*
 * Makes room for one more of @cid. When there is none the oldest one has to go of the CID that has
 * the most: enclaves that flood cost those nothing that boot and have a few.
 */
static void
vsockPortsMakeRoom(VsockPorts *ports, uint32_t cid)
{
    VsockHeld *oldest = NULL;
    guint most = vsockPortsCountHeld(ports, cid, &oldest);
    guint i;

    if (most < VSOCK_HELD_PER_CID && ports->held->len < VSOCK_HELD_MAX)
        return;
    for (i = 0; most < VSOCK_HELD_PER_CID && i < ports->held->len; i++) {
        VsockHeld *first = NULL;
        guint count = vsockPortsCountHeld(
            ports, ((const VsockHeld *)g_ptr_array_index(ports->held, i))->cid, &first);

        if (count > most || !oldest) {
            most = count;
            oldest = first;
        }
    }
    logLimited(&ports->logLimit, "There are too many connections of CIDs that no enclave with "
               "services has: one of %u of CID %u is refused", most, oldest->cid);
    g_ptr_array_remove(ports->held, oldest);
}

static void
vsockPortsHold(VsockPorts *ports, uint32_t cid, uint32_t port, int fd)
{
    VsockHeld *held;

    vsockPortsMakeRoom(ports, cid);
    held = g_new0(VsockHeld, 1);
    held->ports = ports;
    held->fd = fd;
    held->cid = cid;
    held->port = port;
    held->timer = g_timeout_add(VSOCK_PORTS_HOLD_MS, vsockHeldOnTime, held);
    g_ptr_array_add(ports->held, held);
}

static void
vsockPortOnConnection(int fd, void *opaque)
{
    VsockPort *port = opaque;
    VsockPortsLink *link;
    uint32_t cid;

    if (vsockSocketPeer(fd, &cid) < 0) {
        close(fd);
        return;
    }
    link = vsockPortsFind(port->ports, cid);
    if (link)
        vsockPortsGive(link, port->port, fd);
    else
        vsockPortsHold(port->ports, cid, port->port, fd);
}

/* Links */

static VsockPort *
vsockPortsTake(VsockPorts *ports, uint32_t number)
{
    VsockPort *port = g_hash_table_lookup(ports->ports, &number);
    int fd;

    if (port) {
        port->holders++;
        return port;
    }
    if ((fd = vsockSocketListen(number)) < 0)
        return NULL;
    port = g_new0(VsockPort, 1);
    port->ports = ports;
    port->port = number;
    port->fd = fd;
    port->holders = 1;
    g_hash_table_insert(ports->ports, &port->port, port);
    port->listener = listenerNew(fd, "A connection of an enclave", vsockPortOnConnection, port);
    return port;
}

static void
vsockPortsLeave(VsockPortsLink *link)
{
    while (link->nports > 0) {
        VsockPort *port = link->ports[--link->nports];

        if (--port->holders == 0)
            g_hash_table_remove(link->all->ports, &port->port);
    }
}

static void
vsockPortsOnServe(Link *peer, const uint32_t *ports, size_t n, void *opaque)
{
    VsockPortsLink *link = opaque;
    size_t i;

    for (i = 0; i < n; i++) {
        VsockPort *port = vsockPortsTake(link->all, ports[i]);

        if (!port) {
            int err = errno;

            logLimited(&link->all->logLimit, "Port %u cannot be had for an enclave's services: %s",
                       ports[i], g_strerror(err));
            vsockPortsLeave(link);
            linkSendBusy(peer, ports[i], err);
            return;
        }
        link->ports[link->nports++] = port;
    }
    linkSendServing(peer);
}

static void
vsockPortsOnEnclave(Link *peer G_GNUC_UNUSED, uint32_t cid, void *opaque)
{
    VsockPortsLink *link = opaque;
    VsockPorts *ports = link->all;
    guint i = 0;

    link->hasCid = true;
    link->cid = cid;
    g_ptr_array_add(ports->links, link);
    while (i < ports->held->len) {
        VsockHeld *held = g_ptr_array_index(ports->held, i);

        if (held->cid != cid) {
            i++;
            continue;
        }
        vsockPortsGive(link, held->port, held->fd);
        held->fd = -1;
        g_ptr_array_remove_index(ports->held, i);
    }
}

/* Connections with the enclave */

/* @dial has come to its end, well or with the errno @err. */
static void
vsockDialEnd(VsockDial *dial, int err)
{
    VsockPortsLink *link = dial->link;

    if (err == 0) {
        linkReply(link->link, dial->id, dial->fd);
        dial->fd = -1;
    } else {
        linkReplyError(link->link, dial->id, err);
    }
    g_ptr_array_remove_fast(link->dials, dial);
}

static gboolean
vsockDialOnReady(gint fd, GIOCondition condition G_GNUC_UNUSED, gpointer opaque)
{
    VsockDial *dial = opaque;

    dial->watch = 0;
    vsockDialEnd(dial, vsockSocketError(fd));
    return G_SOURCE_REMOVE;
}

static gboolean
vsockDialOnTime(gpointer opaque)
{
    VsockDial *dial = opaque;

    dial->timer = 0;
    vsockDialEnd(dial, ETIMEDOUT);
    return G_SOURCE_REMOVE;
}

static void
vsockPortsOnConnect(Link *peer, int64_t id, uint32_t port, void *opaque)
{
    VsockPortsLink *link = opaque;
    VsockDial *dial;
    int fd;

    if (!link->hasCid) {
        linkReplyError(peer, id, ENOTCONN);
        return;
    }
    if ((fd = vsockSocketConnect(link->cid, port, VSOCK_PORTS_CONNECT_TIMEOUT)) < 0) {
        linkReplyError(peer, id, errno);
        return;
    }
    dial = g_new0(VsockDial, 1);
    dial->link = link;
    dial->id = id;
    dial->fd = fd;
    dial->watch = g_unix_fd_add(fd, G_IO_OUT, vsockDialOnReady, dial);
    dial->timer = g_timeout_add_seconds(VSOCK_PORTS_CONNECT_TIMEOUT, vsockDialOnTime, dial);
    g_ptr_array_add(link->dials, dial);
}

static const LinkEvents vsockPortsLinkEvents = {
    .serve = vsockPortsOnServe,
    .enclave = vsockPortsOnEnclave,
    .connect = vsockPortsOnConnect,
};

VsockPortsLink *
vsockPortsLinkNew(VsockPorts *ports, JsonStream *stream)
{
    VsockPortsLink *link = g_new0(VsockPortsLink, 1);

    link->all = ports;
    link->link = linkNew(stream, &vsockPortsLinkEvents, link);
    link->dials = g_ptr_array_new_with_free_func(vsockDialFree);
    return link;
}

void
vsockPortsLinkFree(VsockPortsLink *link)
{
    if (!link)
        return;
    vsockPortsLeave(link);
    g_ptr_array_remove(link->all->links, link);
    g_ptr_array_unref(link->dials);
    linkFree(link->link);
    g_free(link);
}

int
vsockPortsLinkOnRequest(VsockPortsLink *link, JsonObject *request, const char **error)
{
    return linkOnRequest(link->link, request, error);
}
