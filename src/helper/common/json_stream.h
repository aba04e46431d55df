/*
 * json_stream.h: a connection on which lines of JSON go both ways
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the control protocol and the broker's have in common: helper_protocol.h describes
 * both. The peer is not trusted: it cannot block us, nor make us use more than a fixed amount
 * of memory. While its unread output is long, its lines wait in its socket.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct _JsonStream JsonStream;

/* Called in the main loop only, never from within a function below. May free the stream. */
typedef struct _JsonStreamEvents JsonStreamEvents;
struct _JsonStreamEvents {
    /* A line, without its end. It may be answered with jsonStreamSend(). */
    void (*line)(JsonStream *stream, const char *line, size_t len, void *opaque);
    /* The peer's line is longer than NITRO_PROTOCOL_LINE_MAX: the stream ends after this. */
    void (*tooLong)(JsonStream *stream, void *opaque);
    /* The peer has gone, or it has got all after jsonStreamEnd(). */
    void (*closed)(JsonStream *stream, void *opaque);
};

/* @fd is a non-blocking stream socket, and taken over. Never NULL. */
JsonStream *jsonStreamNew(int fd, const JsonStreamEvents *events, void *opaque);

/* Closes the socket. NULL is ignored. */
void jsonStreamFree(JsonStream *stream);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JsonStream, jsonStreamFree)

/* Sends @line, which ends with a newline; nothing after jsonStreamEnd(). */
void jsonStreamSend(JsonStream *stream, const char *line);

/* Reads no more lines; closed() follows once the peer has got all that was sent. */
void jsonStreamEnd(JsonStream *stream);

/* Whether the peer has not been sent all of its output yet. */
bool jsonStreamIsPending(const JsonStream *stream);
