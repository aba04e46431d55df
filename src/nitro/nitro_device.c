/*
 * nitro_device.c: opens the device of the Nitro Hypervisor
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A path in, a descriptor or one sentence out: the only place that says why a device cannot be
 * had. What it then says to the helper is explained in src/helper/device/ne_error.c.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nitro_device.h"
#include "virerror.h"
#include "virutil.h"

#define VIR_FROM_THIS VIR_FROM_NITRO


static void
nitroDeviceReportDenied(const char *path,
                        int err)
{
    g_autofree char *user = NULL;
    g_autofree char *group = NULL;
    struct stat sb;

    if (stat(path, &sb) < 0) {
        virReportSystemError(err, _("cannot open the device '%s'"), path);
        return;
    }

    /* Not every id has a name, above all in containers. */
    if (!(user = virGetUserName(geteuid())))
        user = g_strdup_printf("%u", geteuid());
    if (!(group = virGetGroupName(sb.st_gid)))
        group = g_strdup_printf("%u", sb.st_gid);
    virReportError(VIR_ERR_OPERATION_DENIED,
                   _("user '%s' may not open the device '%s', which is for root and the group '%s': add the user to the group ('usermod -aG %s %s') and log in again"),
                   user, path, group, group, user);
}


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
        nitroDeviceReportDenied(path, err);
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
nitroDeviceCheck(const char *path)
{
    if (access(path, R_OK | W_OK) == 0)
        return 0;

    nitroDeviceReportError(path, errno);
    return -1;
}


int
nitroDeviceOpen(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        nitroDeviceReportError(path, errno);
    return fd;
}
