/*
 * qemu_probe.h: whether a QEMU can have an NSM
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

#include "common/failure.h"

/*
 * Asks the program @qemu whether a user can create one of its generic vhost-user devices, with the
 * virtio id of an NSM: what it says of the device counts, not its version. The caller bounds the time.
 *
 * Returns 0 with *@device what QEMU calls the device (static), or NULL with *@reason set to why there is
 * none (g_free); or -1 with @failure set when it could not be found out.
 */
int qemuProbeNsm(const char *qemu, const char **device, char **reason, Failure *failure);
