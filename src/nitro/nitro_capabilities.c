/*
 * nitro_capabilities.c: what a client can ask of this host and driver
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "nitro_capabilities.h"
#include "nitro_domain_conf.h"
#include "virerror.h"
#include "virlog.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_DOMAIN

VIR_LOG_INIT("nitro.nitro_capabilities");

virCaps *
nitroCapabilitiesNew(const nitroDriverConfig *config)
{
    g_autoptr(virCaps) caps = NULL;
    virCapsGuestMachine **machines = NULL;
    virCapsGuest *guest;
    const char *names[NITRO_MACHINE_LAST];
    size_t i;

    if (!(caps = virCapabilitiesNew(virArchFromHost(), false, false)) ||
        !(caps->host.numa = virCapabilitiesHostNUMANewHost()) ||
        virCapabilitiesInitPages(caps) < 0 ||
        virCapabilitiesInitCaches(caps) < 0)
        return NULL;

    if (virGetHostUUID(caps->host.host_uuid))
        VIR_WARN("The host has no UUID: %s", virGetLastErrorMessage());

    /* The host's CPU has no model: enclaves get the very CPUs, there is nothing to choose. */

    for (i = 0; i < NITRO_MACHINE_LAST; i++)
        names[i] = nitroMachineTypeToString(i);
    machines = virCapabilitiesAllocMachines(names, NITRO_MACHINE_LAST);

    guest = virCapabilitiesAddGuest(caps, VIR_DOMAIN_OSTYPE_HVM, caps->host.arch,
                                    config->helper, NULL, NITRO_MACHINE_LAST, machines);
    virCapabilitiesAddGuestDomain(guest, VIR_DOMAIN_VIRT_NITRO, NULL, NULL, 0, NULL);
    return g_steal_pointer(&caps);
}


static void
nitroCapabilitiesFillDomain(virDomainCaps *caps)
{
    size_t i;

    caps->maxvcpus = STREQ(caps->machine, nitroMachineTypeToString(NITRO_MACHINE_EMULATED)) ?
        NITRO_VCPUS_MAX_EMULATED : NITRO_VCPUS_MAX;

    caps->os.supported = VIR_TRISTATE_BOOL_YES;
    caps->os.loader.supported = VIR_TRISTATE_BOOL_NO;
    caps->memoryBacking.supported = VIR_TRISTATE_BOOL_NO;
    caps->disk.supported = VIR_TRISTATE_BOOL_NO;
    caps->graphics.supported = VIR_TRISTATE_BOOL_NO;
    caps->video.supported = VIR_TRISTATE_BOOL_NO;
    caps->hostdev.supported = VIR_TRISTATE_BOOL_NO;
    caps->rng.supported = VIR_TRISTATE_BOOL_NO;
    caps->filesystem.supported = VIR_TRISTATE_BOOL_NO;
    caps->tpm.supported = VIR_TRISTATE_BOOL_NO;
    caps->redirdev.supported = VIR_TRISTATE_BOOL_NO;
    caps->channel.supported = VIR_TRISTATE_BOOL_NO;
    caps->gic.supported = VIR_TRISTATE_BOOL_NO;

    for (i = 0; i < VIR_DOMAIN_CAPS_FEATURE_LAST; i++)
        caps->features[i] = VIR_TRISTATE_BOOL_NO;
}


virDomainCaps *
nitroCapabilitiesNewDomain(const nitroDriverConfig *config,
                           const char *emulator,
                           const char *arch,
                           const char *machine,
                           const char *virttype)
{
    virArch guestArch = arch ? virArchFromString(arch) : virArchFromHost();
    virDomainCaps *caps;

    if (virttype && virDomainVirtTypeFromString(virttype) != VIR_DOMAIN_VIRT_NITRO) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("virttype '%s' is not supported: this driver knows 'nitro' only"), virttype);
        return NULL;
    }
    if (guestArch != virArchFromHost()) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("arch '%s' is not supported: enclaves have the architecture of the host, %s"),
                       arch, virArchToString(virArchFromHost()));
        return NULL;
    }
    if (machine && nitroMachineTypeFromString(machine) < 0) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("machine '%s' is not supported: the machines are 'nitro' and 'nitro-enclave'"),
                       machine);
        return NULL;
    }

    if (!(caps = virDomainCapsNew(emulator ? emulator : config->helper,
                                  machine ? machine : nitroMachineTypeToString(NITRO_MACHINE_NITRO),
                                  guestArch, VIR_DOMAIN_VIRT_NITRO)))
        return NULL;

    nitroCapabilitiesFillDomain(caps);
    return caps;
}
