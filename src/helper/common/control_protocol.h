/*
 * control_protocol.h: what the control sockets of the helper and of the services process have in common
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A greeting, and requests with their replies: helper_protocol.h describes them.
 */

#pragma once

#include "common/json.h"
#include "common/json_stream.h"

/* Ends @message, which is freed, and sends it. */
void controlProtocolSend(JsonStream *stream, JsonWriter *message);

/* Sends the greeting @name, with the @version of the protocol and the program's own. */
void controlProtocolGreet(JsonStream *stream, const char *name, int version);

/* Answers the request *@id, or, with NULL, one whose id is not known, with the error @code and @text. */
void controlProtocolSendError(JsonStream *stream, const int64_t *id, const char *code,
                              const char *text);

/*
 * Reads the request in @line, @len bytes, which jsonStreamEvents.line() got: its *@command, which lives as
 * long as the request, and its *@id.
 *
 * Returns the request (g_hash_table_unref), or NULL when it is none: that has been answered with an error,
 * and the stream ends if it was no JSON.
 */
GHashTable *controlProtocolRead(JsonStream *stream, const char *line, size_t len,
                                const char **command, int64_t *id);

/* A jsonStreamEvents.tooLong(), which answers with an error */
void controlProtocolOnTooLong(JsonStream *stream, void *opaque);
