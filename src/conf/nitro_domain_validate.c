/*
 * nitro_domain_validate.c: checks of enclave domains
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A complete definition in, 0 or an error out. Here are the order of the checks
 * and those on <os> and on what is neither CPU, memory nor device; the others are
 * in nitro_domain_validate_{cpu,memory,devices}.c.
 */

#include <config.h>

#include "nitro_domain_validate.h"
#include "libvirt_compat.h"
#include "nitro_domain_conf.h"
#include "nitro_domain_text.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_NITRO


/* Those of the devices: nitro_domain_validate_devices.c */
static int
nitroDomainDefValidateTexts(const virDomainDef *def)
{
    if (nitroDomainNameCheck(def->name) < 0 ||
        nitroDomainTextCheck("title", def->title, false) < 0 ||
        nitroDomainTextCheck("description", def->description, true) < 0 ||
        nitroDomainTextCheck("kernel", def->os.kernel, false) < 0 ||
        nitroDomainTextCheck("initrd", def->os.initrd, false) < 0 ||
        nitroDomainTextCheck("cmdline", def->os.cmdline, true) < 0 ||
        nitroDomainTextCheck("emulator", def->emulator, false) < 0)
        return -1;

    return 0;
}


int
nitroDomainVirtTypeValidate(virDomainVirtType type)
{
    if (type == VIR_DOMAIN_VIRT_NITRO)
        return 0;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("domain type '%s' is not for this driver, whose domains have type '%s'"),
                   virDomainVirtTypeToString(type),
                   virDomainVirtTypeToString(VIR_DOMAIN_VIRT_NITRO));
    return -1;
}


int
nitroDomainArchValidate(const char *name)
{
    virArch arch = virArchFromString(name);

    if (arch == VIR_ARCH_X86_64 || arch == VIR_ARCH_AARCH64)
        return 0;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("arch '%s' is not supported, an enclave has arch '%s' or '%s'"),
                   name, virArchToString(VIR_ARCH_X86_64), virArchToString(VIR_ARCH_AARCH64));
    return -1;
}


static int
nitroDomainDefValidatePath(const char *element,
                           const char *path)
{
    if (path && !g_path_is_absolute(path)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("<%s> is not an absolute path: '%s'"), element, path);
        return -1;
    }

    return 0;
}


static int
nitroDomainDefValidateImage(const virDomainDef *def)
{
    if (!def->os.kernel) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("an enclave boots from an image: name an EIF file or a Linux kernel in "
                         "<kernel> of <os>"));
        return -1;
    }

    if (nitroDomainDefValidatePath("kernel", def->os.kernel) < 0 ||
        nitroDomainDefValidatePath("initrd", def->os.initrd) < 0 ||
        nitroDomainDefValidatePath("emulator", def->emulator) < 0)
        return -1;

    return 0;
}


static int
nitroDomainDefValidateBoot(const virDomainDef *def)
{
    const virDomainOSDef *os = &def->os;
    const struct {
        bool present;
        const char *element;
    } refused[] = {
        { os->firmware == VIR_DOMAIN_OS_DEF_FIRMWARE_EFI, "os firmware='efi'" },
        { os->firmware || os->firmwareFeatures, "firmware" },
        { os->loader != NULL, "loader" },
        { os->bootmenu || os->bm_timeout_set, "bootmenu" },
        { os->bios.useserial || os->bios.rt_set, "bios" },
        { os->smbios_mode != VIR_DOMAIN_SMBIOS_NONE, "smbios" },
        { os->dtb != NULL, "dtb" },
        { libvirtCompatHasAcpiTable(os), "acpi" },
        { os->root != NULL, "root" },
        { os->init || os->initargv || os->initenv || os->initdir ||
          os->inituser || os->initgroup, "init" },
        { os->bootloader || os->bootloaderArgs, "bootloader" },
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(refused); i++) {
        if (refused[i].present) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("<%s> is not supported: an enclave boots from the image in <kernel>"),
                           refused[i].element);
            return -1;
        }
    }

    if (os->nBootDevs > 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<boot dev='%s'> is not supported: an enclave boots from the image in "
                         "<kernel>"),
                       virDomainBootTypeToString(os->bootDevs[0]));
        return -1;
    }

    return 0;
}


/* Whether @feature is what every enclave has, or is switched off and what none has. */
static bool
nitroDomainDefFeatureIsTrue(const virDomainDef *def,
                            virDomainFeature feature)
{
    switch ((int) feature) {
    case VIR_DOMAIN_FEATURE_ACPI:
    case VIR_DOMAIN_FEATURE_PAE:
        return true;

    case VIR_DOMAIN_FEATURE_APIC:
        return def->apic_eoi == VIR_TRISTATE_SWITCH_ABSENT;

    case VIR_DOMAIN_FEATURE_VMPORT:
    case VIR_DOMAIN_FEATURE_SMM:
    case VIR_DOMAIN_FEATURE_VMCOREINFO:
    case VIR_DOMAIN_FEATURE_HTM:
    case VIR_DOMAIN_FEATURE_NESTED_HV:
    case VIR_DOMAIN_FEATURE_CCF_ASSIST:
        return def->features[feature] == VIR_TRISTATE_SWITCH_OFF;
    }

    return false;
}


static int
nitroDomainDefValidateFeatures(const virDomainDef *def)
{
    size_t i;

    for (i = 0; i < VIR_DOMAIN_FEATURE_LAST; i++) {
        if (def->features[i] && !nitroDomainDefFeatureIsTrue(def, i)) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("<%s> of <features> is not supported for an enclave"),
                           virDomainFeatureTypeToString(i));
            return -1;
        }
    }

    /* with the policy 'default' the feature itself is not set */
    for (i = 0; i < VIR_DOMAIN_PROCES_CAPS_FEATURE_LAST; i++) {
        if (def->caps_features[i]) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("<%s> of <features> is not supported for an enclave"),
                           virDomainFeatureTypeToString(VIR_DOMAIN_FEATURE_CAPABILITIES));
            return -1;
        }
    }

    return 0;
}


/* Whether @timer says only that there is none of a kind that no enclave has. */
static bool
nitroDomainTimerDefIsTrue(const virDomainTimerDef *timer)
{
    return timer->present == VIR_TRISTATE_BOOL_NO &&
           (timer->name == VIR_DOMAIN_TIMER_NAME_HPET ||
            timer->name == VIR_DOMAIN_TIMER_NAME_HYPERVCLOCK ||
            timer->name == VIR_DOMAIN_TIMER_NAME_PLATFORM);
}


static int
nitroDomainDefValidateClock(const virDomainDef *def)
{
    size_t i;

    if (def->clock.offset != VIR_DOMAIN_CLOCK_OFFSET_UTC ||
        def->clock.data.utc_reset) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<clock offset='%s'> is not supported: the clock of an enclave is plain "
                         "'utc'"),
                       virDomainClockOffsetTypeToString(def->clock.offset));
        return -1;
    }

    for (i = 0; i < def->clock.ntimers; i++) {
        if (!nitroDomainTimerDefIsTrue(def->clock.timers[i])) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("<timer name='%s'> is not supported for an enclave"),
                           virDomainTimerNameTypeToString(def->clock.timers[i]->name));
            return -1;
        }
    }

    return 0;
}


static int
nitroDomainDefValidateAction(const char *element,
                             int action)
{
    if (action != VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY &&
        action != VIR_DOMAIN_LIFECYCLE_ACTION_RESTART) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<%s> is '%s': for an enclave only 'destroy' and 'restart' are supported"),
                       element, virDomainLifecycleActionTypeToString(action));
        return -1;
    }

    return 0;
}


static int
nitroDomainDefValidateLifecycle(const virDomainDef *def)
{
    if (nitroDomainDefValidateAction("on_poweroff", def->onPoweroff) < 0 ||
        nitroDomainDefValidateAction("on_reboot", def->onReboot) < 0 ||
        nitroDomainDefValidateAction("on_crash", def->onCrash) < 0)
        return -1;

    return 0;
}


static bool
nitroDomainDefHasPerf(const virDomainDef *def)
{
    size_t i;

    for (i = 0; i < VIR_PERF_EVENT_LAST; i++) {
        if (def->perf.events[i] == VIR_TRISTATE_BOOL_YES)
            return true;
    }

    return false;
}


/*
 * The driver labels nothing: a label of no model in particular is fulfilled by that, one of a
 * model would protect nobody.
 */
static int
nitroDomainDefValidateSeclabels(const virDomainDef *def)
{
    size_t i;

    for (i = 0; i < def->nseclabels; i++) {
        const virSecurityLabelDef *label = def->seclabels[i];

        if (nitroDomainTextCheck("seclabel model=", label->model, false) < 0)
            return -1;

        if (label->baselabel) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("<%s> of <%s> is not supported for an enclave"),
                           "baselabel", "seclabel");
            return -1;
        }

        if (label->type != VIR_DOMAIN_SECLABEL_NONE &&
            (label->type != VIR_DOMAIN_SECLABEL_DYNAMIC || label->model)) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("<seclabel type='%s' model='%s'> is not supported: for an enclave only 'none', and 'dynamic' without a model, are"),
                           virDomainSeclabelTypeToString(label->type), NULLSTR_EMPTY(label->model));
            return -1;
        }
    }

    return 0;
}


/*
 * A part of the path is a name in the host's tree of cgroups and a slice of systemd's: none leads out
 * of it. libvirt's own check is at the start, and looks at the first character.
 */
static int
nitroDomainDefValidatePartition(const char *partition)
{
    g_auto(GStrv) parts = NULL;
    size_t i;

    if (!partition)
        return 0;
    if (nitroDomainTextCheck("partition", partition, false) < 0)
        return -1;
    parts = g_strsplit(partition, "/", 0);
    for (i = 1; *partition == '/' && parts[i]; i++) {
        if (*parts[i] == '\0' || *parts[i] == '.')
            break;
    }
    if (i > 1 && !parts[i])
        return 0;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("<partition> of <resource> is '%s': it must be an absolute path like '/machine/enclaves', without empty parts and without parts that begin with a dot"),
                   partition);
    return -1;
}


/* Whether the host has cgroups, and with them partitions, only the start can tell. */
static int
nitroDomainDefValidateResource(const virDomainDef *def)
{
    const virDomainResourceDef *resource = def->resource;

    if (!resource)
        return 0;

    if (resource->appid) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("<fibrechannel> of <resource> is not supported for an enclave"));
        return -1;
    }

    return nitroDomainDefValidatePartition(resource->partition);
}


/* Elements that are neither <os>, CPU, memory nor device. */
static int
nitroDomainDefValidateOther(const virDomainDef *def)
{
    const struct {
        bool present;
        const char *element;
    } refused[] = {
        { def->genidRequested, "genid" },
        { def->nsysinfo > 0, "sysinfo" },
        { def->onLockFailure != VIR_DOMAIN_LOCK_FAILURE_DEFAULT, "on_lockfailure" },
        { def->pm.s3 == VIR_TRISTATE_BOOL_YES, "suspend-to-mem enabled='yes'" },
        { def->pm.s4 == VIR_TRISTATE_BOOL_YES, "suspend-to-disk enabled='yes'" },
        { nitroDomainDefHasPerf(def), "perf" },
        { def->blkio.weight > 0 || def->blkio.ndevices > 0, "blkiotune" },
        { def->idmap.nuidmap > 0 || def->idmap.ngidmap > 0, "idmap" },
        { def->keywrap != NULL, "keywrap" },
        { def->sec != NULL, "launchSecurity" },
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(refused); i++) {
        if (refused[i].present) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("<%s> is not supported for an enclave"), refused[i].element);
            return -1;
        }
    }

    if (nitroDomainDefValidateResource(def) < 0)
        return -1;

    return nitroDomainDefValidateSeclabels(def);
}


/* Whether QEMU can have an NSM only the start can tell. */
static int
nitroDomainDefValidateNsm(const virDomainDef *def)
{
    virTristateBool nsm = nitroDomainDefGetNsm(def);
    bool parent = nitroDomainDefGetParentRole(def) || nitroDomainDefGetParentId(def);

    if ((nsm != VIR_TRISTATE_BOOL_ABSENT || parent) &&
        nitroDomainDefGetMachine(def) != NITRO_MACHINE_EMULATED) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("element 'nitro:%s' is for machine 'nitro-enclave' only: on machine 'nitro' each enclave has the NSM of the Nitro Hypervisor, which knows the parent"),
                       parent ? "parent" : "nsm");
        return -1;
    }
    if (parent && nsm == VIR_TRISTATE_BOOL_NO) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("element 'nitro:parent' is what an NSM tells of, and 'nitro:nsm' has enabled='no': remove one of them"));
        return -1;
    }
    return 0;
}


int
nitroDomainDefValidate(const virDomainDef *def,
                       void *opaque G_GNUC_UNUSED,
                       void *parseOpaque G_GNUC_UNUSED)
{
    if (nitroDomainDefValidateTexts(def) < 0 ||
        nitroDomainDefValidateImage(def) < 0 ||
        nitroDomainDefValidateBoot(def) < 0 ||
        nitroDomainDefValidateCpus(def) < 0 ||
        nitroDomainDefValidateMemory(def) < 0 ||
        nitroDomainDefValidateFeatures(def) < 0 ||
        nitroDomainDefValidateClock(def) < 0 ||
        nitroDomainDefValidateLifecycle(def) < 0 ||
        nitroDomainDefValidateOther(def) < 0 ||
        nitroDomainDefValidateNsm(def) < 0 ||
        nitroDomainDefValidateDevices(def) < 0)
        return -1;

    return 0;
}
