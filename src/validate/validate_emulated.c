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

#include "configmake.h"
#include "nitro_json.h"
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


static void
validateQemuFeatures(const char *qemu,
                     const char *name,
                     const char *machine)
{
    g_autofree char *machines = validateQemuAsk(qemu, "-machine");
    g_autofree char *devices = NULL;

    validateCheck(VALIDATE_EMULATED, _("if %s has the machine '%s'"), name, machine);
    if (!machines) {
        validateFail(_("%s cannot be run: %s"), qemu, virGetLastErrorMessage());
        return;
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
}


char *
validateHelperPath(void)
{
    return virFileFindResourceFull("libvirt_nitro", NULL, NULL,
                                   NITRO_BUILDDIR "/src/helper", LIBEXECDIR,
                                   "LIBVIRT_NITRO_HELPER_DIR");
}


virJSONValue *
validateProbe(const char *helper,
              const validateIds *ids)
{
    static char *output; /* of the first time */
    g_autoptr(virCommand) cmd = virCommandNewArgList(helper, "--probe", NULL);

    if (!output) {
        if (ids->user != (uid_t)-1)
            virCommandSetUID(cmd, ids->user);
        if (ids->group != (gid_t)-1)
            virCommandSetGID(cmd, ids->group);
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
validateKvm(const validateIds *ids)
{
    g_autofree char *helper = validateHelperPath();
    g_autoptr(virJSONValue) object = NULL;
    const char *accel;

    validateCheck(VALIDATE_EMULATED, "%s", _("if KVM works"));

    if (!(object = validateProbe(helper, ids))) {
        validateFail(_("%s cannot be run: %s"), helper, virGetLastErrorMessage());
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
validateQemu(size_t i)
{
    const char *arch = virArchToString(validateQemus[i].arch);
    g_autofree char *name = g_strconcat(QEMU_PREFIX, arch, NULL);
    g_autofree char *qemu = virFindFileInPath(name);

    validateCheck(VALIDATE_EMULATED, _("for %s"), name);
    if (qemu) {
        validatePass();
        validateQemuFeatures(qemu, name, validateQemus[i].machine);
    } else if (validateQemus[i].arch == virArchFromHost()) {
        validateFail(_("Install it in the PATH of the daemon; Debian's package is %s"),
                     validateQemus[i].package);
    } else {
        validateWarn(_("Images for %s cannot be run without it; Debian's package is %s"), arch,
                     validateQemus[i].package);
    }
}


void
validateEmulated(const validateIds *ids)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(validateQemus); i++)
        validateQemu(i);
    validateKvm(ids);
}
