/*
 * json_stream.c: a connection on which lines of JSON go both ways
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow in: socket -> jsonStreamRead() -> input -> jsonStreamSplit() -> lines. Flow out:
 * jsonStreamSend() -> output -> jsonStreamWrite() -> socket. jsonStreamUpdate() then waits
 * for what can happen next. A piece of the output that a descriptor goes with is written by itself.
 */

#include "common/json_stream.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helper_protocol.h"

/* While the peer has not read this many bytes, none of its lines is looked at. */
#define JSON_STREAM_OUTPUT_MAX 65536

/* Rows of descriptors that wait for their lines; a peer that sends more has no lines for them. */
#define JSON_STREAM_ROWS_MAX 64

/* What came with one line */
typedef struct {
    int fds[JSON_STREAM_FDS_MAX];
    size_t n;
} JsonStreamRow;

union JsonStreamControl {
    struct cmsghdr header;
    char space[CMSG_SPACE(JSON_STREAM_FDS_MAX * sizeof(int))];
};

/*
 * The kernel takes no more descriptors for now, as too many of this user's are on their way; in
 * milliseconds until it is tried again
 */
#define JSON_STREAM_FDS_RETRY_MS 100

/* A descriptor that goes with a byte of the output */
typedef struct {
    size_t offset;
    int fd;
} JsonStreamFd;

struct _JsonStream {
    int fd;
    const JsonStreamEvents *events;
    void *opaque;
    guint watch;          /* waits for the socket, or for the call of closed() */
    GIOCondition watched; /* what @watch waits for */
    GByteArray *input;    /* at most NITRO_PROTOCOL_LINE_MAX bytes */
    GByteArray *output;   /* at most JSON_STREAM_OUTPUT_MAX bytes, one answer and the few events */
    GArray *rows;         /* of JsonStreamRow, in their order; NULL: descriptors are not taken */
    GArray *fds;          /* of JsonStreamFd, in the order of their bytes */
    bool crowded;         /* the kernel takes no descriptor for now: @retry runs */
    guint retry;
    bool inside;          /* of jsonStreamOnReady(), which sets up the watch at its end */
    bool freed;           /* and which has to free the stream */
    bool eof;             /* nothing more can be read */
    bool closing;         /* closed as soon as the output has been sent */
    bool dead;
};

/* Hands on the complete lines of the input as long as there is room for answers. */
static void
jsonStreamSplit(JsonStream *stream)
{
    size_t start = 0;

    while (!stream->closing && !stream->dead && stream->output->len < JSON_STREAM_OUTPUT_MAX) {
        size_t rest = stream->input->len - start;
        const char *line = rest > 0 ? (const char *)stream->input->data + start : NULL;
        const char *end = rest > 0 ? memchr(line, '\n', rest) : NULL;

        if (!end) {
            if (rest >= NITRO_PROTOCOL_LINE_MAX) {
                stream->events->tooLong(stream, stream->opaque);
                stream->closing = true;
            } else if (stream->eof) {
                stream->closing = true;
            }
            break;
        }
        stream->events->line(stream, line, end - line, stream->opaque);
        start += end - line + 1;
    }
    if (start > 0)
        g_byte_array_remove_range(stream->input, 0, start);
}

static void
jsonStreamDie(JsonStream *stream)
{
    guint i;

    stream->dead = true;
    g_byte_array_set_size(stream->output, 0);
    for (i = 0; i < stream->fds->len; i++)
        close(g_array_index(stream->fds, JsonStreamFd, i).fd);
    g_array_set_size(stream->fds, 0);
}

/* Keeps the descriptors of @message for their line. */
static void
jsonStreamKeepFds(JsonStream *stream, struct msghdr *message)
{
    JsonStreamRow row = {.n = 0};
    struct cmsghdr *header;

    for (header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        size_t n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        /* There is room for no more than one such header. */
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
            n == 0 || n > JSON_STREAM_FDS_MAX)
            continue;
        memcpy(row.fds, CMSG_DATA(header), n * sizeof(int));
        row.n = n;
    }
    if (row.n > 0)
        g_array_append_val(stream->rows, row);
}

/* As recv(2), of which no call goes beyond the first byte with descriptors. */
static ssize_t
jsonStreamReceive(JsonStream *stream, void *buf, size_t len)
{
    union JsonStreamControl control;
    struct iovec iov = {buf, len};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    ssize_t n;

    if (!stream->rows)
        return recv(stream->fd, buf, len, MSG_DONTWAIT);
    n = recvmsg(stream->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n > 0)
        jsonStreamKeepFds(stream, &message);
    return n;
}

static bool
jsonStreamIsCrowded(const JsonStream *stream)
{
    return stream->rows && stream->rows->len >= JSON_STREAM_ROWS_MAX;
}

static void
jsonStreamRead(JsonStream *stream)
{
    guint8 buf[4096];

    while (stream->input->len < NITRO_PROTOCOL_LINE_MAX && !jsonStreamIsCrowded(stream)) {
        size_t room = MIN(sizeof(buf), NITRO_PROTOCOL_LINE_MAX - stream->input->len);
        ssize_t n = jsonStreamReceive(stream, buf, room);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            /* Who has closed its half may still read the answers. */
            if (n == 0)
                stream->eof = true;
            else
                jsonStreamDie(stream);
            return;
        }
        g_byte_array_append(stream->input, buf, n);
    }
}

/* The bytes of the output, from its start on, that go with the descriptor of the first, or none */
static size_t
jsonStreamPiece(const JsonStream *stream, int *fd)
{
    const JsonStreamFd *fds = (const JsonStreamFd *)(void *)stream->fds->data;
    guint first = 0;

    *fd = -1;
    if (stream->fds->len > 0 && fds[0].offset == 0)
        *fd = fds[first++].fd;
    return stream->fds->len > first ? fds[first].offset : stream->output->len;
}

static ssize_t
jsonStreamWritePiece(JsonStream *stream, size_t size, int fd)
{
    struct iovec iov = {.iov_base = stream->output->data, .iov_len = size};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
                            .cmsg_len = CMSG_LEN(sizeof(int))}};
    const struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                                   .msg_controllen = sizeof(control)};

    if (fd < 0)
        return send(stream->fd, iov.iov_base, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    return sendmsg(stream->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* @size bytes of the output are gone, and @fd with them, unless it is -1. */
static void
jsonStreamSkip(JsonStream *stream, size_t size, int fd)
{
    guint i;

    if (fd >= 0) {
        close(fd);
        g_array_remove_index(stream->fds, 0);
    }
    for (i = 0; i < stream->fds->len; i++)
        g_array_index(stream->fds, JsonStreamFd, i).offset -= size;
    g_byte_array_remove_range(stream->output, 0, size);
}

static void
jsonStreamWrite(JsonStream *stream)
{
    stream->crowded = false;
    while (stream->output->len > 0) {
        int fd;
        size_t size = jsonStreamPiece(stream, &fd);
        ssize_t n = jsonStreamWritePiece(stream, size, fd);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0 && errno == ETOOMANYREFS) {
            stream->crowded = true;
            return;
        }
        if (n < 0) {
            jsonStreamDie(stream);
            return;
        }
        jsonStreamSkip(stream, n, fd);
    }
}

static gboolean
jsonStreamOnDone(gpointer opaque)
{
    JsonStream *stream = opaque;

    stream->watch = 0;
    stream->events->closed(stream, stream->opaque);
    return G_SOURCE_REMOVE;
}

static gboolean jsonStreamOnReady(gint fd, GIOCondition condition, gpointer opaque);
static gboolean jsonStreamOnRetry(gpointer opaque);

/* Waits until the kernel may take descriptors again. */
static void
jsonStreamUpdateRetry(JsonStream *stream)
{
    if (stream->crowded && !stream->dead && stream->retry == 0)
        stream->retry = g_timeout_add(JSON_STREAM_FDS_RETRY_MS, jsonStreamOnRetry, stream);
}

/* Waits for what can happen next. */
static void
jsonStreamUpdate(JsonStream *stream)
{
    GIOCondition wanted = 0;
    bool done = stream->dead || (stream->closing && stream->output->len == 0);

    if (stream->inside)
        return;
    jsonStreamUpdateRetry(stream);

    if (!stream->closing && !stream->eof && stream->output->len < JSON_STREAM_OUTPUT_MAX &&
        stream->input->len < NITRO_PROTOCOL_LINE_MAX)
        wanted |= G_IO_IN;
    if (stream->output->len > 0 && !stream->crowded)
        wanted |= G_IO_OUT;

    if (stream->watch > 0 && stream->watched == wanted && !done)
        return;
    if (stream->watch > 0)
        g_source_remove(stream->watch);
    stream->watched = wanted;
    if (done)
        stream->watch = g_idle_add_full(G_PRIORITY_DEFAULT, jsonStreamOnDone, stream, NULL);
    else
        stream->watch = g_unix_fd_add(stream->fd, wanted, jsonStreamOnReady, stream);
}

static gboolean
jsonStreamOnReady(gint fd G_GNUC_UNUSED, GIOCondition condition, gpointer opaque)
{
    JsonStream *stream = opaque;
    bool full;

    stream->watch = 0;
    stream->inside = true;
    if ((condition & G_IO_IN) && !stream->eof && !stream->closing)
        jsonStreamRead(stream);
    else if (condition & (G_IO_ERR | G_IO_HUP))
        jsonStreamDie(stream);

    do {
        jsonStreamSplit(stream);
        full = stream->output->len >= JSON_STREAM_OUTPUT_MAX;
        jsonStreamWrite(stream);
    } while (full && !stream->dead && stream->output->len < JSON_STREAM_OUTPUT_MAX);
    /* All lines that there are have been handed on, unless output waits. */
    if (jsonStreamIsCrowded(stream) && !full)
        jsonStreamDie(stream);

    stream->inside = false;
    if (stream->freed)
        jsonStreamFree(stream);
    else
        jsonStreamUpdate(stream);
    return G_SOURCE_REMOVE;
}

static gboolean
jsonStreamOnRetry(gpointer opaque)
{
    JsonStream *stream = opaque;

    stream->retry = 0;
    jsonStreamWrite(stream);
    jsonStreamUpdate(stream);
    return G_SOURCE_REMOVE;
}

JsonStream *
jsonStreamNew(int fd, const JsonStreamEvents *events, void *opaque)
{
    JsonStream *stream = g_new0(JsonStream, 1);

    stream->fd = fd;
    stream->events = events;
    stream->opaque = opaque;
    stream->input = g_byte_array_new();
    stream->output = g_byte_array_new();
    stream->fds = g_array_new(FALSE, FALSE, sizeof(JsonStreamFd));
    jsonStreamUpdate(stream);
    return stream;
}

void
jsonStreamAcceptFds(JsonStream *stream)
{
    if (!stream->rows)
        stream->rows = g_array_new(FALSE, FALSE, sizeof(JsonStreamRow));
}

size_t
jsonStreamTakeFds(JsonStream *stream, int fds[JSON_STREAM_FDS_MAX])
{
    JsonStreamRow row;

    if (!stream->rows || stream->rows->len == 0)
        return 0;
    row = g_array_index(stream->rows, JsonStreamRow, 0);
    g_array_remove_index(stream->rows, 0);
    memcpy(fds, row.fds, row.n * sizeof(int));
    return row.n;
}

static void
jsonStreamCloseFds(JsonStream *stream)
{
    int fds[JSON_STREAM_FDS_MAX];
    size_t n;

    while ((n = jsonStreamTakeFds(stream, fds)) > 0) {
        while (n > 0)
            close(fds[--n]);
    }
    if (stream->rows)
        g_array_unref(stream->rows);
}

void
jsonStreamFree(JsonStream *stream)
{
    if (!stream)
        return;
    if (stream->inside) {
        stream->freed = true;
        jsonStreamDie(stream);
        return;
    }
    if (stream->watch > 0)
        g_source_remove(stream->watch);
    g_clear_handle_id(&stream->retry, g_source_remove);
    jsonStreamDie(stream);
    close(stream->fd);
    jsonStreamCloseFds(stream);
    g_byte_array_unref(stream->input);
    g_byte_array_unref(stream->output);
    g_array_unref(stream->fds);
    g_free(stream);
}

void
jsonStreamSend(JsonStream *stream, const char *line)
{
    if (stream->dead || stream->closing)
        return;
    g_byte_array_append(stream->output, (const guint8 *)line, strlen(line));
    if (stream->inside)
        return;
    jsonStreamWrite(stream);
    jsonStreamUpdate(stream);
}

void
jsonStreamSendFd(JsonStream *stream, const char *line, int fd)
{
    JsonStreamFd item = {stream->output->len, fd};

    if (stream->dead || stream->closing) {
        close(fd);
        return;
    }
    g_array_append_val(stream->fds, item);
    jsonStreamSend(stream, line);
}

size_t
jsonStreamPendingFds(const JsonStream *stream)
{
    return stream->fds->len;
}

void
jsonStreamEnd(JsonStream *stream)
{
    stream->closing = true;
    jsonStreamUpdate(stream);
}

bool
jsonStreamIsPending(const JsonStream *stream)
{
    return stream->output->len > 0;
}
