/*
 * services_link.c: the connection with the switch, which hands connections over
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: socket -> JsonStream -> linkOnLine() -> connection(), or the request of this number. A switch
 * that says what it must not has the link closed.
 */

#include "services_link.h"

#include <errno.h>
#include <glib-unix.h>
#include <unistd.h>

#include "common/json.h"
#include "common/json_stream.h"
#include "common/log.h"
#include "deadline.h"
#include "services_protocol.h"

/* That have not been answered; more wait. */
#define LINK_REQUESTS_MAX 32

struct _ServicesLink {
    JsonStream *stream;
    GHashTable *requests; /* of LinkRequest, by their numbers: those that have been sent */
    GQueue waiting;       /* of LinkRequest, until there are fewer */
    int64_t lastId;
    bool ended;
    const ServicesLinkEvents *events;
    void *opaque;
    LogLimit logLimit;
};

struct _LinkRequest {
    ServicesLink *link;
    gint64 id; /* 0: it waits */
    uint32_t port;
    Deadline deadline;
    void (*done)(int fd, int err, void *opaque);
    void *opaque;
};

static void
linkRequestEnd(LinkRequest *request, int fd, int err)
{
    void (*done)(int fd, int err, void *opaque) = request->done;
    void *opaque = request->opaque;

    linkRequestCancel(request);
    done(fd, err, opaque);
}

static void linkSendRequests(ServicesLink *link);

void
linkRequestCancel(LinkRequest *request)
{
    ServicesLink *link;

    if (!request)
        return;
    link = request->link;
    deadlineClear(&request->deadline);
    if (request->id == 0)
        g_queue_remove(&link->waiting, request);
    else
        g_hash_table_remove(link->requests, &request->id);
    g_free(request);
    linkSendRequests(link);
}

static void
linkRequestOnTime(Deadline *deadline)
{
    LinkRequest *request =
        (LinkRequest *)((char *)deadline - G_STRUCT_OFFSET(LinkRequest, deadline));

    linkRequestEnd(request, -1, ETIMEDOUT);
}

static void
linkSendRequest(LinkRequest *request)
{
    ServicesLink *link = request->link;
    JsonWriter *writer = jsonWriterNew();
    g_autofree char *line = NULL;

    request->id = ++link->lastId;
    g_hash_table_insert(link->requests, &request->id, request);

    jsonAddString(writer, "command", NITRO_LINK_COMMAND_CONNECT);
    jsonAddInteger(writer, "id", request->id);
    jsonAddInteger(writer, "port", request->port);
    line = jsonWriterEnd(writer);
    jsonStreamSend(link->stream, line);
}

/* The switch refuses what is too much for it at a time: the rest of a burst waits. */
static void
linkSendRequests(ServicesLink *link)
{
    while (!link->ended && link->waiting.length > 0 &&
           g_hash_table_size(link->requests) < LINK_REQUESTS_MAX)
        linkSendRequest(g_queue_pop_head(&link->waiting));
}

/* Takes the one descriptor of a line. Returns -1 when it has none. */
static int
linkTakeFd(ServicesLink *link)
{
    int fds[JSON_STREAM_FDS_MAX];
    size_t n = jsonStreamTakeFds(link->stream, fds);

    while (n > 1)
        close(fds[--n]);
    if (n == 0)
        return -1;
    if (!g_unix_set_fd_nonblocking(fds[0], TRUE, NULL)) {
        close(fds[0]);
        return -1;
    }
    return fds[0];
}

static void
linkFail(ServicesLink *link, const char *what)
{
    logError("The link is closed: %s", what);
    jsonStreamEnd(link->stream);
}

static void
linkOnConnection(ServicesLink *link, JsonObject *object)
{
    int fd = linkTakeFd(link);
    int64_t port;

    if (fd >= 0 && jsonGetInteger(object, "port", &port) && port >= 0 && port <= G_MAXUINT32) {
        link->events->connection((uint32_t)port, fd, link->opaque);
        return;
    }
    if (fd >= 0)
        close(fd);
    linkFail(link, "a connection came without a socket or a port");
}

static void
linkOnEvent(ServicesLink *link, JsonObject *object, const char *event)
{
    int64_t port = -1;
    int64_t err = 0;

    if (g_str_equal(event, NITRO_LINK_EVENT_CONNECTION)) {
        linkOnConnection(link, object);
    } else if (g_str_equal(event, NITRO_LINK_EVENT_PORT_BUSY)) {
        jsonGetInteger(object, "port", &port);
        jsonGetInteger(object, "errno", &err);
        logError("The vsock port %lld cannot be served: %s", (long long)port,
                 g_strerror((int)CLAMP(err, 0, G_MAXINT)));
    }
}

static void
linkOnReply(ServicesLink *link, JsonObject *object, gint64 id)
{
    LinkRequest *request = g_hash_table_lookup(link->requests, &id);
    int64_t err = ECONNREFUSED;
    int fd = -1;

    if (jsonHas(object, "return", JSON_OBJECT)) {
        fd = linkTakeFd(link);
        if (fd < 0) {
            linkFail(link, "a connection that was asked for came without a socket");
            return;
        }
    } else {
        jsonGetInteger(object, "error.errno", &err);
    }
    if (request)
        linkRequestEnd(request, fd, fd >= 0 ? 0 : (int)CLAMP(err, 1, G_MAXINT));
    else if (fd >= 0)
        close(fd);
}

static void
linkOnLine(JsonStream *stream G_GNUC_UNUSED, const char *line, size_t len, void *opaque)
{
    ServicesLink *link = opaque;
    g_autofree char *error = NULL;
    g_autoptr(GHashTable) object = jsonParse(line, len, &error);
    const char *event = object ? jsonGetString(object, "event") : NULL;
    int64_t id;

    if (!object)
        linkFail(link, error);
    else if (event)
        linkOnEvent(link, object, event);
    else if (jsonGetInteger(object, "id", &id))
        linkOnReply(link, object, id);
}

static void
linkOnTooLong(JsonStream *stream G_GNUC_UNUSED, void *opaque)
{
    linkFail(opaque, "a line is too long");
}

/* Has all requests fail. */
static void
linkEndRequests(ServicesLink *link)
{
    GHashTableIter iter;
    void *request;

    link->ended = true;
    while (link->waiting.length > 0)
        linkRequestEnd(link->waiting.head->data, -1, ECONNRESET);
    while (g_hash_table_iter_init(&iter, link->requests),
           g_hash_table_iter_next(&iter, NULL, &request))
        linkRequestEnd(request, -1, ECONNRESET);
}

static void
linkOnClosed(JsonStream *stream G_GNUC_UNUSED, void *opaque)
{
    ServicesLink *link = opaque;

    link->events->lost(link->opaque);
}

static const JsonStreamEvents linkStreamEvents = {
    .line = linkOnLine,
    .tooLong = linkOnTooLong,
    .closed = linkOnClosed,
};

ServicesLink *
servicesLinkNew(int fd, const ServicesLinkEvents *events, void *opaque)
{
    ServicesLink *link = g_new0(ServicesLink, 1);

    link->events = events;
    link->opaque = opaque;
    link->requests = g_hash_table_new(g_int64_hash, g_int64_equal);
    link->stream = jsonStreamNew(fd, &linkStreamEvents, link);
    jsonStreamAcceptFds(link->stream);
    return link;
}

void
servicesLinkFree(ServicesLink *link)
{
    if (!link)
        return;
    linkEndRequests(link);
    jsonStreamFree(link->stream);
    g_hash_table_unref(link->requests);
    g_free(link);
}

LinkRequest *
servicesLinkConnect(ServicesLink *link, uint32_t port, bool urgent,
                    void (*done)(int fd, int err, void *opaque), void *opaque)
{
    LinkRequest *request = g_new0(LinkRequest, 1);

    request->link = link;
    request->port = port;
    request->done = done;
    request->opaque = opaque;
    deadlineSet(&request->deadline, LINK_REQUEST_MS, linkRequestOnTime);
    if (urgent && !link->ended) {
        linkSendRequest(request);
    } else {
        g_queue_push_tail(&link->waiting, request);
        linkSendRequests(link);
    }
    return request;
}
