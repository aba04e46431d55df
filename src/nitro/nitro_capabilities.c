/*
 * nitro_capabilities.c: what a client can ask of this host and driver
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "nitro_capabilities.h"
#include "libvirt_compat.h"
#include "nitro_domain_conf.h"
#include "nitro_domain_ns.h"
#include "nitro_domain_validate.h"
#include "nitro_host.h"
#include "nitro_pool.h"
#include "virerror.h"
#include "virfile.h"
#include "virhostcpu.h"
#include "virlog.h"
#include "virnuma.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_capabilities");

int
nitroCapabilitiesGetMaxVcpus(const nitroDriverConfig *config)
{
    g_autoptr(nitroPool) pool = NULL;

    if (!virFileExists(config->device))
        return NITRO_VCPUS_MAX_EMULATED;

    if (!(pool = nitroPoolRead()))
        return -1;
    return virBitmapCountBits(pool->cpus);
}


int
nitroCapabilitiesFixNodeInfo(virNodeInfoPtr info)
{
    g_autoptr(nitroPool) pool = nitroPoolRead();
    int last = virNumaIsAvailable() ? virNumaGetMaxNode() : 0;
    unsigned int nodes = 0;
    int node;

    if (!pool)
        return -1;
    /* With offline CPUs libvirt's sums do not come out, and it falls back to this. */
    if (pool->threads == 0 || info->threads > 1 || info->cores % pool->threads != 0)
        return 0;

    info->threads = pool->threads;
    info->cores /= pool->threads;

    for (node = 0; node <= last; node++) {
        if (virNumaNodeIsAvailable(node))
            nodes++;
    }
    if (info->nodes == 1 && nodes > 1 && info->cores % nodes == 0) {
        info->nodes = nodes;
        info->cores /= nodes;
    }
    return 0;
}


/* Fills in @cell with the CPUs of its NUMA node that are online, and those of the pool. */
static int
nitroCapabilitiesFillCell(virCapsHostNUMACell *cell,
                          virBitmap *online,
                          const nitroPool *pool)
{
    g_autoptr(virBitmap) cpus = virBitmapNewCopy(online);
    ssize_t cpu = -1;
    size_t i;

    for (i = 0; i < cell->ncpus; i++)
        virBitmapFree(cell->cpus[i].siblings);
    g_clear_pointer(&cell->cpus, g_free);
    cell->ncpus = 0;

    while ((cpu = virBitmapNextSetBit(pool->cpus, cpu)) >= 0)
        virBitmapSetBitExpand(cpus, cpu);
    cell->cpus = g_new0(virCapsHostNUMACellCPU, virBitmapCountBits(cpus));

    while ((cpu = virBitmapNextSetBit(cpus, cpu)) >= 0) {
        virCapsHostNUMACellCPU *entry = &cell->cpus[cell->ncpus];

        if (MAX(nitroPoolGetCpuNode(cpu), 0) != cell->num)
            continue;
        entry->id = cpu;
        cell->ncpus++;
        /* The kernel keeps to itself where in a socket the offline CPUs are. */
        if (virBitmapIsBitSet(online, cpu) &&
            (virHostCPUGetSocket(cpu, &entry->socket_id) < 0 ||
             virHostCPUGetDie(cpu, &entry->die_id) < 0 ||
             virHostCPUGetCore(cpu, &entry->core_id) < 0 ||
             !(entry->siblings = virHostCPUGetSiblingsList(cpu))))
            return -1;
    }
    return 0;
}


/*
 * libnuma remembers which CPUs a node had when it was asked first; the pool may
 * have changed since.
 */
static int
nitroCapabilitiesFillCells(virCapsHostNUMA *numa,
                           const nitroPool *pool)
{
    g_autoptr(virBitmap) online = virHostCPUGetOnlineBitmap();
    size_t i;

    if (!online)
        return -1;

    for (i = 0; i < numa->cells->len; i++) {
        if (nitroCapabilitiesFillCell(g_ptr_array_index(numa->cells, i), online, pool) < 0)
            return -1;
    }
    return 0;
}


/* The machines of @arch: the hypervisor's has the host's own, QEMU's is there where QEMU is. */
static void
nitroCapabilitiesAddGuest(virCaps *caps,
                          const nitroDriverConfig *config,
                          const nitroPool *pool,
                          virArch arch)
{
    g_autofree char *qemu = nitroHostFindQemu(arch);
    virCapsGuestMachine **machines;
    virCapsGuest *guest;
    const char *names[NITRO_MACHINE_LAST + 1] = { NULL };
    int nmachines;
    int n = 0;

    if (arch == caps->host.arch)
        names[n++] = nitroMachineTypeToString(NITRO_MACHINE_NITRO);
    if (qemu)
        names[n++] = nitroMachineTypeToString(NITRO_MACHINE_EMULATED);
    if (n == 0)
        return;

    machines = virCapabilitiesAllocMachines(names, &nmachines);
    /* 0, of a host without a pool, is not shown. */
    if (arch == caps->host.arch)
        machines[0]->maxCpus = virBitmapCountBits(pool->cpus);
    if (qemu)
        machines[n - 1]->maxCpus = NITRO_VCPUS_MAX_EMULATED;

    guest = virCapabilitiesAddGuest(caps, VIR_DOMAIN_OSTYPE_HVM, arch, config->helper, NULL,
                                    nmachines, machines);
    virCapabilitiesAddGuestDomain(guest, VIR_DOMAIN_VIRT_NITRO, NULL, NULL, 0, NULL);
}


virCaps *
nitroCapabilitiesNew(const nitroDriverConfig *config)
{
    g_autoptr(virCaps) caps = NULL;
    g_autoptr(nitroPool) pool = NULL;

    if (!(pool = nitroPoolRead()) ||
        !(caps = virCapabilitiesNew(virArchFromHost(), false, false)) ||
        !(caps->host.numa = virCapabilitiesHostNUMANewHost()) ||
        nitroCapabilitiesFillCells(caps->host.numa, pool) < 0 ||
        virCapabilitiesInitPages(caps) < 0 ||
        virCapabilitiesInitCaches(caps) < 0) {
        /* Some of these fail without a word when a file of sysfs cannot be opened. */
        if (virGetLastErrorCode() == VIR_ERR_OK)
            virReportError(VIR_ERR_OPERATION_FAILED, "%s",
                           _("cannot read what this host has from '/sys': try again"));
        return NULL;
    }

    if (virGetHostUUID(caps->host.host_uuid))
        VIR_WARN("The host has no UUID: %s", virGetLastErrorMessage());

    /* The host's CPU has no model: enclaves get the very CPUs, there is nothing to choose. */
    nitroCapabilitiesAddGuest(caps, config, pool, caps->host.arch);
    nitroCapabilitiesAddGuest(caps, config, pool,
                              caps->host.arch == VIR_ARCH_AARCH64 ? VIR_ARCH_X86_64 :
                                                                    VIR_ARCH_AARCH64);
    return g_steal_pointer(&caps);
}


static void
nitroCapabilitiesFillDomain(virDomainCaps *caps,
                            unsigned int maxvcpus)
{
    size_t i;

    caps->maxvcpus = maxvcpus;

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
    caps->channel.supported = VIR_TRISTATE_BOOL_YES;
    caps->channel.type.report = true;
    VIR_DOMAIN_CAPS_ENUM_SET(caps->channel.type,
                             VIR_DOMAIN_CHR_TYPE_FILE,
                             VIR_DOMAIN_CHR_TYPE_UNIX,
                             VIR_DOMAIN_CHR_TYPE_TCP);
    caps->gic.supported = VIR_TRISTATE_BOOL_NO;

    for (i = 0; i < VIR_DOMAIN_CAPS_FEATURE_LAST; i++)
        caps->features[i] = VIR_TRISTATE_BOOL_NO;
}


/* Checks that this host can have @machine of @arch. Returns 0, or -1 with an error set. */
static int
nitroCapabilitiesCheckMachine(int machine,
                              virArch arch)
{
    g_autofree char *qemu = NULL;

    if (machine == NITRO_MACHINE_NITRO)
        return nitroHostCheckArch(arch);
    qemu = nitroHostRequireQemu(arch);
    return qemu ? 0 : -1;
}


virDomainCaps *
nitroCapabilitiesNewDomain(const nitroDriverConfig *config,
                           const char *emulator,
                           const char *arch,
                           const char *machine,
                           const char *virttype)
{
    virArch guestArch = arch ? virArchFromString(arch) : virArchFromHost();
    int kind = guestArch == virArchFromHost() ? NITRO_MACHINE_NITRO :
                                                         NITRO_MACHINE_EMULATED;
    virDomainCaps *caps;
    int maxvcpus;

    if (virttype && virDomainVirtTypeFromString(virttype) != VIR_DOMAIN_VIRT_NITRO) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("virttype '%s' is not supported: this driver knows 'nitro' only"), virttype);
        return NULL;
    }
    if (nitroDomainArchValidate(arch ? arch : virArchToString(guestArch)) < 0)
        return NULL;
    if (machine && (kind = nitroMachineTypeFromString(machine)) < 0) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("machine '%s' is not supported: the machines are 'nitro' and 'nitro-enclave'"),
                       machine);
        return NULL;
    }

    if (nitroCapabilitiesCheckMachine(kind, guestArch) < 0)
        return NULL;

    if (kind == NITRO_MACHINE_EMULATED)
        maxvcpus = NITRO_VCPUS_MAX_EMULATED;
    else if (!virFileExists(config->device))
        maxvcpus = NITRO_VCPUS_MAX; /* it can be defined here, and run elsewhere */
    else if ((maxvcpus = nitroCapabilitiesGetMaxVcpus(config)) < 0)
        return NULL;

    if (!(caps = virDomainCapsNew(emulator ? emulator : config->helper,
                                  nitroMachineTypeToString(kind), guestArch,
                                  VIR_DOMAIN_VIRT_NITRO)))
        return NULL;

    nitroCapabilitiesFillDomain(caps, maxvcpus);
    return caps;
}


char *
nitroCapabilitiesFormatDomain(const virDomainCaps *caps,
                              virTristateBool nsm)
{
    g_autofree char *xml = virDomainCapsFormat(caps);
    static const char end[] = "</domainCapabilities>\n";

    if (nsm == VIR_TRISTATE_BOOL_ABSENT)
        return g_steal_pointer(&xml);
    if (!g_str_has_suffix(xml, end)) {
        virReportError(VIR_ERR_INTERNAL_ERROR, "%s",
                       _("the capabilities of domains do not end as they should"));
        return NULL;
    }
    xml[strlen(xml) - strlen(end)] = '\0';
    return g_strdup_printf("%s  <nitro:nsm xmlns:nitro='%s' supported='%s'/>\n%s", xml,
                           NITRO_DOMAIN_NS_URI, virTristateBoolTypeToString(nsm), end);
}
