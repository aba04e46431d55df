/*
 * nitro_start.c: starts the enclave of a domain
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Checks (host, definition) -> wait for its turn -> image -> what the run takes -> helper -> monitor
 * -> wait for "booted". The helper does nothing before it is written down where any daemon finds it.
 */

#include <config.h>

#include <cap-ng.h>
#include <sys/resource.h>
#include <unistd.h>

#include "domain_postparse.h"
#include "domain_validate.h"
#include "helper_protocol.h"
#include "nitro_broker.h"
#include "nitro_cgroup.h"
#include "nitro_command.h"
#include "nitro_console.h"
#include "nitro_domain.h"
#include "nitro_domain_conf.h"
#include "nitro_driver.h"
#include "nitro_end.h"
#include "nitro_events.h"
#include "nitro_failure.h"
#include "nitro_host.h"
#include "nitro_host_check.h"
#include "nitro_image_check.h"
#include "nitro_run.h"
#include "nitro_services.h"
#include "nitro_services_mend.h"
#include "nitro_spawn.h"
#include "nitro_start.h"
#include "nitro_unprotected.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virtime.h"
#include "virutil.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_start");

/*
 * How long, in ms, a start has its turn for its image to be opened and checked, and, beyond what the
 * helper has for the boot, for all that comes then: disks and programs that an image has taken over
 * may not answer, and other domains do not wait for them. The start itself does.
 */
#define NITRO_START_IMAGE_TIME (60 * 1000)
#define NITRO_START_REST_TIME (60 * 1000)

/* Seconds that count as the time for the boot where the helper finds one by size, 90 for most */
#define NITRO_START_BOOT_TIME 180

/* What makes a connection with the broker a helper's, which can ask for no ports then */
#define NITRO_START_BROKER_LINE "{\"command\": \"" NITRO_BROKER_COMMAND_HEARTBEAT "\"}\n"

/* The job alone, for who finds the enclave started */
int
nitroStartBeginJobOnly(virDomainObj *vm)
{
    return virDomainObjBeginAsyncJob(vm, VIR_ASYNC_JOB_START,
                                     VIR_DOMAIN_JOB_OPERATION_START, 0);
}


/* Whether the accelerator of the emulated machine is still to be found out, or what confines it */
static bool
nitroStartNeedsAccel(nitroDriver *driver,
                     const virDomainDef *def)
{
    return nitroDomainDefGetMachine(def) == NITRO_MACHINE_EMULATED && !nitroHostIsKnown(driver);
}


int
nitroStartPrepareHost(nitroDriver *driver,
                      const virDomainDef *def)
{
    return nitroStartNeedsAccel(driver, def) ? nitroHostFindAccel(driver) : 0;
}


int
nitroStartBeginJob(nitroDriver *driver,
                   virDomainObj *vm)
{
    int rc = 0;

    if (nitroStartNeedsAccel(driver, vm->def)) {
        virObjectUnlock(vm);
        rc = nitroHostFindAccel(driver);
        virObjectLock(vm);
    }
    return rc < 0 ? -1 : nitroStartBeginJobOnly(vm);
}


void
nitroStartEndJob(virDomainObj *vm)
{
    virDomainObjEndAsyncJob(vm);
}


/* A run of a domain, for those who look at it without the domain's lock */
typedef struct _nitroStartOfRun nitroStartOfRun;
struct _nitroStartOfRun {
    nitroDriver *driver;
    virDomainObj *vm;
    int id;
};


/* For nitroImageCheck() */
static bool
nitroStartIsOver(void *opaque)
{
    const nitroStartOfRun *run = opaque;
    bool over;

    virObjectLock(run->vm);
    over = run->vm->def->id != run->id;
    virObjectUnlock(run->vm);
    return over || g_atomic_int_get(&run->driver->quitting);
}


/*
 * Opens the image and has it checked, which takes as long as its disk does: without the lock of
 * @vm, so that the run may be over then. Whoever ends it gives its turn to another meanwhile.
 */
static int
nitroStartOpenImage(nitroDriver *driver,
                    virDomainObj *vm,
                    nitroRunFds *fds)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autoptr(nitroImageRequest) request = nitroImageRequestNew(vm->def);
    nitroStartOfRun run = { driver, vm, vm->def->id };
    int rc;

    virObjectUnlock(vm);
    rc = nitroImageOpen(request, &fds->image);
    if (rc == 0)
        rc = nitroImageCheck(driver->config, request, &fds->image, nitroStartIsOver, &run,
                             &fds->signature);
    virObjectLock(vm);
    if (nitroRunCheck(vm, run.id) < 0)
        return -1;

    priv->run.place = NULL;
    return rc;
}


/*
 * What an NSM needs, where there is to be one. The lock of @vm is released meanwhile, so that the run may
 * be over then.
 */
static int
nitroStartOpenNsm(nitroDriver *driver,
                  virDomainObj *vm,
                  const char *qemu,
                  nitroRunFds *fds)
{
    g_autofree char *name = g_strdup(vm->def->name);
    g_autofree char *module = nitroNsmGetModule(vm->def);
    virTristateBool wanted = nitroDomainDefGetNsm(vm->def);
    int id = vm->def->id;
    int rc;

    if (nitroDomainDefGetMachine(vm->def) != NITRO_MACHINE_EMULATED)
        return 0;

    virObjectUnlock(vm);
    rc = nitroNsmOpen(driver, name, wanted, qemu, module, &fds->nsm);
    virObjectLock(vm);
    return nitroRunCheck(vm, id) < 0 ? -1 : rc;
}


/*
 * The emulated machine's helper has a port for the heartbeat of its own. The lock of @vm is
 * released meanwhile, so that the run may be over then.
 */
static int
nitroStartOpenBroker(nitroDriver *driver,
                     virDomainObj *vm,
                     nitroRunFds *fds)
{
    int id = vm->def->id;

    if (nitroDomainDefGetMachine(vm->def) != NITRO_MACHINE_NITRO ||
        !nitroDomainDefHasHeartbeat(vm->def))
        return 0;

    virObjectUnlock(vm);
    fds->broker = nitroBrokerConnect(driver, NITRO_START_BROKER_LINE);
    virObjectLock(vm);
    if (nitroRunCheck(vm, id) < 0)
        return -1;
    return fds->broker < 0 ? -1 : 0;
}


/* The same for the cgroup */
static int
nitroStartPrepareCgroup(nitroDriver *driver,
                        virDomainObj *vm)
{
    int id = vm->def->id;
    int rc = nitroCgroupPrepare(driver, vm);

    return nitroRunCheck(vm, id) < 0 ? -1 : rc;
}


typedef struct _nitroStartLaunching nitroStartLaunching;
struct _nitroStartLaunching {
    nitroDriver *driver;
    virDomainObj *vm;
    virCommand *cmd;
    const nitroOutputs *outputs;
    const char *noNsm; /* why there is no NSM, where it is missed; or NULL */
};


/* To the log of the domain, whose user may wait for an NSM */
static void
nitroStartTellNoNsm(const nitroStartLaunching *launching)
{
    g_autofree char *now = virTimeStringNow();
    g_autofree char *line = NULL;

    if (!launching->noNsm)
        return;
    line = g_strdup_printf("%s: this enclave has no NSM, as %s\n", NULLSTR(now), launching->noNsm);
    if (safewrite(launching->outputs->log.fd, line, strlen(line)) < 0)
        VIR_WARN("Unable to write to '%s': %s", launching->outputs->log.path, g_strerror(errno));
}


/*
 * The process @pid is to become the helper: a nitroSpawnReady. It is in the cgroup of its domain before
 * it does anything. The lock of the domain is released meanwhile.
 */
static int
nitroStartHelperReady(pid_t pid,
                      void *opaque)
{
    const nitroStartLaunching *launching = opaque;
    virDomainObj *vm = launching->vm;
    int id = vm->def->id;

    if (nitroRunNoteHelper(launching->driver, vm, pid) < 0 ||
        nitroCgroupCreate(vm) < 0 ||
        nitroRunCheck(vm, id) < 0 ||
        nitroServicesJoinCgroup(vm) < 0)
        return -1;

    /* This empties files, so there is nothing left that can fail. */
    if (nitroOutputsBegin(launching->outputs) < 0)
        return -1;
    virCommandWriteArgLog(launching->cmd, launching->outputs->log.fd);
    nitroStartTellNoNsm(launching);
    return 0;
}


/* Whether the daemon may let a process lock @bytes of memory */
static bool
nitroStartMayAllowLocking(unsigned long long bytes)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 &&
        (limit.rlim_max == RLIM_INFINITY ||
         (virMemoryLimitIsSet(bytes) && limit.rlim_max >= bytes)))
        return true;
    return capng_get_caps_process() == 0 &&
           capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_RESOURCE);
}


/*
 * QEMU locks the memory of an emulated enclave that is to be, and all else that it has: how much
 * that is nobody knows, so that there is no limit but <hard_limit>, as in libvirt's qemu driver. A
 * user's daemon has what the user has. Nobody else has anything to lock. Returns 0, or -1 with an
 * error set.
 */
static int
nitroStartSetLocking(nitroDriver *driver,
                     const virDomainDef *def,
                     virCommand *cmd)
{
    unsigned long long bytes = VIR_DOMAIN_MEMORY_PARAM_UNLIMITED;

    if (!def->mem.locked || nitroDomainDefGetMachine(def) != NITRO_MACHINE_EMULATED) {
        nitroDriverConfigLimitLocking(cmd);
        return 0;
    }
    if (!driver->privileged)
        return 0;
    if (virMemoryLimitIsSet(def->mem.hard_limit))
        bytes = def->mem.hard_limit << 10;
    if (!nitroStartMayAllowLocking(bytes)) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("<locked> of domain '%s' needs a limit of locked memory that virtnitrod may not raise: run the daemon with LimitMEMLOCK=infinity or the capability CAP_SYS_RESOURCE"),
                       def->name);
        return -1;
    }
    virCommandSetMaxMemLock(cmd, bytes);
    return 0;
}


/* Runs the helper; on return it has been executed. On failure no process of it is left. */
static int
nitroStartLaunch(nitroDriver *driver,
                 virDomainObj *vm,
                 const nitroRunFds *fds,
                 const char *qemu,
                 const char *accel)
{
    g_auto(GStrv) without = nitroHostGetUnprotected(driver, vm->def);
    nitroCommandContext ctxt = {
        .controlFd = fds->control,
        .imageFd = fds->image.fd,
        .initrdFd = fds->image.initrdFd,
        .vsockDirFd = fds->vsockDir,
        .vsockListenFd = fds->vsockListen,
        .servicesListenFd = fds->servicesListen,
        .consoleFd = fds->console,
        .brokerFd = fds->broker,
        .deviceFd = fds->device,
        .outputs = fds->outputs,
        .qemu = qemu,
        .accel = accel,
        .pageSize = nitroHostGetPageSize(driver->config, vm->def),
        .numaNode = nitroHostGetNumaNode(vm->def),
        .heartbeatTimeout = driver->config->heartbeatTimeout,
        .without = without,
        .nsm = fds->nsm.device ? driver->config->nsm : NULL,
        .nsmDevice = fds->nsm.device,
        .nsmIdentityFd = fds->nsm.identityFd,
        .signature = fds->signature,
    };
    g_autofree char *what = g_strdup_printf(_("the helper of domain '%s'"), vm->def->name);
    nitroStartLaunching launching = {
        .driver = driver, .vm = vm, .outputs = fds->outputs, .noNsm = fds->nsm.reason,
    };
    virCommand *cmd;
    int logfd = fds->outputs->log.fd;

    if (!(cmd = nitroCommandBuild(vm->def, &ctxt)))
        return -1;

    virCommandSetOutputFD(cmd, &logfd);
    virCommandSetErrorFD(cmd, &logfd);
    if (nitroStartSetLocking(driver, vm->def, cmd) < 0) {
        virCommandFree(cmd);
        return -1;
    }
    launching.cmd = cmd;
    return nitroSpawn(driver, cmd, what, nitroStartHelperReady, &launching);
}


/* Whether the run @id of the domain may still boot, and somebody waits for it */
static bool
nitroStartIsUnderWay(nitroDriver *driver,
                     virDomainObj *vm,
                     int id)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    return vm->def->id == id && !priv->run.booted && !priv->run.ended &&
           !g_atomic_int_get(&driver->quitting);
}


/*
 * Waits until the enclave of the run @id of the domain has booted. The helper has
 * its own time limit, so this wait has none; one that the image has taken over is waited for until
 * it is destroyed, but not by other starts: nitroStartGetTime(). Returns 0, or -1 with an error set; the
 * run may be over then, as somebody may have destroyed it.
 */
static int
nitroStartWaitBooted(nitroDriver *driver,
                     virDomainObj *vm,
                     int id)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    while (nitroStartIsUnderWay(driver, vm, id)) {
        /* It releases the lock. */
        if (nitroServicesFollowStart(driver, vm) < 0)
            return -1;
        if (!nitroStartIsUnderWay(driver, vm, id))
            break;
        if (virDomainObjWait(vm) < 0)
            break;
        /* A helper that ends rather than run so, as it was told to, does not say so here. */
        if (vm->def->id == id &&
            nitroUnprotectedCheck(priv->run.unprotected, driver->config->securityRequired) < 0)
            return -1;
    }

    if (nitroRunCheck(vm, id) < 0 ||
        nitroServicesFollowStart(driver, vm) < 0)
        return -1;
    if (priv->run.booted)
        return nitroUnprotectedCheck(priv->run.unprotected, driver->config->securityRequired);

    if (priv->run.failureText && STREQ_NULLABLE(priv->run.failureCode, NITRO_FAILURE_IMAGE)) {
        /* The helper has got a descriptor and knows no name. */
        virReportError(nitroFailureToError(priv->run.failureCode),
                       _("enclave image '%s': %s"), vm->def->os.kernel, priv->run.failureText);
    } else if (priv->run.failureText) {
        virReportError(nitroFailureToError(priv->run.failureCode),
                       "%s", priv->run.failureText);
    } else if (priv->run.ended) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("the helper of domain '%s' ended while the enclave started: see '%s/%s.log'"),
                       vm->def->name, driver->config->logDir, vm->def->name);
        nitroHostSayUnreachable(driver->config, vm->def->emulator);
    } else {
        virReportError(VIR_ERR_OPERATION_ABORTED,
                       _("virtnitrod ends while domain '%s' starts: it will go on when the daemon is back"),
                       vm->def->name);
    }
    return -1;
}


void
nitroStartSetRunning(nitroDriver *driver,
                     virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    nitroRunKeepCid(driver, vm);
    /* One that has been taken over again runs on. */
    if (priv->runningSince == 0 || virDomainObjGetState(vm, NULL) != VIR_DOMAIN_RUNNING)
        priv->runningSince = g_get_monotonic_time();
    virDomainObjSetState(vm, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_BOOTED);
    /* An older status file is there: with it a new daemon finds the helper as well. */
    if (nitroDomainSaveStatus(driver, vm) < 0)
        VIR_WARN("Unable to save the status of domain '%s': %s",
                 vm->def->name, virGetLastErrorMessage());
}


/* Runs the helper and its monitor, and waits. */
static int
nitroStartRun(nitroDriver *driver,
              virDomainObj *vm,
              nitroRunFds *fds,
              const char *qemu,
              const char *accel)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    int monitor;

    if (nitroStartLaunch(driver, vm, fds, qemu, accel) < 0)
        return -1;

    monitor = fds->monitor;
    fds->monitor = -1;
    if (nitroEventsWatch(vm, monitor, true, nitroEventsFromMonitor) < 0)
        return -1;
    priv->run.taken = true;
    /* The helper alone holds the image, the console and the socket from now on. */
    nitroRunFdsClose(fds);

    return nitroStartWaitBooted(driver, vm, vm->def->id);
}


/* What can be refused before anything of a start has happened */
static int
nitroStartCheck(nitroDriver *driver,
                virDomainObj *vm,
                char **qemu)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    priv->run.shortage = false;
    if (virDomainObjIsActive(vm)) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("domain '%s' is already running"), vm->def->name);
        return -1;
    }
    if (vm->removing) {
        virReportError(VIR_ERR_NO_DOMAIN, _("domain '%s' was undefined"), vm->def->name);
        return -1;
    }

    /* Definitions are loaded from files with less care than from clients. */
    if ((vm->def->postParseFailed &&
         virDomainDefPostParse(vm->def, 0, driver->xmlopt, NULL) < 0) ||
        virDomainDefValidate(vm->def, 0, driver->xmlopt, NULL) < 0)
        return -1;

    if (nitroHostCheckUnprotected(driver, vm->def) < 0 ||
        nitroAsidesCheck(driver, vm->def) < 0 ||
        nitroHostCheckDomain(driver, vm->def, qemu) < 0) {
        priv->run.shortage = virGetLastErrorCode() == VIR_ERR_OPERATION_FAILED;
        return -1;
    }
    return 0;
}


/*
 * Waits until it is the turn of @vm, without its lock: the run may be over then. Returns 0, or -1
 * with an error set. @place is to be given back in any case.
 */
static int
nitroStartAwaitTurn(nitroDriver *driver,
                    virDomainObj *vm,
                    nitroQueuePlace **place)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    int id = vm->def->id;
    bool turn;

    priv->run.place = *place = nitroQueueJoin(driver->queue);
    virObjectUnlock(vm);
    turn = nitroQueueWait(driver->queue, *place);
    if (turn)
        nitroQueueSetTime(driver->queue, *place, NITRO_START_IMAGE_TIME);
    virObjectLock(vm);
    if (nitroRunCheck(vm, id) < 0)
        return -1;
    if (turn)
        return 0;

    virReportError(VIR_ERR_OPERATION_ABORTED,
                   _("virtnitrod ends while domain '%s' waits for its start"), vm->def->name);
    return -1;
}


/* Gives back @place. The run of @vm, which may be another one by now, is not to know it any more. */
static void
nitroStartLeaveQueue(nitroDriver *driver,
                     virDomainObj *vm,
                     nitroQueuePlace *place)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (priv->run.place == place)
        priv->run.place = NULL;
    nitroQueueLeave(driver->queue, place);
}


/*
 * How long, in ms, the start of @def has its turn from when its image is checked. On the device the
 * helper has the time for the boot twice: for the broker, and for the guest.
 */
static unsigned int
nitroStartGetTime(const nitroDriver *driver,
                  const virDomainDef *def)
{
    unsigned int seconds = nitroDomainDefGetHeartbeatTimeout(def);

    if (seconds == 0)
        seconds = driver->config->heartbeatTimeout;
    if (seconds == 0 || !nitroDomainDefHasHeartbeat(def))
        seconds = NITRO_START_BOOT_TIME;
    if (nitroDomainDefGetMachine(def) == NITRO_MACHINE_NITRO)
        seconds *= 2;
    return seconds * 1000 + NITRO_START_REST_TIME;
}


/* Whether @err says that the host is short of something, which it may have again later */
static bool
nitroStartIsShortage(const nitroRun *run,
                     virErrorPtr err)
{
    if (run->shortage || STREQ_NULLABLE(run->failureCode, NITRO_FAILURE_RESOURCE))
        return true;
    if (err->code == VIR_ERR_NO_MEMORY)
        return true;
    if (err->code != VIR_ERR_SYSTEM_ERROR)
        return false;
    switch (err->int1) {
    case EAGAIN:
    case EBUSY:
    case EDQUOT:
    case EIO:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case ENOSPC:
        return true;
    default:
        return false;
    }
}


/* The run @id of @vm could not be started, with an error set that is kept. */
static void
nitroStartFail(nitroDriver *driver,
               virDomainObj *vm,
               int id)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    virErrorPtr err = NULL;
    bool shortage;

    virErrorPreserveLast(&err);
    shortage = nitroStartIsShortage(&priv->run, err);
    /* The next daemon goes on with what this one leaves to it. */
    if (vm->def->id == id && (!priv->run.helper || !g_atomic_int_get(&driver->quitting))) {
        /* A helper that cannot be ended now is ended as soon as it can be. */
        if (nitroEndDomain(driver, vm, VIR_DOMAIN_SHUTOFF_FAILED) < 0)
            nitroEndNote(driver, vm);
        priv->run.shortage = shortage;
    }
    virErrorRestore(&err);
}


/* Writes to the log as whom the enclave of @vm runs, and what its confinement lacks. */
static void
nitroStartTellConfinement(nitroDriver *driver,
                          virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    const nitroDriverConfig *config = driver->config;
    uid_t user = config->user == (uid_t)-1 ? geteuid() : config->user;
    gid_t group = config->group == (gid_t)-1 ? getegid() : config->group;
    g_autofree char *lacks = nitroUnprotectedJoin(priv->run.unprotected);

    if (lacks[0])
        VIR_WARN("Domain '%s' runs as user %lld and group %lld, without capabilities, and not confined as it should be: %s",
                 vm->def->name, (long long) user, (long long) group, lacks);
    else
        VIR_INFO("Domain '%s' runs as user %lld and group %lld, without capabilities, and confined by all that there is for it",
                 vm->def->name, (long long) user, (long long) group);
    nitroHostTellUnprotected(driver, priv->run.unprotected);
}


/* All that comes after the check of the image. Returns 0, or -1 with an error set. */
static int
nitroStartChecked(nitroDriver *driver,
                  virDomainObj *vm,
                  nitroQueuePlace *place,
                  nitroRunFds *fds,
                  const char *qemu,
                  const char *accel)
{
    nitroQueueSetTime(driver->queue, place, nitroStartGetTime(driver, vm->def));
    if (nitroStartOpenNsm(driver, vm, qemu, fds) < 0 ||
        nitroStartPrepareCgroup(driver, vm) < 0 ||
        nitroRunAcquire(driver, vm, fds) < 0 ||
        nitroServicesStart(driver, vm, fds->outputs, &fds->servicesListen) < 0 ||
        nitroStartOpenBroker(driver, vm, fds) < 0)
        return -1;
    return nitroStartRun(driver, vm, fds, qemu, accel);
}


int
nitroStartDomain(nitroDriver *driver,
                 virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_auto(nitroRunFds) fds = NITRO_RUN_FDS_INIT;
    g_autofree char *qemu = NULL;
    g_autofree char *accel = NULL;
    nitroQueuePlace *place = NULL;
    int id;
    int rc;

    if (nitroStartCheck(driver, vm, &qemu) < 0 ||
        virDomainObjSetDefTransient(driver->xmlopt, vm, NULL) < 0)
        return -1;

    nitroDriverHold(driver);
    nitroRunReset(&priv->run);
    if (!nitroDomainSetRestart(driver, vm, false))
        priv->restarts = 0;
    id = vm->def->id = nitroDriverNextDomainId(driver);
    virDomainObjSetState(vm, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_STARTING_UP);

    priv->run.startTime = g_get_monotonic_time();
    if ((rc = nitroStartAwaitTurn(driver, vm, &place)) == 0)
        priv->run.startTime = g_get_monotonic_time();
    /* A definition that became an emulated one while this waited for its job has none: the
     * helper then finds out by itself. */
    if (nitroDomainDefGetMachine(vm->def) == NITRO_MACHINE_EMULATED)
        accel = nitroHostGetAccel(driver, vm->def);
    if (rc < 0 || nitroStartOpenImage(driver, vm, &fds) < 0 ||
        nitroStartChecked(driver, vm, place, &fds, qemu, accel) < 0)
        rc = -1;
    nitroStartLeaveQueue(driver, vm, place);
    if (rc < 0) {
        nitroStartFail(driver, vm, id);
        return -1;
    }

    nitroStartSetRunning(driver, vm);
    nitroServicesNoteRunning(driver, vm);
    nitroStartTellConfinement(driver, vm);
    nitroDomainEventLifecycle(driver, vm, VIR_DOMAIN_EVENT_STARTED,
                              VIR_DOMAIN_EVENT_STARTED_BOOTED);
    return 0;
}


void
nitroStartOwn(nitroDriver *driver,
              virDomainObj *vm)
{
    virObjectRef(vm);
    virObjectLock(vm);
    if (nitroStartBeginJob(driver, vm) < 0) {
        VIR_ERROR(_("cannot start domain '%s': %s"), vm->def->name, virGetLastErrorMessage());
    } else {
        /* While this waited somebody may have started or undefined it. */
        if (!virDomainObjIsActive(vm) && !vm->removing &&
            !g_atomic_int_get(&driver->quitting) && nitroStartDomain(driver, vm) < 0)
            VIR_ERROR(_("cannot start domain '%s': %s"), vm->def->name, virGetLastErrorMessage());
        nitroStartEndJob(vm);
    }
    nitroDomainRemoveInactive(driver, vm);
    virDomainObjEndAPI(&vm);
}
