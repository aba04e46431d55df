/*
 * nitro_services_mend.c: what the services process of a domain tells, and what is done about it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What goes wrong is noted by the event loop's thread (nitroServicesFromMonitor()), and mended by a
 * task, which finds out what is there and does what is missing: process, connection, link. The same
 * task takes over what an earlier daemon has left.
 */

#include <config.h>

#include "helper_protocol.h"
#include "nitro_domain.h"
#include "nitro_driver.h"
#include "nitro_end.h"
#include "nitro_services.h"
#include "nitro_services_launch.h"
#include "nitro_services_link.h"
#include "nitro_services_mend.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_services_mend");

/* ms: until services are mended, again each time twice as long */
#define NITRO_SERVICES_PAUSE_MIN 100
#define NITRO_SERVICES_PAUSE_MAX 30000

/* us: services that have worked for so long end a row of attempts */
#define NITRO_SERVICES_CALM (60 * G_USEC_PER_SEC)

/* A process that has not answered so often in a row is ended */
#define NITRO_SERVICES_SILENT_MAX 3

static void nitroServicesMendTask(nitroDriver *driver, virDomainObj *vm);


void
nitroServicesSetState(nitroDriver *driver,
                      virDomainObj *vm,
                      bool connected,
                      bool tell)
{
    size_t i;

    for (i = 0; i < vm->def->nchannels; i++)
        vm->def->channels[i]->state = connected ? VIR_DOMAIN_CHR_DEVICE_STATE_CONNECTED :
                                                  VIR_DOMAIN_CHR_DEVICE_STATE_DISCONNECTED;
    if (!tell)
        return;
    virObjectEventStateQueue(driver->domainEventState,
                             virDomainEventAgentLifecycleNewFromObj(vm,
                                 connected ? VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED :
                                             VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_DISCONNECTED,
                                 VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_REASON_CHANNEL));
}


/* Has the services of @vm mended after a pause, unless that is about to happen, or nobody needs them. */
static void
nitroServicesMendLater(nitroDriver *driver,
                       virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    nitroServicesRun *run = &priv->run.services;
    unsigned int pause;

    if (run->mending || priv->run.ended || priv->run.ending)
        return;
    if (run->worked != 0 && g_get_monotonic_time() - run->worked >= NITRO_SERVICES_CALM)
        run->tries = 0;
    pause = MIN(NITRO_SERVICES_PAUSE_MIN << MIN(run->tries, 16), NITRO_SERVICES_PAUSE_MAX);
    run->tries++;
    run->mending = true;
    nitroDriverRun(driver->takeovers, nitroServicesMendTask, vm, pause);
}


/*
 * The services of @vm do not work any more, as @why says (stolen). A start that waits has that as its
 * error.
 */
static void
nitroServicesFail(nitroDriver *driver,
                  virDomainObj *vm,
                  char *why)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    nitroServicesRun *run = &priv->run.services;
    bool before = run->down != NULL;

    g_free(run->down);
    run->down = why;
    run->linked = false;
    if (priv->run.ended || priv->run.ending)
        return;
    if (!before) {
        VIR_WARN("The services of domain '%s' do not work: %s", vm->def->name, why);
        nitroServicesSetState(driver, vm, false, priv->run.booted);
    }
    /* Its start fails. */
    if (priv->run.booted || priv->run.startTime == 0)
        nitroServicesMendLater(driver, vm);
}


/* A health service of @vm says that the enclave does not answer: as if it had crashed */
static void
nitroServicesLoseHealth(nitroDriver *driver,
                        virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (!priv->run.booted || priv->run.ended || priv->run.ending || !priv->run.services.unhealthy)
        return;
    VIR_ERROR(_("domain '%s' has lost its health: what <on_crash> says is done"), vm->def->name);
    nitroServicesSetState(driver, vm, false, true);
    g_free(priv->run.exitReason);
    priv->run.exitReason = g_strdup(NITRO_EXIT_CRASHED);
    nitroEndNote(driver, vm);
}


static void
nitroServicesNoteExit(virDomainObj *vm,
                      int code)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (code < 0 || priv->run.services.exitCode >= 0)
        return;
    priv->run.services.exitCode = code;
    if (code == 0)
        VIR_INFO("The application of domain '%s' has ended with exit code 0", vm->def->name);
    else
        VIR_WARN("The application of domain '%s' has ended with exit code %d", vm->def->name, code);
}


void
nitroServicesNoteStatus(nitroDriver *driver,
                        virDomainObj *vm,
                        const nitroServicesStatus *status)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    bool unhealthy = false;
    size_t i;

    /* It has not answered. */
    if (status->n == 0)
        return;
    for (i = 0; i < status->n; i++) {
        nitroServicesNoteExit(vm, status->services[i].code);
        if (status->services[i].healthy == 0)
            unhealthy = true;
    }
    priv->run.services.unhealthy = unhealthy;
    nitroServicesLoseHealth(driver, vm);
}


void
nitroServicesFromMonitor(nitroServicesMonitor *mon,
                         const nitroServicesMessage *message,
                         void *opaque)
{
    virDomainObj *vm = opaque;
    nitroDomainObjPrivate *priv;
    VIR_LOCK_GUARD lock = virObjectLockGuard(vm);

    priv = vm->privateData;
    if (priv->run.services.mon != mon)
        return;

    switch (message->type) {
    case NITRO_SERVICES_TOLD_LINK_LOST:
        nitroServicesFail(nitro_driver, vm, g_strdup(_("the link with the enclave's vsock is lost")));
        break;
    case NITRO_SERVICES_TOLD_HEALTH:
        priv->run.services.unhealthy = !message->healthy;
        nitroServicesLoseHealth(nitro_driver, vm);
        break;
    case NITRO_SERVICES_TOLD_EXIT:
        nitroServicesNoteExit(vm, message->code);
        break;
    case NITRO_SERVICES_TOLD_GONE:
        /* The end of an enclave takes it away: of its words none must be lost then. */
        if (priv->run.ended || priv->run.ending)
            break;
        nitroServicesMonitorClose(mon);
        g_clear_pointer(&priv->run.services.mon, virObjectUnref);
        nitroServicesFail(nitro_driver, vm, g_strdup(_("their process has ended")));
        break;
    case NITRO_SERVICES_TOLD_NOTHING:
    case NITRO_SERVICES_TOLD_REPLY:
        break;
    }
    virDomainObjBroadcast(vm);
}


void
nitroServicesWork(nitroDriver *driver,
                  virDomainObj *vm,
                  bool again)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    nitroServicesRun *run = &priv->run.services;

    run->linked = true;
    run->worked = g_get_monotonic_time();
    run->silent = 0;
    if (run->down)
        VIR_WARN("The services of domain '%s' work again", vm->def->name);
    g_clear_pointer(&run->down, g_free);
    nitroServicesSetState(driver, vm, true, again);
}


void
nitroServicesNoteRunning(nitroDriver *driver,
                         virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    nitroServicesLoseHealth(driver, vm);
    /* It may have died since the start has looked. */
    if (priv->run.services.down)
        nitroServicesMendLater(driver, vm);
}


/* Mending */

/* Whether somebody needs the services of @vm */
static bool
nitroServicesAreNeeded(virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    return virDomainObjIsActive(vm) && !priv->run.ended && !priv->run.ending &&
           priv->run.helper && nitroHelperFind(priv->run.helper, vm->def->uuid) != NITRO_HELPER_GONE;
}


/* Runs a new process for @vm. Returns 0, or -1 with an error set. */
static int
nitroServicesRunAgain(nitroDriver *driver,
                      virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autoptr(nitroOutputs) outputs = NULL;

    priv->run.services.silent = 0;
    if (!(outputs = nitroOutputsReopenServices(driver, vm->def)))
        return -1;
    VIR_INFO("Starting the services of domain '%s' again", vm->def->name);
    return nitroServicesLaunch(driver, vm, outputs, nitroServicesFromMonitor);
}


/*
 * Sees to a process of @vm that can be talked to. The lock of @vm is released meanwhile. Returns 0, or
 * -1 with an error set.
 */
static int
nitroServicesMendProcess(nitroDriver *driver,
                         virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    nitroServicesRun *run = &priv->run.services;
    int id = vm->def->id;

    switch (nitroServicesFind(vm)) {
    case NITRO_HELPER_UNKNOWN:
        return -1;
    case NITRO_HELPER_GONE:
        break;
    case NITRO_HELPER_ALIVE:
        if (run->mon && run->silent < NITRO_SERVICES_SILENT_MAX)
            return 0;
        /* One of an earlier daemon; any other has broken the protocol, hung up or hangs. */
        if (!run->mon && !run->met &&
            nitroServicesConnect(driver, vm, nitroServicesFromMonitor) == 0)
            return 0;
        if (!nitroServicesKill(driver, vm, NULL))
            return -1;
        if (nitroRunCheck(vm, id) < 0)
            return -1;
        break;
    }
    if (run->mon) {
        nitroServicesMonitorClose(run->mon);
        g_clear_pointer(&run->mon, virObjectUnref);
    }
    return nitroServicesRunAgain(driver, vm);
}


/* Asks the process for its state, and makes a link if it has none, without the lock of the domain */
static int
nitroServicesMendLink(nitroDriver *driver,
                      const nitroServicesLinking *linking,
                      nitroServicesStatus *status)
{
    VIR_AUTOCLOSE link = -1;

    if (nitroServicesMonitorQuery(linking->mon, NITRO_SERVICES_TIMEOUT, status) < 0)
        return -1;
    if (status->link)
        return 0;
    if ((link = nitroServicesLinkOpen(driver, linking->path, linking->services, linking->n)) < 0 ||
        nitroServicesLinkAwait(link, linking->name, !linking->path) < 0)
        return -1;
    return nitroServicesLinkGive(linking, link);
}


/* Does what is missing. Returns 0, or -1 with an error set. */
static int
nitroServicesMend(nitroDriver *driver,
                  virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    nitroServicesRun *run = &priv->run.services;
    g_auto(nitroServicesLinking) linking = { 0 };
    g_auto(nitroServicesStatus) status = { 0 };
    int id = vm->def->id;
    int rc;

    if (nitroServicesMendProcess(driver, vm) < 0 || nitroServicesTakeCid(driver, vm) < 0)
        return -1;

    nitroServicesLinkingInit(&linking, driver, vm);
    virObjectUnlock(vm);
    rc = nitroServicesMendLink(driver, &linking, &status);
    virObjectLock(vm);

    if (nitroRunCheck(vm, id) < 0)
        return -1;
    if (rc < 0 && virGetLastErrorCode() == VIR_ERR_OPERATION_TIMEOUT)
        run->silent++;
    if (rc == 0 && run->mon != linking.mon) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("the services process of domain '%s' has ended"), vm->def->name);
        rc = -1;
    }
    if (rc < 0)
        return -1;
    nitroServicesNoteStatus(driver, vm, &status);
    nitroServicesWork(driver, vm, true);
    return 0;
}


/* With a job of @vm */
static void
nitroServicesMendNow(nitroDriver *driver,
                     virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (!nitroServicesAreNeeded(vm) || nitroServicesMend(driver, vm) == 0)
        return;
    if (!nitroServicesAreNeeded(vm))
        return;
    VIR_WARN("The services of domain '%s' do not work yet: %s", vm->def->name,
             virGetLastErrorMessage());
    g_free(priv->run.services.down);
    priv->run.services.down = g_strdup(virGetLastErrorMessage());
    nitroServicesMendLater(driver, vm);
}


/* A function for nitroDriverRun() */
static void
nitroServicesMendTask(nitroDriver *driver,
                      virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    virObjectRef(vm);
    virObjectLock(vm);
    if (virDomainObjIsActive(vm) && priv->run.services.mending) {
        if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0) {
            /* Somebody has had the job for too long. */
            nitroDriverRun(driver->takeovers, nitroServicesMendTask, vm, NITRO_SERVICES_PAUSE_MIN);
        } else {
            if (priv->run.services.mending) {
                priv->run.services.mending = false;
                nitroServicesMendNow(driver, vm);
            }
            virDomainObjEndJob(vm);
        }
    }
    virDomainObjEndAPI(&vm);
}


void
nitroServicesForget(nitroDriver *driver,
                    virDomainObj *vm)
{
    if (nitroServicesAreThere(vm->def))
        nitroServicesSetState(driver, vm, false, false);
}


void
nitroServicesTakeOver(nitroDriver *driver,
                      virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (!nitroServicesAreThere(vm->def) || priv->run.services.mon || priv->run.services.mending)
        return;
    /* Before anybody can start a domain that claims it. If it cannot be had the task tells so. */
    if (nitroServicesTakeCid(driver, vm) < 0)
        virResetLastError();
    priv->run.services.mending = true;
    nitroDriverRun(driver->takeovers, nitroServicesMendTask, vm, 0);
}
