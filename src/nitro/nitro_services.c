/*
 * nitro_services.c: the process of the vsock services of a domain
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Start: launch (nitro_services_launch.c) -> link (nitro_services_link.c) -> the helper runs -> the
 * process gets the link. What goes wrong later is noted by the event loop's thread, and mended by a task,
 * which finds out what is there and does what is missing: process, connection, link. The same task
 * takes over what an earlier daemon has left.
 */

#include <config.h>

#include <signal.h>
#include <unistd.h>

#include "helper_protocol.h"
#include "nitro_cgroup.h"
#include "nitro_domain.h"
#include "nitro_domain_conf.h"
#include "nitro_domain_services.h"
#include "nitro_driver.h"
#include "nitro_end.h"
#include "nitro_services.h"
#include "nitro_services_launch.h"
#include "nitro_services_link.h"
#include "nitro_services_open.h"
#include "nitro_socket.h"
#include "services_protocol.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_services");

/* ms: how long the process may take to answer */
#define NITRO_SERVICES_TIMEOUT 5000

/* ms: how long it may take to exit, when it has finished, and when it has got SIGTERM or SIGKILL */
#define NITRO_SERVICES_EXIT_TIMEOUT 500
#define NITRO_SERVICES_TERM_TIMEOUT 2000
#define NITRO_SERVICES_KILL_TIMEOUT 15000

/* ms: until services are mended, again each time twice as long */
#define NITRO_SERVICES_PAUSE_MIN 100
#define NITRO_SERVICES_PAUSE_MAX 30000

/* us: services that have worked for so long end a row of attempts */
#define NITRO_SERVICES_CALM (60 * G_USEC_PER_SEC)

/* A process that has not answered so often in a row is ended */
#define NITRO_SERVICES_SILENT_MAX 3

static void nitroServicesMendTask(nitroDriver *driver, virDomainObj *vm);


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


static bool
nitroServicesAreThere(const virDomainDef *def)
{
    size_t n;
    g_autofree nitroServiceDef *services = nitroDomainDefGetServices(def, &n);

    return n > 0;
}


static bool
nitroServicesHaveBroker(const virDomainDef *def)
{
    return nitroDomainDefGetMachine(def) == NITRO_MACHINE_NITRO;
}


char *
nitroServicesGetLinkPath(nitroDriver *driver,
                         virDomainObj *vm)
{
    g_autofree char *dir = nitroDomainGetRunDir(driver, vm->def);

    return g_strdup_printf("%s/link", dir);
}


/* What clients see of it: the state of channels, and an event when it changes while the enclave runs */
static void
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


/* What the process tells */

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


/* Notes what query-services or finish has returned of @vm. */
static void
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


/* A nitroServicesMonitorCallback */
static void
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


/* The link */

/* What is needed to make one, without the lock of the domain */
typedef struct _nitroServicesLinking nitroServicesLinking;
struct _nitroServicesLinking {
    char *name;
    char *path; /* of the helper's socket; NULL: the broker is the switch */
    nitroServiceDef *services; /* types and ports */
    size_t n;
    unsigned int cid;
    nitroServicesMonitor *mon;
    nitroHelper *helper; /* NULL: none yet */
};

static void
nitroServicesLinkingClear(nitroServicesLinking *linking)
{
    g_free(linking->name);
    g_free(linking->path);
    g_free(linking->services);
    virObjectUnref(linking->mon);
    nitroHelperUnref(linking->helper);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroServicesLinking, nitroServicesLinkingClear);


static void
nitroServicesLinkingInit(nitroServicesLinking *linking,
                         nitroDriver *driver,
                         virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    linking->name = g_strdup(vm->def->name);
    if (!nitroServicesHaveBroker(vm->def))
        linking->path = nitroServicesGetLinkPath(driver, vm);
    linking->services = nitroDomainDefGetServices(vm->def, &linking->n);
    linking->cid = vm->def->vsock->guest_cid;
    if (priv->run.services.mon)
        linking->mon = virObjectRef(priv->run.services.mon);
    if (priv->run.helper)
        linking->helper = nitroHelperRef(priv->run.helper);
}


/* Gives the @link to the process. Returns 0, or -1 with an error set. */
static int
nitroServicesGiveLink(const nitroServicesLinking *linking,
                      int link)
{
    int pidfd = linking->helper ? nitroHelperGetFd(linking->helper) : -1;

    if (nitroServicesLinkTellEnclave(link, linking->name, linking->cid) < 0)
        return -1;
    return nitroServicesMonitorLink(linking->mon, link, pidfd, NITRO_SERVICES_TIMEOUT);
}


/* The process of @vm has its link: the services work. Clients get an event if they do @again. */
static void
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

    nitroServicesLinkingInit(&linking, driver, vm);
    link = run->link;
    run->link = -1;
    virObjectUnlock(vm);
    if (linking.path)
        rc = nitroServicesLinkAwait(link, linking.name, false);
    if (rc == 0)
        rc = nitroServicesGiveLink(&linking, link);
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


/*
 * What is known of the process of @vm; with NITRO_HELPER_UNKNOWN an error is set. What is not known to
 * be ours is never ended.
 */
static nitroHelperState
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


/* Ends the living process of @vm, without its lock. Returns whether it is gone, or another's business. */
static bool
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
    nitroServicesRunReset(&priv->run.services);
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
    return nitroServicesGiveLink(linking, link);
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

    if (nitroServicesMendProcess(driver, vm) < 0)
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
    priv->run.services.mending = true;
    nitroDriverRun(driver->takeovers, nitroServicesMendTask, vm, 0);
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
