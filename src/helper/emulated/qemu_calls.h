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

#include <errno.h>
#include <linux/sched.h>

#include "sandbox/filter_rule.h"

#define QEMU_REFUSED(name) {name, FILTER_RUN, .error = EPERM}
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

    /* other processes, where there is no namespace of processes; threads get theirs by tgkill() */
    QEMU_REFUSED("kill"),
    QEMU_REFUSED("tkill"),
    QEMU_REFUSED("rt_sigqueueinfo"),
    QEMU_REFUSED("rt_tgsigqueueinfo"),
    QEMU_REFUSED("pidfd_open"),
    QEMU_REFUSED("pidfd_send_signal"),
    QEMU_REFUSED("pidfd_getfd"),

    /* keys are not in any namespace but the user's */
    QEMU_REFUSED("add_key"),
    QEMU_REFUSED("request_key"),
    QEMU_REFUSED("keyctl"),

    /* large parts of the kernel that a virtual machine has no use for */
    QEMU_MISSING("io_uring_setup"),
    QEMU_MISSING("userfaultfd"),
    QEMU_REFUSED("bpf"),
    QEMU_REFUSED("perf_event_open"),
    QEMU_REFUSED("ptrace"),
    QEMU_REFUSED("process_vm_readv"),
    QEMU_REFUSED("process_vm_writev"),
    QEMU_REFUSED("open_by_handle_at"),
    QEMU_REFUSED("kcmp"),
};
