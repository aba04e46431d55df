/*
 * poller.h: many descriptors in one source of the main loop
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The main loop looks at every descriptor each time around; with a thousand sockets that
 * is too slow. So those of one device share an epoll set, which is one descriptor.
 */

#pragma once

#include <stdint.h>

typedef struct _Poller Poller;

/* A descriptor in the set; the caller's, valid until pollerRemove(). */
typedef struct _PollerWatch PollerWatch;
struct _PollerWatch {
    int fd;
    void *opaque; /* the caller's */
    /* @events as of epoll_wait(); may add and remove any watch */
    void (*ready)(PollerWatch *watch, uint32_t events);
};

/* No pause: the owner is called again when a watch is ready. */
#define POLLER_WAIT (-1)

/*
 * @dispatched is called in the main loop after the watches have been, and also after
 * pollerContinue(). It returns the pause in microseconds after which it is to be called
 * again even if no watch is ready, 0 for as soon as possible, or POLLER_WAIT. Returns NULL
 * when the system is out of descriptors.
 */
Poller *pollerNew(int (*dispatched)(void *opaque), void *opaque);
/* All watches must have been removed, or be gone. */
void pollerFree(Poller *poller);

/* @events as of epoll_ctl(). Return 0, or -errno. */
int pollerAdd(Poller *poller, PollerWatch *watch, uint32_t events);
int pollerModify(Poller *poller, PollerWatch *watch, uint32_t events);
/* Call it before the descriptor is closed. */
void pollerRemove(Poller *poller, PollerWatch *watch);

/* Has @dispatched called again as soon as other sources have had their turn. */
void pollerContinue(Poller *poller);
