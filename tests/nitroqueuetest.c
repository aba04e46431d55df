/*
 * nitroqueuetest.c: how many domains start at once
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "nitro_queue.h"
#include "virerror.h"

#define WAITERS 4

struct waiter {
    nitroQueue *queue;
    nitroQueuePlace *place;
    int turn; /* atomic; -1: still waits */
    GThread *thread;
};

static gpointer
waiterRun(gpointer opaque)
{
    struct waiter *waiter = opaque;

    g_atomic_int_set(&waiter->turn, nitroQueueWait(waiter->queue, waiter->place));
    return NULL;
}


static void
waiterStart(struct waiter *waiter,
            nitroQueue *queue)
{
    waiter->queue = queue;
    waiter->place = nitroQueueJoin(queue);
    waiter->turn = -1;
    waiter->thread = g_thread_new("waiter", waiterRun, waiter);
}


static void
waiterJoin(struct waiter *waiter,
           int turn)
{
    g_thread_join(waiter->thread);
    g_assert_cmpint(waiter->turn, ==, turn);
}


/* Two may start; the others follow in their order, and not before. */
static void
testOrder(void)
{
    nitroQueue *queue = nitroQueueNew(2);
    struct waiter waiters[WAITERS];
    size_t i;

    for (i = 0; i < WAITERS; i++)
        waiterStart(&waiters[i], queue);
    waiterJoin(&waiters[0], 1);
    waiterJoin(&waiters[1], 1);
    g_usleep(50 * 1000);
    for (i = 2; i < WAITERS; i++) {
        g_assert_cmpint(g_atomic_int_get(&waiters[i].turn), ==, -1);
        g_assert_true(nitroQueueIsWaiting(queue, waiters[i].place));
    }

    nitroQueueLeave(queue, waiters[1].place);
    waiterJoin(&waiters[2], 1);
    g_assert_false(nitroQueueIsWaiting(queue, waiters[2].place));
    g_usleep(50 * 1000);
    g_assert_cmpint(g_atomic_int_get(&waiters[3].turn), ==, -1);
    nitroQueueLeave(queue, waiters[0].place);
    waiterJoin(&waiters[3], 1);
    nitroQueueLeave(queue, waiters[2].place);
    nitroQueueLeave(queue, waiters[3].place);
    nitroQueueFree(queue);
}


/* One that gives up does not hold up those behind it. */
static void
testCancel(void)
{
    nitroQueue *queue = nitroQueueNew(1);
    struct waiter waiters[3];
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(waiters); i++)
        waiterStart(&waiters[i], queue);
    waiterJoin(&waiters[0], 1);
    nitroQueueCancel(queue, waiters[1].place);
    waiterJoin(&waiters[1], 0);
    nitroQueueLeave(queue, waiters[1].place);
    g_usleep(50 * 1000);
    g_assert_cmpint(g_atomic_int_get(&waiters[2].turn), ==, -1);
    nitroQueueLeave(queue, waiters[0].place);
    waiterJoin(&waiters[2], 1);
    nitroQueueLeave(queue, waiters[2].place);
    nitroQueueFree(queue);
}


/* It may be called off between the place in the queue and the wait. */
static void
testCancelEarly(void)
{
    nitroQueue *queue = nitroQueueNew(1);
    nitroQueuePlace *place = nitroQueueJoin(queue);

    nitroQueueCancel(queue, place);
    g_assert_false(nitroQueueWait(queue, place));
    nitroQueueLeave(queue, place);

    place = nitroQueueJoin(queue);
    g_assert_true(nitroQueueWait(queue, place));
    nitroQueueLeave(queue, place);
    nitroQueueFree(queue);
}


/* One whose turn has come, and whose start hangs, lets the next one have it. */
static void
testCancelLate(void)
{
    nitroQueue *queue = nitroQueueNew(1);
    struct waiter waiters[3];
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(waiters); i++)
        waiterStart(&waiters[i], queue);
    waiterJoin(&waiters[0], 1);
    nitroQueueCancel(queue, waiters[0].place);
    waiterJoin(&waiters[1], 1);
    /* It has given its turn away already, and does not do so again. */
    nitroQueueLeave(queue, waiters[0].place);
    g_usleep(50 * 1000);
    g_assert_cmpint(g_atomic_int_get(&waiters[2].turn), ==, -1);
    nitroQueueLeave(queue, waiters[1].place);
    waiterJoin(&waiters[2], 1);
    nitroQueueLeave(queue, waiters[2].place);
    nitroQueueFree(queue);
}


/* One that takes too long lets the next one begin, which has a time of its own. */
static void
testTime(void)
{
    nitroQueue *queue = nitroQueueNew(1);
    gint64 begin = g_get_monotonic_time();
    struct waiter waiters[4];
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(waiters); i++)
        waiterStart(&waiters[i], queue);
    waiterJoin(&waiters[0], 1);
    /* the last one counts, also for those who wait already */
    nitroQueueSetTime(queue, waiters[0].place, 3600 * 1000);
    nitroQueueSetTime(queue, waiters[0].place, 200);
    waiterJoin(&waiters[1], 1);
    g_assert_cmpint(g_get_monotonic_time() - begin, >=, 200 * 1000);
    g_assert_false(nitroQueueIsWaiting(queue, waiters[0].place));

    /* that was its whole turn: neither more time nor its end give or take one */
    nitroQueueSetTime(queue, waiters[0].place, 3600 * 1000);
    nitroQueueLeave(queue, waiters[0].place);
    g_usleep(50 * 1000);
    g_assert_cmpint(g_atomic_int_get(&waiters[2].turn), ==, -1);
    g_assert_true(nitroQueueIsWaiting(queue, waiters[2].place));

    nitroQueueSetTime(queue, waiters[1].place, 0);
    waiterJoin(&waiters[2], 1);
    nitroQueueSetTime(queue, waiters[2].place, 3600 * 1000);
    nitroQueueCancel(queue, waiters[1].place);
    g_usleep(50 * 1000);
    g_assert_cmpint(g_atomic_int_get(&waiters[3].turn), ==, -1);
    nitroQueueLeave(queue, waiters[2].place);
    waiterJoin(&waiters[3], 1);
    /* nobody waits: who comes later finds it */
    nitroQueueSetTime(queue, waiters[3].place, 0);
    waiterStart(&waiters[2], queue);
    waiterJoin(&waiters[2], 1);
    for (i = 1; i < G_N_ELEMENTS(waiters); i++)
        nitroQueueLeave(queue, waiters[i].place);
    nitroQueueFree(queue);
}


static void
testEnd(void)
{
    nitroQueue *queue = nitroQueueNew(1);
    struct waiter waiters[2];

    waiterStart(&waiters[0], queue);
    waiterJoin(&waiters[0], 1);
    waiterStart(&waiters[1], queue);
    nitroQueueCancel(queue, NULL);
    waiterJoin(&waiters[1], 0);
    nitroQueueLeave(queue, waiters[0].place);
    nitroQueueLeave(queue, waiters[1].place);
    nitroQueueFree(queue);
}


static void
testCalls(void)
{
    nitroQueue *queue = nitroQueueNew(1);
    size_t i;

    for (i = 0; i < NITRO_QUEUE_CALLS; i++)
        g_assert_cmpint(nitroQueueBeginCall(queue), ==, 0);
    g_assert_cmpint(nitroQueueBeginCall(queue), ==, -1);
    g_assert_cmpint(virGetLastErrorCode(), ==, VIR_ERR_OPERATION_FAILED);
    nitroQueueEndCall(queue);
    g_assert_cmpint(nitroQueueBeginCall(queue), ==, 0);
    nitroQueueFree(queue);
}


int
main(int argc,
     char **argv)
{
    if (virErrorInitialize() < 0)
        return 1;

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/queue/order", testOrder);
    g_test_add_func("/queue/cancel", testCancel);
    g_test_add_func("/queue/cancel-early", testCancelEarly);
    g_test_add_func("/queue/cancel-late", testCancelLate);
    g_test_add_func("/queue/time", testTime);
    g_test_add_func("/queue/end", testEnd);
    g_test_add_func("/queue/calls", testCalls);
    return g_test_run();
}
