/*
 * eif_worker.c: a digest that another thread computes
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is measured into two registers is hashed twice: with a worker, both at once.
 *
 * Flow: eifWorkerUpdate() -> a copy, in one of a few pieces -> the thread -> the digest's context;
 * the piece goes back. eifWorkerFinish() waits for all.
 */

#include "eif_internal.h"

#include <string.h>

/* Pieces under way: the threads need not be in step */
#define PIECES 16

typedef struct _WorkerPiece WorkerPiece;
struct _WorkerPiece {
    size_t len; /* 0: there are no more */
    uint8_t data[EIF_PIECE_SIZE];
};

struct _EifWorker {
    struct sha384_ctx *digest;
    GThread *thread;
    GAsyncQueue *full;
    GAsyncQueue *empty;
};

static void *
workerRun(void *opaque)
{
    EifWorker *worker = opaque;
    WorkerPiece *piece;

    while ((piece = g_async_queue_pop(worker->full))->len > 0) {
        sha384_update(worker->digest, piece->len, piece->data);
        g_async_queue_push(worker->empty, piece);
    }
    g_free(piece);
    return NULL;
}

EifWorker *
eifWorkerNew(struct sha384_ctx *digest)
{
    EifWorker *worker = g_new0(EifWorker, 1);
    size_t i;

    worker->digest = digest;
    worker->full = g_async_queue_new_full(g_free);
    worker->empty = g_async_queue_new_full(g_free);
    for (i = 0; i < PIECES; i++)
        g_async_queue_push(worker->empty, g_new(WorkerPiece, 1));
    if ((worker->thread = g_thread_try_new("eif-worker", workerRun, worker, NULL)))
        return worker;

    g_async_queue_unref(worker->full);
    g_async_queue_unref(worker->empty);
    g_free(worker);
    return NULL;
}

void
eifWorkerUpdate(EifWorker *worker, const void *buf, size_t len)
{
    const uint8_t *p = buf;

    while (len > 0) {
        WorkerPiece *piece = g_async_queue_pop(worker->empty);

        piece->len = MIN(len, sizeof(piece->data));
        memcpy(piece->data, p, piece->len);
        p += piece->len;
        len -= piece->len;
        g_async_queue_push(worker->full, piece);
    }
}

void
eifWorkerFinish(EifWorker *worker)
{
    WorkerPiece *last;

    if (!worker)
        return;

    last = g_async_queue_pop(worker->empty);
    last->len = 0;
    g_async_queue_push(worker->full, last);
    g_thread_join(worker->thread);
    g_async_queue_unref(worker->full);
    g_async_queue_unref(worker->empty);
    g_free(worker);
}
