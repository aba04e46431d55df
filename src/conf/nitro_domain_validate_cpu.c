/*
 * nitro_domain_validate_cpu.c: checks on the CPUs of enclave domains
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A definition in, 0 or an error out: the number of vCPUs, the host CPUs that are
 * given to them, and what of <cpu> and <cputune> has no meaning for an enclave.
 * Whether the CPUs are in the pool and make whole cores only the host can tell.
 */

#include <config.h>

#include "nitro_domain_validate.h"
#include "nitro_domain_conf.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_NITRO


static int
nitroDomainDefValidateVcpuCount(const virDomainDef *def)
{
    unsigned int vcpus = virDomainDefGetVcpusMax(def);
    unsigned int max = nitroMachineGetVcpusMax(def->os.machine);

    if (vcpus < 1 || vcpus > max) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("%u vCPUs are not supported: machine '%s' can have 1 to %u"),
                       vcpus, def->os.machine, max);
        return -1;
    }

    if (virDomainDefGetVcpus(def) != vcpus) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("%u of %u vCPUs are not supported: the vCPUs of an enclave are fixed at "
                         "its start"),
                       virDomainDefGetVcpus(def), vcpus);
        return -1;
    }

    /* the parser makes each of the two out of the other */
    if (def->placement_mode == VIR_DOMAIN_CPU_PLACEMENT_MODE_AUTO ||
        virDomainNumatuneHasPlacementAuto(def->numa)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("placement='auto' of <vcpu> or <numatune> is not supported: leave it out "
                         "to have CPUs of the pool chosen"));
        return -1;
    }

    return 0;
}


/* Each vCPU or none has a <vcpupin>, and that holds one CPU. */
static int
nitroDomainDefValidateVcpuPin(const virDomainDef *def)
{
    size_t pinned = 0;
    size_t i;

    for (i = 0; i < def->maxvcpus; i++) {
        g_autofree char *cpus = NULL;

        if (!def->vcpus[i]->cpumask)
            continue;

        pinned++;
        if (virBitmapCountBits(def->vcpus[i]->cpumask) == 1)
            continue;

        cpus = virBitmapFormat(def->vcpus[i]->cpumask);
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<vcpupin vcpu='%zu' cpuset='%s'>: the vCPU of an enclave is exactly one "
                         "CPU of the pool"),
                       i, NULLSTR_EMPTY(cpus));
        return -1;
    }

    if (pinned > 0 && pinned != def->maxvcpus) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("%zu of %zu vCPUs have a <vcpupin>: give one to each or to none"),
                       pinned, def->maxvcpus);
        return -1;
    }

    return 0;
}


static virBitmap *
nitroDomainDefCpusToBitmap(const unsigned int *cpus,
                           size_t ncpus)
{
    virBitmap *map = virBitmapNew(VIR_DOMAIN_CPUMASK_LEN);
    size_t i;

    for (i = 0; i < ncpus; i++)
        ignore_value(virBitmapSetBit(map, cpus[i]));

    return map;
}


static int
nitroDomainDefValidateHostCpus(const virDomainDef *def)
{
    size_t ncpus;
    g_autofree unsigned int *cpus = nitroDomainDefGetCpus(def, &ncpus);
    g_autoptr(virBitmap) map = nitroDomainDefCpusToBitmap(cpus, ncpus);
    g_autofree char *list = NULL;

    if (!cpus)
        return 0;

    list = virBitmapFormat(map);

    if (virBitmapCountBits(map) != def->maxvcpus) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("CPUs '%s' for %zu vCPUs: an enclave takes one CPU of the pool for each "
                         "vCPU"),
                       NULLSTR_EMPTY(list), def->maxvcpus);
        return -1;
    }

    /* the kernel keeps it for the parent, and its driver reads 0 as "any CPU" */
    if (virBitmapIsBitSet(map, 0)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("CPU 0 of CPUs '%s' always belongs to the parent and can not be given to "
                         "an enclave"),
                       NULLSTR_EMPTY(list));
        return -1;
    }

    if (virBitmapLastSetBit(map) > NITRO_CPU_MAX) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("CPUs '%s' are not supported: the highest CPU that Linux has is %d"),
                       NULLSTR_EMPTY(list), NITRO_CPU_MAX);
        return -1;
    }

    if (def->cpumask && !virBitmapEqual(def->cpumask, map)) {
        g_autofree char *cpuset = virBitmapFormat(def->cpumask);

        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<vcpu cpuset='%s'> and <vcpupin> (CPUs '%s') name different CPUs"),
                       NULLSTR_EMPTY(cpuset), NULLSTR_EMPTY(list));
        return -1;
    }

    return 0;
}


/* Whether <cpu> names no CPU at all: libvirt's parser takes it for 'custom' when it has no mode. */
static bool
nitroDomainCpuIsOpen(const virCPUDef *cpu)
{
    return cpu->mode == VIR_CPU_MODE_CUSTOM && !cpu->model && !cpu->vendor;
}


static int
nitroDomainDefValidateTopology(const virDomainDef *def)
{
    const virCPUDef *cpu = def->cpu;
    unsigned long long product = (unsigned long long) cpu->sockets * cpu->dies * cpu->cores *
                                 cpu->threads;

    if (cpu->sockets == 0 || product == virDomainDefGetVcpusMax(def))
        return 0;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("<topology> of <cpu> makes %llu vCPUs, and <vcpu> %u: leave it out, an enclave has CPUs of the host as they are"),
                   product, virDomainDefGetVcpusMax(def));
    return -1;
}


static int
nitroDomainDefValidateCpuModel(const virDomainDef *def)
{
    const virCPUDef *cpu = def->cpu;

    if (!cpu)
        return 0;

    if (cpu->mode != VIR_CPU_MODE_HOST_PASSTHROUGH && !nitroDomainCpuIsOpen(cpu)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<cpu mode='%s'> is not supported: an enclave has CPUs of the host, leave "
                         "<cpu> out or use '%s'"),
                       virCPUModeTypeToString(cpu->mode),
                       virCPUModeTypeToString(VIR_CPU_MODE_HOST_PASSTHROUGH));
        return -1;
    }

    if (cpu->model || cpu->nfeatures > 0 || cpu->cache || cpu->addr) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<%s> of <cpu> is not supported: an enclave has CPUs of the host as they "
                         "are"),
                       cpu->model ? "model" :
                       cpu->nfeatures > 0 ? "feature" :
                       cpu->cache ? "cache" : "maxphysaddr");
        return -1;
    }

    return nitroDomainDefValidateTopology(def);
}


static bool
nitroDomainDefHasVcpuSched(const virDomainDef *def)
{
    size_t i;

    for (i = 0; i < def->maxvcpus; i++) {
        if (def->vcpus[i]->sched.policy != VIR_PROC_POLICY_NONE)
            return true;
    }

    return false;
}


int
nitroDomainReportCputune(const char *element)
{
    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("an enclave can not have %s: its CPUs are its own, not scheduled by "
                     "the host"),
                   element);
    return -1;
}


/*
 * The emulated machine is processes of the host, which has what concerns all of them. Their threads
 * are QEMU's own business.
 */
static int
nitroDomainDefValidateEmulatedCputune(const virDomainDef *def)
{
    const virDomainCputune *tune = &def->cputune;
    const struct {
        bool present;
        const char *element;
    } refused[] = {
        { tune->period || tune->quota, "<period> and <quota>" },
        { tune->emulator_period || tune->emulator_quota, "<emulator_period> and <emulator_quota>" },
        { tune->iothread_period || tune->iothread_quota, "<iothread_period> and <iothread_quota>" },
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(refused); i++) {
        if (refused[i].present) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("%s of <cputune> are not supported for machine '%s': its vCPUs and QEMU are limited together, by <global_period> and <global_quota>"),
                           refused[i].element, def->os.machine);
            return -1;
        }
    }
    return 0;
}


static int
nitroDomainDefValidateCputune(const virDomainDef *def)
{
    const virDomainCputune *tune = &def->cputune;
    bool emulated = nitroDomainDefGetMachine(def) == NITRO_MACHINE_EMULATED;
    const struct {
        bool present;
        const char *element;
    } refused[] = {
        { tune->period || tune->quota, "<period> and <quota>" },
        { (tune->global_period || tune->global_quota) && !emulated,
          "<global_period> and <global_quota>" },
        { tune->emulator_period || tune->emulator_quota, "<emulator_period> and <emulator_quota>" },
        { tune->iothread_period || tune->iothread_quota, "<iothread_period> and <iothread_quota>" },
        { tune->emulatorpin != NULL, "<emulatorpin>" },
        { tune->emulatorsched != NULL, "<emulatorsched>" },
        { nitroDomainDefHasVcpuSched(def), "<vcpusched>" },
        { def->nresctrls > 0, "<cachetune> and <memorytune>" },
        { def->niothreadids > 0 || def->defaultIOThread, "<iothreads>" },
    };
    size_t i;

    if (emulated && nitroDomainDefValidateEmulatedCputune(def) < 0)
        return -1;

    /* <shares>: on the device it has its CPUs for itself, which is a share of all of them */
    for (i = 0; i < G_N_ELEMENTS(refused); i++) {
        if (refused[i].present)
            return nitroDomainReportCputune(refused[i].element);
    }

    return 0;
}


int
nitroDomainDefValidateCpus(const virDomainDef *def)
{
    if (nitroDomainDefValidateVcpuCount(def) < 0 ||
        nitroDomainDefValidateVcpuPin(def) < 0 ||
        nitroDomainDefValidateHostCpus(def) < 0 ||
        nitroDomainDefValidateCpuModel(def) < 0 ||
        nitroDomainDefValidateCputune(def) < 0)
        return -1;

    return 0;
}
