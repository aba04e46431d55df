/*
 * nsm_device.h: the NSM of the emulated machine as a virtio device
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What QEMU's "vhost-user-test-device" with virtio-id=33 talks with: ties the ring (vhost_user.h)
 * and the module (nsm.h) together. Source of the device: Linux, drivers/misc/nsm.c: one queue, in
 * which the driver puts a request and a buffer for the reply as two chains and gets them
 * back in this order.
 */

#pragma once

#include "nsm.h"

/* The id of such a device: VIRTIO_ID_NITRO_SEC_MOD of Linux */
#define NSM_DEVICE_ID 33

typedef struct _NsmDevice NsmDevice;

/*
 * @fd is connected with QEMU and is taken over; @nsm stays the caller's. @ended is called, once, from
 * within the main loop, when the connection is over: with @broken when QEMU does not keep to the
 * protocol. It must not free the device. Returns NULL with errno set, and @fd is the caller's still,
 * when the system is out of descriptors.
 */
NsmDevice *nsmDeviceNew(int fd, Nsm *nsm, void (*ended)(bool broken, void *opaque), void *opaque);
void nsmDeviceFree(NsmDevice *device);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NsmDevice, nsmDeviceFree)

/* Lets the device answer, which it does not before: the registers are known. */
void nsmDeviceSetReady(NsmDevice *device);
