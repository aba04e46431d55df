/*
 * validate_emulated.c: checks of what the machine "nitro-enclave" needs
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * QEMU is found and asked as the daemon and the helper do it; whether KVM works is the
 * helper's own probe.
 */

#include <config.h>

#include "nitro_json.h"
#include "nitro_nsm.h"
#include "validate.h"
#include "virarch.h"
#include "vircommand.h"
#include "virerror.h"
#include "virfile.h"
#include "virjson.h"

#define QEMU_PREFIX "qemu-system-"
#define QEMU_DEVICE "vhost-user-vsock-device"

static const struct {
    virArch arch;
    const char *machine;
    const char *package; /* Debian's */
} validateQemus[] = {
    { VIR_ARCH_X86_64, "microvm", "qemu-system-x86" },
    { VIR_ARCH_AARCH64, "virt", "qemu-system-arm" },
};


/* What QEMU prints for "@option help", or NULL when it cannot be run. */
static char *
validateQemuAsk(const char *qemu,
                const char *option)
{
    g_autoptr(virCommand) cmd = virCommandNewArgList(qemu, option, "help", NULL);
    g_autofree char *output = NULL;

    virCommandSetOutputBuffer(cmd, &output);
    if (virCommandRun(cmd, NULL) < 0)
        return NULL;
    return g_steal_pointer(&output);
}


/* Whether a line of @list starts with @name and a blank, as those of "-machine help". */
static bool
validateQemuHasMachine(const char *list,
                       const char *name)
{
    g_auto(GStrv) lines = g_strsplit(list, "\n", 0);
    size_t i;

    for (i = 0; lines[i]; i++) {
        if (STRPREFIX(lines[i], name) && lines[i][strlen(name)] == ' ')
            return true;
    }
    return false;
}


/* Returns whether @qemu can be run at all. */
static bool
validateQemuFeatures(const char *qemu,
                     const char *name,
                     const char *machine)
{
    g_autofree char *machines = validateQemuAsk(qemu, "-machine");
    g_autofree char *devices = NULL;

    validateCheck(VALIDATE_EMULATED, _("if %s has the machine '%s'"), name, machine);
    if (!machines) {
        validateFail(_("%s cannot be run: %s"), qemu, virGetLastErrorMessage());
        return false;
    }
    if (validateQemuHasMachine(machines, machine))
        validatePass();
    else
        validateFail(_("Install QEMU 7.2 or newer with this machine"));

    devices = validateQemuAsk(qemu, "-device");
    validateCheck(VALIDATE_EMULATED, _("if %s has the device '%s'"), name, QEMU_DEVICE);
    if (devices && strstr(devices, "\"" QEMU_DEVICE "\""))
        validatePass();
    else
        validateFail(_("Install QEMU 7.2 or newer with this device"));
    return true;
}


/* Enclaves start without one as well, but for those whose definition asks for it. */
static void
validateQemuNsm(const nitroDriverConfig *config,
                const char *qemu,
                const char *name)
{
    g_autofree char *device = NULL;
    g_autofree char *reason = NULL;
    int rc;

    validateCheck(VALIDATE_EMULATED, _("if %s can have an NSM"), name);
    if ((rc = nitroNsmAsk(config, qemu, &device, &reason)) > 0)
        validatePassWith("%s", device);
    else if (rc == 0)
        validateWarn(_("Enclaves have none: %s"), reason);
    else
        validateFail("%s", virGetLastErrorMessage());
}


virJSONValue *
validateProbe(const nitroDriverConfig *config)
{
    static char *output; /* of the first time */
    g_autoptr(virCommand) cmd = virCommandNewArgList(config->helper, "--probe", NULL);

    if (!output) {
        if (config->user != (uid_t)-1)
            virCommandSetUID(cmd, config->user);
        if (config->group != (gid_t)-1)
            virCommandSetGID(cmd, config->group);
        virCommandClearCaps(cmd);
        virCommandSetOutputBuffer(cmd, &output);
        if (virCommandRun(cmd, NULL) < 0) {
            g_clear_pointer(&output, g_free);
            return NULL;
        }
    }
    return nitroJsonFromString(output);
}


static void
validateKvm(const nitroDriverConfig *config)
{
    g_autoptr(virJSONValue) object = NULL;
    const char *accel;

    validateCheck(VALIDATE_EMULATED, "%s", _("if KVM works"));

    if (!(object = validateProbe(config))) {
        validateFail(_("%s cannot be run: %s"), config->helper, virGetLastErrorMessage());
        return;
    }
    accel = virJSONValueObjectGetString(object, "accel");

    if (STREQ_NULLABLE(accel, "kvm")) {
        validatePass();
    } else {
        const char *reason = virJSONValueObjectGetString(object, "reason");

        validateWarn(_("Emulated enclaves are slow without it: %s"),
                     reason ? reason : _("no reason is known"));
    }
}


/* A host has images of its own architecture; those of the other one it need not have. */
static void
validateQemu(const nitroDriverConfig *config,
             size_t i)
{
    const char *arch = virArchToString(validateQemus[i].arch);
    g_autofree char *name = g_strconcat(QEMU_PREFIX, arch, NULL);
    g_autofree char *qemu = virFindFileInPath(name);

    validateCheck(VALIDATE_EMULATED, _("for %s"), name);
    if (qemu) {
        validatePass();
        if (validateQemuFeatures(qemu, name, validateQemus[i].machine))
            validateQemuNsm(config, qemu, name);
    } else if (validateQemus[i].arch == virArchFromHost()) {
        validateFail(_("Install it in the PATH of the daemon; Debian's package is %s"),
                     validateQemus[i].package);
    } else {
        validateWarn(_("Images for %s cannot be run without it; Debian's package is %s"), arch,
                     validateQemus[i].package);
    }
}


void
validateEmulated(const nitroDriverConfig *config)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(validateQemus); i++)
        validateQemu(config, i);
    validateKvm(config);
}
