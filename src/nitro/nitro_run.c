/*
 * nitro_run.c: a run of a domain: all that it has opened and taken
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "helper_protocol.h"
#include "nitro_console.h"
#include "nitro_device.h"
#include "nitro_domain.h"
#include "nitro_domain_conf.h"
#include "nitro_driver.h"
#include "nitro_gone.h"
#include "nitro_helper.h"
#include "nitro_host_check.h"
#include "nitro_run.h"
#include "nitro_socket.h"
#include "nitro_unprotected.h"
#include "nitro_vsock_dir.h"
#include "virerror.h"
#include "virevent.h"
#include "virfile.h"
#include "virlog.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_run");

void
nitroRunFdsClose(nitroRunFds *fds)
{
    VIR_FORCE_CLOSE(fds->control);
    VIR_FORCE_CLOSE(fds->monitor);
    nitroImageClose(&fds->image);
    VIR_FORCE_CLOSE(fds->vsockDir);
    VIR_FORCE_CLOSE(fds->vsockListen);
    VIR_FORCE_CLOSE(fds->console);
    VIR_FORCE_CLOSE(fds->broker);
    VIR_FORCE_CLOSE(fds->device);
    VIR_FORCE_CLOSE(fds->servicesListen);
    g_clear_pointer(&fds->outputs, nitroOutputsFree);
    g_clear_pointer(&fds->signature, g_free);
    nitroNsmClear(&fds->nsm);
}


void
nitroRunUnwatch(nitroRun *run)
{
    if (run->watch >= 0)
        virEventRemoveHandle(run->watch);
    run->watch = -1;
}


void
nitroRunReset(nitroRun *run)
{
    VIR_FORCE_CLOSE(run->consoleFd);
    nitroRunUnwatch(run);
    g_clear_pointer(&run->helper, nitroHelperUnref);
    g_clear_pointer(&run->aside, g_free);
    run->tries = 0;
    run->reconnects = 0;
    run->reconnected = 0;
    run->taken = false;
    run->ending = false;
    run->place = NULL;
    run->shortage = false;
    run->started = false;
    run->booted = false;
    run->ended = false;
    g_clear_pointer(&run->exitReason, g_free);
    g_clear_pointer(&run->failureCode, g_free);
    g_clear_pointer(&run->failureText, g_free);
    g_clear_pointer(&run->cpus, g_free);
    run->ncpus = 0;
    g_clear_pointer(&run->machine, g_free);
    g_clear_pointer(&run->cgroup, virCgroupFree);
    run->cpuUser = 0;
    run->cpuSystem = 0;
    g_clear_pointer(&run->unprotected, g_strfreev);
    run->startTime = 0;
    run->bootTime = 0;
    nitroServicesRunReset(&run->services);
}


int
nitroRunCheck(virDomainObj *vm,
              int id)
{
    if (vm->def->id == id)
        return 0;

    virReportError(VIR_ERR_OPERATION_ABORTED,
                   _("domain '%s' was destroyed while it started"), vm->def->name);
    return -1;
}


static char *
nitroRunGetPidPath(nitroDriver *driver,
                   virDomainObj *vm)
{
    g_autofree char *dir = nitroDomainGetRunDir(driver, vm->def);

    return g_strdup_printf("%s/pid", dir);
}


nitroHelperState
nitroRunFindHelper(nitroDriver *driver,
                   virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autofree char *pidfile = NULL;
    int rc;

    /* A run of this daemon has noted its helper before that began. */
    if (!priv->run.helper && priv->run.startTime != 0)
        return NITRO_HELPER_GONE;
    if (!priv->run.helper) {
        /* A daemon of version 0.1.0 that was killed may not have got to save it. */
        pidfile = nitroRunGetPidPath(driver, vm);
        rc = nitroHelperReadFile(pidfile, &priv->run.helper);
        if (rc < 0) {
            errno = -rc;
            return rc == -ENOENT ? NITRO_HELPER_GONE : NITRO_HELPER_UNKNOWN;
        }
        vm->pid = nitroHelperGetPid(priv->run.helper);
    }
    return nitroHelperFind(priv->run.helper, vm->def->uuid);
}


int
nitroRunNoteHelper(nitroDriver *driver,
                   virDomainObj *vm,
                   pid_t pid)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autofree char *pidfile = nitroRunGetPidPath(driver, vm);

    if (!(priv->run.helper = nitroHelperNewAlive(pid)))
        return -1;
    vm->pid = pid;
    if (nitroHelperWriteFile(priv->run.helper, pidfile) < 0)
        return -1;
    return nitroDomainSaveStatus(driver, vm);
}


char *
nitroRunGetControlPath(nitroDriver *driver,
                       virDomainObj *vm)
{
    g_autofree char *dir = nitroDomainGetRunDir(driver, vm->def);

    return g_strdup_printf("%s/control", dir);
}


void
nitroRunNoteCid(virDomainDef *def,
                long long cid)
{
    if (def->vsock && def->vsock->auto_cid == VIR_TRISTATE_BOOL_YES && cid >= NITRO_CID_MIN)
        def->vsock->guest_cid = cid;
}


/* The live definition names the CPUs that the hypervisor has chosen, until the end of the run. */
static void
nitroRunShowCpus(virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    size_t named;
    g_autofree unsigned int *own = nitroDomainDefGetCpus(vm->def, &named);
    size_t i;

    if (own || nitroDomainDefGetMachine(vm->def) != NITRO_MACHINE_NITRO ||
        priv->run.ncpus != vm->def->maxvcpus)
        return;

    for (i = 0; i < priv->run.ncpus; i++) {
        vm->def->vcpus[i]->cpumask = virBitmapNew(priv->run.cpus[i] + 1);
        ignore_value(virBitmapSetBit(vm->def->vcpus[i]->cpumask, priv->run.cpus[i]));
    }
    priv->run.cpusShown = true;
    nitroCpusNote(nitro_driver->cpus, vm->def);
}


/* A transient domain that is restarted may get others. */
static void
nitroRunHideCpus(virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    size_t i;

    for (i = 0; priv->run.cpusShown && i < vm->def->maxvcpus; i++)
        g_clear_pointer(&vm->def->vcpus[i]->cpumask, virBitmapFree);
    priv->run.cpusShown = false;
}


void
nitroRunNoteCpus(virDomainObj *vm,
                 const unsigned int *cpus,
                 size_t ncpus)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    g_clear_pointer(&priv->run.cpus, g_free);
    priv->run.ncpus = ncpus;
    if (ncpus > 0) {
        priv->run.cpus = g_new0(unsigned int, ncpus);
        memcpy(priv->run.cpus, cpus, ncpus * sizeof(*cpus));
    }
    nitroRunShowCpus(vm);
}


/* Creates the run directory and the listening control socket in it, and connects to it. */
static int
nitroRunOpenControl(nitroDriver *driver,
                    virDomainObj *vm,
                    nitroRunFds *fds)
{
    g_autofree char *dir = nitroDomainGetRunDir(driver, vm->def);
    g_autofree char *path = nitroRunGetControlPath(driver, vm);

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
 * Lets members of the helpers' group pass through the run directory @rundir, and no more, to the
 * sockets of an emulated enclave. Returns 0, or -1 with an error set.
 */
static int
nitroRunOpenPath(const nitroDriverConfig *config,
                 const char *rundir)
{
    if (!config->privileged)
        return 0;
    if (lchown(rundir, (uid_t)-1, config->group) == 0 && chmod(rundir, 0710) == 0)
        return 0;

    virReportSystemError(errno, _("cannot give the directory '%s' to the group of helpers"),
                         rundir);
    return -1;
}


/*
 * Gives the enclave its CID, and makes, for the emulated machine's vsock, the directory in
 * which the host's programs and the helper meet.
 */
static int
nitroRunOpenVsock(nitroDriver *driver,
                  virDomainObj *vm,
                  nitroRunFds *fds)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    virDomainVsockDef *vsock = vm->def->vsock;
    g_autofree char *rundir = nitroDomainGetRunDir(driver, vm->def);
    g_autofree char *dir = g_strdup_printf("%s/vsock", rundir);
    bool acl;
    unsigned int cid = vsock->auto_cid == VIR_TRISTATE_BOOL_YES ? 0 : vsock->guest_cid;

    if (nitroDomainDefGetMachine(vm->def) != NITRO_MACHINE_EMULATED && cid == 0) {
        /* The hypervisor will choose, also for the next enclave of the same domain. */
        vsock->guest_cid = 0;
        return 0;
    }

    if (nitroCidsTake(driver->cids, vm->def->name, &cid) < 0)
        return -1;
    priv->run.cid = vsock->guest_cid = cid;

    if (nitroDomainDefGetMachine(vm->def) != NITRO_MACHINE_EMULATED)
        return 0;

    if (nitroVsockDirMake(driver->config, dir, &fds->vsockDir, &fds->vsockListen, &acl) < 0 ||
        nitroRunOpenPath(driver->config, rundir) < 0)
        return -1;
    if (!acl)
        nitroUnprotectedAdd(&priv->run.unprotected, NITRO_UNPROTECTED_ACL);
    nitroVsockDirsWatch(driver->vsockDirs, dir);

    nitroDomainDefSetVsockDirectory(vm->def, dir);
    return 0;
}


/* The helper gets the device open: it need not be able to open it itself. */
static int
nitroRunOpenDevice(nitroDriver *driver,
                   virDomainObj *vm,
                   nitroRunFds *fds)
{
    if (nitroDomainDefGetMachine(vm->def) != NITRO_MACHINE_NITRO)
        return 0;
    return (fds->device = nitroDeviceOpen(driver->config->device)) < 0 ? -1 : 0;
}


void
nitroRunKeepCid(nitroDriver *driver,
                virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    unsigned int cid = vm->def->vsock->guest_cid;

    if (priv->run.cid != 0 || cid == 0)
        return;
    if (nitroCidsTake(driver->cids, vm->def->name, &cid) == 0)
        priv->run.cid = cid;
    else
        virResetLastError();
}


/* Whether the CPUs are there is one thing, whether others have them at present another. */
static int
nitroRunTakeCpus(nitroDriver *driver,
                 virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (nitroHostTakeCpus(driver, vm->def) == 0)
        return 0;
    priv->run.shortage = virGetLastErrorCode() == VIR_ERR_OPERATION_FAILED;
    return -1;
}


/* What the helper does not tell. Returns 0, or -1 with an error set. */
static int
nitroRunFindUnprotected(nitroDriver *driver,
                        virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    int rc = nitroServicesAreThere(vm->def) ? nitroUnprotectedFindLandlock() : 1;

    nitroUnprotectedAddAll(&priv->run.unprotected, NULL);
    if (driver->privileged && nitroDriverConfigIsRoot(driver->config))
        nitroUnprotectedAdd(&priv->run.unprotected, NITRO_UNPROTECTED_USER);
    if (rc == 0)
        nitroUnprotectedAdd(&priv->run.unprotected, NITRO_UNPROTECTED_SERVICES);
    return rc < 0 ? -1 : 0;
}


int
nitroRunAcquire(nitroDriver *driver,
                virDomainObj *vm,
                nitroRunFds *fds)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autofree char *rundir = nitroDomainGetRunDir(driver, vm->def);

    /* The directories may have been cleaned away since the daemon's start. */
    if (nitroRunFindUnprotected(driver, vm) < 0 ||
        nitroDriverConfigMakeDirs(driver->config) < 0 ||
        nitroRunTakeCpus(driver, vm) < 0 ||
        nitroRunOpenControl(driver, vm, fds) < 0 ||
        nitroRunOpenVsock(driver, vm, fds) < 0 ||
        nitroUnprotectedCheck(priv->run.unprotected, driver->config->securityRequired) < 0 ||
        !(fds->outputs = nitroOutputsOpen(driver, vm->def, &fds->image)) ||
        nitroConsoleOpen(vm->def, rundir, &fds->console) < 0)
        return -1;

    if (fds->console >= 0)
        priv->run.consoleFd = nitroConsoleHold(vm->def);
    return nitroRunOpenDevice(driver, vm, fds);
}


/*
 * Finds the console of the enclave again. A helper that lives has the other end of the console,
 * which was its before this looked for it.
 */
static void
nitroRunHoldConsole(nitroDriver *driver,
                    virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (priv->run.consoleFd >= 0)
        return;
    priv->run.consoleFd = nitroConsoleHold(vm->def);
    if (nitroRunFindHelper(driver, vm) != NITRO_HELPER_ALIVE)
        VIR_FORCE_CLOSE(priv->run.consoleFd);
}


static void
nitroRunWatchVsock(nitroDriver *driver,
                   const char *rundir)
{
    g_autofree char *dir = g_strdup_printf("%s/vsock", rundir);

    nitroVsockDirsWatch(driver->vsockDirs, dir);
}


static void
nitroRunForgetVsock(nitroDriver *driver,
                    const char *rundir)
{
    g_autofree char *dir = g_strdup_printf("%s/vsock", rundir);

    nitroVsockDirsForget(driver->vsockDirs, dir);
}


int
nitroRunReserve(nitroDriver *driver,
                virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autofree char *rundir = nitroDomainGetRunDir(driver, vm->def);
    unsigned int cid = vm->def->vsock->guest_cid;

    if (nitroDomainDefGetMachine(vm->def) == NITRO_MACHINE_NITRO)
        nitroCpusNote(driver->cpus, vm->def);
    else
        nitroRunWatchVsock(driver, rundir);
    if (cid != 0 && priv->run.cid == 0) {
        if (nitroCidsTake(driver->cids, vm->def->name, &cid) == 0)
            priv->run.cid = cid;
        else
            VIR_ERROR(_("domain '%s': %s"), vm->def->name, virGetLastErrorMessage());
    }
    nitroRunHoldConsole(driver, vm);
    return nitroOutputsRetake(driver, vm->def->name, rundir);
}


/*
 * Removes the status file @path, or empties it, so that the next daemon does not take the run for one
 * that has crashed. Returns 0, or -1 with errno set when it is still there.
 */
static int
nitroRunRemoveStatus(const char *path)
{
    int saved;

    if (unlink(path) == 0 || errno == ENOENT)
        return 0;
    saved = errno;
    if (truncate(path, 0) < 0)
        VIR_ERROR(_("the status '%s' of a run that is over can neither be removed nor emptied: %s"),
                  path, g_strerror(errno));
    errno = saved;
    return -1;
}


static void
nitroRunRemoveFiles(nitroDriver *driver,
                    virDomainObj *vm)
{
    g_autofree char *dir = nitroDomainGetRunDir(driver, vm->def);
    g_autofree char *status = virDomainConfigFile(driver->config->stateDir, vm->def->name);
    bool left = false;
    int rc;

    if (status && nitroRunRemoveStatus(status) < 0) {
        VIR_WARN("Unable to remove '%s': %s", status, g_strerror(errno));
        left = true;
    }
    if ((rc = nitroGoneTake(dir)) < 0) {
        VIR_WARN("Unable to remove '%s': %s", dir, virGetLastErrorMessage());
        left = true;
    }
    if (rc > 0)
        nitroGoneEmptyLater(driver);
    if (left)
        nitroAsidesFindLater(driver);
}


void
nitroRunRelease(nitroDriver *driver,
                virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autofree char *rundir = nitroDomainGetRunDir(driver, vm->def);

    nitroServicesRelease(driver, vm);
    nitroConsoleClose(vm->def, rundir);
    nitroRunForgetVsock(driver, rundir);
    nitroOutputsRelease(driver, vm->def->name, rundir);
    VIR_FORCE_CLOSE(priv->run.consoleFd);
    nitroRunUnwatch(&priv->run);
    g_clear_pointer(&priv->run.helper, nitroHelperUnref);
    nitroCidsRelease(driver->cids, priv->run.cid);
    priv->run.cid = 0;
    nitroCpusRelease(driver->cpus, vm->def->name);
    nitroRunHideCpus(vm);
    nitroRunRemoveFiles(driver, vm);
}
