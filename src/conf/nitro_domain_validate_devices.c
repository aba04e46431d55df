/*
 * nitro_domain_validate_devices.c: checks on the devices of enclave domains
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A definition or one device in, 0 or an error out. An enclave has a vsock device, a
 * console, and channels (nitro_domain_validate_services.c). What clients add by themselves and what means "no such device" is
 * accepted; everything else is refused by the name of its element.
 */

#include <config.h>

#include "nitro_domain_validate.h"
#include "libvirt_compat.h"
#include "nitro_domain_conf.h"
#include "nitro_domain_text.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_NITRO


int
nitroDomainReportDevice(const char *element)
{
    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("device <%s> is not supported: an enclave can have a vsock, a console and "
                     "channels only"),
                   element);
    return -1;
}


int
nitroDomainDeviceInfoValidate(const virDomainDeviceInfo *info,
                              const char *element)
{
    if (info->type != VIR_DOMAIN_DEVICE_ADDRESS_TYPE_NONE) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<address type='%s'> of <%s> is not supported: the devices of an enclave "
                         "have no address"),
                       virDomainDeviceAddressTypeToString(info->type), element);
        return -1;
    }

    if (info->acpiIndex > 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<acpi index='%u'> of <%s> is not supported for an enclave"),
                       info->acpiIndex, element);
        return -1;
    }

    return 0;
}


static int
nitroDomainVsockDefValidate(const virDomainVsockDef *vsock)
{
    if (vsock->model != VIR_DOMAIN_VSOCK_MODEL_DEFAULT &&
        vsock->model != VIR_DOMAIN_VSOCK_MODEL_VIRTIO &&
        vsock->model != VIR_DOMAIN_VSOCK_MODEL_VIRTIO_NON_TRANSITIONAL) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("vsock model 'virtio-transitional' is not supported: for an enclave 'virtio' and 'virtio-non-transitional' are"));
        return -1;
    }

    if (vsock->virtio) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("<driver> of <vsock> is not supported for an enclave"));
        return -1;
    }

    if (vsock->auto_cid != VIR_TRISTATE_BOOL_YES &&
        (vsock->guest_cid < NITRO_CID_MIN || vsock->guest_cid == UINT_MAX)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("CID %u is not supported: <cid> needs auto='yes' or an address from %u to "
                         "%u"),
                       vsock->guest_cid, NITRO_CID_MIN, UINT_MAX - 1);
        return -1;
    }

    return nitroDomainDeviceInfoValidate(&vsock->info, "vsock");
}


static int
nitroDomainChrSourceValidateTexts(const virDomainChrSourceDef *source)
{
    const char *path = NULL;

    if (source->type == VIR_DOMAIN_CHR_TYPE_FILE)
        path = source->data.file.path;
    else if (source->type == VIR_DOMAIN_CHR_TYPE_UNIX)
        path = source->data.nix.path;

    if (nitroDomainTextCheck("source path=", path, false) < 0 ||
        nitroDomainTextCheck("log file=", source->logfile, false) < 0)
        return -1;

    return 0;
}


static int
nitroDomainChrSourceValidateUnix(const virDomainChrSourceDef *source)
{
    if (!source->data.nix.path || !g_path_is_absolute(source->data.nix.path)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("console of type 'unix' needs a source with an absolute path, not "
                         "'%s'"),
                       NULLSTR_EMPTY(source->data.nix.path));
        return -1;
    }
    if (source->data.nix.reconnect.enabled == VIR_TRISTATE_BOOL_YES) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("<reconnect enabled='yes'> is not supported for the console of an "
                         "enclave"));
        return -1;
    }
    return 0;
}


static int
nitroDomainChrSourceValidateType(const virDomainChrSourceDef *source)
{
    switch ((virDomainChrType) source->type) {
    case VIR_DOMAIN_CHR_TYPE_NULL:
    case VIR_DOMAIN_CHR_TYPE_PTY:
        break;

    case VIR_DOMAIN_CHR_TYPE_FILE:
        if (!source->data.file.path || !g_path_is_absolute(source->data.file.path)) {
            virReportError(VIR_ERR_XML_ERROR,
                           _("console of type 'file' needs a source with an absolute path, not "
                             "'%s'"),
                           NULLSTR_EMPTY(source->data.file.path));
            return -1;
        }
        break;

    case VIR_DOMAIN_CHR_TYPE_UNIX:
        if (nitroDomainChrSourceValidateUnix(source) < 0)
            return -1;
        break;

    case VIR_DOMAIN_CHR_TYPE_VC:
    case VIR_DOMAIN_CHR_TYPE_DEV:
    case VIR_DOMAIN_CHR_TYPE_PIPE:
    case VIR_DOMAIN_CHR_TYPE_STDIO:
    case VIR_DOMAIN_CHR_TYPE_UDP:
    case VIR_DOMAIN_CHR_TYPE_TCP:
    case VIR_DOMAIN_CHR_TYPE_SPICEVMC:
    case VIR_DOMAIN_CHR_TYPE_SPICEPORT:
    case VIR_DOMAIN_CHR_TYPE_NMDM:
    case VIR_DOMAIN_CHR_TYPE_QEMU_VDAGENT:
    case VIR_DOMAIN_CHR_TYPE_DBUS:
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("console type '%s' is not supported: for an enclave 'pty', 'file', 'unix' "
                         "and 'null' are"),
                       virDomainChrTypeToString(source->type));
        return -1;

    case VIR_DOMAIN_CHR_TYPE_LAST:
    default:
        virReportEnumRangeError(virDomainChrType, source->type);
        return -1;
    }
    return 0;
}


static int
nitroDomainChrSourceValidate(const virDomainChrSourceDef *source)
{
    if (nitroDomainChrSourceValidateTexts(source) < 0 ||
        nitroDomainChrSourceValidateType(source) < 0)
        return -1;

    if (source->logfile && !g_path_is_absolute(source->logfile)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("<log> of the console needs a file with an absolute path, not '%s'"),
                       source->logfile);
        return -1;
    }

    if (source->nseclabels > 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<%s> is not supported for the console of an enclave"), "seclabel");
        return -1;
    }

    return 0;
}


static int
nitroDomainChrTargetValidate(const virDomainChrDef *chr)
{
    const char *target = NULL;

    if (chr->deviceType == VIR_DOMAIN_CHR_DEVICE_TYPE_CONSOLE) {
        if (chr->targetType != VIR_DOMAIN_CHR_CONSOLE_TARGET_TYPE_NONE &&
            chr->targetType != VIR_DOMAIN_CHR_CONSOLE_TARGET_TYPE_SERIAL &&
            chr->targetType != VIR_DOMAIN_CHR_CONSOLE_TARGET_TYPE_VIRTIO)
            target = virDomainChrConsoleTargetTypeToString(chr->targetType);
    } else {
        if (chr->targetType != VIR_DOMAIN_CHR_SERIAL_TARGET_TYPE_NONE &&
            chr->targetType != VIR_DOMAIN_CHR_SERIAL_TARGET_TYPE_ISA)
            target = virDomainChrSerialTargetTypeToString(chr->targetType);
        else if (chr->targetModel != VIR_DOMAIN_CHR_SERIAL_TARGET_MODEL_NONE &&
                 chr->targetModel != VIR_DOMAIN_CHR_SERIAL_TARGET_MODEL_ISA_SERIAL)
            target = virDomainChrSerialTargetModelTypeToString(chr->targetModel);
    }

    if (target) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("target '%s' of <%s> is not supported for an enclave"),
                       target, virDomainChrDeviceTypeToString(chr->deviceType));
        return -1;
    }

    return 0;
}


static int
nitroDomainChrDefValidate(const virDomainChrDef *chr)
{
    const char *element = virDomainChrDeviceTypeToString(chr->deviceType);

    if (chr->deviceType == VIR_DOMAIN_CHR_DEVICE_TYPE_CHANNEL)
        return nitroDomainChannelDefValidate(chr);

    if (chr->deviceType != VIR_DOMAIN_CHR_DEVICE_TYPE_CONSOLE &&
        chr->deviceType != VIR_DOMAIN_CHR_DEVICE_TYPE_SERIAL)
        return nitroDomainReportDevice(element);

    /* libvirt numbers the consoles itself */
    if (chr->deviceType == VIR_DOMAIN_CHR_DEVICE_TYPE_SERIAL && chr->target.port > 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<target port='%d'> of <%s> is not supported: the one port of an enclave is 0"),
                       chr->target.port, element);
        return -1;
    }

    if (nitroDomainChrTargetValidate(chr) < 0 ||
        nitroDomainChrSourceValidate(chr->source) < 0)
        return -1;

    return nitroDomainDeviceInfoValidate(&chr->info, element);
}


static int
nitroDomainControllerDefValidate(const virDomainControllerDef *controller)
{
    if (controller->type == VIR_DOMAIN_CONTROLLER_TYPE_USB &&
        controller->model == VIR_DOMAIN_CONTROLLER_MODEL_USB_NONE)
        return 0;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("device <controller type='%s'> is not supported: an enclave can have a vsock, "
                     "a console and channels only"),
                   virDomainControllerTypeToString(controller->type));
    return -1;
}


static int
nitroDomainMemballoonDefValidate(const virDomainMemballoonDef *memballoon)
{
    if (memballoon->model == VIR_DOMAIN_MEMBALLOON_MODEL_NONE)
        return 0;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("<memballoon model='%s'> is not supported: for an enclave only 'none' is"),
                   virDomainMemballoonModelTypeToString(memballoon->model));
    return -1;
}


/* The type 'none' of these two says that there is no such device. */

static int
nitroDomainVideoDefValidate(const virDomainVideoDef *video)
{
    if (video->type == VIR_DOMAIN_VIDEO_TYPE_NONE)
        return 0;

    return nitroDomainReportDevice("video");
}


static int
nitroDomainAudioDefValidate(const virDomainAudioDef *audio)
{
    if (audio->type == VIR_DOMAIN_AUDIO_TYPE_NONE)
        return 0;

    return nitroDomainReportDevice("audio");
}


int
nitroDomainDeviceDefValidate(const virDomainDeviceDef *dev,
                             const virDomainDef *def G_GNUC_UNUSED,
                             void *opaque G_GNUC_UNUSED,
                             void *parseOpaque G_GNUC_UNUSED)
{
    switch ((virDomainDeviceType) dev->type) {
    case VIR_DOMAIN_DEVICE_VSOCK:
        return nitroDomainVsockDefValidate(dev->data.vsock);

    case VIR_DOMAIN_DEVICE_CHR:
        return nitroDomainChrDefValidate(dev->data.chr);

    case VIR_DOMAIN_DEVICE_CONTROLLER:
        return nitroDomainControllerDefValidate(dev->data.controller);

    case VIR_DOMAIN_DEVICE_VIDEO:
        return nitroDomainVideoDefValidate(dev->data.video);

    case VIR_DOMAIN_DEVICE_AUDIO:
        return nitroDomainAudioDefValidate(dev->data.audio);

    case VIR_DOMAIN_DEVICE_MEMBALLOON:
        return nitroDomainMemballoonDefValidate(dev->data.memballoon);

    case VIR_DOMAIN_DEVICE_DISK:
    case VIR_DOMAIN_DEVICE_LEASE:
    case VIR_DOMAIN_DEVICE_FS:
    case VIR_DOMAIN_DEVICE_NET:
    case VIR_DOMAIN_DEVICE_INPUT:
    case VIR_DOMAIN_DEVICE_SOUND:
    case VIR_DOMAIN_DEVICE_HOSTDEV:
    case VIR_DOMAIN_DEVICE_WATCHDOG:
    case VIR_DOMAIN_DEVICE_GRAPHICS:
    case VIR_DOMAIN_DEVICE_HUB:
    case VIR_DOMAIN_DEVICE_REDIRDEV:
    case VIR_DOMAIN_DEVICE_SMARTCARD:
    case VIR_DOMAIN_DEVICE_NVRAM:
    case VIR_DOMAIN_DEVICE_RNG:
    case VIR_DOMAIN_DEVICE_SHMEM:
    case VIR_DOMAIN_DEVICE_TPM:
    case VIR_DOMAIN_DEVICE_PANIC:
    case VIR_DOMAIN_DEVICE_MEMORY:
    case VIR_DOMAIN_DEVICE_IOMMU:
        return nitroDomainReportDevice(virDomainDeviceTypeToString(dev->type));

    case VIR_DOMAIN_DEVICE_NONE:
    case VIR_DOMAIN_DEVICE_LAST:
    default:
        virReportEnumRangeError(virDomainDeviceType, dev->type);
        return -1;
    }
}


/*
 * libvirt adds controllers for disks and a video device for graphics,
 * and its own walk through the devices comes to these first: look for what the
 * user wrote before that.
 */
static int
nitroDomainDefValidateRefusedDevices(const virDomainDef *def)
{
    const struct {
        bool present;
        const char *element;
    } refused[] = {
        { def->ndisks > 0, "disk" },
        { def->nfss > 0, "filesystem" },
        { def->nnets > 0, "interface" },
        { def->ngraphics > 0, "graphics" },
        { def->ninputs > 0, "input" },
        { def->nsounds > 0, "sound" },
        { def->nhostdevs > 0, "hostdev" },
        { def->nredirdevs > 0, "redirdev" },
        { def->redirfilter != NULL, "redirfilter" },
        { def->nsmartcards > 0, "smartcard" },
        { def->nparallels > 0, "parallel" },
        { def->nleases > 0, "lease" },
        { def->nhubs > 0, "hub" },
        { def->nrngs > 0, "rng" },
        { def->nshmems > 0, "shmem" },
        { def->nmems > 0, "memory" },
        { def->npanics > 0, "panic" },
        { def->ntpms > 0, "tpm" },
        { libvirtCompatHasWatchdog(def), "watchdog" },
        { def->nvram != NULL, "nvram" },
        { def->iommu != NULL, "iommu" },
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(refused); i++) {
        if (refused[i].present)
            return nitroDomainReportDevice(refused[i].element);
    }

    for (i = 0; i < def->nvideos; i++) {
        if (nitroDomainVideoDefValidate(def->videos[i]) < 0)
            return -1;
    }

    for (i = 0; i < def->naudios; i++) {
        if (nitroDomainAudioDefValidate(def->audios[i]) < 0)
            return -1;
    }

    return 0;
}


int
nitroDomainDefValidateDevices(const virDomainDef *def)
{
    if (nitroDomainDefValidateRefusedDevices(def) < 0)
        return -1;

    if (def->nconsoles > 1 || def->nserials > 1) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("%zu <console> and %zu <serial> devices: an enclave can have one console "
                         "only"),
                       def->nconsoles, def->nserials);
        return -1;
    }

    /* libvirt's own checks of these come before the device callback, and say less */
    if (def->nserials > 0 && nitroDomainChrDefValidate(def->serials[0]) < 0)
        return -1;

    if (def->nconsoles > 0 && nitroDomainChrDefValidate(def->consoles[0]) < 0)
        return -1;

    if (def->vsock && nitroDomainVsockDefValidate(def->vsock) < 0)
        return -1;

    return nitroDomainDefValidateServices(def);
}
