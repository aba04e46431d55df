/*
 * sandbox.h: takes away from this process what its work does not need
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The order, in a process that runs an enclave:
 *
 *   sandboxBegin()   what programs could gain, keys and core dumps are given up, for good
 *     |              the options are read; files are opened; the launcher of QEMU is forked
 *   sandboxLeaveHost()         the emulated machine: the file system and the network are left
 *   sandboxDropCapabilities()
 *     |              signals are caught, the worker is made
 *   sandboxEnter()   only the system calls of the set up are allowed from here on, in which the
 *     |              image is read
 *   sandboxTighten() the enclave runs: fewer calls are
 *
 * What cannot be had is a failure, but for what the caller has been told to do without: nothing is
 * left out in silence. @failure has the errno of the call that was refused.
 */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/failure.h"

typedef enum {
    SANDBOX_DEVICE,
    SANDBOX_EMULATED,
    SANDBOX_BROKER,
    SANDBOX_CHECK,
    SANDBOX_NSM,
    SANDBOX_SERVICES,
    SANDBOX_SERVICES_UNIX, /* with destinations that are UNIX sockets */
} SandboxProcess;

/*
 * Gives up the privileges of programs that would be run, core dumps and the session's keys, and
 * lets nobody look into this process. To be called first, while there is one thread. Returns 0, or
 * -1 with @failure set ("unsupported").
 */
int sandboxBegin(Failure *failure);

/*
 * Makes the directory @fd (-1: an empty one) the working directory, and closes it, so that nobody
 * can be given it. Returns 0, or -1 with @failure set ("unsupported").
 */
int sandboxChangeDirectory(int fd, Failure *failure);

/*
 * Lets this process see only its working directory, which becomes its root, and no network, by
 * namespaces of its own. There must be one thread. Returns 0, or -1 with @failure set
 * ("unsupported").
 */
int sandboxLeaveHost(Failure *failure);

/*
 * In a new user namespace: becomes the user and the group that it was outside, and there is no other
 * one. Returns 0, or -1 with @failure set ("unsupported").
 */
int sandboxBecomeUser(uid_t user, gid_t group, Failure *failure);

/*
 * Gives up all capabilities, also those that programs could give back, of this thread. Returns 0,
 * or -1 with @failure set ("unsupported").
 */
int sandboxDropCapabilities(Failure *failure);

/*
 * Allows only the system calls of @process: see filter_rule.h. A call that is not allowed is written to stderr, with its
 * name, and ends the process. Threads that there are follow. Returns 0, or
 * -1 with @failure set ("unsupported").
 */
int sandboxEnter(SandboxProcess process, Failure *failure);

/*
 * In all threads, allows only what @process needs while its enclave runs; sandboxEnter() came
 * before. Returns 0, or -1 with @failure set ("unsupported").
 */
int sandboxTighten(SandboxProcess process, Failure *failure);

/*
 * The filter of QEMU, as instructions of the kernel: an array of *@size bytes, static. In the process
 * that becomes QEMU, and is in no namespace of processes, sandboxFilterQemu() has the kernel use it,
 * and one that lets it send signals to its own threads alone. Returns 0, or -1 with errno set.
 */
const void *sandboxGetQemuFilter(size_t *size);
int sandboxFilterQemu(void);
