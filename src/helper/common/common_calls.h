/*
 * common_calls.h: the system calls that every process of ours makes
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * sandbox/filter_rule.h says what this is. What a process has not got as a descriptor, it cannot
 * reach.
 */

#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "sandbox/filter_rule.h"

/* What makes a thread, and what would make it a process or take it out of a namespace */
#define CALLS_THREAD (CLONE_VM | CLONE_SIGHAND | CLONE_THREAD)
#define CALLS_NO_THREAD (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | \
                         CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

static const FilterRule commonCalls[] = {
    /* descriptors: the control socket, the log, the image */
    {"read", FILTER_ALWAYS},
    {"readv", FILTER_ALWAYS},
    {"write", FILTER_ALWAYS},
    {"writev", FILTER_ALWAYS},
    {"close", FILTER_ALWAYS},
    {"fstat", FILTER_ALWAYS},
    /* fstat() of glibc: with a path it would tell that a file is there, and its size, no more */
    {"newfstatat", FILTER_ALWAYS, {FILTER_IS(3, AT_EMPTY_PATH)}},
    {"lseek", FILTER_ALWAYS},
    /* the image is read from its beginning to its end */
    {"fadvise64", FILTER_ALWAYS},
    /* GLib asks for the flags of each descriptor that it is given */
    {"fcntl", FILTER_ALWAYS, {FILTER_IS(1, F_GETFL)}},
    {"fcntl", FILTER_ALWAYS, {FILTER_IS(1, F_SETFL)}},
    {"fcntl", FILTER_ALWAYS, {FILTER_IS(1, F_GETFD)}},
    {"fcntl", FILTER_ALWAYS, {FILTER_IS(1, F_SETFD)}},

    /* the log and the console are rotated: copied to descriptors of old output, and emptied */
    {"pread64", FILTER_ALWAYS},
    {"pwrite64", FILTER_ALWAYS},
    {"ftruncate", FILTER_ALWAYS},

    /* the main loop, and waiting for room in the log */
    {"poll", FILTER_ALWAYS},
    {"ppoll", FILTER_ALWAYS},
    {"eventfd2", FILTER_ALWAYS},

    /* clients of the control socket, or of the broker's */
    {"accept4", FILTER_ALWAYS},
    {"recvfrom", FILTER_ALWAYS, {FILTER_LACKS(3, MSG_OOB)}},
    {"sendto", FILTER_ALWAYS, {FILTER_LACKS(3, MSG_OOB)}},
    {"recvmsg", FILTER_ALWAYS, {FILTER_LACKS(2, MSG_OOB)}},
    {"shutdown", FILTER_ALWAYS},

    /* memory, of which none is ever code */
    {"brk", FILTER_ALWAYS},
    {"mmap", FILTER_ALWAYS, {FILTER_LACKS(2, PROT_EXEC), FILTER_LACKS(3, MAP_HUGETLB)}},
    {"mprotect", FILTER_ALWAYS, {FILTER_LACKS(2, PROT_EXEC)}},
    {"mremap", FILTER_ALWAYS},
    {"munmap", FILTER_ALWAYS},
    {"madvise", FILTER_ALWAYS},

    /* threads read and measure the image; no process is ever made */
    {"clone", FILTER_ALWAYS, {{0, CALLS_THREAD | CALLS_NO_THREAD, CALLS_THREAD}}},
    /* its arguments cannot be looked at: glibc takes clone() then */
    {"clone3", FILTER_ALWAYS, .error = ENOSYS},
    {"set_robust_list", FILTER_ALWAYS},
    {"rseq", FILTER_ALWAYS},
    {"futex", FILTER_ALWAYS},
    {"sched_yield", FILTER_ALWAYS},
    /* the name of a thread */
    {"prctl", FILTER_ALWAYS, {FILTER_IS(0, PR_SET_NAME)}},
    /* the thread that measures steps back */
    {"setpriority", FILTER_ALWAYS, {FILTER_IS(0, PRIO_PROCESS), FILTER_IS(1, 0)}},
    /* how many threads are of use */
    {"sched_getaffinity", FILTER_ALWAYS, {FILTER_IS(0, 0)}},
    {"exit", FILTER_ALWAYS},

    /*
     * signals: those that are waited for are blocked already, and the handler of this filter shall
     * stay. There is no call that sends one, as a filter does not know which processes are others:
     * abort() ends by this filter as well
     */
    {"rt_sigprocmask", FILTER_ALWAYS},
    {"rt_sigreturn", FILTER_ALWAYS},
    {"gettid", FILTER_ALWAYS},
    {"getpid", FILTER_ALWAYS},
    /* what the log says of this process */
    {"geteuid", FILTER_ALWAYS},
    {"getegid", FILTER_ALWAYS},
    /* a call that a stop and SIGCONT have interrupted */
    {"restart_syscall", FILTER_ALWAYS},

    /* time; mostly read without any call */
    {"clock_gettime", FILTER_ALWAYS},
    {"clock_getres", FILTER_ALWAYS},
    {"clock_nanosleep", FILTER_ALWAYS},
    {"nanosleep", FILTER_ALWAYS},
    {"gettimeofday", FILTER_ALWAYS},
    {"time", FILTER_ALWAYS},

    /* hash tables and the allocator */
    {"getrandom", FILTER_ALWAYS},

    /* the second stage, which can only take more away */
    {"seccomp", FILTER_SETUP, {FILTER_IS(0, SECCOMP_SET_MODE_FILTER)}},

    {"exit_group", FILTER_ALWAYS},
};
