/*
 * nitro_wait.h: waits that a step of the host's clock neither cuts short nor prolongs
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <time.h>

#include "virthread.h"

/*
 * Waits for @cond, with @lock held, until g_get_monotonic_time() is @end. virCondWaitUntil()
 * takes a time of CLOCK_REALTIME, which can be set meanwhile. Returns 0 when it was woken, or
 * -1 with errno set, ETIMEDOUT in the end.
 */
static inline int
nitroCondWaitUntil(virCond *cond,
                   virMutex *lock,
                   gint64 end)
{
    struct timespec ts = {
        .tv_sec = end / G_USEC_PER_SEC,
        .tv_nsec = end % G_USEC_PER_SEC * 1000,
    };

    errno = pthread_cond_clockwait(&cond->cond, &lock->lock, CLOCK_MONOTONIC, &ts);
    return errno == 0 ? 0 : -1;
}
