/*
 * qmp.h: what the emulated machine needs of QEMU's monitor protocol
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source: QEMU's QMP specification; one JSON object a line.
 */

#pragma once

#include <glib.h>

typedef struct _Qmp Qmp;

typedef struct {
    /* QEMU has set up its machine, and the vCPUs run. */
    void (*running)(void *opaque);
    /* The event SHUTDOWN; @reason is QEMU's ("guest-reset", ...), valid during the call. */
    void (*shutdown)(const char *reason, void *opaque);
    /*
     * QEMU is of no use any more: it has refused to start the guest, has stopped it by
     * itself, or does not speak the protocol. @text says which, valid during the call.
     */
    void (*broken)(const char *text, void *opaque);
} QmpCallbacks;

/*
 * Talks on the connected socket @fd, which it owns from here on, with a QEMU that was started
 * with stopped vCPUs (-S), and lets them run. Never NULL.
 */
Qmp *qmpNew(int fd, const QmpCallbacks *callbacks, void *opaque);
void qmpFree(Qmp *qmp);

/* Handles what QEMU has sent until now: for the last words of one that has ended. */
void qmpDrain(Qmp *qmp);
