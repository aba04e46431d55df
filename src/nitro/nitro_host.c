/*
 * nitro_host.c: what this host can run
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "helper_protocol.h"
#include "nitro_host.h"
#include "nitro_host_check.h"
#include "nitro_hugepages.h"
#include "nitro_monitor_message.h"
#include "nitro_unprotected.h"
#include "vircommand.h"
#include "virerror.h"
#include "virfile.h"
#include "virjson.h"
#include "virlog.h"
#include "virprocess.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_host");

#define NITRO_QEMU_PREFIX "qemu-system-"

/* s: a probe of the helper needs less than one, but waits where the host is busy */
#define NITRO_HOST_PROBE_TIME 10

/* ms: what was missing may have been installed since */
#define NITRO_HOST_PROBE_AGAIN 10000

/* The exit status of a probe on a host that can run no enclave */
#define NITRO_HOST_PROBE_UNSUPPORTED 3

char *
nitroHostFindQemu(virArch arch)
{
    g_autofree char *name = g_strconcat(NITRO_QEMU_PREFIX, virArchToString(arch), NULL);

    return virFindFileInPath(name);
}


char *
nitroHostRequireQemu(virArch arch)
{
    char *qemu = nitroHostFindQemu(arch);

    if (!qemu)
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("machine 'nitro-enclave' of arch '%s' needs '%s%s', which is not in the PATH of virtnitrod: install QEMU for the system emulation of it"),
                       virArchToString(arch), NITRO_QEMU_PREFIX, virArchToString(arch));
    return qemu;
}


int
nitroHostCheckArch(virArch arch)
{
    if (arch == virArchFromHost())
        return 0;
    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("arch '%s' cannot run here on machine 'nitro', whose enclaves have the architecture of the host, %s: use machine 'nitro-enclave'"),
                   virArchToString(arch), virArchToString(virArchFromHost()));
    return -1;
}


int
nitroHostCheckDomain(nitroDriver *driver,
                     const virDomainDef *def,
                     char **qemu)
{
    *qemu = NULL;

    if (nitroDomainDefGetMachine(def) == NITRO_MACHINE_NITRO) {
        if (nitroHostCheckArch(def->os.arch) < 0 || nitroHostCheckNitro(driver, def) < 0)
            return -1;
    } else if (!(*qemu = nitroHostRequireQemu(def->os.arch)) ||
               nitroHugepagesCheckSize(def->name, nitroDomainDefGetPageSize(def)) < 0) {
        return -1;
    }

    if (!virFileIsExecutable(def->emulator)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<emulator> '%s' is no program that can be run: remove the element to use the default"),
                       def->emulator);
        return -1;
    }
    return 0;
}


void
nitroHostSayUnreachable(const nitroDriverConfig *config,
                        const char *helper)
{
    virErrorPtr err = NULL;

    virErrorPreserveLast(&err);
    if (nitroDriverConfigCheckProgram(config, helper) < 0)
        g_clear_pointer(&err, virFreeError);
    else
        virErrorRestore(&err);
}


/* In the process of the probe, of which an alarm outlives the exec: its own ones go with it. */
static int
nitroHostProbeHook(void *opaque)
{
    alarm(NITRO_HOST_PROBE_TIME);
    return nitroDriverConfigDropBounds(opaque);
}


/* The probe has ended with @status, as of waitpid(2). Returns 0, or -1 with an error set. */
static int
nitroHostCheckProbe(const char *helper,
                    int status,
                    const char *log)
{
    g_autofree char *how = virProcessTranslateStatus(status);
    g_autofree char *said = nitroMonitorCleanText(log);

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        virReportError(VIR_ERR_OPERATION_TIMEOUT,
                       _("'%s --probe' has not found out within %d seconds what this host can run: try again when the host is less busy"),
                       helper, NITRO_HOST_PROBE_TIME);
    else if (WIFEXITED(status) && WEXITSTATUS(status) == NITRO_HOST_PROBE_UNSUPPORTED)
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("this host can run no enclave, says '%s --probe': %s"), helper, said);
    else
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("'%s --probe' has not found out what this host can run (%s): %s"),
                       helper, how, *said ? said : _("it has not said why"));
    return -1;
}


/* Runs the probe. Returns 0 with @output set (g_free), or -1 with an error set. */
static int
nitroHostRunProbe(const nitroDriverConfig *config,
                  char **output)
{
    g_autoptr(virCommand) cmd = virCommandNewArgList(config->helper, "--probe", NULL);
    g_autofree char *log = NULL;
    int status;

    virCommandAddEnvPassCommon(cmd);
    /* What root may open, the user of the helpers may not. */
    nitroDriverConfigSetUser(config, cmd);
    nitroDriverConfigLimitLocking(cmd);
    virCommandSetPreExecHook(cmd, nitroHostProbeHook, (void *) config);
    virCommandSetOutputBuffer(cmd, output);
    virCommandSetErrorBuffer(cmd, &log);
    virCommandRawStatus(cmd);
    if (virCommandRun(cmd, &status) < 0 ||
        nitroHostCheckProbe(config->helper, status, log) < 0) {
        /* What it cannot reach says more than what has become of it. */
        nitroHostSayUnreachable(config, config->helper);
        return -1;
    }
    if (*log) {
        g_autofree char *said = nitroMonitorCleanText(log);

        VIR_INFO("%s --probe: %s", config->helper, said);
    }
    return 0;
}


/*
 * Asks the helper. Returns "kvm" or "tcg" (g_free) with @unprotected set, what of the confinement
 * of enclaves is missing here (g_strfreev), or NULL with an error set.
 */
static char *
nitroHostProbe(const nitroDriverConfig *config,
               char ***unprotected)
{
    const char *helper = config->helper;
    g_autoptr(virJSONValue) object = NULL;
    g_autofree char *output = NULL;
    g_autofree char *why = NULL;
    const char *accel;
    int rc;

    if (nitroHostRunProbe(config, &output) < 0)
        return NULL;

    if (!(object = nitroMonitorParse(g_strchomp(output))) ||
        !(accel = virJSONValueObjectGetString(object, "accel")) ||
        (STRNEQ(accel, "kvm") && STRNEQ(accel, "tcg"))) {
        virReportError(VIR_ERR_INTERNAL_ERROR,
                       _("'%s --probe' printed '%s' and named no accelerator"), helper, output);
        return NULL;
    }
    if ((rc = nitroMonitorUnprotectedRead(object, unprotected, &why)) <= 0) {
        virReportError(VIR_ERR_INTERNAL_ERROR,
                       _("'%s --probe' printed what makes no sense: %s"), helper,
                       rc < 0 ? why : _("there is no list 'unprotected'"));
        return NULL;
    }
    VIR_INFO("The emulated machine uses %s: %s", accel,
             NULLSTR(virJSONValueObjectGetString(object, "reason")));
    return g_strdup(accel);
}


char *
nitroHostGetAccel(nitroDriver *driver,
                  const virDomainDef *def)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&driver->lock);

    if (def->os.arch != virArchFromHost())
        return g_strdup("tcg");
    return g_strdup(driver->accel);
}


void
nitroHostTellUnprotected(nitroDriver *driver,
                         char *const *codes)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&driver->lock);
    size_t i;

    for (i = 0; codes && codes[i]; i++) {
        g_autofree char *text = NULL;

        if (driver->told && g_strv_contains((const char *const *)driver->told, codes[i]))
            continue;
        text = nitroUnprotectedDescribe(codes[i]);
        VIR_WARN("Enclaves are not confined on this host as they should be (%s): %s",
                 codes[i], text);
        nitroUnprotectedAdd(&driver->told, codes[i]);
    }
}


/* Whom helpers run as is what nitro.conf says, and known before anybody asks. */
static void
nitroHostAddUser(nitroDriver *driver,
                 char ***list)
{
    if (driver->privileged && nitroDriverConfigIsRoot(driver->config))
        nitroUnprotectedAdd(list, NITRO_UNPROTECTED_USER);
}


void
nitroHostTellUser(nitroDriver *driver)
{
    g_auto(GStrv) list = NULL;

    nitroHostAddUser(driver, &list);
    nitroHostTellUnprotected(driver, list);
}


char **
nitroHostGetUnprotected(nitroDriver *driver,
                        const virDomainDef *def)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&driver->lock);

    if (nitroDomainDefGetMachine(def) != NITRO_MACHINE_EMULATED)
        return NULL;
    return g_strdupv(driver->unprotected);
}


int
nitroHostCheckUnprotected(nitroDriver *driver,
                          const virDomainDef *def)
{
    g_auto(GStrv) list = NULL;

    /* First, as root without capabilities is refused namespaces, too: there this is the reason. */
    nitroHostAddUser(driver, &list);
    /* On the device there is no QEMU to confine; its helper knows what else it lacks. */
    if (nitroDomainDefGetMachine(def) == NITRO_MACHINE_EMULATED) {
        VIR_LOCK_GUARD lock = virLockGuardLock(&driver->lock);

        nitroUnprotectedAddAll(&list, driver->unprotected);
    }
    return nitroUnprotectedCheck(list, driver->config->securityRequired);
}


bool
nitroHostIsKnown(nitroDriver *driver)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&driver->lock);

    if (!driver->accel)
        return false;
    if (!driver->unprotected || !driver->unprotected[0])
        return true;
    return g_get_monotonic_time() - driver->probed < NITRO_HOST_PROBE_AGAIN * 1000LL;
}


int
nitroHostFindAccel(nitroDriver *driver)
{
    g_autofree char *accel = NULL;
    g_auto(GStrv) unprotected = NULL;

    if (nitroHostIsKnown(driver))
        return 0;

    /* Two domains that start at once may both ask; the answer is the same. */
    if (!(accel = nitroHostProbe(driver->config, &unprotected)))
        return -1;
    nitroHostTellUnprotected(driver, unprotected);

    VIR_WITH_MUTEX_LOCK_GUARD(&driver->lock) {
        g_free(driver->accel);
        driver->accel = g_steal_pointer(&accel);
        g_strfreev(driver->unprotected);
        driver->unprotected = g_steal_pointer(&unprotected);
        driver->probed = g_get_monotonic_time();
    }
    return 0;
}
