/*
 * worker.c: the thread that blocks in the main thread's place
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "common/worker.h"

#include <sys/prctl.h>

#include "helper_protocol.h"

typedef struct {
    const char *name;
    void (*func)(void *opaque);
    void *opaque;
} WorkerTask;

static GThreadPool *worker;

static void
workerDo(gpointer data, gpointer opaque G_GNUC_UNUSED)
{
    g_autofree WorkerTask *task = data;

    prctl(PR_SET_NAME, task->name);
    task->func(task->opaque);
}

int
workerBegin(Failure *failure)
{
    g_autoptr(GError) error = NULL;

    if ((worker = g_thread_pool_new(workerDo, NULL, 1, TRUE, &error)))
        return 0;
    failureSet(failure, NITRO_FAILURE_RESOURCE, "The enclave cannot be set up: %s",
               error->message);
    return -1;
}

void
workerRun(const char *name, void (*func)(void *opaque), void *opaque)
{
    WorkerTask *task = g_new(WorkerTask, 1);

    *task = (WorkerTask){name, func, opaque};
    /* It fails without a thread only. */
    g_thread_pool_push(worker, task, NULL);
}
