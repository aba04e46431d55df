/*
 * nitro_restart.c: new enclaves of a domain whose enclave has ended
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The end of an enclave -> nitroRestartSchedule() -> after a while, a start. What
 * waits for its restart is a domain that is shut off, which a client can start, destroy
 * or undefine: that calls the restart off. A new enclave is a new run of the domain, with a
 * new id, and with the stored definition if there is one.
 */

#include <config.h>

#include "nitro_domain.h"
#include "nitro_end.h"
#include "nitro_restart.h"
#include "nitro_start.h"
#include "virerror.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_restart");


static void nitroRestartSet(nitroDriver *driver, virDomainObj *vm, unsigned int delay);

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


/* Returns 0 when the domain runs or is no business of ours any more, or -1: try again */
static int
nitroRestartTry(nitroDriver *driver,
                virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    int ret = 0;

    priv->restarts++;
    if (nitroStartBeginJob(driver, vm) < 0) {
        /* While it waited the restart may have been called off. */
        if (!priv->restartPending || vm->removing)
            return 0;
        /* The host could not be asked, or somebody has had the job for too long. */
        priv->run.shortage = true;
        return -1;
    }

    if (priv->restartPending && !virDomainObjIsActive(vm) && !vm->removing) {
        ret = nitroStartDomain(driver, vm);
        /* Somebody has destroyed it, or the daemon ends. */
        if (ret < 0 && virGetLastErrorCode() == VIR_ERR_OPERATION_ABORTED)
            ret = 0;
    }
    nitroStartEndJob(vm);
    return ret;
}


/* A restart of @vm has failed. Returns whether there will be another. */
static bool
nitroRestartAgain(nitroDriver *driver,
                  virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    VIR_ERROR(_("cannot restart domain '%s': %s"), vm->def->name, virGetLastErrorMessage());
    if (virDomainObjIsActive(vm))
        return false;

    if (priv->run.shortage) {
        /* That is not the enclave's fault, and says nothing about it. */
        priv->restarts--;
        virObjectEventStateQueue(driver->domainEventState,
                                 virDomainEventControlErrorNewFromObj(vm));
        nitroRestartSet(driver, vm, NITRO_RESTART_SHORTAGE);
        return true;
    }
    if (nitroRestartGiveUp(driver, vm))
        return false;
    nitroRestartSet(driver, vm, nitroRestartGetDelay(priv->restarts));
    return true;
}


/* A function for nitroDriverRun(): the time of a restart has come. */
static void
nitroRestartTask(nitroDriver *driver,
                 virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    virObjectRef(vm);
    virObjectLock(vm);
    /* It may have been called off, and set for another time. */
    if (priv->restartPending && g_get_monotonic_time() >= priv->restartDue &&
        (nitroRestartTry(driver, vm) == 0 || !nitroRestartAgain(driver, vm)))
        nitroDomainSetRestart(driver, vm, false);
    nitroDomainRemoveInactive(driver, vm);
    virDomainObjEndAPI(&vm);
}


static void
nitroRestartSet(nitroDriver *driver,
                virDomainObj *vm,
                unsigned int delay)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (delay > 0)
        VIR_WARN("Domain '%s' is restarted in %u s", vm->def->name, delay);
    nitroDomainSetRestart(driver, vm, true);
    priv->restartDue = g_get_monotonic_time() + delay * G_USEC_PER_SEC;
    /* The timer may be early by a part of a millisecond. */
    nitroDriverRun(driver->starts, nitroRestartTask, vm, delay > 0 ? delay * 1000 + 1 : 0);
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

    nitroRestartSet(driver, vm, nitroRestartGetDelay(priv->restarts));
    return true;
}


bool
nitroRestartCancel(nitroDriver *driver,
                   virDomainObj *vm)
{
    bool pending = nitroDomainSetRestart(driver, vm, false);

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
    nitroDomainSetRestart(driver, vm, true);
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
    nitroDomainSetRestart(driver, vm, false);
    return ret;
}


int
nitroRestartNow(nitroDriver *driver,
                virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    int ret = -1;

    if (virDomainObjCheckActive(vm) < 0 || nitroQueueBeginCall(driver->queue) < 0)
        return -1;

    if (nitroStartBeginJob(driver, vm) == 0) {
        ret = nitroRestartDo(driver, vm);
        if (ret == 0)
            priv->restarts = 0;
        nitroStartEndJob(vm);
    }
    nitroQueueEndCall(driver->queue);
    nitroDomainRemoveInactive(driver, vm);
    return ret;
}
