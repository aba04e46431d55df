/*
 * check_calls.h: the system calls of the program that checks images
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * sandbox/filter_rule.h says what this is. It reads the image, computes, says one line and ends.
 */

#pragma once

#include <asm/ioctls.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "sandbox/filter_rule.h"

static const FilterRule checkCalls[] = {
    /* the image, by its descriptor, and the verdict */
    {"read", FILTER_ALWAYS},
    {"pread64", FILTER_ALWAYS},
    {"lseek", FILTER_ALWAYS},
    /* the image is read from its beginning to its end */
    {"fadvise64", FILTER_ALWAYS},
    {"fstat", FILTER_ALWAYS},
    /* fstat() of glibc */
    {"newfstatat", FILTER_ALWAYS, {FILTER_IS(3, AT_EMPTY_PATH)}},
    {"write", FILTER_ALWAYS},
    /* glibc's last words */
    {"writev", FILTER_ALWAYS},
    {"close", FILTER_ALWAYS},
    /* glibc buffers what it writes, but for a terminal: it asks devices */
    {"ioctl", FILTER_ALWAYS, {FILTER_IS(1, TCGETS)}},

    /* memory, of which none is ever code */
    {"brk", FILTER_ALWAYS},
    {"mmap", FILTER_ALWAYS, {FILTER_LACKS(2, PROT_EXEC), FILTER_LACKS(3, MAP_HUGETLB)}},
    {"mprotect", FILTER_ALWAYS, {FILTER_LACKS(2, PROT_EXEC)}},
    {"mremap", FILTER_ALWAYS},
    {"munmap", FILTER_ALWAYS},
    {"madvise", FILTER_ALWAYS},
    {"futex", FILTER_ALWAYS},

    /* the date of a certificate, and what GnuTLS seeds its numbers with */
    {"clock_gettime", FILTER_ALWAYS},
    {"gettimeofday", FILTER_ALWAYS},
    {"time", FILTER_ALWAYS},
    {"getrandom", FILTER_ALWAYS},
    {"getpid", FILTER_ALWAYS},
    {"getrusage", FILTER_ALWAYS},

    /* abort(), up to the signal, which no call may send: it ends by this filter as well */
    {"rt_sigprocmask", FILTER_ALWAYS},
    {"rt_sigreturn", FILTER_ALWAYS},
    {"gettid", FILTER_ALWAYS},

    {"exit_group", FILTER_ALWAYS},
};
