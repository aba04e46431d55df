/*
 * nitro_host.c: what this host can run
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <unistd.h>

#include "nitro_host.h"
#include "nitro_host_check.h"
#include "nitro_monitor_message.h"
#include "nitro_unprotected.h"
#include "vircommand.h"
#include "virerror.h"
#include "virfile.h"
#include "virjson.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_host");

#define NITRO_QEMU "qemu-system-x86_64"

/* Returns the path of QEMU (g_free), or NULL with an error set. */
static char *
nitroHostFindQemu(void)
{
    char *qemu;

    if (virArchFromHost() != VIR_ARCH_X86_64) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("machine 'nitro-enclave' is emulated on x86_64 hosts only, and this one is %s"),
                       virArchToString(virArchFromHost()));
        return NULL;
    }
    if (!(qemu = virFindFileInPath(NITRO_QEMU)))
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("machine 'nitro-enclave' needs '%s', which is not in the PATH of virtnitrod: install QEMU for x86 system emulation"),
                       NITRO_QEMU);
    return qemu;
}


int
nitroHostCheckDomain(nitroDriver *driver,
                     const virDomainDef *def,
                     char **qemu)
{
    *qemu = NULL;

    if (nitroDomainDefGetMachine(def) == NITRO_MACHINE_NITRO) {
        if (nitroHostCheckNitro(driver, def) < 0)
            return -1;
    } else if (!(*qemu = nitroHostFindQemu())) {
        return -1;
    }

    if (def->os.arch != virArchFromHost()) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("arch '%s' cannot run here: an enclave has the architecture of the host, %s"),
                       virArchToString(def->os.arch), virArchToString(virArchFromHost()));
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


/*
 * Asks the helper. Returns "kvm" or "tcg" (g_free) with @unprotected set, what of the confinement
 * of enclaves is missing here (g_strfreev), or NULL with an error set.
 */
static char *
nitroHostProbe(const nitroDriverConfig *config,
               char ***unprotected)
{
    const char *helper = config->helper;
    g_autoptr(virCommand) cmd = virCommandNewArgList(helper, "--probe", NULL);
    g_autoptr(virJSONValue) object = NULL;
    g_autofree char *output = NULL;
    g_autofree char *why = NULL;
    const char *accel;

    virCommandAddEnvPassCommon(cmd);
    /* What root may open, the user of the helpers may not. */
    nitroDriverConfigSetUser(config, cmd);
    nitroDriverConfigLimitLocking(cmd);
    virCommandSetPreExecHook(cmd, nitroDriverConfigDropBounds, NULL);
    virCommandSetOutputBuffer(cmd, &output);
    if (virCommandRun(cmd, NULL) < 0) {
        /* What it cannot reach says more than what has become of it. */
        nitroHostSayUnreachable(config, helper);
        return NULL;
    }

    if (!(object = virJSONValueFromString(output)) ||
        !(accel = virJSONValueObjectGetString(object, "accel")) ||
        (STRNEQ(accel, "kvm") && STRNEQ(accel, "tcg"))) {
        virReportError(VIR_ERR_INTERNAL_ERROR,
                       _("'%s --probe' printed '%s' and named no accelerator"), helper, output);
        return NULL;
    }
    if (nitroMonitorUnprotectedRead(object, unprotected, &why) < 0) {
        virReportError(VIR_ERR_INTERNAL_ERROR,
                       _("'%s --probe' printed what makes no sense: %s"), helper, why);
        return NULL;
    }
    VIR_INFO("The emulated machine uses %s: %s", accel,
             NULLSTR(virJSONValueObjectGetString(object, "reason")));
    return g_strdup(accel);
}


char *
nitroHostGetAccel(nitroDriver *driver)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&driver->lock);

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
    VIR_LOCK_GUARD lock = virLockGuardLock(&driver->lock);

    /* On the device there is no QEMU to confine; its helper knows what else it lacks. */
    if (nitroDomainDefGetMachine(def) != NITRO_MACHINE_EMULATED)
        return 0;
    return nitroUnprotectedCheck(driver->unprotected, driver->config->securityRequired);
}


int
nitroHostFindAccel(nitroDriver *driver)
{
    g_autofree char *accel = nitroHostGetAccel(driver);
    g_auto(GStrv) unprotected = NULL;

    if (accel)
        return 0;

    /* Two domains that start at once may both ask; the answer is the same. */
    if (!(accel = nitroHostProbe(driver->config, &unprotected)))
        return -1;
    nitroHostTellUnprotected(driver, unprotected);

    VIR_WITH_MUTEX_LOCK_GUARD(&driver->lock) {
        g_free(driver->accel);
        driver->accel = g_steal_pointer(&accel);
        nitroUnprotectedAddAll(&driver->unprotected, unprotected);
    }
    return 0;
}
