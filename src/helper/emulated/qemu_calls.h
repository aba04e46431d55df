/*
 * qemu_calls.h: the system calls that QEMU does not get
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * sandbox/filter_rule.h says what this is; but these fail, and all others are allowed: what QEMU
 * needs is QEMU's business, which has a filter of its own (-sandbox). This one is for what a
 * namespace does not keep from the host, as AF_VSOCK, and for doors to much of the kernel's code.
 */

#pragma once

#include <asm/sockios.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>

#include "sandbox/filter_rule.h"

#define QEMU_REFUSED(name) {name, FILTER_RUN, .error = EPERM}
/* Linux numbers processes up to 2^22. */
#define QEMU_LIMIT(bit) {"prlimit64", FILTER_RUN, {{0, 1u << (bit), 1u << (bit)}}, .error = EPERM}
#define QEMU_MISSING(name) {name, FILTER_RUN, .error = ENOSYS}

static const FilterRule qemuCalls[] = {
    /* it gets all its sockets from us */
    QEMU_REFUSED("socket"),

    /* no further namespaces, nor mounts in those that there are */
    QEMU_REFUSED("unshare"),
    QEMU_REFUSED("setns"),
    {"clone", FILTER_RUN, {{0, CLONE_NEWUSER, CLONE_NEWUSER}}, .error = EPERM},
    QEMU_MISSING("clone3"),
    QEMU_REFUSED("mount"),
    QEMU_REFUSED("umount2"),
    QEMU_REFUSED("pivot_root"),
    QEMU_REFUSED("chroot"),
    QEMU_REFUSED("open_tree"),
    QEMU_REFUSED("move_mount"),
    QEMU_REFUSED("fsopen"),
    QEMU_REFUSED("fsmount"),
    QEMU_REFUSED("mount_setattr"),

    /* other processes, where there is no namespace of processes; threads get theirs by tgkill():
     * see qemuSignalCalls */
    QEMU_REFUSED("kill"),
    QEMU_REFUSED("tkill"),
    QEMU_REFUSED("rt_sigqueueinfo"),
    QEMU_REFUSED("rt_tgsigqueueinfo"),
    QEMU_REFUSED("pidfd_open"),
    QEMU_REFUSED("pidfd_send_signal"),
    QEMU_REFUSED("pidfd_getfd"),
    /* whom the kernel sends a signal, any, for a descriptor */
    {"fcntl", FILTER_RUN, {FILTER_IS(1, F_SETOWN)}, .error = EPERM},
    {"fcntl", FILTER_RUN, {FILTER_IS(1, F_SETOWN_EX)}, .error = EPERM},
    {"ioctl", FILTER_RUN, {FILTER_IS(1, FIOSETOWN)}, .error = EPERM},
    {"ioctl", FILTER_RUN, {FILTER_IS(1, SIOCSPGRP)}, .error = EPERM},
    QEMU_REFUSED("setpriority"),
    /* whose limits: 0 is its own; any other number has one of these bits */
    QEMU_LIMIT(0), QEMU_LIMIT(1), QEMU_LIMIT(2), QEMU_LIMIT(3), QEMU_LIMIT(4), QEMU_LIMIT(5),
    QEMU_LIMIT(6), QEMU_LIMIT(7), QEMU_LIMIT(8), QEMU_LIMIT(9), QEMU_LIMIT(10), QEMU_LIMIT(11),
    QEMU_LIMIT(12), QEMU_LIMIT(13), QEMU_LIMIT(14), QEMU_LIMIT(15), QEMU_LIMIT(16),
    QEMU_LIMIT(17), QEMU_LIMIT(18), QEMU_LIMIT(19), QEMU_LIMIT(20), QEMU_LIMIT(21),

    /* and what they share */
    QEMU_REFUSED("shmget"),
    QEMU_REFUSED("semget"),
    QEMU_REFUSED("msgget"),

    /* keys are not in any namespace but the user's */
    QEMU_REFUSED("add_key"),
    QEMU_REFUSED("request_key"),
    QEMU_REFUSED("keyctl"),

    /* large parts of the kernel that a virtual machine has no use for */
    QEMU_REFUSED("io_uring_setup"),
    QEMU_REFUSED("userfaultfd"),
    QEMU_REFUSED("bpf"),
    QEMU_REFUSED("perf_event_open"),
    QEMU_REFUSED("ptrace"),
    QEMU_REFUSED("process_vm_readv"),
    QEMU_REFUSED("process_vm_writev"),
    QEMU_REFUSED("open_by_handle_at"),
    QEMU_REFUSED("kcmp"),
};

/* Without a namespace of processes. Where there is one QEMU's number is another one in it. */
static const FilterRule qemuSignalCalls[] = {
    {"tgkill", FILTER_RUN, {FILTER_IS_NOT(0, FILTER_SELF)}, .error = EPERM},
};
