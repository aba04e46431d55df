/*
 * nitro_console_reader.c: the one stream that reads a domain's console
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A stream calls back with its own lock held when it closes, so no stream is touched here
 * while the reader is locked.
 */

#include <config.h>

#include <fcntl.h>

#include "nitro_console_reader.h"
#include "nitro_wait.h"
#include "virerror.h"
#include "virevent.h"
#include "virfdstream.h"
#include "virlog.h"
#include "virobject.h"

#define VIR_FROM_THIS VIR_FROM_STREAMS

VIR_LOG_INIT("nitro.nitro_console_reader");

/*
 * How long a stream is left alone after its opening: the daemon makes it known to its client
 * only then, and expects that it has not closed meanwhile. It does not tell when it has.
 */
#define NITRO_CONSOLE_READER_SETTLE_MS 1000

/* How long the event loop may take to end streams */
#define NITRO_CONSOLE_READER_END_MS 5000

/* The helper, which sees then that nobody reads, shows the next reader all that has been. */
#define NITRO_CONSOLE_READER_PAUSE_MS 10

struct _nitroConsoleReader {
    virObjectLockable parent;

    virStreamPtr st; /* a reference; NULL: nobody reads */
    gint64 opened;   /* when @st was, g_get_monotonic_time() */
    size_t nending;  /* streams that have been replaced and have not closed yet */
    virCond cond;    /* nending has changed */
};

static virClass *nitroConsoleReaderClass;

static void
nitroConsoleReaderDispose(void *obj)
{
    nitroConsoleReader *reader = obj;

    virObjectUnref(reader->st);
    virCondDestroy(&reader->cond);
}


static int
nitroConsoleReaderOnceInit(void)
{
    if (!VIR_CLASS_NEW(nitroConsoleReader, virClassForObjectLockable()))
        return -1;

    return 0;
}

VIR_ONCE_GLOBAL_INIT(nitroConsoleReader);


nitroConsoleReader *
nitroConsoleReaderNew(void)
{
    nitroConsoleReader *reader;

    if (nitroConsoleReaderInitialize() < 0 ||
        !(reader = virObjectLockableNew(nitroConsoleReaderClass)))
        return NULL;

    if (virCondInit(&reader->cond) < 0) {
        virReportSystemError(errno, "%s", _("cannot initialize a condition"));
        virObjectUnref(reader);
        return NULL;
    }
    return reader;
}


static void
nitroConsoleReaderOnClose(virStreamPtr st,
                          void *opaque)
{
    nitroConsoleReader *reader = opaque;
    virStreamPtr closed = NULL;

    VIR_WITH_OBJECT_LOCK_GUARD(reader) {
        if (reader->st == st) {
            closed = g_steal_pointer(&reader->st);
        } else {
            reader->nending--;
            virCondBroadcast(&reader->cond);
        }
    }
    virObjectUnref(closed);
}


static void
nitroConsoleReaderAbort(int timer,
                        void *opaque)
{
    virEventRemoveTimeout(timer);
    /* A stream whose client is slow waits for nothing, and would not tell it. */
    if (virStreamEventUpdateCallback(opaque, VIR_STREAM_EVENT_READABLE) < 0)
        virResetLastError();
    /* Meanwhile it may have closed by itself. */
    if (virStreamAbort(opaque) < 0)
        virResetLastError();
}


/*
 * Ends the stream that reads in the event loop, where streams close by themselves: they do not
 * expect two threads to do so at a time. @reader is locked.
 */
static void
nitroConsoleReaderAbortLater(nitroConsoleReader *reader)
{
    gint64 age = (g_get_monotonic_time() - reader->opened) / G_TIME_SPAN_MILLISECOND;
    int delay = age < NITRO_CONSOLE_READER_SETTLE_MS ? NITRO_CONSOLE_READER_SETTLE_MS - age : 0;
    virStreamPtr st = g_steal_pointer(&reader->st);

    reader->nending++;
    if (virEventAddTimeout(delay, nitroConsoleReaderAbort, st, virObjectUnref) < 0) {
        VIR_WARN("Unable to end a stream of a console: %s", virGetLastErrorMessage());
        virObjectUnref(st);
    }
}


bool
nitroConsoleReaderIsFree(nitroConsoleReader *reader)
{
    VIR_LOCK_GUARD lock = virObjectLockGuard(reader);

    return !reader->st && reader->nending == 0;
}


int
nitroConsoleReaderEnd(nitroConsoleReader *reader)
{
    gint64 end = g_get_monotonic_time() + NITRO_CONSOLE_READER_END_MS * G_TIME_SPAN_MILLISECOND;
    bool ended = true;

    VIR_WITH_OBJECT_LOCK_GUARD(reader) {
        if (reader->st)
            nitroConsoleReaderAbortLater(reader);
        while (reader->nending > 0 && ended)
            ended = nitroCondWaitUntil(&reader->cond, &reader->parent.lock, end) == 0;
    }
    if (!ended) {
        virReportError(VIR_ERR_OPERATION_TIMEOUT, "%s",
                       _("the active console session of this domain does not end: try again"));
        return -1;
    }
    g_usleep(NITRO_CONSOLE_READER_PAUSE_MS * G_TIME_SPAN_MILLISECOND);
    return 0;
}


int
nitroConsoleReaderOpen(nitroConsoleReader *reader,
                       const char *path,
                       virStreamPtr st)
{
    if (virFDStreamOpenPTY(st, path, 0, 0, O_RDWR) < 0)
        return -1;

    /* The client has not got it yet, so that nobody can close it meanwhile. */
    VIR_WITH_OBJECT_LOCK_GUARD(reader) {
        reader->st = virObjectRef(st);
        reader->opened = g_get_monotonic_time();
    }
    virFDStreamSetInternalCloseCb(st, nitroConsoleReaderOnClose, virObjectRef(reader),
                                  virObjectUnref);
    return 0;
}
