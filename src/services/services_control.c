/*
 * services_control.c: the control socket of an enclave's services
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: listening socket -> controlOnClient() -> a JsonStream; its lines -> controlOnLine() -> a
 * command -> the same stream. Events go to all streams. The end: "finish", or the end of the helper's
 * pidfd -> servicesFinish() -> controlOnFinished() -> controlOnFlush() -> ended().
 */

#include "services_control.h"

#include <glib-unix.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/control_protocol.h"
#include "helper_protocol.h"
#include "services_protocol.h"

/* The daemon, perhaps one that is being restarted, and somebody who looks on */
#define CONTROL_CLIENTS_MAX 16

/* How long clients have to read the last answers, and how often that is looked at */
#define CONTROL_FLUSH_MS 500
#define CONTROL_FLUSH_TICK_MS 10

typedef struct {
    ServicesControl *control;
    JsonStream *stream;
    bool finishing; /* it has asked for that, and gets no other answer before */
    int64_t finishId;
} ControlClient;

struct _ServicesControl {
    Listener *listener;
    GPtrArray *clients; /* of ControlClient */
    Services *services;
    int pidfd;          /* of the helper; -1: none */
    guint pidfdWatch;
    guint flush;        /* timer */
    unsigned int flushTicks;
    void (*ended)(void *opaque);
    void *opaque;
};

/* The answer of query-services, or, with @describes false, an empty one */
static void
controlSendReply(ControlClient *client, int64_t id, bool describes)
{
    JsonWriter *reply = jsonWriterNew();

    jsonBeginObject(reply, "return");
    if (describes)
        servicesDescribe(client->control->services, reply);
    jsonEndObject(reply);
    jsonAddInteger(reply, "id", id);
    controlProtocolSend(client->stream, reply);
}

static void
controlDropPidfd(ServicesControl *control)
{
    g_clear_handle_id(&control->pidfdWatch, g_source_remove);
    if (control->pidfd >= 0)
        close(control->pidfd);
    control->pidfd = -1;
}

static gboolean
controlOnHelperEnded(gint fd G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED, gpointer opaque)
{
    ServicesControl *control = opaque;

    logInfo("The helper has ended");
    control->pidfdWatch = 0;
    controlDropPidfd(control);
    servicesFinish(control->services);
    return G_SOURCE_REMOVE;
}

static void
controlDoLink(ControlClient *client, int64_t id)
{
    ServicesControl *control = client->control;
    int fds[JSON_STREAM_FDS_MAX] = {-1, -1};
    size_t n = jsonStreamTakeFds(client->stream, fds);
    struct stat st;

    if (n == 0 || fstat(fds[0], &st) < 0 || !S_ISSOCK(st.st_mode)) {
        while (n > 0)
            close(fds[--n]);
        controlProtocolSendError(client->stream, &id, NITRO_ERROR_BAD_REQUEST,
                                 "No socket comes with the command");
        return;
    }
    controlDropPidfd(control);
    if (n > 1) {
        control->pidfd = fds[1];
        control->pidfdWatch = g_unix_fd_add(fds[1], G_IO_IN, controlOnHelperEnded, control);
    }
    servicesSetLink(control->services, fds[0]);
    controlSendReply(client, id, false);
}

static void
controlDoFinish(ControlClient *client, int64_t id)
{
    client->finishing = true;
    client->finishId = id;
    servicesFinish(client->control->services);
}

static void
controlDo(ControlClient *client, const char *command, int64_t id)
{
    if (g_strcmp0(command, NITRO_SERVICES_COMMAND_LINK) == 0)
        controlDoLink(client, id);
    else if (g_strcmp0(command, NITRO_SERVICES_COMMAND_QUERY) == 0)
        controlSendReply(client, id, true);
    else if (g_strcmp0(command, NITRO_SERVICES_COMMAND_FINISH) == 0)
        controlDoFinish(client, id);
    else
        controlProtocolSendError(client->stream, &id, NITRO_ERROR_UNKNOWN_COMMAND,
                                 "The command is unknown");
}

static void
controlOnLine(JsonStream *stream, const char *line, size_t len, void *opaque)
{
    ControlClient *client = opaque;
    g_autoptr(GHashTable) request = NULL;
    const char *command;
    int64_t id;

    /* What comes behind "finish" would be answered after the end. */
    if (client->finishing)
        return;
    if ((request = controlProtocolRead(stream, line, len, &command, &id)))
        controlDo(client, command, id);
}

static void
controlOnClosed(JsonStream *stream G_GNUC_UNUSED, void *opaque)
{
    ControlClient *client = opaque;

    g_ptr_array_remove_fast(client->control->clients, client);
}

static const JsonStreamEvents controlStreamEvents = {
    .line = controlOnLine,
    .tooLong = controlProtocolOnTooLong,
    .closed = controlOnClosed,
};

static void
controlOnClient(int fd, void *opaque)
{
    ServicesControl *control = opaque;
    ControlClient *client;

    if (control->clients->len >= CONTROL_CLIENTS_MAX) {
        close(fd);
        return;
    }
    client = g_new0(ControlClient, 1);
    client->control = control;
    client->stream = jsonStreamNew(fd, &controlStreamEvents, client);
    jsonStreamAcceptFds(client->stream);
    g_ptr_array_add(control->clients, client);
    controlProtocolGreet(client->stream, NITRO_SERVICES_GREETING, NITRO_SERVICES_PROTOCOL_VERSION);
}

static void
controlClientFree(void *opaque)
{
    ControlClient *client = opaque;

    jsonStreamFree(client->stream);
    g_free(client);
}

ServicesControl *
servicesControlNew(void (*ended)(void *opaque), void *opaque)
{
    ServicesControl *control = g_new0(ServicesControl, 1);

    control->pidfd = -1;
    control->ended = ended;
    control->opaque = opaque;
    control->clients = g_ptr_array_new_with_free_func(controlClientFree);
    return control;
}

void
servicesControlFree(ServicesControl *control)
{
    if (!control)
        return;
    controlDropPidfd(control);
    g_clear_handle_id(&control->flush, g_source_remove);
    listenerFree(control->listener);
    g_ptr_array_unref(control->clients);
    g_free(control);
}

void
servicesControlServe(ServicesControl *control, Services *services, int fd)
{
    control->services = services;
    control->listener = listenerNew(fd, "A control connection", controlOnClient, control);
}

static JsonWriter *
controlEventNew(const char *name, const Service *service)
{
    JsonWriter *event = jsonWriterNew();

    jsonAddString(event, "event", name);
    jsonBeginObject(event, "data");
    if (service)
        jsonAddInteger(event, "port", service->config->port);
    return event;
}

static void
controlEventSend(ServicesControl *control, JsonWriter *event)
{
    g_autofree char *line = NULL;
    guint i;

    jsonEndObject(event);
    line = jsonWriterEnd(event);
    for (i = 0; i < control->clients->len; i++) {
        const ControlClient *client = g_ptr_array_index(control->clients, i);

        jsonStreamSend(client->stream, line);
    }
}

static void
controlOnLinkLost(void *opaque)
{
    controlEventSend(opaque, controlEventNew(NITRO_SERVICES_EVENT_LINK_LOST, NULL));
}

static void
controlOnHealth(const Service *service, void *opaque)
{
    JsonWriter *event = controlEventNew(NITRO_SERVICES_EVENT_HEALTH, service);

    jsonAddBoolean(event, "healthy", service->healthy > 0);
    controlEventSend(opaque, event);
}

static void
controlOnExited(const Service *service, void *opaque)
{
    JsonWriter *event = controlEventNew(NITRO_SERVICES_EVENT_EXIT, service);

    jsonAddInteger(event, "code", service->code);
    controlEventSend(opaque, event);
}

static gboolean
controlOnFlush(gpointer opaque)
{
    ServicesControl *control = opaque;
    bool pending = false;
    guint i;

    for (i = 0; i < control->clients->len; i++) {
        const ControlClient *client = g_ptr_array_index(control->clients, i);

        pending = jsonStreamIsPending(client->stream) || pending;
    }
    if (pending && ++control->flushTicks < CONTROL_FLUSH_MS / CONTROL_FLUSH_TICK_MS)
        return G_SOURCE_CONTINUE;
    control->flush = 0;
    control->ended(control->opaque);
    return G_SOURCE_REMOVE;
}

static void
controlOnFinished(void *opaque)
{
    ServicesControl *control = opaque;
    guint i;

    for (i = 0; i < control->clients->len; i++) {
        ControlClient *client = g_ptr_array_index(control->clients, i);

        if (client->finishing)
            controlSendReply(client, client->finishId, true);
    }
    control->flush = g_timeout_add(CONTROL_FLUSH_TICK_MS, controlOnFlush, control);
}

const ServicesEvents *
servicesControlGetEvents(void)
{
    static const ServicesEvents events = {
        .linkLost = controlOnLinkLost,
        .health = controlOnHealth,
        .exited = controlOnExited,
        .finished = controlOnFinished,
    };

    return &events;
}
