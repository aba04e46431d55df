/*
 * validate_device.c: checks of what the machine "nitro" needs
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * In the order in which a start needs them: kernel module, device, CPU pool, vsock, and
 * the port of the boot heartbeat. No enclave is created: opening the device takes nothing.
 */

#include <config.h>

#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <linux/vm_sockets.h>

#include "nitro_cpu_list.h"
#include "validate.h"
#include "virbitmap.h"
#include "virfile.h"

#define MODULE "nitro_enclaves"
#define DEVICE "/dev/nitro_enclaves"
#define DEVICE_GROUP "ne"
#define POOL "/sys/module/" MODULE "/parameters/ne_cpus"
#define PRESENT "/sys/devices/system/cpu/present"
#define SIBLINGS "/sys/devices/system/cpu/cpu0/topology/thread_siblings_list"
#define VSOCK "/dev/vsock"
#define HEARTBEAT_PORT 9000

/* As the kernel's largest CPU number and libvirt's */
#define CPUS_MAX 16384


static void
validateModule(const char *root)
{
    g_autofree char *path = g_strdup_printf("%s/sys/module/%s", root, MODULE);

    validateCheck(VALIDATE_NITRO, _("if the kernel module '%s' is loaded"), MODULE);

    if (virFileExists(path)) {
        validatePass();
    } else {
        validateFail(_("Load it with 'modprobe %s', on an EC2 instance that has been started "
                       "with enclaves enabled"), MODULE);
    }
}


static void
validateDeviceOpen(const char *path)
{
    VIR_AUTOCLOSE fd = -1;

    validateCheck(VALIDATE_NITRO, _("if the device %s can be opened"), DEVICE);

    if ((fd = open(path, O_RDWR | O_CLOEXEC)) >= 0) {
        validatePass();
    } else if (errno == EACCES) {
        validateFail(_("Add your user to the group '%s' with 'usermod -a -G %s %s', and log in "
                       "again"), DEVICE_GROUP, DEVICE_GROUP, validateShown(g_get_user_name()));
    } else {
        validateFail(_("It cannot be opened: %s"), g_strerror(errno));
    }
}


/* Without the group, root's domains can be started all the same. */
static void
validateDeviceGroup(const char *path)
{
    struct group *group = getgrnam(DEVICE_GROUP);
    struct stat st;

    validateCheck(VALIDATE_NITRO, _("if the group '%s' may use the device"), DEVICE_GROUP);

    if (!group) {
        validateWarn(_("Only root can start enclaves: create the group with 'groupadd %s', and "
                       "give it the device"), DEVICE_GROUP);
    } else if (stat(path, &st) < 0) {
        validateFail(_("It cannot be looked at: %s"), g_strerror(errno));
    } else if (st.st_gid != group->gr_gid || (st.st_mode & 0060) != 0060) {
        validateWarn(_("Only root can start enclaves: give the group the device with 'chgrp %s "
                       "%s' and 'chmod g+rw %s'"), DEVICE_GROUP, DEVICE, DEVICE);
    } else {
        validatePass();
    }
}


static void
validateDeviceFile(const char *root)
{
    g_autofree char *path = g_strconcat(root, DEVICE, NULL);

    validateCheck(VALIDATE_NITRO, _("if the device %s exists"), DEVICE);

    if (!virFileExists(path)) {
        validateFail(_("The kernel module makes it, on an EC2 instance that has been started with "
                       "enclaves enabled"));
        return;
    }
    validatePass();
    validateDeviceOpen(path);
    validateDeviceGroup(path);
}


/* The pool, or NULL when it is not set or cannot be read. */
static virBitmap *
validatePoolRead(const char *root)
{
    g_autofree char *poolPath = g_strconcat(root, POOL, NULL);
    g_autofree char *presentPath = g_strconcat(root, PRESENT, NULL);
    g_autoptr(virBitmap) present = NULL;
    g_autoptr(virBitmap) pool = NULL;
    g_autofree char *presentText = NULL;
    g_autofree char *text = NULL;
    g_autofree char *list = NULL;

    if (virFileReadAllQuiet(presentPath, 64 * 1024, &presentText) < 0 ||
        virBitmapParse(presentText, &present, CPUS_MAX) < 0 ||
        virFileReadAllQuiet(poolPath, 64 * 1024, &text) < 0)
        return NULL;
    list = nitroCpuListExpand(text, virBitmapLastSetBit(present));
    if (!list || !*list || virBitmapParse(list, &pool, CPUS_MAX) < 0 || virBitmapIsAllClear(pool))
        return NULL;
    return g_steal_pointer(&pool);
}


/* The kernel takes whole cores only. CPU 0 is never in the pool: its siblings are online. */
static void
validatePoolCores(const char *root,
                  virBitmap *pool)
{
    g_autofree char *path = g_strconcat(root, SIBLINGS, NULL);
    g_autoptr(virBitmap) siblings = NULL;
    g_autofree char *text = NULL;
    size_t threads;

    validateCheck(VALIDATE_NITRO, "%s", _("if the CPU pool has whole cores"));

    if (virFileReadAllQuiet(path, 64 * 1024, &text) < 0 ||
        virBitmapParse(text, &siblings, CPUS_MAX) < 0) {
        validateWarn(_("The threads of a core cannot be read from %s"), SIBLINGS);
        return;
    }
    threads = virBitmapCountBits(siblings);
    if (threads == 0 || virBitmapCountBits(pool) % threads != 0) {
        validateFail(_("A core has %zu threads: give the pool all threads of each core"), threads);
        return;
    }
    validatePass();
}


static void
validatePool(const char *root)
{
    g_autoptr(virBitmap) pool = validatePoolRead(root);
    g_autofree char *list = NULL;

    if (!pool) {
        validateCheck(VALIDATE_NITRO, "%s", _("if the CPU pool is set"));
        validateFail(_("Set it in nitro.conf or with 'echo LIST > %s': whole cores of one NUMA "
                       "node, without CPU 0 and its siblings"), POOL);
        return;
    }

    list = virBitmapFormat(pool);
    validateCheck(VALIDATE_NITRO, _("if the CPU pool is set (%zu CPUs: %s)"),
                  virBitmapCountBits(pool), list);
    validatePass();
    validatePoolCores(root, pool);
}


static void
validateVsock(const char *root)
{
    g_autofree char *path = g_strconcat(root, VSOCK, NULL);

    validateCheck(VALIDATE_NITRO, _("if the device %s exists"), VSOCK);

    if (virFileExists(path))
        validatePass();
    else
        validateFail(_("Load the kernel module with 'modprobe %s'"), "vsock");
}


/* A socket that is bound and closed again at once disturbs nobody who listens later. */
static void
validateHeartbeatPort(void)
{
    struct sockaddr_vm addr = {
        .svm_family = AF_VSOCK,
        .svm_cid = VMADDR_CID_ANY,
        .svm_port = HEARTBEAT_PORT,
    };
    VIR_AUTOCLOSE fd = -1;

    validateCheck(VALIDATE_NITRO, _("if the heartbeat's vsock port %d is free"), HEARTBEAT_PORT);

    if ((fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0 &&
        bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0) {
        validatePass();
    } else if (errno == EADDRINUSE) {
        validateWarn(_("An enclave is booting, or a program other than virtnitrod listens there: "
                       "a start waits until it has ended"));
    } else {
        validateFail(_("It cannot be bound: %s"), g_strerror(errno));
    }
}


void
validateDevice(const char *root)
{
    validateModule(root);
    validateDeviceFile(root);
    validatePool(root);
    validateHugepages(root);
    validateVsock(root);
    validateHeartbeatPort();
}
