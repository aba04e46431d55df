/*
 * poller.c: many descriptors in one source of the main loop
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: the main loop finds the epoll descriptor ready -> a batch of events is fetched ->
 * each watch's function, and at last the owner's. A watch that is removed meanwhile is
 * struck from the batch. In the owner's pauses the next batch is waited for here, for the
 * main loop knows milliseconds only; other sources get their turn after a while.
 */

#include "common/poller.h"

#include <errno.h>
#include <glib-unix.h>
#include <sys/epoll.h>
#include <unistd.h>

#define POLLER_BATCH 64

/* Pauses before other sources of the main loop have their turn */
#define POLLER_TURNS 16

struct _Poller {
    int fd;
    GSource *source;
    guint again; /* source of pollerContinue() */
    int (*dispatched)(void *opaque);
    void *opaque;
    struct epoll_event batch[POLLER_BATCH];
    int nbatch;
};

/* Handles what is ready, after up to @us microseconds. */
static void
pollerFetch(Poller *poller, int us)
{
    const struct timespec pause = {.tv_nsec = us * 1000L};
    int i;

    poller->nbatch = epoll_pwait2(poller->fd, poller->batch, POLLER_BATCH, &pause, NULL);
    /* before Linux 5.11, or with a filter that does not know it: no pause then */
    if (poller->nbatch < 0 && (errno == ENOSYS || errno == EPERM))
        poller->nbatch = epoll_wait(poller->fd, poller->batch, POLLER_BATCH, 0);
    for (i = 0; i < poller->nbatch; i++) {
        PollerWatch *watch = poller->batch[i].data.ptr;

        if (watch)
            watch->ready(watch, poller->batch[i].events);
    }
    poller->nbatch = 0;
}

/* Calls the owner, and again after pauses while it wants these. */
static void
pollerDispatch(Poller *poller)
{
    int pause = poller->dispatched(poller->opaque);
    int turn;

    for (turn = 0; turn < POLLER_TURNS && pause > 0; turn++) {
        pollerFetch(poller, pause);
        pause = poller->dispatched(poller->opaque);
    }
    if (pause != POLLER_WAIT)
        pollerContinue(poller);
}

static gboolean
pollerOnReady(gint fd G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED, gpointer opaque)
{
    pollerFetch(opaque, 0);
    pollerDispatch(opaque);
    return G_SOURCE_CONTINUE;
}

static gboolean
pollerOnAgain(gpointer opaque)
{
    Poller *poller = opaque;

    poller->again = 0;
    pollerDispatch(poller);
    return G_SOURCE_REMOVE;
}

Poller *
pollerNew(int (*dispatched)(void *opaque), void *opaque)
{
    Poller *poller;
    int fd = epoll_create1(EPOLL_CLOEXEC);

    if (fd < 0)
        return NULL;
    poller = g_new0(Poller, 1);
    poller->fd = fd;
    poller->dispatched = dispatched;
    poller->opaque = opaque;
    poller->source = g_unix_fd_source_new(fd, G_IO_IN);
    g_source_set_callback(poller->source, G_SOURCE_FUNC(pollerOnReady), poller, NULL);
    /* GLib would take the descriptor out of its set around each call, and wake itself. */
    g_source_set_can_recurse(poller->source, TRUE);
    g_source_attach(poller->source, NULL);
    return poller;
}

void
pollerFree(Poller *poller)
{
    if (!poller)
        return;
    g_source_destroy(poller->source);
    g_source_unref(poller->source);
    if (poller->again > 0)
        g_source_remove(poller->again);
    close(poller->fd);
    g_free(poller);
}

static int
pollerControl(Poller *poller, int op, PollerWatch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data = {.ptr = watch}};

    return epoll_ctl(poller->fd, op, watch->fd, &event) < 0 ? -errno : 0;
}

int
pollerAdd(Poller *poller, PollerWatch *watch, uint32_t events)
{
    return pollerControl(poller, EPOLL_CTL_ADD, watch, events);
}

int
pollerModify(Poller *poller, PollerWatch *watch, uint32_t events)
{
    return pollerControl(poller, EPOLL_CTL_MOD, watch, events);
}

void
pollerRemove(Poller *poller, PollerWatch *watch)
{
    int i;

    pollerControl(poller, EPOLL_CTL_DEL, watch, 0);
    for (i = 0; i < poller->nbatch; i++) {
        if (poller->batch[i].data.ptr == watch)
            poller->batch[i].data.ptr = NULL;
    }
}

void
pollerContinue(Poller *poller)
{
    if (poller->again == 0)
        poller->again = g_timeout_add(0, pollerOnAgain, poller);
}
