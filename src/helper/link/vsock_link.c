/*
 * vsock_link.c: the emulated machine's vsock device as the switch of its enclave's services
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: Listener -> vsockLinkOnClient() takes the place of the link -> lines -> Link -> which ports
 * are served, or connect(). From the guest: vsockLinkDial() -> a pair of sockets -> Link.
 */

#include "link/vsock_link.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/listener.h"
#include "common/log.h"
#include "link/link.h"
#include "services_protocol.h"

struct _VsockLink {
    Listener *listener;
    JsonStream *stream; /* NULL: there is no link */
    Link *link;         /* likewise */
    uint32_t ports[NITRO_SERVICES_MAX]; /* of the last link that had any */
    size_t nports;
    const VsockLinkEvents *events;
    void *opaque;
    LogLimit logLimit;
};

static void
vsockLinkClose(VsockLink *link)
{
    if (!link->stream)
        return;
    g_clear_pointer(&link->link, linkFree);
    g_clear_pointer(&link->stream, jsonStreamFree);
    link->events->lost(link->opaque);
}

static void
vsockLinkOnServe(Link *client, const uint32_t *ports, size_t n, void *opaque)
{
    VsockLink *link = opaque;

    if (n > 0)
        memcpy(link->ports, ports, n * sizeof(*ports));
    link->nports = n;
    linkSendServing(client);
}

static void
vsockLinkOnConnect(Link *client G_GNUC_UNUSED, int64_t id, uint32_t port, void *opaque)
{
    VsockLink *link = opaque;

    link->events->connect(id, port, link->opaque);
}

/* There is one enclave, whatever its CID. */
static const LinkEvents vsockLinkClientEvents = {
    .serve = vsockLinkOnServe,
    .connect = vsockLinkOnConnect,
};

static void
vsockLinkOnLine(JsonStream *stream G_GNUC_UNUSED, const char *line, size_t len, void *opaque)
{
    VsockLink *link = opaque;
    g_autofree char *error = NULL;
    g_autoptr(GHashTable) request = jsonParse(line, len, &error);
    const char *reason = error;

    if (request && linkOnRequest(link->link, request, &reason) == 0)
        return;
    logLimited(&link->logLimit, "The link of the enclave's services is ended: %s", reason);
    vsockLinkClose(link);
}

static void
vsockLinkOnTooLong(JsonStream *stream G_GNUC_UNUSED, void *opaque)
{
    VsockLink *link = opaque;

    logLimited(&link->logLimit, "The link of the enclave's services is ended: its line is too "
               "long");
    vsockLinkClose(link);
}

static void
vsockLinkOnClosed(JsonStream *stream G_GNUC_UNUSED, void *opaque)
{
    VsockLink *link = opaque;

    logInfo("The link of the enclave's services has ended");
    vsockLinkClose(link);
}

static const JsonStreamEvents vsockLinkStreamEvents = {
    .line = vsockLinkOnLine,
    .tooLong = vsockLinkOnTooLong,
    .closed = vsockLinkOnClosed,
};

static void
vsockLinkOnClient(int fd, void *opaque)
{
    VsockLink *link = opaque;

    vsockLinkClose(link);
    link->stream = jsonStreamNew(fd, &vsockLinkStreamEvents, link);
    link->link = linkNew(link->stream, &vsockLinkClientEvents, link);
}

VsockLink *
vsockLinkNew(int listenFd, const VsockLinkEvents *events, void *opaque)
{
    VsockLink *link = g_new0(VsockLink, 1);

    link->events = events;
    link->opaque = opaque;
    link->listener = listenerNew(listenFd, "A link of the enclave's services", vsockLinkOnClient,
                                 link);
    return link;
}

void
vsockLinkFree(VsockLink *link)
{
    if (!link)
        return;
    listenerFree(link->listener);
    linkFree(link->link);
    jsonStreamFree(link->stream);
    g_free(link);
}

bool
vsockLinkServes(const VsockLink *link, uint32_t port)
{
    size_t i;

    for (i = 0; i < link->nports; i++) {
        if (link->ports[i] == port)
            return true;
    }
    return false;
}

int
vsockLinkDial(VsockLink *link, uint32_t port)
{
    int fds[2];

    if (!link->link) {
        errno = ENOTCONN;
        return -1;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return -1;
    if (linkSendConnection(link->link, port, fds[1]) < 0) {
        close(fds[0]);
        errno = ENOBUFS;
        return -1;
    }
    return fds[0];
}

void
vsockLinkReply(VsockLink *link, int64_t id, int fd)
{
    linkReply(link->link, id, fd);
}

void
vsockLinkReplyError(VsockLink *link, int64_t id, int err)
{
    linkReplyError(link->link, id, err);
}
