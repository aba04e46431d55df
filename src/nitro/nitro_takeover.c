/*
 * nitro_takeover.c: takes over the enclaves of an earlier daemon
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Find the helper's process -> connect -> ask for its state. An enclave whose process is known to
 * be gone has crashed. Any other difficulty is one of this daemon or of the host, not of the
 * enclave: the domain stays as it is, and what failed is tried again. When that goes on the
 * domain is set aside: clients are told that it runs, but cannot be talked to. It can be
 * destroyed, and its end is noticed.
 */

#include <config.h>

#include <fcntl.h>
#include <unistd.h>

#include "helper_protocol.h"
#include "nitro_aside.h"
#include "nitro_cgroup.h"
#include "nitro_domain.h"
#include "nitro_driver.h"
#include "nitro_end.h"
#include "nitro_events.h"
#include "nitro_run.h"
#include "nitro_services_mend.h"
#include "nitro_start.h"
#include "nitro_takeover.h"
#include "nitro_unprotected.h"
#include "virerror.h"
#include "virevent.h"
#include "virfile.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_takeover");

/* ms: how long a helper of an earlier daemon may take to answer */
#define NITRO_TAKEOVER_TIMEOUT 10000

/* ms: until it is tried again; each time twice as long */
#define NITRO_TAKEOVER_PAUSE_MIN 100
#define NITRO_TAKEOVER_PAUSE_MAX 30000

/* ms: until it is looked at again what somebody was about to end */
#define NITRO_TAKEOVER_PAUSE_ENDING 1000

/* us: a domain that cannot be taken over for so long is set aside */
#define NITRO_TAKEOVER_PATIENCE (2 * G_USEC_PER_SEC)

/* us: a connection that has lasted for so long ends a row of those that have not */
#define NITRO_TAKEOVER_CALM (60 * G_USEC_PER_SEC)

/* Descriptors that are to be left when one is taken over */
#define NITRO_TAKEOVER_ROOM 8

typedef enum {
    NITRO_TAKEOVER_DONE,  /* or no business of ours any more */
    NITRO_TAKEOVER_GONE,  /* the helper's process has ended */
    NITRO_TAKEOVER_LATER, /* an error is set */
} nitroTakeoverResult;


/* A function for nitroDriverRun(): an enclave that started when it was taken over has booted. */
static void
nitroTakeoverBooted(nitroDriver *driver,
                    virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    virObjectRef(vm);
    virObjectLock(vm);
    if (!virDomainObjIsActive(vm) || !priv->run.booted) {
        virDomainObjEndAPI(&vm);
        return;
    }
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0) {
        nitroDriverRun(driver->ends, nitroTakeoverBooted, vm, NITRO_TAKEOVER_PAUSE_MIN);
    } else {
        if (virDomainObjGetState(vm, NULL) == VIR_DOMAIN_PAUSED && priv->run.booted) {
            nitroStartSetRunning(driver, vm);
            nitroDomainEventLifecycle(driver, vm, VIR_DOMAIN_EVENT_STARTED,
                                      VIR_DOMAIN_EVENT_STARTED_BOOTED);
        }
        virDomainObjEndJob(vm);
    }
    virDomainObjEndAPI(&vm);
}


/* No start waits for what this helper says: a nitroMonitorCallback. */
static void
nitroTakeoverFromMonitor(nitroMonitor *mon,
                         const nitroMonitorEvent *event,
                         void *opaque)
{
    virDomainObj *vm = opaque;
    nitroDomainObjPrivate *priv;
    bool taken = false;

    VIR_WITH_OBJECT_LOCK_GUARD(vm) {
        priv = vm->privateData;
        taken = priv->run.taken;
    }
    /* A helper that could not be understood before that may be of another version, and its enclave
     * well: whether it has ended is for the takeover to find out. */
    if (!taken && (!event->name || STREQ(event->name, NITRO_EVENT_FAILED)))
        return;
    nitroEventsFromMonitor(mon, event, vm);
    if (STREQ_NULLABLE(event->name, NITRO_EVENT_BOOTED))
        nitroDriverRun(nitro_driver->ends, nitroTakeoverBooted, vm, 0);
}


/*
 * Whether there are descriptors left for clients, who want to be answered meanwhile: they may be gone a
 * moment later. Returns 0, or -1 with an error set.
 */
static int
nitroTakeoverCheckRoom(void)
{
    int fds[NITRO_TAKEOVER_ROOM];
    size_t n = 0;
    int err = 0;

    while (n < NITRO_TAKEOVER_ROOM && err == 0) {
        if ((fds[n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
            err = errno;
        else
            n++;
    }
    while (n > 0)
        VIR_FORCE_CLOSE(fds[--n]);
    if (err == 0)
        return 0;

    virReportSystemError(err, "%s", _("descriptors are short: raise the daemon's limit of open files"));
    return -1;
}


/* Connects to the helper of @vm. Returns 0, or -1 with an error set. */
static int
nitroTakeoverConnect(nitroDriver *driver,
                     virDomainObj *vm)
{
    g_autofree char *path = nitroRunGetControlPath(driver, vm);
    int fd;

    if ((fd = nitroMonitorConnect(path)) < 0 ||
        nitroEventsWatch(vm, fd, false, nitroTakeoverFromMonitor) < 0)
        return -1;
    return 0;
}


/* Notes what the helper of the running or starting domain @vm has answered. */
static void
nitroTakeoverNote(nitroDriver *driver,
                  virDomainObj *vm,
                  const nitroMonitorStatus *status)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    bool starting = virDomainObjGetState(vm, NULL) == VIR_DOMAIN_PAUSED;

    nitroRunNoteCid(vm->def, status->cid);
    nitroRunNoteCpus(vm, status->cpus, status->ncpus);
    if (status->unprotected)
        nitroUnprotectedAddAll(&priv->run.unprotected, status->unprotected);
    else if (!priv->run.unprotected)
        nitroUnprotectedAdd(&priv->run.unprotected, NITRO_UNPROTECTED_UNKNOWN);
    if (STREQ(status->phase, NITRO_PHASE_RUNNING))
        priv->run.started = priv->run.booted = true;
    if (!priv->run.booted)
        return;

    nitroStartSetRunning(driver, vm);
    /* The earlier daemon did not get to say so. */
    if (starting)
        nitroDomainEventLifecycle(driver, vm, VIR_DOMAIN_EVENT_STARTED,
                                  VIR_DOMAIN_EVENT_STARTED_BOOTED);
}


static void nitroTakeoverTask(nitroDriver *driver, virDomainObj *vm);

/* Asks the helper of @vm how things are, without the lock of @vm. The job of a start is held. */
static nitroTakeoverResult
nitroTakeoverQuery(nitroDriver *driver,
                   virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_auto(nitroMonitorStatus) status = { .cid = -1 };
    g_autoptr(nitroMonitor) mon = virObjectRef(priv->run.mon);
    int id = vm->def->id;
    int rc;

    virObjectUnlock(vm);
    rc = nitroMonitorQueryStatus(mon, NITRO_TAKEOVER_TIMEOUT, &status);
    virObjectLock(vm);

    if (vm->def->id != id || priv->run.ended)
        return NITRO_TAKEOVER_DONE;
    /* Who has taken the monitor away is ending the domain, which may fail. */
    if (priv->run.mon != mon) {
        nitroDriverRun(driver->takeovers, nitroTakeoverTask, vm, NITRO_TAKEOVER_PAUSE_ENDING);
        return NITRO_TAKEOVER_DONE;
    }
    if (rc == 0 && !nitroMonitorIsGone(mon)) {
        /* The end of a connection is told after it is known, and takes the lock that is held here. */
        priv->run.taken = true;
        nitroTakeoverNote(driver, vm, &status);
        return NITRO_TAKEOVER_DONE;
    }
    /* A helper that is slow to answer keeps its connection: it may be well. */
    if (rc == 0)
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("the helper of domain '%s' has closed its connection"), vm->def->name);
    if (virGetLastErrorCode() != VIR_ERR_OPERATION_TIMEOUT || nitroMonitorIsGone(mon)) {
        nitroMonitorClose(mon);
        g_clear_pointer(&priv->run.mon, virObjectUnref);
    }
    return NITRO_TAKEOVER_LATER;
}


static nitroTakeoverResult
nitroTakeoverTry(nitroDriver *driver,
                 virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (nitroTakeoverCheckRoom() < 0)
        return NITRO_TAKEOVER_LATER;

    switch (nitroRunFindHelper(driver, vm)) {
    case NITRO_HELPER_GONE:
        return NITRO_TAKEOVER_GONE;
    case NITRO_HELPER_UNKNOWN:
        virReportSystemError(errno,
                             _("cannot find out whether process %lld, the helper of domain '%s', still runs"),
                             (long long) vm->pid, vm->def->name);
        return NITRO_TAKEOVER_LATER;
    case NITRO_HELPER_ALIVE:
        break;
    }

    if (nitroRunReserve(driver, vm) < 0 ||
        (!priv->run.mon && nitroTakeoverConnect(driver, vm) < 0))
        return NITRO_TAKEOVER_LATER;
    return nitroTakeoverQuery(driver, vm);
}


struct nitroTakeoverWatch {
    virDomainObj *vm;     /* a reference */
    nitroHelper *helper;  /* likewise: its descriptor is watched */
};

static void
nitroTakeoverWatchFree(void *opaque)
{
    struct nitroTakeoverWatch *watch = opaque;

    virObjectUnref(watch->vm);
    nitroHelperUnref(watch->helper);
    g_free(watch);
}


/* The process of a domain that is set aside has ended. */
static void
nitroTakeoverHelperEnded(int id,
                         int fd G_GNUC_UNUSED,
                         int events G_GNUC_UNUSED,
                         void *opaque)
{
    struct nitroTakeoverWatch *watch = opaque;
    nitroDomainObjPrivate *priv = watch->vm->privateData;
    VIR_LOCK_GUARD lock = virObjectLockGuard(watch->vm);

    virEventUpdateHandle(id, 0);
    if (priv->run.helper == watch->helper)
        nitroEndNote(nitro_driver, watch->vm);
}


/* Notices the end of a helper that does not talk to us. Without a pidfd the next try does. */
static void
nitroTakeoverWatch(virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    struct nitroTakeoverWatch *watch;

    if (!priv->run.helper || nitroHelperGetFd(priv->run.helper) < 0 || priv->run.watch >= 0)
        return;
    watch = g_new0(struct nitroTakeoverWatch, 1);
    watch->vm = virObjectRef(vm);
    watch->helper = nitroHelperRef(priv->run.helper);
    priv->run.watch = virEventAddHandle(nitroHelperGetFd(watch->helper), VIR_EVENT_HANDLE_READABLE,
                                        nitroTakeoverHelperEnded, watch, nitroTakeoverWatchFree);
    if (priv->run.watch < 0)
        nitroTakeoverWatchFree(watch);
}


/* The error that is set keeps @vm from being taken over now. Returns the ms until the next try. */
static unsigned int
nitroTakeoverPutOff(nitroDriver *driver,
                    virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autofree char *dir = nitroDomainGetRunDir(driver, vm->def);
    unsigned int pause = NITRO_TAKEOVER_PAUSE_MIN << MIN(priv->run.tries, 16);

    if (priv->run.tries == 0)
        VIR_WARN("Domain '%s' cannot be taken over yet: %s", vm->def->name, virGetLastErrorMessage());
    priv->run.tries++;
    if (g_get_monotonic_time() - priv->run.tried >= NITRO_TAKEOVER_PATIENCE && !priv->run.aside) {
        priv->run.aside = g_strdup(virGetLastErrorMessage());
        nitroAsideMark(dir, vm->pid, priv->run.aside);
        VIR_ERROR(_("domain '%s' is set aside: its helper, process %lld, is left alone, and nothing is known of the enclave: %s"),
                  vm->def->name, (long long) vm->pid, priv->run.aside);
        virObjectEventStateQueue(driver->domainEventState,
                                 virDomainEventControlErrorNewFromObj(vm));
    }
    if (priv->run.aside)
        nitroTakeoverWatch(vm);
    return MIN(pause, NITRO_TAKEOVER_PAUSE_MAX);
}


static void
nitroTakeoverSucceeded(nitroDriver *driver,
                       virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autofree char *dir = nitroDomainGetRunDir(driver, vm->def);

    nitroAsideUnmark(dir);
    if (priv->run.aside)
        VIR_WARN("Domain '%s' is taken over after all", vm->def->name);
    g_clear_pointer(&priv->run.aside, g_free);
    nitroRunUnwatch(&priv->run);
    priv->run.tries = 0;
}


/* Tries it once, with the job of a start. Returns whether the domain is to be restarted. */
static bool
nitroTakeoverOnce(nitroDriver *driver,
                  virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (priv->run.tries == 0)
        priv->run.tried = g_get_monotonic_time();
    switch (nitroTakeoverTry(driver, vm)) {
    case NITRO_TAKEOVER_DONE:
        if (virDomainObjIsActive(vm) && priv->run.mon && priv->run.taken) {
            nitroTakeoverSucceeded(driver, vm);
            nitroCgroupFind(vm);
            nitroServicesTakeOver(driver, vm);
        }
        break;
    case NITRO_TAKEOVER_GONE:
        if (priv->run.ending)
            break;
        VIR_WARN("The helper of domain '%s' has ended without a daemon", vm->def->name);
        return nitroEndLost(driver, vm);
    case NITRO_TAKEOVER_LATER:
        nitroDriverRun(driver->takeovers, nitroTakeoverTask, vm, nitroTakeoverPutOff(driver, vm));
        break;
    }
    return false;
}


/* A function for nitroDriverRun() */
static void
nitroTakeoverTask(nitroDriver *driver,
                  virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    bool restart = false;
    int id;

    virObjectRef(vm);
    virObjectLock(vm);
    id = vm->def->id;
    if (virDomainObjIsActive(vm) && !priv->run.ended) {
        if (nitroStartBeginJobOnly(vm) < 0) {
            nitroDriverRun(driver->takeovers, nitroTakeoverTask, vm, NITRO_TAKEOVER_PAUSE_MAX);
        } else {
            /* Who has ended it while this waited may also have started it again. */
            if (vm->def->id == id && !priv->run.ended && !priv->run.taken)
                restart = nitroTakeoverOnce(driver, vm);
            nitroStartEndJob(vm);
        }
    }
    if (!restart || !driver->restart(driver, vm))
        nitroDomainRemoveInactive(driver, vm);
    virDomainObjEndAPI(&vm);
}


void
nitroTakeoverBegin(nitroDriver *driver,
                   virDomainObj *vm)
{
    nitroDriverReserveDomainId(driver, vm->def->id);
    nitroDriverHold(driver);
    nitroServicesForget(driver, vm);
    /* The task does it again. */
    if (nitroRunReserve(driver, vm) < 0)
        virResetLastError();
    nitroDriverRun(driver->takeovers, nitroTakeoverTask, vm, 0);
}


/* ms: how long to wait before the helper of @run is connected to anew. It may do nothing but hang up. */
static unsigned int
nitroTakeoverGetDelay(nitroRun *run)
{
    gint64 now = g_get_monotonic_time();
    unsigned int delay = 0;

    if (now - run->reconnected >= NITRO_TAKEOVER_CALM)
        run->reconnects = 0;
    if (run->reconnects > 0)
        delay = MIN(NITRO_TAKEOVER_PAUSE_MIN << MIN(run->reconnects, 16), NITRO_TAKEOVER_PAUSE_MAX);
    run->reconnects++;
    run->reconnected = now;
    return delay;
}


void
nitroTakeoverReconnect(nitroDriver *driver,
                       virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    VIR_WARN("The connection with the helper of domain '%s' has ended, and the helper lives",
             vm->def->name);
    if (priv->run.mon)
        nitroMonitorClose(priv->run.mon);
    g_clear_pointer(&priv->run.mon, virObjectUnref);
    priv->run.taken = false;
    nitroTakeoverWatch(vm);
    nitroDriverRun(driver->takeovers, nitroTakeoverTask, vm, nitroTakeoverGetDelay(&priv->run));
}


static int
nitroTakeoverOne(virDomainObj *vm,
                 void *opaque)
{
    VIR_LOCK_GUARD lock = virObjectLockGuard(vm);

    if (virDomainObjIsActive(vm))
        nitroTakeoverBegin(opaque, vm);
    return 0;
}


void
nitroTakeoverAll(nitroDriver *driver)
{
    virDomainObjListForEach(driver->domains, true, nitroTakeoverOne, driver);
}
