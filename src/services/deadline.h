/*
 * deadline.h: until when something must have happened, for thousands of things
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The main loop looks at each of its own timers each time around; these share one, which is as
 * exact as DEADLINE_TICK_MS. For the main thread only.
 */

#pragma once

#include <glib.h>

#define DEADLINE_TICK_MS 50

/* Part of the caller's struct; all zero: not set. */
typedef struct _Deadline Deadline;
struct _Deadline {
    GList node;
    gint64 at; /* monotonic, us; 0: not set */
    void (*passed)(Deadline *deadline); /* may set, clear and free any */
};

/* Has @passed called once, in @ms milliseconds; replaces what was set. */
void deadlineSet(Deadline *deadline, unsigned int ms, void (*passed)(Deadline *deadline));

/* Nothing happens to one that is not set. To be called before it is freed. */
void deadlineClear(Deadline *deadline);
