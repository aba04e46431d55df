/*
 * eif_worker.c: digests that other threads compute
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is measured into two registers is hashed twice: with a worker, both at once, while the next
 * bytes are read.
 *
 * Flow: eifWorkerUpdate() takes a buffer -> the thread of each digest -> itself; from the last
 * of them the buffer goes back, to be given for another. eifWorkerFinish() waits for all.
 */

#include "eif_internal.h"

/* Pieces under way: the threads need not be in step */
#define PIECES 8

typedef struct _WorkerPiece WorkerPiece;
struct _WorkerPiece {
    int users;     /* threads that still need it */
    size_t len;    /* 0: there are no more */
    uint8_t *data; /* EIF_PIECE_SIZE bytes */
};

typedef struct _WorkerThread WorkerThread;
struct _WorkerThread {
    EifDigest *digest;
    GThread *thread;
    GAsyncQueue *full;
    GAsyncQueue *empty;
};

struct _EifWorker {
    WorkerThread threads[EIF_WORKER_DIGESTS];
    GAsyncQueue *empty;
};

static void
pieceFree(void *opaque)
{
    WorkerPiece *piece = opaque;

    g_free(piece->data);
    g_free(piece);
}

static void *
workerRun(void *opaque)
{
    WorkerThread *thread = opaque;
    bool more = true;

    while (more) {
        WorkerPiece *piece = g_async_queue_pop(thread->full);

        more = piece->len > 0;
        eifDigestUpdate(thread->digest, piece->data, piece->len);
        if (g_atomic_int_dec_and_test(&piece->users))
            g_async_queue_push(thread->empty, piece);
    }
    return NULL;
}

/* Hands @piece to the first @n threads. */
static void
workerPush(EifWorker *worker, WorkerPiece *piece, size_t n)
{
    size_t i;

    piece->users = (int)n;
    for (i = 0; i < n; i++)
        g_async_queue_push(worker->threads[i].full, piece);
}

EifWorker *
eifWorkerNew(EifDigest *const digests[EIF_WORKER_DIGESTS])
{
    EifWorker *worker = g_new0(EifWorker, 1);
    bool started = true;
    size_t i;

    worker->empty = g_async_queue_new_full(pieceFree);
    for (i = 0; i < PIECES; i++) {
        WorkerPiece *piece = g_new(WorkerPiece, 1);

        piece->data = g_malloc(EIF_PIECE_SIZE);
        g_async_queue_push(worker->empty, piece);
    }
    for (i = 0; i < EIF_WORKER_DIGESTS && started; i++) {
        WorkerThread *thread = &worker->threads[i];

        thread->digest = digests[i];
        thread->full = g_async_queue_new();
        thread->empty = worker->empty;
        thread->thread = g_thread_try_new("eif-worker", workerRun, thread, NULL);
        started = thread->thread != NULL;
    }
    if (started)
        return worker;

    eifWorkerFinish(worker);
    return NULL;
}

uint8_t *
eifWorkerUpdate(EifWorker *worker, size_t ndigests, uint8_t *data, size_t len)
{
    WorkerPiece *piece;
    uint8_t *other;

    if (len == 0)
        return data;

    piece = g_async_queue_pop(worker->empty);
    other = piece->data;
    piece->data = data;
    piece->len = len;
    workerPush(worker, piece, ndigests);
    return other;
}

void
eifWorkerFinish(EifWorker *worker)
{
    WorkerPiece *last;
    size_t n = 0;
    size_t i;

    if (!worker)
        return;

    while (n < EIF_WORKER_DIGESTS && worker->threads[n].thread)
        n++;
    if (n > 0) {
        last = g_async_queue_pop(worker->empty);
        last->len = 0;
        workerPush(worker, last, n);
    }
    for (i = 0; i < n; i++)
        g_thread_join(worker->threads[i].thread);
    for (i = 0; i < EIF_WORKER_DIGESTS; i++)
        g_clear_pointer(&worker->threads[i].full, g_async_queue_unref);
    g_async_queue_unref(worker->empty);
    g_free(worker);
}
