/*
 * sanitizer_calls.h: the system calls of AddressSanitizer, in builds for tests only
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * It looks for its own memory map and writes a report at errors; at the end it stops all threads
 * from a process of its own, and looks for leaks.
 */

#pragma once

#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/sched.h>

#include "sandbox/filter_rule.h"

static const FilterRule sanitizerCalls[] = {
    {"openat", FILTER_ALWAYS, {FILTER_LACKS(2, O_ACCMODE)}},
    {"open", FILTER_ALWAYS, {FILTER_LACKS(1, O_ACCMODE)}},
    {"readlink", FILTER_ALWAYS},
    {"readlinkat", FILTER_ALWAYS},
    {"newfstatat", FILTER_ALWAYS},
    {"stat", FILTER_ALWAYS},
    {"getdents", FILTER_ALWAYS},
    {"getdents64", FILTER_ALWAYS},
    {"ioctl", FILTER_ALWAYS, {FILTER_IS(1, TCGETS)}},
    {"sigaltstack", FILTER_ALWAYS},
    {"rt_sigaction", FILTER_ALWAYS},
    {"tgkill", FILTER_ALWAYS},
    {"clone", FILTER_ALWAYS, {{0, CLONE_VM | CLONE_NEWUSER, CLONE_VM}}},
    {"ptrace", FILTER_ALWAYS},
    {"exit", FILTER_ALWAYS},
    {"prctl", FILTER_ALWAYS},
    {"wait4", FILTER_ALWAYS},
    {"kill", FILTER_ALWAYS},
    {"getpid", FILTER_ALWAYS},
    {"getppid", FILTER_ALWAYS},
    {"gettid", FILTER_ALWAYS},
    {"getuid", FILTER_ALWAYS},
    {"geteuid", FILTER_ALWAYS},
    {"getrlimit", FILTER_ALWAYS},
    {"prlimit64", FILTER_ALWAYS},
    {"getrusage", FILTER_ALWAYS},
    {"sched_getaffinity", FILTER_ALWAYS},
    {"sched_yield", FILTER_ALWAYS},
    {"pipe2", FILTER_ALWAYS},
    {"process_vm_readv", FILTER_ALWAYS},
    {"uname", FILTER_ALWAYS},
};
