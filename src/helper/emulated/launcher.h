/*
 * launcher.h: the process that becomes QEMU
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * It is forked before the helper reads the image and gives up the right to make processes, waits
 * until the image has been checked, and executes QEMU. All that it takes from the helper then is
 * two descriptors, a few flags, and a command line for the kernel: a helper that an image has
 * taken over can have QEMU run, as it is meant to, and nothing else.
 */

#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "common/failure.h"
#include "emulated/machine.h"
#include "options.h"

typedef struct _Launcher Launcher;
struct _Launcher {
    pid_t pid;   /* of the process; 0: none, or it has been waited for */
    int pidFd;   /* becomes readable when it ends */
    int request; /* closed by launcherRun() */

    /* Our ends of what connects us with QEMU; -1: none, or taken by the caller */
    int serial;
    int qmp;
    int messages; /* what it writes to stdout and stderr */
    int vsock;    /* -1 without a CID */
};

#define LAUNCHER_NONE (Launcher){0, -1, -1, -1, -1, -1, -1}

/*
 * Forks the process, which is to run QEMU, the program @qemu, for the enclave of @options, bound to
 * their CPUs. @nsm is QEMU's end of the connection with the NSM (-1: none), which stays the
 * caller's. There must be one thread. It is killed when this process ends. Returns 0, or -1 with
 * @failure set ("resource", "unsupported"); launcherClear() is to be called in either case.
 */
int launcherFork(Launcher *launcher, const Options *options, const char *qemu, bool kvm, int nsm,
                 Failure *failure);

/*
 * Has it execute QEMU with the machine @machine, the kernel in @kernelFd and the ramdisk in
 * @ramdiskFd (-1: none), which stay the caller's. Returns 0, or -1 with @failure set ("internal").
 */
int launcherRun(Launcher *launcher, const Machine *machine, int kernelFd, int ramdiskFd,
                Failure *failure);

/* Kills the process, and QEMU with it; it is still to be waited for. */
void launcherKill(const Launcher *launcher);

/* Returns whether the process has ended; then it is gone, and @status is as of waitpid(). */
bool launcherReap(Launcher *launcher, int *status);

/* Closes all, and kills what is left. */
void launcherClear(Launcher *launcher);
