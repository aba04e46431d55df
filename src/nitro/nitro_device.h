/*
 * nitro_device.h: opens the device of the Nitro Hypervisor
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

/*
 * Opens the device @path (/dev/nitro_enclaves) for a helper. Returns the descriptor,
 * close-on-exec and the caller's to close, or -1 with an error set that says what to do:
 * VIR_ERR_OPERATION_UNSUPPORTED when this host has no such device, VIR_ERR_OPERATION_DENIED
 * when this process may not open it, VIR_ERR_OPERATION_FAILED when it is busy,
 * VIR_ERR_SYSTEM_ERROR otherwise.
 */
int nitroDeviceOpen(const char *path);

/*
 * Checks that nitroDeviceOpen() would find the device and may open it, without doing so.
 * Returns 0, or -1 with the same error set.
 */
int nitroDeviceCheck(const char *path);
