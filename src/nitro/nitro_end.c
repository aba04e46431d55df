/*
 * nitro_end.c: ends the enclave of a domain, and handles the end of one that has ended
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "helper_protocol.h"
#include "nitro_domain.h"
#include "nitro_end.h"
#include "nitro_events.h"
#include "nitro_helper.h"
#include "nitro_run.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_DOMAIN

VIR_LOG_INIT("nitro.nitro_end");

/* ms: how long a helper may take to end its enclave before it is killed */
#define NITRO_TERMINATE_TIMEOUT 5000

/* ms: how long a helper that has closed its connection may take to exit */
#define NITRO_EXIT_TIMEOUT 500

/* ms: how long a process that was killed may take to be gone */
#define NITRO_KILL_TIMEOUT 15000

/*
 * Ends the helper of @vm, by words if it listens, and by force if it does not. Returns
 * false with VIR_ERR_OPERATION_TIMEOUT set when it cannot be ended: it may be waiting for
 * a hypervisor that does not answer.
 */
static bool
nitroEndKill(nitroDriver *driver,
             virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autoptr(nitroMonitor) mon = g_steal_pointer(&priv->run.mon);
    VIR_AUTOCLOSE pidfd = nitroHelperOpen(driver, vm);
    pid_t pid = vm->pid;
    int id = vm->def->id;
    bool gone = pidfd < 0;

    virObjectUnlock(vm);
    /* A helper that has closed its connection has nothing left to do but to exit. */
    if (mon && nitroMonitorTerminate(mon, NITRO_TERMINATE_TIMEOUT))
        gone = gone || nitroHelperAwaitExit(pidfd, NITRO_EXIT_TIMEOUT);
    if (!gone) {
        ignore_value(syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0));
        gone = nitroHelperAwaitExit(pidfd, NITRO_KILL_TIMEOUT);
    }
    if (gone && mon)
        nitroMonitorClose(mon);
    virObjectLock(vm);

    if (gone || vm->def->id != id)
        return true;

    /* Of two who try at a time only one has taken it away. */
    if (mon)
        priv->run.mon = g_steal_pointer(&mon);
    /* Nobody has heard of it if the helper has closed its connection meanwhile, as it was told. */
    if (priv->run.mon && nitroMonitorIsGone(priv->run.mon) && !priv->run.ended) {
        if (!priv->run.exitReason)
            priv->run.exitReason = g_strdup(NITRO_EXIT_TERMINATED);
        nitroEventsNoteEnd(vm);
        virDomainObjBroadcast(vm);
    }
    virReportError(VIR_ERR_OPERATION_TIMEOUT,
                   _("process %lld, the helper of domain '%s', cannot be ended: try again when the hypervisor answers"),
                   (long long) pid, vm->def->name);
    return false;
}


int
nitroEndDomain(nitroDriver *driver,
               virDomainObj *vm,
               virDomainShutoffReason reason)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    int id = vm->def->id;

    if (!virDomainObjIsActive(vm))
        return 0;

    if (!nitroEndKill(driver, vm))
        return -1;
    if (vm->def->id != id)
        return 0;

    /* A client that has not seen the end of its stream yet does not keep the next run's. */
    g_clear_pointer(&priv->reader, virObjectUnref);
    nitroRunRelease(driver, vm);

    vm->def->id = -1;
    vm->pid = 0;
    virDomainObjSetState(vm, VIR_DOMAIN_SHUTOFF, reason);
    virDomainObjRemoveTransientDef(vm);
    nitroDriverDomainStopped(driver);
    virDomainObjBroadcast(vm);
    return 1;
}


typedef struct _nitroEndKind nitroEndKind;
struct _nitroEndKind {
    virDomainShutoffReason reason;
    int detail;  /* of the event "stopped" */
    int action;  /* virDomainLifecycleAction */
    bool reboot; /* the guest asked for it */
};

static nitroEndKind
nitroEndGetKind(virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    const char *how = priv->run.exitReason;
    nitroEndKind end = {
        VIR_DOMAIN_SHUTOFF_CRASHED, VIR_DOMAIN_EVENT_STOPPED_CRASHED, vm->def->onCrash, false,
    };

    if (STREQ_NULLABLE(how, NITRO_EXIT_POWEROFF) || STREQ_NULLABLE(how, NITRO_EXIT_REBOOT)) {
        end.reason = VIR_DOMAIN_SHUTOFF_SHUTDOWN;
        end.detail = VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN;
        end.reboot = STREQ(how, NITRO_EXIT_REBOOT);
        end.action = end.reboot ? vm->def->onReboot : vm->def->onPoweroff;
    } else if (STREQ_NULLABLE(how, NITRO_EXIT_TERMINATED)) {
        /* Somebody has ended the helper with a signal: as good as destroyed */
        end.reason = VIR_DOMAIN_SHUTOFF_DESTROYED;
        end.detail = VIR_DOMAIN_EVENT_STOPPED_DESTROYED;
        end.action = VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY;
    }
    return end;
}


/*
 * Makes the domain inactive whose enclave has ended, unless somebody else has done
 * so. Returns true when the domain is to be restarted.
 */
static bool
nitroEndHandle(nitroDriver *driver,
               virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    nitroEndKind end;
    bool restart = false;
    int rc;

    /* Jobs of a domain are bounded in time, and the end of its enclave must not be lost. */
    while (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0) {
        if (!virDomainObjIsActive(vm) || vm->removing || g_atomic_int_get(&driver->quitting))
            return false;
        VIR_WARN("The end of domain '%s' waits for a job", vm->def->name);
    }

    if (virDomainObjIsActive(vm) && priv->run.ended) {
        end = nitroEndGetKind(vm);
        if (end.reboot)
            virObjectEventStateQueue(driver->domainEventState,
                                     virDomainEventRebootNewFromObj(vm));
        /* A hypervisor that does not answer holds its helper for two minutes. */
        while ((rc = nitroEndDomain(driver, vm, end.reason)) < 0 &&
               !g_atomic_int_get(&driver->quitting))
            VIR_WARN("The helper of domain '%s' has still not ended", vm->def->name);
        if (rc > 0) {
            nitroDomainEventLifecycle(driver, vm, VIR_DOMAIN_EVENT_STOPPED, end.detail);
            restart = end.action == VIR_DOMAIN_LIFECYCLE_ACTION_RESTART;
        }
    }
    virDomainObjEndJob(vm);
    return restart;
}


void
nitroEndWorker(void *jobdata,
               void *opaque)
{
    nitroDriver *driver = opaque;
    virDomainObj *vm = jobdata;

    virObjectLock(vm);
    if (!nitroEndHandle(driver, vm) || !driver->restart(driver, vm))
        nitroDomainRemoveInactive(driver, vm);
    virDomainObjEndAPI(&vm);
}
