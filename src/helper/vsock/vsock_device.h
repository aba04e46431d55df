/*
 * vsock_device.h: the vsock device of the emulated machine
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What QEMU's "vhost-user-vsock-device" talks with: ties the rings (vhost_user.h), the
 * protocol (vsock.h) and the host's sockets (vsock_host.h) together.
 */

#pragma once

#include "vsock/vsock_host.h"

/* How long programs may take to read what the guest sent before its end */
#define VSOCK_DEVICE_FINISH_MS 5000

typedef struct _VsockDevice VsockDevice;

/* Called from within the main loop; must not free the device. */
typedef struct _VsockDeviceCallbacks VsockDeviceCallbacks;
struct _VsockDeviceCallbacks {
    /* Something came to the heartbeat's port; @byte did, unless it was closed. */
    void (*heartbeat)(VsockHeartbeat what, uint8_t byte, void *opaque);
    /* The device does not work any more, for QEMU does not keep to the protocol. */
    void (*failed)(void *opaque);
    /* vsockDeviceFinish() has come to its end, once. */
    void (*finished)(void *opaque);
};

/*
 * @fd is connected with QEMU and is taken over; @dials, @listenFd and @servicesFd as
 * for vsockHostNew(). Returns NULL with errno set, and @fd is the caller's still, when the system is
 * out of descriptors.
 */
VsockDevice *vsockDeviceNew(int fd, uint32_t cid, bool dials, int listenFd, int servicesFd,
                            const VsockDeviceCallbacks *callbacks, void *opaque);
/* Closes all connections. */
void vsockDeviceFree(VsockDevice *device);

/* Whether a guest's driver has ever started the device. */
bool vsockDeviceWasStarted(const VsockDevice *device);

/* QEMU has ended: takes what the guest sent at last. */
void vsockDeviceDrain(VsockDevice *device);

/*
 * After vsockDeviceDrain(): delivers to programs what they have not read yet, for up to
 * VSOCK_DEVICE_FINISH_MS. finished() tells of the end, from within this function when
 * there is nothing to wait for.
 */
void vsockDeviceFinish(VsockDevice *device);
