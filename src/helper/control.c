/*
 * control.c: the helper's side of the control socket
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: listening socket -> controlOnClient() -> a JsonStream; its lines ->
 * controlOnLine() -> handler -> the same stream. Events go to all streams.
 */

#include "control.h"

#include <unistd.h>

#include "helper_protocol.h"
#include "common/control_protocol.h"
#include "common/listener.h"

/* The daemon, perhaps one that is being restarted, and somebody who looks on */
#define CONTROL_CLIENTS_MAX 16

struct _Control {
    Listener *listener;
    GPtrArray *clients; /* of JsonStream */
    ControlHandler handler;
    void (*abandoned)(void *opaque); /* NULL: nobody wants to know */
    void *opaque;
};

static void
controlOnLine(JsonStream *client, const char *buf, size_t len, void *opaque)
{
    Control *control = opaque;
    g_autoptr(GHashTable) request = NULL;
    g_autofree char *text = NULL;
    g_autofree char *line = NULL;
    const char *command;
    const char *code;
    JsonWriter *reply;
    int64_t id;

    if (!(request = controlProtocolRead(client, buf, len, &command, &id)))
        return;

    reply = jsonWriterNew();
    jsonBeginObject(reply, "return");
    code = control->handler(command, reply, &text, control->opaque);
    jsonEndObject(reply);
    jsonAddInteger(reply, "id", id);
    line = jsonWriterEnd(reply);

    if (code)
        controlProtocolSendError(client, &id, code, text);
    else
        jsonStreamSend(client, line);
}

static void
controlOnClosed(JsonStream *client, void *opaque)
{
    Control *control = opaque;

    g_ptr_array_remove_fast(control->clients, client);
    if (control->clients->len == 0 && control->abandoned)
        control->abandoned(control->opaque);
}

static const JsonStreamEvents controlStreamEvents = {
    .line = controlOnLine,
    .tooLong = controlProtocolOnTooLong,
    .closed = controlOnClosed,
};

static void
controlOnClient(int fd, void *opaque)
{
    Control *control = opaque;
    JsonStream *client;

    if (control->clients->len >= CONTROL_CLIENTS_MAX) {
        close(fd);
        return;
    }

    client = jsonStreamNew(fd, &controlStreamEvents, control);
    g_ptr_array_add(control->clients, client);
    controlProtocolGreet(client, NITRO_PROTOCOL_GREETING, NITRO_PROTOCOL_VERSION);
}

static void
controlFreeStream(void *stream)
{
    jsonStreamFree(stream);
}

Control *
controlNew(int fd, ControlHandler handler, void *opaque)
{
    Control *control = g_new0(Control, 1);

    control->handler = handler;
    control->opaque = opaque;
    control->clients = g_ptr_array_new_with_free_func(controlFreeStream);
    control->listener = listenerNew(fd, "A control connection", controlOnClient, control);
    return control;
}

void
controlSetAbandoned(Control *control, void (*abandoned)(void *opaque))
{
    control->abandoned = abandoned;
}

void
controlFree(Control *control)
{
    if (!control)
        return;
    listenerFree(control->listener);
    g_ptr_array_unref(control->clients);
    g_free(control);
}

JsonWriter *
controlEventNew(const char *name)
{
    JsonWriter *event = jsonWriterNew();

    jsonAddString(event, "event", name);
    jsonBeginObject(event, "data");
    return event;
}

void
controlEventSend(Control *control, JsonWriter *event)
{
    g_autofree char *line = NULL;
    guint i;

    jsonEndObject(event);
    line = jsonWriterEnd(event);
    for (i = 0; i < control->clients->len; i++)
        jsonStreamSend(g_ptr_array_index(control->clients, i), line);
}

bool
controlIsPending(const Control *control)
{
    guint i;

    for (i = 0; i < control->clients->len; i++) {
        if (jsonStreamIsPending(g_ptr_array_index(control->clients, i)))
            return true;
    }
    return false;
}
