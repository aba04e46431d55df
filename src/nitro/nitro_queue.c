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
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_queue");

struct _nitroQueuePlace {
    bool waiting;   /* its turn has not come yet */
    bool turn;      /* it is among those that start */
    bool cancelled;
    gint64 until;   /* when its turn may be another's, us of the monotonic clock */
};

struct _nitroQueue {
    GMutex lock;
    GCond cond;       /* something of what follows has changed */
    GQueue waiting;   /* nitroQueuePlace *, in their order */
    GQueue starting;  /* likewise */
    unsigned int max;
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
    g_queue_init(&queue->starting);
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

    place->waiting = true;
    place->until = G_MAXINT64;
    g_queue_push_tail(&queue->waiting, place);
    return place;
}


/* With the lock. Whoever waits is to be told. */
static void
nitroQueueEndTurn(nitroQueue *queue,
                  nitroQueuePlace *place)
{
    if (place->turn)
        g_queue_remove(&queue->starting, place);
    place->turn = false;
}


/*
 * Takes their turn from those that have had it for too long. With the lock. Returns when that is to
 * be done again, us of the monotonic clock; G_MAXINT64: never.
 */
static gint64
nitroQueueExpire(nitroQueue *queue)
{
    gint64 now = g_get_monotonic_time();
    gint64 next = G_MAXINT64;
    GList *link = queue->starting.head;

    while (link) {
        nitroQueuePlace *place = link->data;

        link = link->next;
        if (place->until > now) {
            next = MIN(next, place->until);
            continue;
        }
        VIR_WARN("A start takes longer than it has time for: it goes on, and another may begin");
        nitroQueueEndTurn(queue, place);
        g_cond_broadcast(&queue->cond);
    }
    return next;
}


bool
nitroQueueWait(nitroQueue *queue,
               nitroQueuePlace *place)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&queue->lock);

    while (!place->cancelled && !queue->ended) {
        gint64 next = nitroQueueExpire(queue);

        if (g_queue_get_length(&queue->starting) < queue->max &&
            g_queue_peek_head(&queue->waiting) == place)
            break;
        /* Who waits takes the turns of those that hang: nobody else needs them. */
        if (next < G_MAXINT64)
            g_cond_wait_until(&queue->cond, &queue->lock, next);
        else
            g_cond_wait(&queue->cond, &queue->lock);
    }

    g_queue_remove(&queue->waiting, place);
    place->waiting = false;
    if ((place->turn = !place->cancelled && !queue->ended))
        g_queue_push_tail(&queue->starting, place);
    /* There may be room for the next one as well. */
    g_cond_broadcast(&queue->cond);
    return place->turn;
}


void
nitroQueueSetTime(nitroQueue *queue,
                  nitroQueuePlace *place,
                  unsigned int time)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&queue->lock);

    place->until = g_get_monotonic_time() + time * G_TIME_SPAN_MILLISECOND;
    g_cond_broadcast(&queue->cond);
}


bool
nitroQueueIsWaiting(nitroQueue *queue,
                    const nitroQueuePlace *place)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&queue->lock);

    return place->waiting;
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
        nitroQueueEndTurn(queue, place);
    }
    g_cond_broadcast(&queue->cond);
}


void
nitroQueueLeave(nitroQueue *queue,
                nitroQueuePlace *place)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&queue->lock);

    nitroQueueEndTurn(queue, place);
    g_free(place);
    g_cond_broadcast(&queue->cond);
}
