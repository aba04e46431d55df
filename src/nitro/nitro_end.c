/*
 * nitro_end.c: ends the enclave of a domain, and handles the end of one that has ended
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * By words, then by force; and a domain becomes inactive only when its helper is known to be
 * gone. While that cannot be found out, it stays as it is.
 */

#include <config.h>

#include <signal.h>

#include "helper_protocol.h"
#include "nitro_cgroup.h"
#include "nitro_domain.h"
#include "nitro_end.h"
#include "virerror.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_end");

/* ms: how long a helper may take to end its enclave before it is killed */
#define NITRO_TERMINATE_TIMEOUT 5000

/* ms: how long a helper that has closed its connection may take to exit */
#define NITRO_EXIT_TIMEOUT 500

/* ms: how long a process that was killed may take to be gone */
#define NITRO_KILL_TIMEOUT 15000

/* ms: until the end of an enclave that could not be handled is tried again */
#define NITRO_END_PAUSE 1000

static void nitroEndTask(nitroDriver *driver, virDomainObj *vm);


void
nitroEndNote(nitroDriver *driver,
             virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (priv->run.ended)
        return;

    priv->run.ended = true;
    /* A start that waits sees it too; the worker then finds nothing to do. */
    nitroDriverRun(driver->ends, nitroEndTask, vm, 0);
}


/* Waits for the end of the process that has got @signum. Returns whether it is gone. */
static bool
nitroEndSignal(nitroHelper *helper,
               int signum,
               int timeout)
{
    if (nitroHelperSignal(helper, signum) < 0)
        VIR_WARN("Unable to send the signal %d to process %lld: %s", signum,
                 (long long) nitroHelperGetPid(helper), g_strerror(errno));
    return nitroHelperAwaitExit(helper, timeout);
}


/* Ends the living process @helper, by words if it listens to @mon, and by force if it does not. */
static bool
nitroEndProcess(nitroHelper *helper,
                nitroMonitor *mon)
{
    bool gone = false;

    /* A helper that has closed its connection has nothing left to do but to exit. */
    if (!mon)
        gone = nitroEndSignal(helper, SIGTERM, NITRO_TERMINATE_TIMEOUT);
    else if (nitroMonitorTerminate(mon, NITRO_TERMINATE_TIMEOUT))
        gone = nitroHelperAwaitExit(helper, NITRO_EXIT_TIMEOUT);

    return gone || nitroEndSignal(helper, SIGKILL, NITRO_KILL_TIMEOUT);
}


/* The helper of @vm could not be ended: the domain runs on, with its monitor @mon. */
static void
nitroEndGiveUp(nitroDriver *driver,
               virDomainObj *vm,
               nitroMonitor *mon)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    /* Of two who try at a time only one has taken it away. */
    if (mon)
        priv->run.mon = virObjectRef(mon);
    /* Nobody has heard of it if the helper has closed its connection meanwhile, as it was told. */
    if (priv->run.mon && nitroMonitorIsGone(priv->run.mon) && !priv->run.ended) {
        if (!priv->run.exitReason)
            priv->run.exitReason = g_strdup(NITRO_EXIT_TERMINATED);
        nitroEndNote(driver, vm);
        virDomainObjBroadcast(vm);
    }
    virReportError(VIR_ERR_OPERATION_TIMEOUT,
                   _("process %lld, the helper of domain '%s', cannot be ended: try again when the hypervisor answers"),
                   (long long) vm->pid, vm->def->name);
}


/* It is not known whether the helper of @vm lives, for which errno says why. */
static void
nitroEndReportUnknown(virDomainObj *vm)
{
    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("cannot find out whether process %lld, the helper of domain '%s', still runs (%s): try again"),
                   (long long) vm->pid, vm->def->name, g_strerror(errno));
}


/*
 * Ends the helper of @vm. Returns false with an error set when it cannot be ended: it may be
 * waiting for a hypervisor that does not answer; or when it cannot be found out whether it runs.
 */
static bool
nitroEndKill(nitroDriver *driver,
             virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autoptr(nitroHelper) helper = NULL;
    g_autoptr(nitroMonitor) mon = NULL;
    nitroHelperState state = nitroRunFindHelper(driver, vm);
    int id = vm->def->id;
    bool gone = state == NITRO_HELPER_GONE;

    if (state == NITRO_HELPER_UNKNOWN) {
        nitroEndReportUnknown(vm);
        return false;
    }

    mon = g_steal_pointer(&priv->run.mon);
    priv->run.ending = true;
    if (!gone) {
        helper = nitroHelperRef(priv->run.helper);
        virObjectUnlock(vm);
        gone = nitroEndProcess(helper, mon);
        virObjectLock(vm);
    }
    if (gone || vm->def->id != id) {
        if (mon)
            nitroMonitorClose(mon);
        return true;
    }

    priv->run.ending = false;
    nitroEndGiveUp(driver, vm, mon);
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

    if (!nitroEndKill(driver, vm) ||
        (vm->def->id == id && nitroServicesEnd(driver, vm) < 0))
        return -1;
    if (vm->def->id != id)
        return 0;
    nitroCgroupRemove(vm);
    if (vm->def->id != id)
        return 0;

    if (priv->run.place)
        nitroQueueCancel(driver->queue, priv->run.place);
    priv->run.place = NULL;
    /* A client that has not seen the end of its stream yet does not keep the next run's. */
    g_clear_pointer(&priv->reader, virObjectUnref);
    nitroRunRelease(driver, vm);

    vm->def->id = -1;
    vm->pid = 0;
    virDomainObjSetState(vm, VIR_DOMAIN_SHUTOFF, reason);
    virDomainObjRemoveTransientDef(vm);
    nitroDriverLetGo(driver);
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

/*
 * An enclave that ended by itself, for @end, may have told the exit code of its application before: then
 * that tells a shutdown from a crash. A kernel panics when its init ends.
 */
static void
nitroEndHeedCode(virDomainObj *vm,
                 nitroEndKind *end)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    const nitroEndKind crash = {
        VIR_DOMAIN_SHUTOFF_CRASHED, VIR_DOMAIN_EVENT_STOPPED_CRASHED, vm->def->onCrash, false,
    };
    const nitroEndKind shutdown = {
        VIR_DOMAIN_SHUTOFF_SHUTDOWN, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, vm->def->onPoweroff, false,
    };

    if (priv->run.services.exitCode > 0)
        *end = crash;
    else if (priv->run.services.exitCode == 0 && end->reason == VIR_DOMAIN_SHUTOFF_CRASHED)
        *end = shutdown;
}


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
        nitroEndHeedCode(vm, &end);
    } else if (STREQ_NULLABLE(how, NITRO_EXIT_PANIC)) {
        nitroEndHeedCode(vm, &end);
    } else if (STREQ_NULLABLE(how, NITRO_EXIT_TERMINATED)) {
        /* Somebody has ended the helper with a signal: as good as destroyed */
        end.reason = VIR_DOMAIN_SHUTOFF_DESTROYED;
        end.detail = VIR_DOMAIN_EVENT_STOPPED_DESTROYED;
        end.action = VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY;
    }
    return end;
}


/* Whether the enclave of @vm has ended by itself */
static bool
nitroEndIsOwn(virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    const char *how = priv->run.exitReason;

    return STREQ_NULLABLE(how, NITRO_EXIT_POWEROFF) || STREQ_NULLABLE(how, NITRO_EXIT_REBOOT) ||
           STREQ_NULLABLE(how, NITRO_EXIT_PANIC);
}


/*
 * Makes @vm inactive, with a job. Returns as nitroEndDomain() does, and in @restart whether the
 * domain is to be restarted.
 */
static int
nitroEndFinish(nitroDriver *driver,
               virDomainObj *vm,
               bool *restart)
{
    int id = vm->def->id;
    nitroEndKind end;
    int rc;

    *restart = false;
    /* The exit code may still be on its way. */
    if (nitroEndIsOwn(vm) && nitroServicesEnd(driver, vm) < 0)
        return -1;
    if (vm->def->id != id)
        return 0;
    end = nitroEndGetKind(vm);
    rc = nitroEndDomain(driver, vm, end.reason);
    if (rc > 0) {
        if (end.reboot)
            virObjectEventStateQueue(driver->domainEventState,
                                     virDomainEventRebootNewFromObj(vm));
        nitroDomainEventLifecycle(driver, vm, VIR_DOMAIN_EVENT_STOPPED, end.detail);
        *restart = end.action == VIR_DOMAIN_LIFECYCLE_ACTION_RESTART;
    }
    return rc;
}


bool
nitroEndLost(nitroDriver *driver,
             virDomainObj *vm)
{
    bool restart;

    if (nitroEndFinish(driver, vm, &restart) < 0)
        nitroEndNote(driver, vm);
    return restart;
}


/*
 * Whether the connection alone has ended, and the helper lives, and has not said goodbye. A start
 * that has failed is over in any case. The lock of @vm is released while the helper may exit.
 * Returns 1, 0, or -1 with an error set when that cannot be found out.
 */
static int
nitroEndIsAlive(nitroDriver *driver,
                virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autoptr(nitroHelper) helper = NULL;
    nitroHelperState state;

    if (!priv->run.helper || priv->run.exitReason || priv->run.failureCode ||
        (!priv->run.booted && priv->run.startTime != 0))
        return 0;

    helper = nitroHelperRef(priv->run.helper);
    virObjectUnlock(vm);
    ignore_value(nitroHelperAwaitExit(helper, NITRO_EXIT_TIMEOUT));
    virObjectLock(vm);
    if (!virDomainObjIsActive(vm) || priv->run.helper != helper || !priv->run.ended)
        return 0;
    if ((state = nitroRunFindHelper(driver, vm)) == NITRO_HELPER_UNKNOWN) {
        nitroEndReportUnknown(vm);
        return -1;
    }
    return state == NITRO_HELPER_ALIVE;
}


/*
 * Handles the end of the enclave of @vm, unless somebody else has done so. Returns 0, with
 * @restart set, or -1 with an error set when it is to be tried again.
 */
static int
nitroEndHandle(nitroDriver *driver,
               virDomainObj *vm,
               bool *restart)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    int rc;

    *restart = false;
    if (!virDomainObjIsActive(vm) || !priv->run.ended)
        return 0;
    /* Jobs of a domain are bounded in time, and the end of its enclave must not be lost. */
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        return -1;

    if ((rc = nitroEndIsAlive(driver, vm)) > 0) {
        priv->run.ended = false;
        driver->reconnect(driver, vm);
    } else if (rc == 0 && virDomainObjIsActive(vm) && priv->run.ended) {
        rc = nitroEndFinish(driver, vm, restart);
    }
    virDomainObjEndJob(vm);
    return rc < 0 ? -1 : 0;
}


/* A function for nitroDriverRun() */
static void
nitroEndTask(nitroDriver *driver,
             virDomainObj *vm)
{
    bool restart;

    virObjectRef(vm);
    virObjectLock(vm);
    if (nitroEndHandle(driver, vm, &restart) < 0) {
        /* A hypervisor that does not answer holds its helper for two minutes. */
        VIR_WARN("The end of domain '%s' is not over: %s", vm->def->name, virGetLastErrorMessage());
        nitroDriverRun(driver->ends, nitroEndTask, vm, NITRO_END_PAUSE);
    } else if (!restart || !driver->restart(driver, vm)) {
        nitroDomainRemoveInactive(driver, vm);
    }
    virDomainObjEndAPI(&vm);
}
