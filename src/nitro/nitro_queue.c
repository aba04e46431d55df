/*
 * nitro_queue.c: how many domains start at once
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "nitro_queue.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

struct _nitroQueuePlace {
    bool turn;      /* it has come, and counts as starting */
    bool cancelled;
};

struct _nitroQueue {
    GMutex lock;
    GCond cond;       /* something of what follows has changed */
    GQueue waiting;   /* nitroQueuePlace *, in their order */
    unsigned int max;
    unsigned int starting;
    unsigned int calls;
    bool ended;
};


nitroQueue *
nitroQueueNew(unsigned int max)
{
    nitroQueue *queue = g_new0(nitroQueue, 1);

    g_mutex_init(&queue->lock);
    g_cond_init(&queue->cond);
    g_queue_init(&queue->waiting);
    queue->max = max;
    return queue;
}


void
nitroQueueFree(nitroQueue *queue)
{
    if (!queue)
        return;

    g_mutex_clear(&queue->lock);
    g_cond_clear(&queue->cond);
    g_free(queue);
}


int
nitroQueueBeginCall(nitroQueue *queue)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&queue->lock);

    if (queue->calls >= NITRO_QUEUE_CALLS) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("%u clients wait for starts of domains already, and no more can: try again when some have started"),
                       queue->calls);
        return -1;
    }
    queue->calls++;
    return 0;
}


void
nitroQueueEndCall(nitroQueue *queue)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&queue->lock);

    queue->calls--;
}


nitroQueuePlace *
nitroQueueJoin(nitroQueue *queue)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&queue->lock);
    nitroQueuePlace *place = g_new0(nitroQueuePlace, 1);

    g_queue_push_tail(&queue->waiting, place);
    return place;
}


bool
nitroQueueWait(nitroQueue *queue,
               nitroQueuePlace *place)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&queue->lock);

    while (!place->cancelled && !queue->ended &&
           (queue->starting >= queue->max || g_queue_peek_head(&queue->waiting) != place))
        g_cond_wait(&queue->cond, &queue->lock);

    g_queue_remove(&queue->waiting, place);
    if ((place->turn = !place->cancelled && !queue->ended))
        queue->starting++;
    /* There may be room for the next one as well. */
    g_cond_broadcast(&queue->cond);
    return place->turn;
}


bool
nitroQueueIsWaiting(nitroQueue *queue,
                    const nitroQueuePlace *place)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&queue->lock);

    return !place->turn;
}


void
nitroQueueCancel(nitroQueue *queue,
                 nitroQueuePlace *place)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&queue->lock);

    if (!place) {
        queue->ended = true;
    } else {
        place->cancelled = true;
        if (place->turn)
            queue->starting--;
        place->turn = false;
    }
    g_cond_broadcast(&queue->cond);
}


void
nitroQueueLeave(nitroQueue *queue,
                nitroQueuePlace *place)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&queue->lock);

    if (place->turn)
        queue->starting--;
    g_free(place);
    g_cond_broadcast(&queue->cond);
}
