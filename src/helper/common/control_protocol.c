/*
 * control_protocol.c: what the control sockets of the helper and of the services process have in common
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "common/control_protocol.h"

#include "helper_protocol.h"

void
controlProtocolSend(JsonStream *stream, JsonWriter *message)
{
    g_autofree char *line = jsonWriterEnd(message);

    jsonStreamSend(stream, line);
}

void
controlProtocolGreet(JsonStream *stream, const char *name, int version)
{
    JsonWriter *greeting = jsonWriterNew();

    jsonBeginObject(greeting, name);
    jsonAddInteger(greeting, "protocol", version);
    jsonAddString(greeting, "version", NITRO_VERSION);
    jsonEndObject(greeting);
    controlProtocolSend(stream, greeting);
}

void
controlProtocolSendError(JsonStream *stream, const int64_t *id, const char *code, const char *text)
{
    JsonWriter *reply = jsonWriterNew();

    jsonBeginObject(reply, "error");
    jsonAddString(reply, "code", code);
    jsonAddString(reply, "text", text);
    jsonEndObject(reply);
    if (id)
        jsonAddInteger(reply, "id", *id);
    else
        jsonAddNull(reply, "id");
    controlProtocolSend(stream, reply);
}

GHashTable *
controlProtocolRead(JsonStream *stream, const char *line, size_t len, const char **command,
                    int64_t *id)
{
    g_autofree char *text = NULL;
    g_autoptr(GHashTable) request = jsonParse(line, len, &text);

    if (!request) {
        controlProtocolSendError(stream, NULL, NITRO_ERROR_BAD_REQUEST, text);
        jsonStreamEnd(stream);
        return NULL;
    }
    if (!jsonGetInteger(request, "id", id)) {
        controlProtocolSendError(stream, NULL, NITRO_ERROR_BAD_REQUEST,
                                 "The request has no integer member \"id\"");
        return NULL;
    }
    *command = jsonGetString(request, "command");
    if (!*command) {
        controlProtocolSendError(stream, id, NITRO_ERROR_BAD_REQUEST,
                                 "The request has no string member \"command\"");
        return NULL;
    }
    return g_steal_pointer(&request);
}

void
controlProtocolOnTooLong(JsonStream *stream, void *opaque G_GNUC_UNUSED)
{
    controlProtocolSendError(stream, NULL, NITRO_ERROR_LINE_TOO_LONG,
                             "The line is longer than " G_STRINGIFY(NITRO_PROTOCOL_LINE_MAX)
                             " bytes");
}
