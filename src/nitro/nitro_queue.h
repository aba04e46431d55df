/*
 * nitro_queue.h: how many domains start at once
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A start waits for its guest, and a call of a client holds one of the daemon's workers
 * meanwhile. So a few domains start at a time, the others wait for their turn in the order in
 * which they came, and no more calls may wait than leave workers for queries.
 */

#pragma once

#include "internal.h"

/* Self-locking */
typedef struct _nitroQueue nitroQueue;

/* Domains that start at once, unless nitro.conf says otherwise */
#define NITRO_QUEUE_STARTS 16

/* Calls of clients that may start or wait: fewer than the daemon has workers by default, 100 */
#define NITRO_QUEUE_CALLS 64

/* Returns a queue that lets @max domains start at once (nitroQueueFree); never NULL. */
nitroQueue *nitroQueueNew(unsigned int max);
void nitroQueueFree(nitroQueue *queue);

/*
 * A call of a client begins or ends that may wait for a start. nitroQueueBeginCall() returns 0,
 * or -1 with VIR_ERR_OPERATION_FAILED set when too many do.
 */
int nitroQueueBeginCall(nitroQueue *queue);
void nitroQueueEndCall(nitroQueue *queue);

/* The place of one start in the queue */
typedef struct _nitroQueuePlace nitroQueuePlace;

/*
 * Takes the last place in the queue. Waits for nothing. Returns it; never NULL. Whoever
 * has taken it gives it back with nitroQueueLeave(), whatever has become of the start.
 */
nitroQueuePlace *nitroQueueJoin(nitroQueue *queue);

/*
 * Waits until it is the turn of @place; call it without the lock of a domain. Returns false when
 * it was called off meanwhile.
 */
bool nitroQueueWait(nitroQueue *queue, nitroQueuePlace *place);

/*
 * From now on the turn of @place, which has come, is its own for @time ms; then another that waits
 * gets it, as the start may hang for ever. It can be set again and again; a turn that is lost is
 * not got back by that. Without it there is no such time.
 */
void nitroQueueSetTime(nitroQueue *queue, nitroQueuePlace *place, unsigned int time);

/* Whether @place still waits for its turn */
bool nitroQueueIsWaiting(nitroQueue *queue, const nitroQueuePlace *place);

/*
 * Makes @place give up if it waits, or gives its turn to another when it has come: its start is
 * over, and may hang. With NULL all that wait give up, now and later, as the daemon ends.
 */
void nitroQueueCancel(nitroQueue *queue, nitroQueuePlace *place);
void nitroQueueLeave(nitroQueue *queue, nitroQueuePlace *place);
