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


/* Returns "kvm" or "tcg" (g_free), or NULL with an error set. */
static char *
nitroHostProbeAccel(const nitroDriverConfig *config)
{
    const char *helper = config->helper;
    g_autoptr(virCommand) cmd = virCommandNewArgList(helper, "--probe", NULL);
    g_autoptr(virJSONValue) object = NULL;
    g_autofree char *output = NULL;
    const char *accel;

    virCommandAddEnvPassCommon(cmd);
    /* What root may open, the user of the helpers may not. */
    nitroDriverConfigSetUser(config, cmd);
    virCommandSetOutputBuffer(cmd, &output);
    if (virCommandRun(cmd, NULL) < 0)
        return NULL;

    if (!(object = virJSONValueFromString(output)) ||
        !(accel = virJSONValueObjectGetString(object, "accel")) ||
        (STRNEQ(accel, "kvm") && STRNEQ(accel, "tcg"))) {
        virReportError(VIR_ERR_INTERNAL_ERROR,
                       _("'%s --probe' printed '%s' and named no accelerator"), helper, output);
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


int
nitroHostFindAccel(nitroDriver *driver)
{
    g_autofree char *accel = nitroHostGetAccel(driver);

    if (accel)
        return 0;

    /* Two domains that start at once may both ask; the answer is the same. */
    if (!(accel = nitroHostProbeAccel(driver->config)))
        return -1;

    VIR_WITH_MUTEX_LOCK_GUARD(&driver->lock) {
        g_free(driver->accel);
        driver->accel = g_steal_pointer(&accel);
    }
    return 0;
}
