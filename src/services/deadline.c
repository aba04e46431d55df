/*
 * deadline.c: until when something must have happened, for thousands of things
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * They are in the order of their times, so a tick looks at those that have passed alone.
 */

#include "deadline.h"

#include <stddef.h>

static GQueue deadlines = G_QUEUE_INIT;
static guint deadlineTimer; /* ticks while there are any */

static gboolean
deadlineOnTick(gpointer opaque G_GNUC_UNUSED)
{
    gint64 now = g_get_monotonic_time();
    Deadline *first;

    while ((first = g_queue_peek_head(&deadlines)) && first->at <= now) {
        deadlineClear(first);
        first->passed(first);
    }
    if (deadlines.length > 0)
        return G_SOURCE_CONTINUE;
    deadlineTimer = 0;
    return G_SOURCE_REMOVE;
}

void
deadlineSet(Deadline *deadline, unsigned int ms, void (*passed)(Deadline *deadline))
{
    const GList *before;
    guint place;

    deadlineClear(deadline);
    deadline->passed = passed;
    deadline->at = g_get_monotonic_time() + ms * (gint64)1000;
    deadline->node.data = deadline;

    /* There are few different spans, so its place is near the end. */
    before = deadlines.tail;
    place = deadlines.length;
    while (before && ((const Deadline *)before->data)->at > deadline->at) {
        before = before->prev;
        place--;
    }
    g_queue_push_nth_link(&deadlines, place, &deadline->node);

    if (deadlineTimer == 0)
        deadlineTimer = g_timeout_add(DEADLINE_TICK_MS, deadlineOnTick, NULL);
}

void
deadlineClear(Deadline *deadline)
{
    if (deadline->at == 0)
        return;
    g_queue_unlink(&deadlines, &deadline->node);
    deadline->at = 0;
}
