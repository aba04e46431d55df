/*
 * nitro_takeover.c: takes over the enclaves of an earlier daemon
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "helper_protocol.h"
#include "nitro_domain.h"
#include "nitro_end.h"
#include "nitro_events.h"
#include "nitro_run.h"
#include "nitro_start.h"
#include "nitro_takeover.h"
#include "virerror.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_DOMAIN

VIR_LOG_INIT("nitro.nitro_takeover");

/* ms: how long a helper of an earlier daemon may take to answer */
#define NITRO_TAKEOVER_TIMEOUT 10000

/*
 * Connects to the helper of @vm and asks how things are. The job of @vm is held.
 * Returns 0 when the enclave runs, or -1 with an error set.
 */
static int
nitroTakeoverConnect(nitroDriver *driver,
                     virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autofree char *path = nitroRunGetControlPath(driver, vm);
    g_auto(nitroMonitorStatus) status = { .cid = -1 };
    g_autoptr(nitroMonitor) mon = NULL;
    int id = vm->def->id;
    int fd;
    int rc;

    if ((fd = nitroMonitorConnect(path)) < 0 ||
        !(priv->run.mon = nitroMonitorOpen(fd, nitroEventsFromMonitor, vm, virObjectUnref)))
        return -1;
    virObjectRef(vm); /* the monitor's */

    mon = virObjectRef(priv->run.mon);
    do {
        virObjectUnlock(vm);
        rc = nitroMonitorQueryStatus(mon, NITRO_TAKEOVER_TIMEOUT, &status);
        virObjectLock(vm);
        /* A helper that is slow to answer is waited for: its enclave may be well. */
    } while (rc < 0 && virGetLastErrorCode() == VIR_ERR_OPERATION_TIMEOUT &&
             vm->def->id == id && !g_atomic_int_get(&driver->quitting));

    /* Who has taken the monitor away is ending the domain: that is waited for below. */
    if (rc < 0 && vm->def->id == id && priv->run.mon == mon && !g_atomic_int_get(&driver->quitting))
        return -1;
    if (rc == 0 && vm->def->id == id) {
        if (STREQ(status.phase, NITRO_PHASE_RUNNING))
            priv->run.booted = true;
        nitroRunNoteCid(vm->def, status.cid);
        nitroRunNoteCpus(vm, status.cpus, status.ncpus);
    }
    return nitroStartWaitBooted(driver, vm, id);
}


static void
nitroTakeoverThread(nitroDriver *driver,
                    virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    bool restart = false;
    bool starting;
    int id;

    virObjectRef(vm);
    virObjectLock(vm);
    id = vm->def->id;
    starting = virDomainObjGetState(vm, NULL) == VIR_DOMAIN_PAUSED;
    if (nitroStartBeginJobOnly(vm) < 0) {
        VIR_ERROR(_("cannot take over domain '%s', restart virtnitrod: %s"),
                  vm->def->name, virGetLastErrorMessage());
        virDomainObjEndAPI(&vm);
        return;
    }

    /* Who has ended it while this waited may also have started it again. */
    if (vm->def->id != id || priv->run.mon) {
        nitroStartEndJob(vm);
        nitroDomainRemoveInactive(driver, vm);
        virDomainObjEndAPI(&vm);
        return;
    }

    priv->run.consoleOpened = true;
    if (nitroTakeoverConnect(driver, vm) == 0) {
        nitroStartSetRunning(driver, vm);
        /* The earlier daemon did not get to say so. */
        if (starting)
            nitroDomainEventLifecycle(driver, vm, VIR_DOMAIN_EVENT_STARTED,
                                      VIR_DOMAIN_EVENT_STARTED_BOOTED);
    } else if (vm->def->id == id && !g_atomic_int_get(&driver->quitting)) {
        VIR_WARN("Unable to take over domain '%s': %s", vm->def->name, virGetLastErrorMessage());
        restart = vm->def->onCrash == VIR_DOMAIN_LIFECYCLE_ACTION_RESTART;
        if (nitroEndDomain(driver, vm, VIR_DOMAIN_SHUTOFF_CRASHED) > 0)
            nitroDomainEventLifecycle(driver, vm, VIR_DOMAIN_EVENT_STOPPED,
                                      VIR_DOMAIN_EVENT_STOPPED_CRASHED);
        else
            restart = false;
    }
    nitroStartEndJob(vm);
    if (virDomainObjIsActive(vm) || !restart || !driver->restart(driver, vm))
        nitroDomainRemoveInactive(driver, vm);
    virDomainObjEndAPI(&vm);
}


static int
nitroTakeoverOne(virDomainObj *vm,
                 void *opaque)
{
    nitroDriver *driver = opaque;
    VIR_LOCK_GUARD lock = virObjectLockGuard(vm);

    if (!virDomainObjIsActive(vm))
        return 0;

    nitroDriverReserveDomainId(driver, vm->def->id);
    nitroDriverDomainStarted(driver);
    nitroRunReserve(driver, vm);
    if (nitroDriverRunThread(driver, vm, nitroTakeoverThread, "nitro-reconnect") < 0)
        VIR_ERROR(_("cannot take over domain '%s', restart virtnitrod: %s"),
                  vm->def->name, virGetLastErrorMessage());
    return 0;
}


void
nitroTakeoverAll(nitroDriver *driver)
{
    virDomainObjListForEach(driver->domains, true, nitroTakeoverOne, driver);
}
