/*
 * nitro_services.c: the process of the vsock services of a domain
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Start: launch (nitro_services_launch.c) -> link (nitro_services_link.c) -> the helper runs -> the
 * process gets the link. What it tells, and what goes wrong later: nitro_services_mend.c.
 */

#include <config.h>

#include <signal.h>
#include <unistd.h>

#include "nitro_cgroup.h"
#include "nitro_cid.h"
#include "nitro_domain.h"
#include "nitro_domain_conf.h"
#include "nitro_domain_services.h"
#include "nitro_driver.h"
#include "nitro_services.h"
#include "nitro_services_launch.h"
#include "nitro_services_link.h"
#include "nitro_services_mend.h"
#include "nitro_services_open.h"
#include "nitro_socket.h"
#include "services_protocol.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_services");

/* ms: how long it may take to exit, when it has finished, and when it has got SIGTERM or SIGKILL */
#define NITRO_SERVICES_EXIT_TIMEOUT 500
#define NITRO_SERVICES_TERM_TIMEOUT 2000
#define NITRO_SERVICES_KILL_TIMEOUT 15000


void
nitroServicesRunReset(nitroServicesRun *run)
{
    const nitroServicesRun init = NITRO_SERVICES_RUN_INIT;

    if (run->mon)
        nitroServicesMonitorClose(run->mon);
    g_clear_pointer(&run->mon, virObjectUnref);
    g_clear_pointer(&run->process, nitroHelperUnref);
    VIR_FORCE_CLOSE(run->link);
    g_free(run->down);
    nitroServicesStatusClear(&run->status);
    *run = init;
}


bool
nitroServicesAreThere(const virDomainDef *def)
{
    size_t n;
    g_autofree nitroServiceDef *services = nitroDomainDefGetServices(def, &n);

    return n > 0;
}


char *
nitroServicesGetLinkPath(nitroDriver *driver,
                         virDomainObj *vm)
{
    g_autofree char *dir = nitroDomainGetRunDir(driver, vm->def);

    return g_strdup_printf("%s/link", dir);
}


/* What the live definition @def says of channels that the stored one does not: aliases, and the paths
 * of sockets in the run directory @rundir */
static void
nitroServicesPrepareChannels(virDomainDef *def,
                             const char *rundir)
{
    size_t i;

    for (i = 0; i < def->nchannels; i++) {
        virDomainChrDef *channel = def->channels[i];

        g_free(channel->info.alias);
        channel->info.alias = g_strdup_printf("channel%zu", i);
        if (channel->source->type != VIR_DOMAIN_CHR_TYPE_UNIX ||
            !channel->source->data.nix.listen)
            continue;
        /* A transient domain that is restarted has that of its last run. */
        if (nitroDomainChannelIsMadePath(channel, channel->source->data.nix.path))
            g_clear_pointer(&channel->source->data.nix.path, g_free);
        if (!channel->source->data.nix.path)
            channel->source->data.nix.path = nitroDomainChannelMakePath(rundir, channel);
    }
}


/* The start */

/* Makes the link of a start. Returns 0, or -1 with an error set. */
static int
nitroServicesStartLink(nitroDriver *driver,
                       virDomainObj *vm,
                       int *listener)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_auto(nitroServicesLinking) linking = { 0 };
    VIR_AUTOCLOSE link = -1;
    int id = vm->def->id;
    int rc = 0;

    nitroServicesLinkingInit(&linking, driver, vm);
    if (linking.path && (*listener = nitroSocketListen(linking.path)) < 0)
        return -1;

    virObjectUnlock(vm);
    if ((link = nitroServicesLinkOpen(driver, linking.path, linking.services, linking.n)) < 0)
        rc = -1;
    /* The helper does not run yet: it answers later. */
    if (rc == 0 && !linking.path)
        rc = nitroServicesLinkAwait(link, linking.name, true);
    virObjectLock(vm);

    if (nitroRunCheck(vm, id) < 0)
        return -1;
    priv->run.services.link = link;
    link = -1;
    return rc;
}


int
nitroServicesStart(nitroDriver *driver,
                   virDomainObj *vm,
                   const nitroOutputs *outputs,
                   int *listener)
{
    g_autofree char *rundir = NULL;

    if (!nitroServicesAreThere(vm->def))
        return 0;

    rundir = nitroDomainGetRunDir(driver, vm->def);
    nitroServicesPrepareChannels(vm->def, rundir);
    nitroServicesSetState(driver, vm, false, false);
    if (nitroServicesLaunch(driver, vm, outputs, nitroServicesFromMonitor) < 0)
        return -1;
    return nitroServicesStartLink(driver, vm, listener);
}


int
nitroServicesJoinCgroup(virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (!priv->run.cgroup || !priv->run.services.process)
        return 0;
    return virCgroupAddMachineProcess(priv->run.cgroup,
                                      nitroHelperGetPid(priv->run.services.process));
}


/* The hypervisor may give the CID to another enclave from now on. */
static void
nitroServicesLeaveCid(nitroDriver *driver,
                      nitroServicesRun *run)
{
    nitroCidsRelease(driver->serviceCids, run->cid);
    run->cid = 0;
}


int
nitroServicesTakeCid(nitroDriver *driver,
                     virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    nitroServicesRun *run = &priv->run.services;
    unsigned int cid = vm->def->vsock->guest_cid;

    if (nitroDomainDefGetMachine(vm->def) != NITRO_MACHINE_NITRO || cid == 0 || cid == run->cid)
        return 0;
    nitroServicesLeaveCid(driver, run);
    if (nitroCidsTake(driver->serviceCids, vm->def->name, &cid) < 0)
        return -1;
    run->cid = cid;
    return 0;
}


int
nitroServicesFollowStart(nitroDriver *driver,
                         virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    nitroServicesRun *run = &priv->run.services;
    g_auto(nitroServicesLinking) linking = { 0 };
    VIR_AUTOCLOSE link = -1;
    int id = vm->def->id;
    int rc = 0;

    /* The end of the enclave itself says more. */
    if (priv->run.ended || !run->process)
        return 0;
    if (!run->mon || run->down) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("the services of domain '%s' ended while the enclave started: see '%s/%s.services'"),
                       vm->def->name, driver->config->logDir, vm->def->name);
        return -1;
    }
    if (run->linked || !priv->run.started)
        return 0;
    if (nitroServicesTakeCid(driver, vm) < 0)
        return -1;

    nitroServicesLinkingInit(&linking, driver, vm);
    link = run->link;
    run->link = -1;
    virObjectUnlock(vm);
    if (linking.path)
        rc = nitroServicesLinkAwait(link, linking.name, false);
    if (rc == 0)
        rc = nitroServicesLinkGive(&linking, link);
    virObjectLock(vm);

    if (nitroRunCheck(vm, id) < 0)
        return -1;
    /* Nothing of this counts when the enclave has ended meanwhile. */
    if (rc < 0)
        return priv->run.ended ? 0 : -1;
    if (run->mon == linking.mon)
        nitroServicesWork(driver, vm, false);
    return 0;
}


/* The end of the process */

/* Returns whether the process is gone that has got @signum. */
static bool
nitroServicesSignal(nitroHelper *process,
                    int signum,
                    int timeout)
{
    if (nitroHelperSignal(process, signum) < 0)
        VIR_WARN("Unable to send the signal %d to process %lld: %s", signum,
                 (long long) nitroHelperGetPid(process), g_strerror(errno));
    return nitroHelperAwaitExit(process, timeout);
}


/* Ends @process, by words if it listens to @mon, which may be NULL. Returns whether it is gone. */
static bool
nitroServicesEndProcess(nitroHelper *process,
                        nitroServicesMonitor *mon,
                        nitroServicesStatus *status)
{
    if (mon && !nitroServicesMonitorIsGone(mon) &&
        nitroServicesMonitorFinish(mon, NITRO_SERVICES_FINISH_MS + NITRO_SERVICES_EXIT_TIMEOUT,
                                   status) < 0) {
        VIR_DEBUG("%s", virGetLastErrorMessage());
        virResetLastError();
    }
    return (mon && nitroHelperAwaitExit(process, NITRO_SERVICES_EXIT_TIMEOUT)) ||
           nitroServicesSignal(process, SIGTERM, NITRO_SERVICES_TERM_TIMEOUT) ||
           nitroServicesSignal(process, SIGKILL, NITRO_SERVICES_KILL_TIMEOUT);
}


nitroHelperState
nitroServicesFind(virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    nitroHelper *process = priv->run.services.process;
    nitroHelperState state = process ? nitroHelperFind(process, vm->def->uuid) : NITRO_HELPER_GONE;

    if (state == NITRO_HELPER_UNKNOWN)
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("cannot find out whether process %lld, the services of domain '%s', still runs (%s): try again"),
                       (long long) nitroHelperGetPid(process), vm->def->name, g_strerror(errno));
    return state;
}


bool
nitroServicesKill(nitroDriver *driver,
                  virDomainObj *vm,
                  nitroServicesMonitor *mon)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autoptr(nitroHelper) process = nitroHelperRef(priv->run.services.process);
    g_auto(nitroServicesStatus) status = { 0 };
    int id = vm->def->id;
    bool gone;

    virObjectUnlock(vm);
    gone = nitroServicesEndProcess(process, mon, &status);
    virObjectLock(vm);

    if (vm->def->id != id || priv->run.services.process != process)
        return true;
    nitroServicesNoteStatus(driver, vm, &status);
    if (!gone)
        virReportError(VIR_ERR_OPERATION_TIMEOUT,
                       _("process %lld, the services of domain '%s', cannot be ended: try again"),
                       (long long) nitroHelperGetPid(process), vm->def->name);
    return gone;
}


int
nitroServicesEnd(nitroDriver *driver,
                 virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autoptr(nitroServicesMonitor) mon = NULL;
    nitroHelperState state = nitroServicesFind(vm);
    bool gone = state == NITRO_HELPER_GONE;

    nitroServicesLeaveCid(driver, &priv->run.services);
    if (state == NITRO_HELPER_UNKNOWN)
        return -1;
    if (priv->run.services.mon)
        mon = virObjectRef(priv->run.services.mon);
    if (!gone)
        gone = nitroServicesKill(driver, vm, mon);
    if (mon && priv->run.services.mon == mon) {
        nitroServicesMonitorClose(mon);
        g_clear_pointer(&priv->run.services.mon, virObjectUnref);
    }
    return gone ? 0 : -1;
}


void
nitroServicesRelease(nitroDriver *driver,
                     virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autofree char *rundir = nitroDomainGetRunDir(driver, vm->def);

    nitroServicesRemoveSockets(rundir);
    nitroServicesLeaveCid(driver, &priv->run.services);
    nitroServicesRunReset(&priv->run.services);
}


/* For clients */

bool
nitroServicesQuery(virDomainObj *vm,
                   unsigned int timeout)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autoptr(nitroServicesMonitor) mon = NULL;
    nitroServicesStatus status = { 0 };
    int rc;

    nitroServicesStatusClear(&priv->run.services.status);
    if (!virDomainObjIsActive(vm) || !priv->run.services.mon)
        return false;

    mon = virObjectRef(priv->run.services.mon);
    virObjectUnlock(vm);
    rc = nitroServicesMonitorQuery(mon, timeout, &status);
    virObjectLock(vm);
    if (rc < 0)
        virResetLastError();
    if (rc < 0 || priv->run.services.mon != mon) {
        nitroServicesStatusClear(&status);
        return false;
    }
    nitroServicesStatusClear(&priv->run.services.status);
    priv->run.services.status = status;
    return true;
}
