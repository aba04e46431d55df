/*
 * nitro_restart.c: new enclaves of a domain whose enclave has ended
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The end of an enclave -> nitroRestartSchedule() -> a thread that waits -> start. What
 * waits for its restart is a domain that is shut off, which a client can start, destroy
 * or undefine: that calls the restart off. A new enclave is a new run of the domain, with a
 * new id, and with the stored definition if there is one.
 */

#include <config.h>

#include "nitro_domain.h"
#include "nitro_end.h"
#include "nitro_restart.h"
#include "nitro_start.h"
#include "nitro_wait.h"
#include "virerror.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_DOMAIN

VIR_LOG_INIT("nitro.nitro_restart");


/* s: how long to wait before the restart that comes after @restarts others */
static unsigned int
nitroRestartGetDelay(unsigned int restarts)
{
    return restarts == 0 ? 0 : 1u << (restarts - 1);
}


/* Whether the bound is reached; if so, tells. */
static bool
nitroRestartGiveUp(nitroDriver *driver,
                   virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (priv->restarts < NITRO_RESTART_MAX)
        return false;

    VIR_ERROR(_("domain '%s' is not restarted any more: it has been %u times in a row, and has never run for %d seconds"),
              vm->def->name, priv->restarts, NITRO_RESTART_CALM);
    virObjectEventStateQueue(driver->domainEventState,
                             virDomainEventControlErrorNewFromObj(vm));
    return true;
}


/* Waits for the time of the next restart. Returns false when it is called off. */
static bool
nitroRestartWait(nitroDriver *driver,
                 virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    unsigned int delay = nitroRestartGetDelay(priv->restarts);
    gint64 end = g_get_monotonic_time() + delay * G_USEC_PER_SEC;
    int rc = 0;

    if (delay > 0)
        VIR_WARN("Domain '%s' is restarted in %u s", vm->def->name, delay);

    while (rc == 0 && delay > 0 && priv->restartPending &&
           !g_atomic_int_get(&driver->quitting))
        rc = nitroCondWaitUntil(&vm->cond, &vm->parent.lock, end);
    return priv->restartPending && !g_atomic_int_get(&driver->quitting);
}


/* Returns 0 when the domain runs or is no business of ours any more, or -1: try again */
static int
nitroRestartTry(nitroDriver *driver,
                virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    int ret = 0;

    priv->restarts++;
    if (nitroStartBeginJob(driver, vm) < 0)
        return -1;

    if (priv->restartPending && !virDomainObjIsActive(vm) && !vm->removing) {
        ret = nitroStartDomain(driver, vm);
        /* Somebody has destroyed it, or the daemon ends. */
        if (ret < 0 && virGetLastErrorCode() == VIR_ERR_OPERATION_ABORTED)
            ret = 0;
    }
    nitroStartEndJob(vm);
    return ret;
}


static void
nitroRestartThread(nitroDriver *driver,
                   virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    virObjectRef(vm);
    virObjectLock(vm);
    while (nitroRestartWait(driver, vm) && nitroRestartTry(driver, vm) < 0) {
        VIR_ERROR(_("cannot restart domain '%s': %s"), vm->def->name, virGetLastErrorMessage());
        if (virDomainObjIsActive(vm) || nitroRestartGiveUp(driver, vm))
            break;
        priv->restartPending = true;
    }
    priv->restartPending = false;
    nitroDomainRemoveInactive(driver, vm);
    virDomainObjEndAPI(&vm);
}


bool
nitroRestartSchedule(nitroDriver *driver,
                     virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (priv->runningSince != 0 &&
        g_get_monotonic_time() - priv->runningSince >= NITRO_RESTART_CALM * G_USEC_PER_SEC)
        priv->restarts = 0;
    if (nitroRestartGiveUp(driver, vm))
        return false;

    priv->restartPending = true;
    if (nitroDriverRunThread(driver, vm, nitroRestartThread, "nitro-restart") < 0) {
        VIR_ERROR(_("cannot restart domain '%s': %s"), vm->def->name, virGetLastErrorMessage());
        priv->restartPending = false;
    }
    return priv->restartPending;
}


bool
nitroRestartCancel(virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    bool pending = priv->restartPending;

    priv->restartPending = false;
    virDomainObjBroadcast(vm);
    return pending;
}


/* The start job is held. */
static int
nitroRestartDo(nitroDriver *driver,
               virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    int ret = -1;
    int rc;

    if (virDomainObjCheckActive(vm) < 0)
        return -1;

    virObjectEventStateQueue(driver->domainEventState, virDomainEventRebootNewFromObj(vm));
    priv->restartPending = true;
    if ((rc = nitroEndDomain(driver, vm, VIR_DOMAIN_SHUTOFF_SHUTDOWN)) > 0) {
        nitroDomainEventLifecycle(driver, vm, VIR_DOMAIN_EVENT_STOPPED,
                                  VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN);
        if (priv->restartPending)
            ret = nitroStartDomain(driver, vm);
        else
            rc = 0;
    }
    if (rc == 0) {
        virReportError(VIR_ERR_OPERATION_ABORTED,
                       _("domain '%s' was destroyed while it rebooted"), vm->def->name);
    }
    priv->restartPending = false;
    return ret;
}


int
nitroRestartNow(nitroDriver *driver,
                virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    int ret;

    if (virDomainObjCheckActive(vm) < 0 || nitroStartBeginJob(driver, vm) < 0)
        return -1;

    ret = nitroRestartDo(driver, vm);
    if (ret == 0)
        priv->restarts = 0;
    nitroStartEndJob(vm);
    nitroDomainRemoveInactive(driver, vm);
    return ret;
}
