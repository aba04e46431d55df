/*
 * nitro_device.c: opens the device of the Nitro Hypervisor
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A path in, a descriptor or one sentence out. What the device then says to the helper is
 * explained in src/helper/ne_error.c.
 */

#include <config.h>

#include <fcntl.h>
#include <unistd.h>

#include "nitro_device.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_DOMAIN


static void
nitroDeviceReportError(const char *path,
                       int err)
{
    switch (err) {
    case ENOENT:
    case ENOTDIR:
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("machine 'nitro' needs the device '%s', which this host does not have: start the domain on an EC2 instance with enclaves enabled, or use machine 'nitro-enclave' to emulate it"),
                       path);
        break;
    case ENODEV:
    case ENXIO:
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("the device '%s' has no driver behind it: load the kernel module 'nitro_enclaves' on an EC2 instance with enclaves enabled, or use machine 'nitro-enclave' to emulate it"),
                       path);
        break;
    case EACCES:
    case EPERM:
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("user %lld may not open the device '%s': make it a member of the group that the device belongs to (ne), and restart virtnitrod in a new session"),
                       (long long) geteuid(), path);
        break;
    case EBUSY:
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("the device '%s' is busy: end the other program that uses it, or try again"),
                       path);
        break;
    default:
        virReportSystemError(err, _("cannot open the device '%s'"), path);
    }
}


int
nitroDeviceOpen(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        nitroDeviceReportError(path, errno);
    return fd;
}
