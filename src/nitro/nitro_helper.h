/*
 * nitro_helper.h: the process of a helper: who it is, whether it lives, its end
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

/*
 * A process is known by its number and the time of its start, as the number is given to
 * others when it has ended. A descriptor of it (pidfd) is kept where the kernel has them,
 * from 5.3 on.
 */
typedef struct _nitroHelper nitroHelper;

/* "I could not find out" is an answer of its own: never take it for another one. */
typedef enum {
    NITRO_HELPER_ALIVE,
    NITRO_HELPER_GONE,
    NITRO_HELPER_UNKNOWN,
} nitroHelperState;

/*
 * The process @pid, which started @start ticks after the boot of the host, or 0 where that is
 * not known (status files of version 0.1.0 may lack it). Returns it (nitroHelperUnref); never
 * NULL.
 */
nitroHelper *nitroHelperNew(pid_t pid, unsigned long long start);
nitroHelper *nitroHelperRef(nitroHelper *helper);
void nitroHelperUnref(nitroHelper *helper);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(nitroHelper, nitroHelperUnref);

/*
 * The process @pid, which is known to live, as it waits for the caller. Returns it
 * (nitroHelperUnref), or NULL with an error set.
 */
nitroHelper *nitroHelperNewAlive(pid_t pid);

pid_t nitroHelperGetPid(const nitroHelper *helper);
unsigned long long nitroHelperGetStart(const nitroHelper *helper);

/* The descriptor that becomes readable when the process ends; -1: none. It stays @helper's. */
int nitroHelperGetFd(const nitroHelper *helper);

/*
 * Finds the process. @uuid is that of the domain, which a helper has among its arguments: it
 * counts where no start time is known. A process that has ended and waits for its parent
 * is gone.
 *
 * Returns what is known of it; with NITRO_HELPER_UNKNOWN errno says why not more is.
 */
nitroHelperState nitroHelperFind(nitroHelper *helper, const unsigned char *uuid);

/*
 * Whether the process, which nitroHelperFind() has found, is the helper of the domain with
 * @uuid, going by its arguments. NITRO_HELPER_GONE: it is not, or has ended.
 */
nitroHelperState nitroHelperIsFor(const nitroHelper *helper, const unsigned char *uuid);

/*
 * Sends the signal @signum to the process, which nitroHelperFind() has found. Returns 0,
 * also when it has ended since, or -1 with errno set.
 */
int nitroHelperSignal(nitroHelper *helper, int signum);

/* Waits @timeout ms for the end of the process. Returns whether it is gone for sure. */
bool nitroHelperAwaitExit(nitroHelper *helper, int timeout);

/*
 * Writes the file @path, which names the process for a daemon that has lost all else it knew of
 * it. Returns 0, or -1 with an error set.
 */
int nitroHelperWriteFile(const nitroHelper *helper, const char *path);

/*
 * Reads such a file, also one of version 0.1.0, which has no start time. Returns 0, or -errno:
 * -ENOENT when there is none, -EINVAL when it names no process.
 */
int nitroHelperReadFile(const char *path, nitroHelper **helper);
