/*
 * nitro_domain_postparse.c: defaults of enclave domains
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A parsed definition in, the same with defaults filled in out. What libvirt
 * itself fills in: one vCPU, the architecture of the host, the actions of
 * <on_*>, cid auto='yes', the target of a console and its serial twin.
 */

#include <config.h>

#include "nitro_domain_postparse.h"
#include "nitro_domain_conf.h"
#include "nitro_domain_services.h"
#include "nitro_domain_text.h"
#include "nitro_domain_validate.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_NITRO


int
nitroDomainDefPostParseBasic(virDomainDef *def,
                             void *opaque)
{
    const char *emulator = opaque;

    if (!def->emulator)
        def->emulator = g_strdup(emulator);

    return 0;
}


static int
nitroDomainDefPostParseType(const virDomainDef *def)
{
    if (nitroDomainVirtTypeValidate(def->virtType) < 0)
        return -1;

    if (def->os.type != VIR_DOMAIN_OSTYPE_HVM) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("OS type '%s' is not supported, an enclave has OS type '%s'"),
                       virDomainOSTypeToString(def->os.type),
                       virDomainOSTypeToString(VIR_DOMAIN_OSTYPE_HVM));
        return -1;
    }

    return nitroDomainArchValidate(virArchToString(def->os.arch));
}


static int
nitroDomainDefPostParseMachine(virDomainDef *def)
{
    if (!def->os.machine)
        def->os.machine = g_strdup(nitroMachineTypeToString(NITRO_MACHINE_NITRO));

    if (nitroMachineTypeFromString(def->os.machine) < 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("machine '%s' is not supported, an enclave has machine '%s' or '%s'"),
                       def->os.machine,
                       nitroMachineTypeToString(NITRO_MACHINE_NITRO),
                       nitroMachineTypeToString(NITRO_MACHINE_EMULATED));
        return -1;
    }

    return 0;
}


/* libvirt's parser refuses it as well, but with advice on NUMA cells. */
static int
nitroDomainDefPostParseMemory(const virDomainDef *def)
{
    if (def->mem.total_memory == 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("memory of 0 KiB is too small: an enclave needs at least %u KiB"),
                       NITRO_MEMORY_MIN_KIB);
        return -1;
    }

    return 0;
}


/* No enclave is without a vsock: nothing else connects it to the world. */
static void
nitroDomainDefPostParseVsock(virDomainDef *def,
                             unsigned int parseFlags)
{
    if (!def->vsock) {
        def->vsock = virDomainVsockDefNew(NULL);
        def->vsock->model = VIR_DOMAIN_VSOCK_MODEL_VIRTIO;
        def->vsock->auto_cid = VIR_TRISTATE_BOOL_YES;
    }

    if (parseFlags & VIR_DOMAIN_DEF_PARSE_INACTIVE)
        nitroDomainDefSetVsockDirectory(def, NULL);
}


int
nitroDomainDefPostParse(virDomainDef *def,
                        unsigned int parseFlags,
                        void *opaque G_GNUC_UNUSED,
                        void *parseOpaque G_GNUC_UNUSED)
{
    /* A stored name that has changed with its file is not loaded, as undefine would leave the file.
     * Of an enclave that runs nothing is refused. */
    if (!(parseFlags & VIR_DOMAIN_DEF_PARSE_STATUS) && nitroDomainNameCheck(def->name) < 0)
        return -1;

    if (nitroDomainDefPostParseType(def) < 0 ||
        nitroDomainDefPostParseMachine(def) < 0 ||
        nitroDomainDefPostParseMemory(def) < 0)
        return -1;

    nitroDomainDefPostParseVsock(def, parseFlags);
    return 0;
}


static void
nitroDomainVsockDefPostParse(virDomainVsockDef *vsock,
                             unsigned int parseFlags)
{
    if (vsock->model == VIR_DOMAIN_VSOCK_MODEL_DEFAULT)
        vsock->model = VIR_DOMAIN_VSOCK_MODEL_VIRTIO;

    if (vsock->auto_cid == VIR_TRISTATE_BOOL_YES &&
        (parseFlags & VIR_DOMAIN_DEF_PARSE_INACTIVE))
        vsock->guest_cid = 0;
}


/*
 * Without a path the driver makes a socket to listen on, as QEMU's does. libvirt does not read or
 * write the mode of a socket without a path (that somebody wrote 'connect', see nitro_domain_tree.h).
 */
static void
nitroDomainChrDefPostParse(virDomainChrDef *chr,
                           unsigned int parseFlags)
{
    if (chr->deviceType != VIR_DOMAIN_CHR_DEVICE_TYPE_CHANNEL ||
        chr->source->type != VIR_DOMAIN_CHR_TYPE_UNIX)
        return;

    if ((parseFlags & VIR_DOMAIN_DEF_PARSE_INACTIVE) && chr->source->data.nix.listen &&
        nitroDomainChannelIsMadePath(chr, chr->source->data.nix.path))
        g_clear_pointer(&chr->source->data.nix.path, g_free);

    if (!chr->source->data.nix.path)
        chr->source->data.nix.listen = true;
}


int
nitroDomainDeviceDefPostParse(virDomainDeviceDef *dev,
                              const virDomainDef *def G_GNUC_UNUSED,
                              unsigned int parseFlags,
                              void *opaque G_GNUC_UNUSED,
                              void *parseOpaque G_GNUC_UNUSED)
{
    if (dev->type == VIR_DOMAIN_DEVICE_VSOCK)
        nitroDomainVsockDefPostParse(dev->data.vsock, parseFlags);
    else if (dev->type == VIR_DOMAIN_DEVICE_CHR)
        nitroDomainChrDefPostParse(dev->data.chr, parseFlags);

    return 0;
}


/* Whether libvirt makes a virtio-serial controller for something in @def */
static bool
nitroDomainDefHasVirtioSerial(const virDomainDef *def)
{
    size_t i;

    for (i = 0; i < def->nchannels; i++) {
        if (def->channels[i]->targetType == VIR_DOMAIN_CHR_CHANNEL_TARGET_TYPE_VIRTIO)
            return true;
    }

    for (i = 0; i < def->nconsoles; i++) {
        if (def->consoles[i]->targetType == VIR_DOMAIN_CHR_CONSOLE_TARGET_TYPE_VIRTIO)
            return true;
    }
    return false;
}


/* Whether @controller says no more than that there is a first one of its kind */
static bool
nitroDomainControllerIsPlain(const virDomainControllerDef *controller)
{
    return controller->type == VIR_DOMAIN_CONTROLLER_TYPE_VIRTIO_SERIAL &&
           controller->idx == 0 && controller->model < 0 && !controller->virtio &&
           controller->opts.vioserial.ports < 0 && controller->opts.vioserial.vectors < 0 &&
           controller->info.type == VIR_DOMAIN_DEVICE_ADDRESS_TYPE_NONE;
}


int
nitroDomainDefPostParseControllers(virDomainDef *def,
                                   unsigned int parseFlags G_GNUC_UNUSED,
                                   void *opaque G_GNUC_UNUSED,
                                   void *parseOpaque G_GNUC_UNUSED)
{
    size_t i;

    if (!nitroDomainDefHasVirtioSerial(def))
        return 0;

    for (i = def->ncontrollers; i-- > 0;) {
        if (nitroDomainControllerIsPlain(def->controllers[i]))
            virDomainControllerDefFree(virDomainControllerRemove(def, i));
    }
    return 0;
}
