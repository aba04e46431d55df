/*
 * vhost_user.h: the back end's side of the vhost-user protocol
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source: QEMU's "Vhost-user Protocol" specification (docs/interop/vhost-user.rst). QEMU,
 * the front end, tells over a UNIX socket where the guest's memory and the device's rings
 * are, and answers for the device's configuration space.
 */

#pragma once

#include "common/poller.h"
#include "vsock/vring.h"

/* The most rings that a device of ours has */
#define VHOST_USER_RINGS_MAX 2

typedef struct _VhostUser VhostUser;

/* What a device is like */
typedef struct _VhostUserDevice VhostUserDevice;
struct _VhostUserDevice {
    const char *name;   /* in messages; static */
    unsigned int nrings;
    const void *config; /* the configuration space, @configSize bytes; copied */
    size_t configSize;
};

/* All are called from within the main loop, and must not free the back end. */
typedef struct _VhostUserCallbacks VhostUserCallbacks;
struct _VhostUserCallbacks {
    /* All rings run: the guest's driver is there. */
    void (*started)(void *opaque);
    /* They are about to stop, and can be used a last time. */
    void (*stopping)(void *opaque);
    /* The front end has broken the protocol: nothing more comes. */
    void (*failed)(void *opaque);
    /* It has closed the connection: nothing more comes. NULL: others tell of its end. */
    void (*ended)(void *opaque);
};

/*
 * @fd is connected with the front end, and is closed by vhostUserFree(). Kicks wake the poller,
 * which is all they do. Never NULL.
 */
VhostUser *vhostUserNew(Poller *poller, int fd, const VhostUserDevice *device,
                        const VhostUserCallbacks *callbacks, void *opaque);
/* Frees all without a callback. */
void vhostUserFree(VhostUser *vhostUser);

/* The ring @index; valid until vhostUserFree(), running or not. */
Vring *vhostUserRing(VhostUser *vhostUser, unsigned int index);

/* Notifies the guest of what ring @index has used. */
void vhostUserNotify(VhostUser *vhostUser, unsigned int index);

/* Tells the front end that ring @index is broken. */
void vhostUserTellBroken(VhostUser *vhostUser, unsigned int index);

/* The guest's memory, or NULL */
const GuestMemory *vhostUserMemory(const VhostUser *vhostUser);
