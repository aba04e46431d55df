/*
 * nitro_events.c: what helpers tell of their enclaves
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Events arrive in the event loop's thread, which notes them in the run and wakes up who
 * waits; the end of an enclave goes to a worker, which can wait for a job.
 */

#include <config.h>

#include "helper_protocol.h"
#include "nitro_domain.h"
#include "nitro_driver.h"
#include "nitro_end.h"
#include "nitro_events.h"
#include "nitro_unprotected.h"
#include "virerror.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_events");

static void
nitroEventsNote(virDomainObj *vm,
                const nitroMonitorEvent *event)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (STREQ(event->name, NITRO_EVENT_STARTED)) {
        priv->run.started = true;
        nitroRunNoteCid(vm->def, event->cid);
        nitroRunNoteCpus(vm, event->cpus, event->ncpus);
        if (event->unprotected)
            nitroUnprotectedAddAll(&priv->run.unprotected, event->unprotected);
        else
            nitroUnprotectedAdd(&priv->run.unprotected, NITRO_UNPROTECTED_UNKNOWN);
    } else if (STREQ(event->name, NITRO_EVENT_BOOTED)) {
        priv->run.started = priv->run.booted = true;
        if (priv->run.startTime > 0)
            priv->run.bootTime = (g_get_monotonic_time() - priv->run.startTime) / 1000;
    } else if (STREQ(event->name, NITRO_EVENT_EXITED)) {
        g_free(priv->run.exitReason);
        priv->run.exitReason = g_strdup(event->reason);
    } else if (STREQ(event->name, NITRO_EVENT_FAILED)) {
        g_free(priv->run.failureCode);
        g_free(priv->run.failureText);
        priv->run.failureCode = g_strdup(event->code);
        priv->run.failureText = g_strdup(event->text);
    } else {
        VIR_DEBUG("event '%s' of a newer helper is ignored", event->name);
    }
}


void
nitroEventsFromMonitor(nitroMonitor *mon,
                       const nitroMonitorEvent *event,
                       void *opaque)
{
    virDomainObj *vm = opaque;
    nitroDomainObjPrivate *priv;
    VIR_LOCK_GUARD lock = virObjectLockGuard(vm);

    priv = vm->privateData;
    if (priv->run.mon != mon)
        return;

    if (event->name)
        nitroEventsNote(vm, event);
    else
        nitroEndNote(nitro_driver, vm);
    virDomainObjBroadcast(vm);
}


int
nitroEventsWatch(virDomainObj *vm,
                 int fd,
                 bool fromStart,
                 nitroMonitorCallback callback)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    const nitroMonitorEnclave enclave = {
        .cid = vm->def->vsock->guest_cid,
        .choosesCid = nitroDomainDefGetMachine(vm->def) == NITRO_MACHINE_NITRO,
        .vcpus = virDomainDefGetVcpusMax(vm->def),
        .fromStart = fromStart,
    };

    if (!(priv->run.mon = nitroMonitorOpen(fd, vm->def->name, &enclave, callback,
                                           vm, virObjectUnref)))
        return -1;
    virObjectRef(vm); /* the monitor's */
    return 0;
}
