/*
 * nitro_helper.c: the process of a helper: who it is, and whether it lives
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "nitro_domain.h"
#include "nitro_helper.h"
#include "nitro_run.h"
#include "virerror.h"
#include "virfile.h"
#include "virpidfile.h"
#include "virprocess.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_DOMAIN

/* Whether the process @pid has the UUID @uuid among its arguments, as the helper of a domain has */
bool
nitroHelperHasArg(pid_t pid,
                  const char *uuid)
{
    g_autofree char *path = g_strdup_printf("/proc/%lld/cmdline", (long long) pid);
    g_autofree char *args = NULL;
    gsize len = 0;
    const char *arg;

    if (!g_file_get_contents(path, &args, &len, NULL))
        return false;
    for (arg = args; arg < args + len; arg += strlen(arg) + 1) {
        if (STREQ(arg, uuid))
            return true;
    }
    return false;
}


/* Notes the number of the helper's process: a daemon that was killed may not have got to do so. */
bool
nitroHelperFindPid(nitroDriver *driver,
                   virDomainObj *vm)
{
    g_autofree char *pidfile = nitroRunPidFile(driver, vm);

    return vm->pid > 0 || virPidFileReadPath(pidfile, &vm->pid) == 0;
}


/*
 * Whether the process whose number is noted is the helper. One that exits has no arguments
 * any more, and may do so for long while the hypervisor does not answer.
 */
static bool
nitroHelperIsAlive(virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    char uuid[VIR_UUID_STRING_BUFLEN];
    unsigned long long start;

    if (priv->run.helperStart > 0) {
        if (virProcessGetStartTime(vm->pid, &start) == 0)
            return start == priv->run.helperStart;
        virResetLastError();
        return false;
    }

    virUUIDFormat(vm->def->uuid, uuid);
    return nitroHelperHasArg(vm->pid, uuid);
}


/*
 * Returns a descriptor of the helper's process, or -1 when it is gone. Its number may
 * have been given to another process since; the pid file and its lock may be gone, too.
 */
int
nitroHelperOpen(nitroDriver *driver,
                virDomainObj *vm)
{
    VIR_AUTOCLOSE pidfd = -1;
    int ret;

    if (!nitroHelperFindPid(driver, vm))
        return -1;

    if ((pidfd = syscall(SYS_pidfd_open, vm->pid, 0)) < 0 || !nitroHelperIsAlive(vm))
        return -1;

    ret = pidfd;
    pidfd = -1;
    return ret;
}


/* Waits @timeout ms for the end of the process. Returns whether it is gone. */
bool
nitroHelperAwaitExit(int pidfd,
                     int timeout)
{
    struct pollfd process = { .fd = pidfd, .events = POLLIN };
    gint64 end = g_get_monotonic_time() + timeout * G_TIME_SPAN_MILLISECOND;
    int rc;

    do {
        gint64 left = (end - g_get_monotonic_time()) / G_TIME_SPAN_MILLISECOND;

        rc = poll(&process, 1, MAX(left, 0));
    } while (rc < 0 && errno == EINTR);
    return rc > 0;
}
