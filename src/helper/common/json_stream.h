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

/*
 * From now on takes the descriptors that come with lines, up to JSON_STREAM_FDS_MAX with one;
 * without this they are closed as they come.
 */
void jsonStreamAcceptFds(JsonStream *stream);

/* Descriptors with one line; more of them are lost on the way. */
#define JSON_STREAM_FDS_MAX 2

/*
 * Within line(), for a line that must come with descriptors: gives those that have come first and
 * have not been taken yet. Returns how many of @fds have been set, which are the caller's now, and
 * close-on-exec; 0 when none have come.
 */
size_t jsonStreamTakeFds(JsonStream *stream, int fds[JSON_STREAM_FDS_MAX]);

/* Sends @line, which ends with a newline; nothing after jsonStreamEnd(). */
void jsonStreamSend(JsonStream *stream, const char *line);

/*
 * As jsonStreamSend(), with the descriptor @fd, which is taken over. It goes with the first byte of
 * the line (SCM_RIGHTS); on another kind of socket than a UNIX one the stream ends.
 */
void jsonStreamSendFd(JsonStream *stream, const char *line, int fd);

/* How many descriptors wait here, as the peer has not read what was sent before. */
size_t jsonStreamPendingFds(const JsonStream *stream);

/* Reads no more lines; closed() follows once the peer has got all that was sent. */
void jsonStreamEnd(JsonStream *stream);

/* Whether the peer has not been sent all of its output yet. */
bool jsonStreamIsPending(const JsonStream *stream);
