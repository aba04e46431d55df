/*
 * control.c: the helper's side of the control socket
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: listening socket -> controlOnAccept() -> ControlClient; its socket ->
 * controlRead() -> lines -> controlAnswer() -> handler -> output buffer ->
 * controlWrite() -> socket. Events go straight to the output buffers.
 */

#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helper_protocol.h"
#include "log.h"

/* The daemon, perhaps one that is being restarted, and somebody who looks on */
#define CONTROL_CLIENTS_MAX 16

/* While a client has not read this many bytes, none of its commands is answered. */
#define CONTROL_OUTPUT_MAX 65536

/* After a failing accept(), in milliseconds */
#define CONTROL_RETRY_MS 1000

/* Connections that are accepted at once */
#define CONTROL_ACCEPT_MAX 16

typedef struct {
    Control *control;
    int fd;
    guint watch;
    GIOCondition watched; /* what @watch waits for */
    GByteArray *input;    /* at most NITRO_PROTOCOL_LINE_MAX bytes */
    GByteArray *output;   /* at most CONTROL_OUTPUT_MAX bytes, one answer and the few events */
    bool eof;             /* nothing more can be read */
    bool closing;         /* closed as soon as the output has been sent */
    bool dead;
} ControlClient;

struct _Control {
    int fd;
    guint watch;
    GPtrArray *clients;
    ControlHandler handler;
    void *opaque;
};

static void controlUpdate(ControlClient *client);
static gboolean controlOnAccept(gint fd, GIOCondition condition, gpointer opaque);

static void
controlClientFree(void *opaque)
{
    ControlClient *client = opaque;

    if (client->watch > 0)
        g_source_remove(client->watch);
    close(client->fd);
    g_byte_array_unref(client->input);
    g_byte_array_unref(client->output);
    g_free(client);
}

static void
controlQueue(ControlClient *client, const char *line)
{
    if (!client->dead)
        g_byte_array_append(client->output, (const guint8 *)line, strlen(line));
}

static void
controlQueueError(ControlClient *client, const int64_t *id, const char *code, const char *text)
{
    JsonWriter *reply = jsonWriterNew();
    g_autofree char *line = NULL;

    jsonBeginObject(reply, "error");
    jsonAddString(reply, "code", code);
    jsonAddString(reply, "text", text);
    jsonEndObject(reply);
    if (id)
        jsonAddInteger(reply, "id", *id);
    else
        jsonAddNull(reply, "id");
    line = jsonWriterEnd(reply);
    controlQueue(client, line);
}

static void
controlAnswer(ControlClient *client, const char *buf, size_t len)
{
    g_autoptr(GHashTable) request = NULL;
    g_autofree char *text = NULL;
    g_autofree char *line = NULL;
    const char *command;
    const char *code;
    JsonWriter *reply;
    int64_t id;

    request = jsonParse(buf, len, &text);
    if (!request) {
        controlQueueError(client, NULL, NITRO_ERROR_BAD_REQUEST, text);
        client->closing = true;
        return;
    }
    if (!jsonGetInteger(request, "id", &id)) {
        controlQueueError(client, NULL, NITRO_ERROR_BAD_REQUEST,
                          "The request has no integer member \"id\"");
        return;
    }
    command = jsonGetString(request, "command");
    if (!command) {
        controlQueueError(client, &id, NITRO_ERROR_BAD_REQUEST,
                          "The request has no string member \"command\"");
        return;
    }

    reply = jsonWriterNew();
    jsonBeginObject(reply, "return");
    code = client->control->handler(command, reply, &text, client->control->opaque);
    jsonEndObject(reply);
    jsonAddInteger(reply, "id", id);
    line = jsonWriterEnd(reply);

    if (code)
        controlQueueError(client, &id, code, text);
    else
        controlQueue(client, line);
}

/*
 * Answers the complete lines of the input as long as there is room for the answers.
 * Returns whether lines may be left.
 */
static bool
controlAnswerSome(ControlClient *client)
{
    size_t start = 0;
    bool full;

    while (!client->closing && !client->dead && client->output->len < CONTROL_OUTPUT_MAX) {
        const char *line = (const char *)client->input->data + start;
        size_t rest = client->input->len - start;
        const char *end = rest > 0 ? memchr(line, '\n', rest) : NULL;

        if (!end) {
            if (rest < NITRO_PROTOCOL_LINE_MAX)
                break;
            controlQueueError(client, NULL, NITRO_ERROR_LINE_TOO_LONG,
                              "The line is longer than "
                              G_STRINGIFY(NITRO_PROTOCOL_LINE_MAX) " bytes");
            client->closing = true;
            break;
        }
        controlAnswer(client, line, end - line);
        start += end - line + 1;
    }

    full = client->output->len >= CONTROL_OUTPUT_MAX;
    if (start > 0)
        g_byte_array_remove_range(client->input, 0, start);
    return full && !client->closing;
}

static void
controlRead(ControlClient *client)
{
    guint8 buf[4096];

    while (client->input->len < NITRO_PROTOCOL_LINE_MAX) {
        size_t room = MIN(sizeof(buf), NITRO_PROTOCOL_LINE_MAX - client->input->len);
        ssize_t n = recv(client->fd, buf, room, MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            /* Who has closed its half may still read the answers. */
            if (n == 0)
                client->eof = true;
            else
                client->dead = true;
            return;
        }
        g_byte_array_append(client->input, buf, n);
    }
}

static void
controlWrite(ControlClient *client)
{
    while (client->output->len > 0) {
        ssize_t n = send(client->fd, client->output->data, client->output->len,
                         MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            client->dead = true;
            return;
        }
        g_byte_array_remove_range(client->output, 0, n);
    }
}

static gboolean
controlOnClient(gint fd G_GNUC_UNUSED, GIOCondition condition, gpointer opaque)
{
    ControlClient *client = opaque;
    bool more;

    if ((condition & G_IO_IN) && !client->eof && !client->closing)
        controlRead(client);
    else if (condition & (G_IO_ERR | G_IO_HUP))
        client->dead = true;

    do {
        more = controlAnswerSome(client);
        controlWrite(client);
    } while (more && !client->dead && client->output->len < CONTROL_OUTPUT_MAX);
    if (client->eof && !more)
        client->closing = true;

    client->watch = 0;
    controlUpdate(client);
    return G_SOURCE_REMOVE;
}

/* Removes a client that is done with, or waits for what can happen next with it. */
static void
controlUpdate(ControlClient *client)
{
    GIOCondition wanted = 0;

    if (client->dead || (client->closing && client->output->len == 0)) {
        g_ptr_array_remove_fast(client->control->clients, client);
        return;
    }

    if (!client->closing && !client->eof && client->output->len < CONTROL_OUTPUT_MAX &&
        client->input->len < NITRO_PROTOCOL_LINE_MAX)
        wanted |= G_IO_IN;
    if (client->output->len > 0)
        wanted |= G_IO_OUT;

    if (client->watch > 0 && client->watched == wanted)
        return;
    if (client->watch > 0)
        g_source_remove(client->watch);
    client->watched = wanted;
    client->watch = g_unix_fd_add(client->fd, wanted, controlOnClient, client);
}

static void
controlGreet(ControlClient *client)
{
    JsonWriter *greeting = jsonWriterNew();
    g_autofree char *line = NULL;

    jsonBeginObject(greeting, NITRO_PROTOCOL_GREETING);
    jsonAddInteger(greeting, "protocol", NITRO_PROTOCOL_VERSION);
    jsonAddString(greeting, "version", NITRO_VERSION);
    jsonEndObject(greeting);
    line = jsonWriterEnd(greeting);
    controlQueue(client, line);
}

static void
controlAddClient(Control *control, int fd)
{
    ControlClient *client;

    if (control->clients->len >= CONTROL_CLIENTS_MAX) {
        close(fd);
        return;
    }

    client = g_new0(ControlClient, 1);
    client->control = control;
    client->fd = fd;
    client->input = g_byte_array_new();
    client->output = g_byte_array_new();
    g_ptr_array_add(control->clients, client);
    controlGreet(client);
    controlWrite(client);
    controlUpdate(client);
}

static gboolean
controlOnRetry(gpointer opaque)
{
    Control *control = opaque;

    control->watch = g_unix_fd_add(control->fd, G_IO_IN, controlOnAccept, control);
    return G_SOURCE_REMOVE;
}

static gboolean
controlOnAccept(gint listenFd, GIOCondition condition G_GNUC_UNUSED, gpointer opaque)
{
    Control *control = opaque;
    size_t i;

    /* Not without end, so that others get their turn */
    for (i = 0; i < CONTROL_ACCEPT_MAX; i++) {
        int fd = accept4(listenFd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd >= 0) {
            controlAddClient(control, fd);
        } else if (errno == EAGAIN) {
            return G_SOURCE_CONTINUE;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            /* Most likely out of descriptors: the client keeps waiting, we do not spin. */
            logWarning("A control connection cannot be accepted: %s", g_strerror(errno));
            control->watch = g_timeout_add(CONTROL_RETRY_MS, controlOnRetry, control);
            return G_SOURCE_REMOVE;
        }
    }
    return G_SOURCE_CONTINUE;
}

Control *
controlNew(int fd, ControlHandler handler, void *opaque)
{
    Control *control = g_new0(Control, 1);

    control->fd = fd;
    control->handler = handler;
    control->opaque = opaque;
    control->clients = g_ptr_array_new_with_free_func(controlClientFree);

    /* The flag belongs to the socket, which the daemon does not read from any more. */
    if (!g_unix_set_fd_nonblocking(fd, TRUE, NULL))
        logWarning("The control socket cannot be made non-blocking");
    if (controlOnAccept(fd, G_IO_IN, control) == G_SOURCE_CONTINUE)
        control->watch = g_unix_fd_add(fd, G_IO_IN, controlOnAccept, control);

    return control;
}

void
controlFree(Control *control)
{
    if (!control)
        return;
    g_source_remove(control->watch);
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

    /* Backwards, as controlUpdate() may remove the client that it is given. */
    for (i = control->clients->len; i > 0; i--) {
        ControlClient *client = g_ptr_array_index(control->clients, i - 1);

        if (!client->closing)
            controlQueue(client, line);
        controlWrite(client);
        controlUpdate(client);
    }
}

bool
controlIsPending(const Control *control)
{
    guint i;

    for (i = 0; i < control->clients->len; i++) {
        ControlClient *client = g_ptr_array_index(control->clients, i);

        if (client->output->len > 0)
            return true;
    }
    return false;
}
