/*
 * nitro_spawn.c: runs the programs of an enclave as daemons that can be found again
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fork -> it tells its number and waits -> that is written down -> it executes the program. So there
 * is no moment at which a daemon that is killed leaves a process that nobody knows.
 */

#include <config.h>

#include <unistd.h>

#include "nitro_spawn.h"
#include "virerror.h"
#include "virfile.h"
#include "virutil.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

typedef struct _nitroSpawnChild nitroSpawnChild;
struct _nitroSpawnChild {
    nitroDriverConfig *config;
    int fd; /* the writing end of the pipe */
};


/*
 * Runs in the process that is to become the program: tells who it is, and gives away what it could
 * become. A pre-exec hook.
 */
static int
nitroSpawnPrepare(void *opaque)
{
    const nitroSpawnChild *child = opaque;
    pid_t pid = getpid();

    if (nitroDriverConfigDropBounds(child->config) < 0)
        return -1;
    if (safewrite(child->fd, &pid, sizeof(pid)) != sizeof(pid) ||
        virSetInherit(child->fd, false) < 0)
        return -1;
    return 0;
}


/*
 * Up to where the program is executed. @report is both ends of a pipe, whose writing end closes when
 * the program is executed, or has ended. Returns 0, or -1 with an error set.
 */
static int
nitroSpawnRun(virCommand *cmd,
              nitroSpawnChild *child,
              int *report,
              const char *what,
              nitroSpawnReady ready,
              void *opaque)
{
    pid_t pid;

    virCommandPassFD(cmd, report[1], 0);
    virCommandSetPreExecHook(cmd, nitroSpawnPrepare, child);
    virCommandRequireHandshake(cmd);
    virCommandDaemonize(cmd);

    if (virCommandRun(cmd, NULL) < 0 || virCommandHandshakeWait(cmd) < 0)
        return -1;
    VIR_FORCE_CLOSE(report[1]);
    if (saferead(report[0], &pid, sizeof(pid)) != sizeof(pid)) {
        virReportError(VIR_ERR_INTERNAL_ERROR, _("%s ended before it ran"), what);
        return -1;
    }
    if (ready(pid, opaque) < 0)
        return -1;
    return virCommandHandshakeNotify(cmd);
}


int
nitroSpawn(nitroDriver *driver,
           virCommand *cmd,
           const char *what,
           nitroSpawnReady ready,
           void *opaque)
{
    nitroSpawnChild child = { .config = driver->config };
    int report[2] = { -1, -1 };
    char byte;
    int rc;

    if (virPipe(report) < 0) {
        virCommandFree(cmd);
        return -1;
    }
    child.fd = report[1];
    virCommandSetUmask(cmd, 0077);
    nitroDriverConfigSetUser(driver->config, cmd);
    rc = nitroSpawnRun(cmd, &child, report, what, ready, opaque);

    /* This ends a process that still waits. */
    virCommandFree(cmd);
    VIR_FORCE_CLOSE(report[1]);
    ignore_value(saferead(report[0], &byte, 1));
    VIR_FORCE_CLOSE(report[0]);
    return rc;
}
