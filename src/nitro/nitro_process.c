/*
 * nitro_process.c: starts, watches and ends the helper of a domain
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A start: checks (host, definition, image) -> console and control socket ->
 * helper -> monitor -> wait for "booted". Events of the helper arrive in the
 * event loop's thread, which notes them in the private data and wakes up who
 * waits; the end of an enclave that nobody waits for goes to a worker, which can
 * wait for a job.
 */

#include <config.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "domain_postparse.h"
#include "domain_validate.h"
#include "helper_protocol.h"
#include "nitro_broker.h"
#include "nitro_command.h"
#include "nitro_console.h"
#include "nitro_device.h"
#include "nitro_domain.h"
#include "nitro_domain_conf.h"
#include "nitro_driver.h"
#include "nitro_host.h"
#include "nitro_host_check.h"
#include "nitro_image.h"
#include "nitro_outputs.h"
#include "nitro_process.h"
#include "nitro_socket.h"
#include "nitro_restart.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virstring.h"
#include "virpidfile.h"
#include "virprocess.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_DOMAIN

VIR_LOG_INIT("nitro.nitro_process");

/* ms: how long a helper may take to end its enclave before it is killed */
#define NITRO_TERMINATE_TIMEOUT 5000

/* ms: how long a helper that has closed its connection may take to exit */
#define NITRO_EXIT_TIMEOUT 500

/* ms: how long a process that was killed may take to be gone */
#define NITRO_KILL_TIMEOUT 15000

/* ms: how long a helper of an earlier daemon may take to answer */
#define NITRO_RECONNECT_TIMEOUT 10000

/* What a start opens for the helper; closed in the daemon when the start is over */
typedef struct _nitroProcessFds nitroProcessFds;
struct _nitroProcessFds {
    int control;   /* listening: the helper's */
    int monitor;   /* connected to it: the daemon's */
    int image;
    int initrd;
    int vsockDir;
    int vsockListen;
    int console;
    int broker;
    int device;
    nitroOutputs *outputs;
    char *signedPcr0; /* what the image is signed for (hex); NULL: it is not signed */
};

#define NITRO_PROCESS_FDS_INIT { -1, -1, -1, -1, -1, -1, -1, -1, -1, NULL, NULL }

static void
nitroProcessFdsClose(nitroProcessFds *fds)
{
    VIR_FORCE_CLOSE(fds->control);
    VIR_FORCE_CLOSE(fds->monitor);
    VIR_FORCE_CLOSE(fds->image);
    VIR_FORCE_CLOSE(fds->initrd);
    VIR_FORCE_CLOSE(fds->vsockDir);
    VIR_FORCE_CLOSE(fds->vsockListen);
    VIR_FORCE_CLOSE(fds->console);
    VIR_FORCE_CLOSE(fds->broker);
    VIR_FORCE_CLOSE(fds->device);
    g_clear_pointer(&fds->outputs, nitroOutputsFree);
    g_clear_pointer(&fds->signedPcr0, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroProcessFds, nitroProcessFdsClose);


/* The job alone, for who finds the enclave started */
static int
nitroProcessBeginJob(virDomainObj *vm)
{
    return virDomainObjBeginAsyncJob(vm, VIR_ASYNC_JOB_START,
                                     VIR_DOMAIN_JOB_OPERATION_START, 0);
}


/* Whether the accelerator of the emulated machine is still to be found out */
static bool
nitroProcessNeedsAccel(nitroDriver *driver,
                       const virDomainDef *def)
{
    g_autofree char *accel = nitroHostGetAccel(driver);

    return !accel && nitroDomainDefGetMachine(def) == NITRO_MACHINE_EMULATED;
}


int
nitroProcessPrepareHost(nitroDriver *driver,
                        const virDomainDef *def)
{
    return nitroProcessNeedsAccel(driver, def) ? nitroHostFindAccel(driver) : 0;
}


int
nitroProcessBeginStartJob(nitroDriver *driver,
                          virDomainObj *vm)
{
    int rc = 0;

    if (nitroProcessNeedsAccel(driver, vm->def)) {
        virObjectUnlock(vm);
        rc = nitroHostFindAccel(driver);
        virObjectLock(vm);
    }
    return rc < 0 ? -1 : nitroProcessBeginJob(vm);
}


void
nitroProcessEndStartJob(virDomainObj *vm)
{
    virDomainObjEndAsyncJob(vm);
}


static char *
nitroProcessPidFile(nitroDriver *driver,
                    virDomainObj *vm)
{
    g_autofree char *dir = nitroDomainGetRunDir(driver, vm->def);

    return g_strdup_printf("%s/pid", dir);
}


static char *
nitroProcessControlPath(nitroDriver *driver,
                        virDomainObj *vm)
{
    g_autofree char *dir = nitroDomainGetRunDir(driver, vm->def);

    return g_strdup_printf("%s/control", dir);
}


/* Events of the helper, in the event loop's thread */

/* The CID of an enclave that got to choose; -1: it has none yet */
static void
nitroProcessNoteCid(virDomainDef *def,
                    long long cid)
{
    if (def->vsock && def->vsock->auto_cid == VIR_TRISTATE_BOOL_YES && cid >= NITRO_CID_MIN)
        def->vsock->guest_cid = cid;
}


/* The live definition names the CPUs that the hypervisor has chosen, until the end of the run. */
static void
nitroProcessShowCpus(virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    size_t named;
    g_autofree unsigned int *own = nitroDomainDefGetCpus(vm->def, &named);
    size_t i;

    if (own || nitroDomainDefGetMachine(vm->def) != NITRO_MACHINE_NITRO ||
        priv->ncpus != vm->def->maxvcpus)
        return;

    for (i = 0; i < priv->ncpus; i++) {
        vm->def->vcpus[i]->cpumask = virBitmapNew(priv->cpus[i] + 1);
        ignore_value(virBitmapSetBit(vm->def->vcpus[i]->cpumask, priv->cpus[i]));
    }
    priv->cpusShown = true;
    nitroCpusNote(nitro_driver->cpus, vm->def);
}


/* A transient domain that is restarted may get others. */
static void
nitroProcessHideCpus(virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    size_t i;

    for (i = 0; priv->cpusShown && i < vm->def->maxvcpus; i++)
        g_clear_pointer(&vm->def->vcpus[i]->cpumask, virBitmapFree);
    priv->cpusShown = false;
}


static void
nitroProcessNoteCpus(virDomainObj *vm,
                     const unsigned int *cpus,
                     size_t ncpus)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    g_clear_pointer(&priv->cpus, g_free);
    priv->ncpus = ncpus;
    if (ncpus > 0) {
        priv->cpus = g_new0(unsigned int, ncpus);
        memcpy(priv->cpus, cpus, ncpus * sizeof(*cpus));
    }
    nitroProcessShowCpus(vm);
}


static void
nitroProcessNoteEvent(virDomainObj *vm,
                      const nitroMonitorEvent *event)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (STREQ(event->name, NITRO_EVENT_STARTED)) {
        nitroProcessNoteCid(vm->def, event->cid);
        nitroProcessNoteCpus(vm, event->cpus, event->ncpus);
    } else if (STREQ(event->name, NITRO_EVENT_BOOTED)) {
        priv->booted = true;
        if (priv->startTime > 0)
            priv->bootTime = (g_get_monotonic_time() - priv->startTime) / 1000;
    } else if (STREQ(event->name, NITRO_EVENT_EXITED)) {
        g_free(priv->exitReason);
        priv->exitReason = g_strdup(event->reason);
    } else if (STREQ(event->name, NITRO_EVENT_FAILED)) {
        g_free(priv->failureCode);
        g_free(priv->failureText);
        priv->failureCode = g_strdup(event->code);
        priv->failureText = g_strdup(event->text);
    } else {
        VIR_DEBUG("event '%s' of a newer helper is ignored", event->name);
    }
}


/* The helper of @vm has ended: a worker makes the domain inactive. */
static void
nitroProcessNoteEnd(virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (priv->ended)
        return;

    priv->ended = true;
    /* A start that waits sees it too; the worker then finds nothing to do. */
    if (virThreadPoolSendJob(nitro_driver->workers, 0, virObjectRef(vm)) < 0) {
        VIR_ERROR(_("cannot handle the end of domain '%s'"), vm->def->name);
        virObjectUnref(vm);
    }
}


static void
nitroProcessMonitorEvent(nitroMonitor *mon,
                         const nitroMonitorEvent *event,
                         void *opaque)
{
    virDomainObj *vm = opaque;
    nitroDomainObjPrivate *priv;
    VIR_LOCK_GUARD lock = virObjectLockGuard(vm);

    priv = vm->privateData;
    if (priv->mon != mon)
        return;

    if (event->name)
        nitroProcessNoteEvent(vm, event);
    else
        nitroProcessNoteEnd(vm);
    virDomainObjBroadcast(vm);
}


/* The parts of a start, in their order */

/* Creates the run directory and the listening control socket in it, and connects to it. */
static int
nitroProcessOpenControl(nitroDriver *driver,
                        virDomainObj *vm,
                        nitroProcessFds *fds)
{
    g_autofree char *dir = nitroDomainGetRunDir(driver, vm->def);
    g_autofree char *path = nitroProcessControlPath(driver, vm);

    if (g_mkdir(dir, 0700) < 0) {
        virReportSystemError(errno, _("cannot create the directory '%s'"), dir);
        return -1;
    }
    if ((fds->control = nitroSocketListen(path)) < 0 ||
        (fds->monitor = nitroMonitorConnect(path)) < 0)
        return -1;
    return 0;
}


/*
 * Gives the enclave its CID, and makes, for the emulated machine's vsock, the directory in
 * which the host's programs and the helper meet. It has the conventions of Firecracker
 * and vhost-device-vsock: "vsock" is for connections to the enclave, "vsock_<port>" for
 * connections from it.
 */
static int
nitroProcessOpenVsock(nitroDriver *driver,
                      virDomainObj *vm,
                      nitroProcessFds *fds)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    virDomainVsockDef *vsock = vm->def->vsock;
    g_autofree char *rundir = nitroDomainGetRunDir(driver, vm->def);
    g_autofree char *dir = g_strdup_printf("%s/vsock", rundir);
    g_autofree char *path = g_strdup_printf("%s/vsock", dir);
    unsigned int cid = vsock->auto_cid == VIR_TRISTATE_BOOL_YES ? 0 : vsock->guest_cid;

    if (nitroDomainDefGetMachine(vm->def) != NITRO_MACHINE_EMULATED && cid == 0) {
        /* The hypervisor will choose, also for the next enclave of the same domain. */
        vsock->guest_cid = 0;
        return 0;
    }

    if (nitroCidsTake(driver->cids, vm->def->name, &cid) < 0)
        return -1;
    priv->cid = vsock->guest_cid = cid;

    if (nitroDomainDefGetMachine(vm->def) != NITRO_MACHINE_EMULATED)
        return 0;

    /* The sockets in it are the helper's, too. */
    if (g_mkdir(dir, 0700) < 0 ||
        lchown(dir, driver->config->user, driver->config->group) < 0 ||
        (fds->vsockDir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0) {
        virReportSystemError(errno, _("cannot create the directory '%s'"), dir);
        return -1;
    }
    if ((fds->vsockListen = nitroSocketListen(path)) < 0)
        return -1;

    nitroDomainDefSetVsockDirectory(vm->def, dir);
    return 0;
}


/* The helper gets the device open: it need not be able to open it itself. */
static int
nitroProcessOpenDevice(nitroDriver *driver,
                       virDomainObj *vm,
                       nitroProcessFds *fds)
{
    if (nitroDomainDefGetMachine(vm->def) != NITRO_MACHINE_NITRO)
        return 0;
    return (fds->device = nitroDeviceOpen(driver->config->device)) < 0 ? -1 : 0;
}


/* Returns 0, or -1 with an error set when the run @id of the domain is over. */
static int
nitroProcessCheckRun(virDomainObj *vm,
                     int id)
{
    if (vm->def->id == id)
        return 0;

    virReportError(VIR_ERR_OPERATION_ABORTED,
                   _("domain '%s' was destroyed while it started"), vm->def->name);
    return -1;
}


/*
 * The emulated machine's helper has a port for the heartbeat of its own. The lock of @vm is
 * released meanwhile, so that the run may be over then.
 */
static int
nitroProcessOpenBroker(nitroDriver *driver,
                       virDomainObj *vm,
                       nitroProcessFds *fds)
{
    int id = vm->def->id;

    if (nitroDomainDefGetMachine(vm->def) != NITRO_MACHINE_NITRO ||
        !nitroDomainDefHasHeartbeat(vm->def))
        return 0;

    virObjectUnlock(vm);
    fds->broker = nitroBrokerConnect(driver);
    virObjectLock(vm);
    if (nitroProcessCheckRun(vm, id) < 0)
        return -1;
    return fds->broker < 0 ? -1 : 0;
}


/* Runs the helper as a daemon of its own; on return it has been executed. */
static int
nitroProcessLaunch(nitroDriver *driver,
                   virDomainObj *vm,
                   const nitroProcessFds *fds,
                   const char *qemu,
                   const char *accel)
{
    nitroCommandContext ctxt = {
        .controlFd = fds->control,
        .imageFd = fds->image,
        .initrdFd = fds->initrd,
        .vsockDirFd = fds->vsockDir,
        .vsockListenFd = fds->vsockListen,
        .consoleFd = fds->console,
        .brokerFd = fds->broker,
        .deviceFd = fds->device,
        .outputs = fds->outputs,
        .qemu = qemu,
        .accel = accel,
        .pageSize = nitroHostGetPageSize(driver->config, vm->def),
        .numaNode = nitroHostGetNumaNode(vm->def),
        .heartbeatTimeout = driver->config->heartbeatTimeout,
        .signedPcr0 = fds->signedPcr0,
    };
    g_autoptr(virCommand) cmd = NULL;
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autofree char *pidfile = nitroProcessPidFile(driver, vm);
    int logfd = fds->outputs->log.fd;
    int rc;

    if (!(cmd = nitroCommandBuild(vm->def, &ctxt)))
        return -1;

    virCommandSetOutputFD(cmd, &logfd);
    virCommandSetErrorFD(cmd, &logfd);
    virCommandSetPidFile(cmd, pidfile);
    virCommandSetUmask(cmd, 0077);
    nitroDriverConfigSetUser(driver->config, cmd);
    virCommandDaemonize(cmd);

    if (nitroOutputsBegin(fds->outputs) < 0)
        return -1;
    virCommandWriteArgLog(cmd, logfd);
    if (virCommandRun(cmd, NULL) < 0)
        return -1;
    if ((rc = virPidFileReadPath(pidfile, &vm->pid)) < 0) {
        virReportSystemError(-rc, _("cannot read the pid file '%s'"), pidfile);
        return -1;
    }
    /* A helper that has ended at once tells so otherwise. */
    if (virProcessGetStartTime(vm->pid, &priv->helperStart) < 0)
        virResetLastError();
    return 0;
}


/* What the helper's failure is for a client of libvirt */
static virErrorNumber
nitroProcessFailureToError(const char *code)
{
    static const struct {
        const char *code;
        virErrorNumber error;
    } errors[] = {
        { NITRO_FAILURE_CONFIG, VIR_ERR_CONFIG_UNSUPPORTED },
        { NITRO_FAILURE_IMAGE, VIR_ERR_OPERATION_FAILED },
        { NITRO_FAILURE_RESOURCE, VIR_ERR_OPERATION_FAILED },
        { NITRO_FAILURE_UNSUPPORTED, VIR_ERR_OPERATION_UNSUPPORTED },
        { NITRO_FAILURE_TIMEOUT, VIR_ERR_OPERATION_TIMEOUT },
        { NITRO_FAILURE_GUEST, VIR_ERR_OPERATION_FAILED },
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(errors); i++) {
        if (STREQ_NULLABLE(code, errors[i].code))
            return errors[i].error;
    }
    return VIR_ERR_INTERNAL_ERROR;
}


/*
 * Waits until the enclave of the run @id of the domain has booted. The helper has
 * its own time limit, so this wait has none. Returns 0, or -1 with an error set; the
 * run may be over then, as somebody may have destroyed it.
 */
static int
nitroProcessWaitBooted(nitroDriver *driver,
                       virDomainObj *vm,
                       int id)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    while (vm->def->id == id && !priv->booted && !priv->ended &&
           !g_atomic_int_get(&driver->quitting)) {
        if (virDomainObjWait(vm) < 0)
            break;
    }

    if (nitroProcessCheckRun(vm, id) < 0)
        return -1;
    if (priv->booted)
        return 0;

    if (priv->failureText && STREQ_NULLABLE(priv->failureCode, NITRO_FAILURE_IMAGE)) {
        /* The helper has got a descriptor and knows no name. */
        virReportError(nitroProcessFailureToError(priv->failureCode),
                       _("enclave image '%s': %s"), vm->def->os.kernel, priv->failureText);
    } else if (priv->failureText) {
        virReportError(nitroProcessFailureToError(priv->failureCode),
                       "%s", priv->failureText);
    } else if (priv->ended) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("the helper of domain '%s' ended while the enclave started: see '%s/%s.log'"),
                       vm->def->name, driver->config->logDir, vm->def->name);
    } else {
        virReportError(VIR_ERR_OPERATION_ABORTED,
                       _("virtnitrod ends while domain '%s' starts: it will go on when the daemon is back"),
                       vm->def->name);
    }
    return -1;
}


/*
 * Others must not ask for the CID that the hypervisor has chosen. That an emulated enclave
 * has the same one already does no harm: the two meet nowhere.
 */
static void
nitroProcessKeepCid(nitroDriver *driver,
                    virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    unsigned int cid = vm->def->vsock->guest_cid;

    if (priv->cid != 0 || cid == 0)
        return;
    if (nitroCidsTake(driver->cids, vm->def->name, &cid) == 0)
        priv->cid = cid;
    else
        virResetLastError();
}


static void
nitroProcessSetRunning(nitroDriver *driver,
                       virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    nitroProcessKeepCid(driver, vm);
    priv->runningSince = g_get_monotonic_time();
    virDomainObjSetState(vm, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_BOOTED);
    /* An older status file is there: with it a new daemon finds the helper as well. */
    if (nitroDomainSaveStatus(driver, vm) < 0)
        VIR_WARN("Unable to save the status of domain '%s': %s",
                 vm->def->name, virGetLastErrorMessage());
}


/* Everything of a start that happens before the helper runs */
static int
nitroProcessPrepare(nitroDriver *driver,
                    virDomainObj *vm,
                    nitroProcessFds *fds)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autofree char *rundir = nitroDomainGetRunDir(driver, vm->def);

    /* The directories may have been cleaned away since the daemon's start. */
    if (nitroDriverConfigMakeDirs(driver->config) < 0 ||
        nitroImageOpen(vm->def, &fds->image, &fds->initrd, &fds->signedPcr0) < 0 ||
        nitroHostTakeCpus(driver, vm->def) < 0 ||
        nitroProcessOpenControl(driver, vm, fds) < 0 ||
        nitroProcessOpenVsock(driver, vm, fds) < 0 ||
        !(fds->outputs = nitroOutputsOpen(driver, vm->def, fds->image, fds->initrd)) ||
        nitroConsoleOpen(vm->def, rundir, &fds->console) < 0)
        return -1;

    if (fds->console >= 0)
        priv->consoleFd = nitroConsoleHold(vm->def);
    if (nitroProcessOpenDevice(driver, vm, fds) < 0)
        return -1;
    return nitroProcessOpenBroker(driver, vm, fds);
}


/* Runs the helper and its monitor, and waits. */
static int
nitroProcessRun(nitroDriver *driver,
                virDomainObj *vm,
                nitroProcessFds *fds,
                const char *qemu,
                const char *accel)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    int monitor;

    /* Before and after the helper's start, so that a daemon that is killed between these
     * leaves no enclave that the next one does not know. */
    if (nitroDomainSaveStatus(driver, vm) < 0 ||
        nitroProcessLaunch(driver, vm, fds, qemu, accel) < 0)
        return -1;

    monitor = fds->monitor;
    fds->monitor = -1;
    if (!(priv->mon = nitroMonitorOpen(monitor, nitroProcessMonitorEvent,
                                       vm, virObjectUnref)))
        return -1;
    virObjectRef(vm); /* the monitor's */

    if (nitroDomainSaveStatus(driver, vm) < 0)
        return -1;
    /* The helper alone holds the image, the console and the socket from now on. */
    nitroProcessFdsClose(fds);

    return nitroProcessWaitBooted(driver, vm, vm->def->id);
}


/* What can be refused before anything of a start has happened */
static int
nitroProcessCheck(nitroDriver *driver,
                  virDomainObj *vm,
                  char **qemu)
{
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
        virDomainDefValidate(vm->def, 0, driver->xmlopt, NULL) < 0 ||
        nitroHostCheckDomain(driver, vm->def, qemu) < 0)
        return -1;
    return 0;
}


int
nitroProcessStart(nitroDriver *driver,
                  virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_auto(nitroProcessFds) fds = NITRO_PROCESS_FDS_INIT;
    g_autofree char *qemu = NULL;
    g_autofree char *accel = NULL;
    virErrorPtr err = NULL;
    bool restart = priv->restartPending;
    int id;

    if (nitroProcessCheck(driver, vm, &qemu) < 0 ||
        virDomainObjSetDefTransient(driver->xmlopt, vm, NULL) < 0)
        return -1;

    nitroDomainObjPrivateReset(priv);
    priv->restartPending = false;
    if (!restart)
        priv->restarts = 0;
    priv->startTime = g_get_monotonic_time();
    id = vm->def->id = nitroDriverNextDomainId(driver);
    virDomainObjSetState(vm, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_STARTING_UP);
    nitroDriverDomainStarted(driver);

    /* A definition that became an emulated one while this waited for its job has none: the
     * helper then finds out by itself. */
    if (nitroDomainDefGetMachine(vm->def) == NITRO_MACHINE_EMULATED)
        accel = nitroHostGetAccel(driver);
    if (nitroProcessPrepare(driver, vm, &fds) < 0 ||
        nitroProcessRun(driver, vm, &fds, qemu, accel) < 0) {
        virErrorPreserveLast(&err);
        /* The next daemon goes on with what this one leaves to it. */
        if (vm->def->id == id && !g_atomic_int_get(&driver->quitting))
            nitroProcessStop(driver, vm, VIR_DOMAIN_SHUTOFF_FAILED);
        virErrorRestore(&err);
        return -1;
    }

    nitroProcessSetRunning(driver, vm);
    nitroDomainEventLifecycle(driver, vm, VIR_DOMAIN_EVENT_STARTED,
                              VIR_DOMAIN_EVENT_STARTED_BOOTED);
    return 0;
}


/* The end */

/* Whether the process @pid has the UUID @uuid among its arguments, as the helper of a domain has */
static bool
nitroProcessHasArg(pid_t pid,
                   const char *uuid)
{
    g_autofree char *path = g_strdup_printf("/proc/%lld/cmdline", (long long) pid);
    g_autofree char *args = NULL;
    gsize len = 0;
    const char *arg;

    if (!g_file_get_contents(path, &args, &len, NULL))
        return false;
    for (arg = args; arg < args + len; arg += strlen(arg) + 1) {
        if (STREQ(arg, uuid))
            return true;
    }
    return false;
}


/* Notes the number of the helper's process: a daemon that was killed may not have got to do so. */
static bool
nitroProcessFindPid(nitroDriver *driver,
                    virDomainObj *vm)
{
    g_autofree char *pidfile = nitroProcessPidFile(driver, vm);

    return vm->pid > 0 || virPidFileReadPath(pidfile, &vm->pid) == 0;
}


/*
 * Whether the process whose number is noted is the helper. One that exits has no arguments
 * any more, and may do so for long while the hypervisor does not answer.
 */
static bool
nitroProcessIsHelper(virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    char uuid[VIR_UUID_STRING_BUFLEN];
    unsigned long long start;

    if (priv->helperStart > 0) {
        if (virProcessGetStartTime(vm->pid, &start) == 0)
            return start == priv->helperStart;
        virResetLastError();
        return false;
    }

    virUUIDFormat(vm->def->uuid, uuid);
    return nitroProcessHasArg(vm->pid, uuid);
}


/*
 * Returns a descriptor of the helper's process, or -1 when it is gone. Its number may
 * have been given to another process since; the pid file and its lock may be gone, too.
 */
static int
nitroProcessOpenHelper(nitroDriver *driver,
                       virDomainObj *vm)
{
    VIR_AUTOCLOSE pidfd = -1;
    int ret;

    if (!nitroProcessFindPid(driver, vm))
        return -1;

    if ((pidfd = syscall(SYS_pidfd_open, vm->pid, 0)) < 0 || !nitroProcessIsHelper(vm))
        return -1;

    ret = pidfd;
    pidfd = -1;
    return ret;
}


/* Waits @timeout ms for the end of the process. Returns whether it is gone. */
static bool
nitroProcessAwaitExit(int pidfd,
                      int timeout)
{
    struct pollfd process = { .fd = pidfd, .events = POLLIN };
    gint64 end = g_get_monotonic_time() + timeout * G_TIME_SPAN_MILLISECOND;
    int rc;

    do {
        gint64 left = (end - g_get_monotonic_time()) / G_TIME_SPAN_MILLISECOND;

        rc = poll(&process, 1, MAX(left, 0));
    } while (rc < 0 && errno == EINTR);
    return rc > 0;
}


/*
 * Ends the helper of @vm, by words if it listens, and by force if it does not. Returns
 * false with VIR_ERR_OPERATION_TIMEOUT set when it cannot be ended: it may be waiting for
 * a hypervisor that does not answer.
 */
static bool
nitroProcessKill(nitroDriver *driver,
                 virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autoptr(nitroMonitor) mon = g_steal_pointer(&priv->mon);
    VIR_AUTOCLOSE pidfd = nitroProcessOpenHelper(driver, vm);
    pid_t pid = vm->pid;
    int id = vm->def->id;
    bool gone = pidfd < 0;

    virObjectUnlock(vm);
    /* A helper that has closed its connection has nothing left to do but to exit. */
    if (mon && nitroMonitorTerminate(mon, NITRO_TERMINATE_TIMEOUT))
        gone = gone || nitroProcessAwaitExit(pidfd, NITRO_EXIT_TIMEOUT);
    if (!gone) {
        ignore_value(syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0));
        gone = nitroProcessAwaitExit(pidfd, NITRO_KILL_TIMEOUT);
    }
    if (gone && mon)
        nitroMonitorClose(mon);
    virObjectLock(vm);

    if (gone || vm->def->id != id)
        return true;

    /* Of two who try at a time only one has taken it away. */
    if (mon)
        priv->mon = g_steal_pointer(&mon);
    /* Nobody has heard of it if the helper has closed its connection meanwhile, as it was told. */
    if (priv->mon && nitroMonitorIsGone(priv->mon) && !priv->ended) {
        if (!priv->exitReason)
            priv->exitReason = g_strdup(NITRO_EXIT_TERMINATED);
        nitroProcessNoteEnd(vm);
        virDomainObjBroadcast(vm);
    }
    virReportError(VIR_ERR_OPERATION_TIMEOUT,
                   _("process %lld, the helper of domain '%s', cannot be ended: try again when the hypervisor answers"),
                   (long long) pid, vm->def->name);
    return false;
}


static void
nitroProcessRemoveFiles(nitroDriver *driver,
                        virDomainObj *vm)
{
    g_autofree char *dir = nitroDomainGetRunDir(driver, vm->def);
    g_autofree char *status = virDomainConfigFile(driver->config->stateDir, vm->def->name);

    if (nitroDomainRemoveRunDir(dir) < 0)
        VIR_WARN("Unable to remove '%s': %s", dir, virGetLastErrorMessage());
    if (status && unlink(status) < 0 && errno != ENOENT)
        VIR_WARN("Unable to remove '%s': %s", status, g_strerror(errno));
}


int
nitroProcessStop(nitroDriver *driver,
                 virDomainObj *vm,
                 virDomainShutoffReason reason)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autofree char *rundir = nitroDomainGetRunDir(driver, vm->def);
    int id = vm->def->id;

    if (!virDomainObjIsActive(vm))
        return 0;

    if (!nitroProcessKill(driver, vm))
        return -1;
    if (vm->def->id != id)
        return 0;

    nitroConsoleClose(vm->def, rundir);
    nitroOutputsRelease(driver, vm->def);
    VIR_FORCE_CLOSE(priv->consoleFd);
    /* A client that has not seen the end of its stream yet does not keep the next run's. */
    g_clear_pointer(&priv->reader, virObjectUnref);
    nitroCidsRelease(driver->cids, priv->cid);
    priv->cid = 0;
    nitroCpusRelease(driver->cpus, vm->def->name);
    nitroProcessHideCpus(vm);
    nitroProcessRemoveFiles(driver, vm);

    vm->def->id = -1;
    vm->pid = 0;
    virDomainObjSetState(vm, VIR_DOMAIN_SHUTOFF, reason);
    virDomainObjRemoveTransientDef(vm);
    nitroDriverDomainStopped(driver);
    virDomainObjBroadcast(vm);
    return 1;
}


/* The end of an enclave that has ended by itself */

typedef struct _nitroProcessEnd nitroProcessEnd;
struct _nitroProcessEnd {
    virDomainShutoffReason reason;
    int detail;  /* of the event "stopped" */
    int action;  /* virDomainLifecycleAction */
    bool reboot; /* the guest asked for it */
};

static nitroProcessEnd
nitroProcessGetEnd(virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    const char *how = priv->exitReason;
    nitroProcessEnd end = {
        VIR_DOMAIN_SHUTOFF_CRASHED, VIR_DOMAIN_EVENT_STOPPED_CRASHED, vm->def->onCrash, false,
    };

    if (STREQ_NULLABLE(how, NITRO_EXIT_POWEROFF) || STREQ_NULLABLE(how, NITRO_EXIT_REBOOT)) {
        end.reason = VIR_DOMAIN_SHUTOFF_SHUTDOWN;
        end.detail = VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN;
        end.reboot = STREQ(how, NITRO_EXIT_REBOOT);
        end.action = end.reboot ? vm->def->onReboot : vm->def->onPoweroff;
    } else if (STREQ_NULLABLE(how, NITRO_EXIT_TERMINATED)) {
        /* Somebody has ended the helper with a signal: as good as destroyed */
        end.reason = VIR_DOMAIN_SHUTOFF_DESTROYED;
        end.detail = VIR_DOMAIN_EVENT_STOPPED_DESTROYED;
        end.action = VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY;
    }
    return end;
}


void
nitroProcessStartThread(nitroDriver *driver,
                        virDomainObj *vm)
{
    virObjectRef(vm);
    virObjectLock(vm);
    if (nitroProcessBeginStartJob(driver, vm) < 0) {
        VIR_ERROR(_("cannot start domain '%s': %s"), vm->def->name, virGetLastErrorMessage());
    } else {
        /* While this waited somebody may have started or undefined it. */
        if (!virDomainObjIsActive(vm) && !vm->removing &&
            !g_atomic_int_get(&driver->quitting) && nitroProcessStart(driver, vm) < 0)
            VIR_ERROR(_("cannot start domain '%s': %s"), vm->def->name, virGetLastErrorMessage());
        nitroProcessEndStartJob(vm);
    }
    nitroDomainRemoveInactive(driver, vm);
    virDomainObjEndAPI(&vm);
}


/*
 * Makes the domain inactive whose enclave has ended, unless somebody else has done
 * so. Returns true when the domain is to be restarted.
 */
static bool
nitroProcessHandleEnd(nitroDriver *driver,
                      virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    nitroProcessEnd end;
    bool restart = false;
    int rc;

    /* Jobs of a domain are bounded in time, and the end of its enclave must not be lost. */
    while (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0) {
        if (!virDomainObjIsActive(vm) || vm->removing || g_atomic_int_get(&driver->quitting))
            return false;
        VIR_WARN("The end of domain '%s' waits for a job", vm->def->name);
    }

    if (virDomainObjIsActive(vm) && priv->ended) {
        end = nitroProcessGetEnd(vm);
        if (end.reboot)
            virObjectEventStateQueue(driver->domainEventState,
                                     virDomainEventRebootNewFromObj(vm));
        /* A hypervisor that does not answer holds its helper for two minutes. */
        while ((rc = nitroProcessStop(driver, vm, end.reason)) < 0 &&
               !g_atomic_int_get(&driver->quitting))
            VIR_WARN("The helper of domain '%s' has still not ended", vm->def->name);
        if (rc > 0) {
            nitroDomainEventLifecycle(driver, vm, VIR_DOMAIN_EVENT_STOPPED, end.detail);
            restart = end.action == VIR_DOMAIN_LIFECYCLE_ACTION_RESTART;
        }
    }
    virDomainObjEndJob(vm);
    return restart;
}


void
nitroProcessWorker(void *jobdata,
                   void *opaque)
{
    nitroDriver *driver = opaque;
    virDomainObj *vm = jobdata;

    virObjectLock(vm);
    if (!nitroProcessHandleEnd(driver, vm) || !nitroRestartSchedule(driver, vm))
        nitroDomainRemoveInactive(driver, vm);
    virDomainObjEndAPI(&vm);
}


/* Enclaves of an earlier daemon */

/*
 * Finds the console of the enclave again. A process that exits loses its arguments before its
 * descriptors: a helper that has them still has the other end of the console, which was
 * its before this looked for it.
 */
static void
nitroProcessHoldConsole(nitroDriver *driver,
                        virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    char uuid[VIR_UUID_STRING_BUFLEN];

    virUUIDFormat(vm->def->uuid, uuid);
    priv->consoleFd = nitroConsoleHold(vm->def);
    if (!nitroProcessFindPid(driver, vm) || !nitroProcessHasArg(vm->pid, uuid))
        VIR_FORCE_CLOSE(priv->consoleFd);
}


/*
 * Connects to the helper of @vm and asks how things are. The job of @vm is held.
 * Returns 0 when the enclave runs, or -1 with an error set.
 */
static int
nitroProcessReconnect(nitroDriver *driver,
                      virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autofree char *path = nitroProcessControlPath(driver, vm);
    g_auto(nitroMonitorStatus) status = { .cid = -1 };
    g_autoptr(nitroMonitor) mon = NULL;
    int id = vm->def->id;
    int fd;
    int rc;

    if ((fd = nitroMonitorConnect(path)) < 0 ||
        !(priv->mon = nitroMonitorOpen(fd, nitroProcessMonitorEvent, vm, virObjectUnref)))
        return -1;
    virObjectRef(vm); /* the monitor's */

    mon = virObjectRef(priv->mon);
    do {
        virObjectUnlock(vm);
        rc = nitroMonitorQueryStatus(mon, NITRO_RECONNECT_TIMEOUT, &status);
        virObjectLock(vm);
        /* A helper that is slow to answer is waited for: its enclave may be well. */
    } while (rc < 0 && virGetLastErrorCode() == VIR_ERR_OPERATION_TIMEOUT &&
             vm->def->id == id && !g_atomic_int_get(&driver->quitting));

    /* Who has taken the monitor away is ending the domain: that is waited for below. */
    if (rc < 0 && vm->def->id == id && priv->mon == mon && !g_atomic_int_get(&driver->quitting))
        return -1;
    if (rc == 0 && vm->def->id == id) {
        if (STREQ(status.phase, NITRO_PHASE_RUNNING))
            priv->booted = true;
        nitroProcessNoteCid(vm->def, status.cid);
        nitroProcessNoteCpus(vm, status.cpus, status.ncpus);
    }
    return nitroProcessWaitBooted(driver, vm, id);
}


static void
nitroProcessReconnectThread(nitroDriver *driver,
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
    if (nitroProcessBeginJob(vm) < 0) {
        VIR_ERROR(_("cannot take over domain '%s', restart virtnitrod: %s"),
                  vm->def->name, virGetLastErrorMessage());
        virDomainObjEndAPI(&vm);
        return;
    }

    /* Who has ended it while this waited may also have started it again. */
    if (vm->def->id != id || priv->mon) {
        nitroProcessEndStartJob(vm);
        nitroDomainRemoveInactive(driver, vm);
        virDomainObjEndAPI(&vm);
        return;
    }

    if (nitroProcessReconnect(driver, vm) == 0) {
        nitroProcessSetRunning(driver, vm);
        /* The earlier daemon did not get to say so. */
        if (starting)
            nitroDomainEventLifecycle(driver, vm, VIR_DOMAIN_EVENT_STARTED,
                                      VIR_DOMAIN_EVENT_STARTED_BOOTED);
    } else if (vm->def->id == id && !g_atomic_int_get(&driver->quitting)) {
        VIR_WARN("Unable to take over domain '%s': %s", vm->def->name, virGetLastErrorMessage());
        restart = vm->def->onCrash == VIR_DOMAIN_LIFECYCLE_ACTION_RESTART;
        if (nitroProcessStop(driver, vm, VIR_DOMAIN_SHUTOFF_CRASHED) > 0)
            nitroDomainEventLifecycle(driver, vm, VIR_DOMAIN_EVENT_STOPPED,
                                      VIR_DOMAIN_EVENT_STOPPED_CRASHED);
        else
            restart = false;
    }
    nitroProcessEndStartJob(vm);
    if (virDomainObjIsActive(vm) || !restart || !nitroRestartSchedule(driver, vm))
        nitroDomainRemoveInactive(driver, vm);
    virDomainObjEndAPI(&vm);
}


/* The enclave has its CPUs and its CID already: others must not get them. */
static void
nitroProcessReserve(nitroDriver *driver,
                    virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    unsigned int cid = vm->def->vsock->guest_cid;

    if (nitroDomainDefGetMachine(vm->def) == NITRO_MACHINE_NITRO)
        nitroCpusNote(driver->cpus, vm->def);
    nitroOutputsRetake(driver, vm->def);
    if (cid == 0)
        return;
    if (nitroCidsTake(driver->cids, vm->def->name, &cid) == 0)
        priv->cid = cid;
    else
        VIR_ERROR(_("domain '%s': %s"), vm->def->name, virGetLastErrorMessage());
}


static int
nitroProcessReconnectOne(virDomainObj *vm,
                         void *opaque)
{
    nitroDriver *driver = opaque;
    VIR_LOCK_GUARD lock = virObjectLockGuard(vm);

    if (!virDomainObjIsActive(vm))
        return 0;

    nitroDriverReserveDomainId(driver, vm->def->id);
    nitroDriverDomainStarted(driver);
    nitroProcessReserve(driver, vm);
    nitroProcessHoldConsole(driver, vm);
    if (nitroDriverRunThread(driver, vm, nitroProcessReconnectThread, "nitro-reconnect") < 0)
        VIR_ERROR(_("cannot take over domain '%s', restart virtnitrod: %s"),
                  vm->def->name, virGetLastErrorMessage());
    return 0;
}


void
nitroProcessReconnectAll(nitroDriver *driver)
{
    virDomainObjListForEach(driver->domains, true, nitroProcessReconnectOne, driver);
}


/* The end of the daemon */

static int
nitroProcessWakeOne(virDomainObj *vm,
                    void *opaque G_GNUC_UNUSED)
{
    VIR_LOCK_GUARD lock = virObjectLockGuard(vm);

    virDomainObjBroadcast(vm);
    return 0;
}


static void
nitroProcessQuitThread(void *opaque)
{
    nitroDriver *driver = opaque;

    virDomainObjListForEach(driver->domains, false, nitroProcessWakeOne, NULL);
}


void
nitroProcessQuit(nitroDriver *driver)
{
    g_atomic_int_set(&driver->quitting, 1);

    /* The caller holds the lock of the daemon, for which threads with a domain's lock wait:
     * nitroDriverDomainStarted(). So none of the domains can be waited for here. */
    if (driver->quitThreadRuns)
        return;
    if (virThreadCreateFull(&driver->quitThread, true, nitroProcessQuitThread, "nitro-quit",
                            false, driver) < 0)
        VIR_WARN("Unable to create a thread, so what waits for a domain goes on: %s",
                 g_strerror(errno));
    else
        driver->quitThreadRuns = true;
}
