/*
 * qemu_command.h: the command line of QEMU, and what it sees of the host
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>
#include <stdbool.h>

#include "options.h"

/* Inherited descriptors as QEMU sees them; bubblewrap hands all on that it inherits. */
enum {
    QEMU_FD_KERNEL = 10,
    QEMU_FD_RAMDISK,
    QEMU_FD_SERIAL,
    QEMU_FD_QMP,
    QEMU_FD_VSOCK,
    QEMU_FD_NSM,
    QEMU_FD_FILTER, /* which bubblewrap reads and closes */
};

typedef struct {
    const Options *options;
    const char *qemu;    /* path of the program */
    bool kvm;            /* not TCG */
    bool acpi;
    bool icount;
    bool ramdisk;        /* there is one */
    const char *cmdline; /* of the kernel */
} QemuCommand;

/*
 * The arguments of QEMU, beginning with its path (g_ptr_array_unref), NULL at the end. QEMU starts
 * with stopped vCPUs.
 */
GPtrArray *qemuCommandBuild(const QemuCommand *command);

/*
 * Puts bubblewrap before the arguments @argv of QEMU: with namespaces of its own, in which there is
 * QEMU, its libraries and firmware, all read-only, /proc of its own processes, and /dev/kvm with
 * @kvm; under the filter of system calls that QEMU_FD_FILTER reads, if @filtered: as QEMU always is, and a
 * program that stands for it in a trial is not. Source: bwrap(1).
 */
void qemuCommandConfine(GPtrArray *argv, bool kvm, bool filtered);

/* The paths that QEMU, the program @qemu, reads (g_strfreev); some may not exist. */
char **qemuCommandGetPaths(const char *qemu);

#define QEMU_KVM_DEVICE "/dev/kvm"
