/*
 * line_reader.c: reads lines of a connection of the enclave
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: socket -> lineReaderOnReady(), one buffer a turn -> lineReaderSplit() -> line(). The
 * beginning of a line that has not ended waits in @partial.
 */

#include "line_reader.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deadline.h"

#define LINE_READER_TURN 16384

struct _LineReader {
    ServiceConn conn;
    PollerWatch watch;
    Deadline deadline;
    const LineReaderType *type;
    GByteArray *partial; /* NULL: no line has begun */
    bool cut;            /* that line was too long; the rest of it is left out */
};

static void
lineReaderDestroy(ServiceConn *conn)
{
    LineReader *reader = (LineReader *)conn;

    deadlineClear(&reader->deadline);
    pollerRemove(serviceGetPoller(conn->service), &reader->watch);
    close(reader->watch.fd);
    if (reader->partial)
        g_byte_array_unref(reader->partial);
    g_free(reader);
}

static void
lineReaderEnd(LineReader *reader)
{
    serviceConnEnd(&reader->conn);
    lineReaderDestroy(&reader->conn);
}

static void
lineReaderOnTime(Deadline *deadline)
{
    LineReader *reader = (LineReader *)((char *)deadline - G_STRUCT_OFFSET(LineReader, deadline));

    lineReaderEnd(reader);
}

static void
lineReaderArm(LineReader *reader)
{
    if (reader->type->waitMs > 0)
        deadlineSet(&reader->deadline, reader->type->waitMs, lineReaderOnTime);
}

/* Hands a line on, of which @len bytes are in @text, and those before in @partial. */
static bool
lineReaderLine(LineReader *reader, const char *text, size_t len)
{
    g_autoptr(GByteArray) partial = g_steal_pointer(&reader->partial);
    bool cut = reader->cut;

    if (partial) {
        size_t room = reader->type->max + 1 - partial->len;

        cut = cut || len > room;
        g_byte_array_append(partial, (const guint8 *)text, MIN(len, room));
        text = (const char *)partial->data;
        len = partial->len;
    }
    /* the CR may be the byte beyond */
    if (len > 0 && !cut && len <= reader->type->max + 1 && text[len - 1] == '\r')
        len--;
    if (len > reader->type->max) {
        len = reader->type->max;
        cut = true;
    }
    reader->cut = false;
    return reader->type->line(reader->conn.service, reader->watch.fd, text, len, cut);
}

/* Keeps the beginning of a line, up to one byte more than it may have. */
static void
lineReaderKeep(LineReader *reader, const char *text, size_t len)
{
    size_t room;

    if (len == 0)
        return;
    if (!reader->partial)
        reader->partial = g_byte_array_new();
    room = reader->type->max + 1 - reader->partial->len;
    if (len > room)
        reader->cut = true;
    g_byte_array_append(reader->partial, (const guint8 *)text, MIN(len, room));
}

/* Returns false when the connection is to be closed. */
static bool
lineReaderSplit(LineReader *reader, const char *buf, size_t len)
{
    const char *end;

    while (len > 0 && (end = memchr(buf, '\n', len))) {
        size_t n = end - buf;

        if (!lineReaderLine(reader, buf, n))
            return false;
        lineReaderArm(reader);
        buf += n + 1;
        len -= n + 1;
    }
    lineReaderKeep(reader, buf, len);
    return true;
}

static void
lineReaderOnReady(PollerWatch *watch, uint32_t events G_GNUC_UNUSED)
{
    static char buf[LINE_READER_TURN];
    LineReader *reader = watch->opaque;
    ssize_t n = recv(watch->fd, buf, sizeof(buf), MSG_DONTWAIT);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n > 0) {
        reader->conn.service->received += n;
        if (lineReaderSplit(reader, buf, n))
            return;
    } else if (reader->partial) {
        lineReaderLine(reader, "", 0);
    }
    lineReaderEnd(reader);
}

void
lineReaderStart(Service *service, int fd, const LineReaderType *type)
{
    LineReader *reader = g_new0(LineReader, 1);

    reader->watch = (PollerWatch){fd, reader, lineReaderOnReady};
    reader->type = type;
    if (!serviceConnBegin(&reader->conn, service, lineReaderDestroy)) {
        close(fd);
        g_free(reader);
        return;
    }
    lineReaderArm(reader);
    if (pollerAdd(serviceGetPoller(service), &reader->watch, EPOLLIN) < 0)
        lineReaderEnd(reader);
}
