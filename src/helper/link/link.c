/*
 * link.c: the link of an enclave's services process with what hands over connections
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow in: line -> linkOnRequest() -> one function for each command -> serve(), enclave(),
 * connect(). Flow out: linkSend...() and linkReply...() -> JsonStream, which keeps what the peer
 * does not read.
 */

#include "link/link.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "services_protocol.h"
#include "nitro_limits.h"
#include "vsock/vsock_host.h"

struct _Link {
    JsonStream *stream;
    const LinkEvents *events;
    void *opaque;
    bool serves;           /* "serve" has been said */
    bool hasEnclave;       /* and "enclave" */
    unsigned int connects; /* that have not been answered */
};

Link *
linkNew(JsonStream *stream, const LinkEvents *events, void *opaque)
{
    Link *link = g_new0(Link, 1);

    link->stream = stream;
    link->events = events;
    link->opaque = opaque;
    return link;
}

void
linkFree(Link *link)
{
    g_free(link);
}

static bool
linkIsCommand(JsonObject *request, const char *command)
{
    return g_strcmp0(jsonGetString(request, "command"), command) == 0;
}

bool
linkIsServe(JsonObject *request)
{
    return linkIsCommand(request, NITRO_LINK_COMMAND_SERVE);
}

/* Whether @port is one, and no earlier one of @ports either */
static bool
linkIsFreshPort(int64_t port, const uint32_t *ports, size_t n)
{
    size_t i;

    if (port < 0 || port >= VMADDR_PORT_ANY || port == VSOCK_HEARTBEAT_PORT)
        return false;
    for (i = 0; i < n; i++) {
        if (ports[i] == port)
            return false;
    }
    return true;
}

static int
linkOnServe(Link *link, JsonObject *request, const char **error)
{
    int64_t values[NITRO_SERVICES_MAX];
    uint32_t ports[NITRO_SERVICES_MAX];
    ssize_t n = jsonGetIntegers(request, "ports", values, G_N_ELEMENTS(values));
    ssize_t i;

    if (link->serves) {
        *error = "it is to serve ports a second time";
        return -1;
    }
    if (n < 0) {
        *error = "what it is to serve is no list of ports, or too long";
        return -1;
    }
    for (i = 0; i < n; i++) {
        if (!linkIsFreshPort(values[i], ports, i)) {
            *error = "it is to serve a port that cannot be served, or one twice";
            return -1;
        }
        ports[i] = (uint32_t)values[i];
    }
    link->serves = true;
    link->events->serve(link, ports, n, link->opaque);
    return 0;
}

static int
linkOnEnclave(Link *link, JsonObject *request, const char **error)
{
    int64_t cid;

    if (link->hasEnclave) {
        *error = "it is given an enclave a second time";
        return -1;
    }
    if (!jsonGetInteger(request, "cid", &cid) || cid < NITRO_CID_MIN || cid >= VMADDR_CID_ANY) {
        *error = "no enclave has the CID that it is given";
        return -1;
    }
    link->hasEnclave = true;
    if (link->events->enclave)
        link->events->enclave(link, (uint32_t)cid, link->opaque);
    return 0;
}

static int
linkOnConnect(Link *link, JsonObject *request, const char **error)
{
    int64_t id;
    int64_t port;

    if (!jsonGetInteger(request, "id", &id) || !jsonGetInteger(request, "port", &port) ||
        port < 0 || port >= VMADDR_PORT_ANY) {
        *error = "it asks for a connection without an id, or with no port";
        return -1;
    }
    link->connects++;
    if (link->connects > LINK_CONNECTS_MAX)
        linkReplyError(link, id, EAGAIN);
    else
        link->events->connect(link, id, (uint32_t)port, link->opaque);
    return 0;
}

int
linkOnRequest(Link *link, JsonObject *request, const char **error)
{
    if (linkIsServe(request))
        return linkOnServe(link, request, error);
    if (!link->serves) {
        *error = "it has not been given ports to serve";
        return -1;
    }
    if (linkIsCommand(request, NITRO_LINK_COMMAND_ENCLAVE))
        return linkOnEnclave(link, request, error);
    if (linkIsCommand(request, NITRO_LINK_COMMAND_CONNECT))
        return linkOnConnect(link, request, error);
    return 0;
}

static void
linkSend(Link *link, JsonWriter *message, int fd)
{
    g_autofree char *line = jsonWriterEnd(message);

    if (fd < 0)
        jsonStreamSend(link->stream, line);
    else
        jsonStreamSendFd(link->stream, line, fd);
}

void
linkSendServing(Link *link)
{
    JsonWriter *event = jsonWriterNew();

    jsonAddString(event, "event", NITRO_LINK_EVENT_SERVING);
    linkSend(link, event, -1);
}

void
linkSendBusy(Link *link, uint32_t port, int err)
{
    JsonWriter *event = jsonWriterNew();

    jsonAddString(event, "event", NITRO_LINK_EVENT_PORT_BUSY);
    jsonAddInteger(event, "port", port);
    jsonAddInteger(event, "errno", err);
    linkSend(link, event, -1);
    jsonStreamEnd(link->stream);
}

static bool
linkIsFull(const Link *link)
{
    return jsonStreamPendingFds(link->stream) >= LINK_QUEUE_MAX;
}

int
linkSendConnection(Link *link, uint32_t port, int fd)
{
    JsonWriter *event;

    if (linkIsFull(link)) {
        close(fd);
        return -1;
    }
    event = jsonWriterNew();
    jsonAddString(event, "event", NITRO_LINK_EVENT_CONNECTION);
    jsonAddInteger(event, "port", port);
    linkSend(link, event, fd);
    return 0;
}

void
linkReply(Link *link, int64_t id, int fd)
{
    JsonWriter *reply;

    if (linkIsFull(link)) {
        close(fd);
        linkReplyError(link, id, EAGAIN);
        return;
    }
    link->connects--;
    reply = jsonWriterNew();
    jsonBeginObject(reply, "return");
    jsonEndObject(reply);
    jsonAddInteger(reply, "id", id);
    linkSend(link, reply, fd);
}

void
linkReplyError(Link *link, int64_t id, int err)
{
    JsonWriter *reply = jsonWriterNew();

    link->connects--;
    jsonBeginObject(reply, "error");
    jsonAddString(reply, "code", NITRO_LINK_ERROR_REFUSED);
    jsonAddInteger(reply, "errno", err);
    jsonEndObject(reply);
    jsonAddInteger(reply, "id", id);
    linkSend(link, reply, -1);
}
