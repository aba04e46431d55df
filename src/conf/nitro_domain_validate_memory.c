/*
 * nitro_domain_validate_memory.c: checks on the memory of enclave domains
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A definition in, 0 or an error out. The rules are those of the kernel's
 * nitro_enclaves driver (linux/nitro_enclaves.h, NE_SET_USER_MEMORY_REGION and
 * NE_START_ENCLAVE): huge pages only, whole multiples of 2 MiB, 64 MiB at least.
 */

#include <config.h>

#include "nitro_domain_validate.h"
#include "nitro_domain_conf.h"
#include "virerror.h"
#include "virutil.h"

#define VIR_FROM_THIS VIR_FROM_NITRO


static int
nitroDomainDefValidateMemorySize(const virDomainDef *def)
{
    unsigned long long memory = virDomainDefGetMemoryTotal(def);

    if (memory < NITRO_MEMORY_MIN_KIB) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("memory of %llu KiB is too small: an enclave needs at least %u KiB"),
                       memory, NITRO_MEMORY_MIN_KIB);
        return -1;
    }

    if (memory % NITRO_MEMORY_STEP_KIB != 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("memory of %llu KiB is not a multiple of %u KiB"),
                       memory, NITRO_MEMORY_STEP_KIB);
        return -1;
    }

    if (def->mem.cur_balloon != memory) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("current memory of %llu KiB differs from the memory of %llu KiB: an "
                         "enclave has no memory balloon"),
                       def->mem.cur_balloon, memory);
        return -1;
    }

    return 0;
}


static int
nitroDomainDefValidateHugepages(const virDomainDef *def)
{
    unsigned long long page = nitroDomainDefGetPageSize(def);
    unsigned long long memory = virDomainDefGetMemoryTotal(def);

    if (def->mem.nhugepages > 1) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("%zu sizes of huge pages: an enclave can have only one <page> in "
                         "<hugepages>"),
                       def->mem.nhugepages);
        return -1;
    }

    if (page % NITRO_MEMORY_STEP_KIB != 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("huge pages of %llu KiB are not supported: the size must be a multiple of "
                         "%u KiB"),
                       page, NITRO_MEMORY_STEP_KIB);
        return -1;
    }

    if ((page & (page - 1)) != 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("huge pages of %llu KiB are not supported: the size must be a power of two"),
                       page);
        return -1;
    }

    if (page > 0 && memory % page != 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("memory of %llu KiB is not a multiple of the huge page size of %llu KiB"),
                       memory, page);
        return -1;
    }

    if (def->mem.nhugepages > 0 && def->mem.hugepages[0].nodemask) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("<page nodeset=> is not supported: an enclave has no NUMA nodes"));
        return -1;
    }

    return 0;
}


static bool
nitroDomainMemtuneIsSet(const virDomainMemtune *mem)
{
    return virMemoryLimitIsSet(mem->hard_limit) || virMemoryLimitIsSet(mem->soft_limit) ||
           virMemoryLimitIsSet(mem->swap_hard_limit);
}


/*
 * The kernel ends what needs more than its hard limit: an enclave that cannot live within it is not
 * begun. Huge pages are not counted in it.
 */
int
nitroDomainMemtuneValidate(const virDomainDef *def,
                           const virDomainMemtune *mem)
{
    unsigned long long need = NITRO_MEMORY_QEMU_KIB;

    if (def->mem.nhugepages == 0)
        need += virDomainDefGetMemoryTotal(def);

    if (virMemoryLimitIsSet(mem->hard_limit) && mem->hard_limit < need) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<hard_limit> of %llu KiB is too small: the enclave and QEMU need at least %llu KiB"),
                       mem->hard_limit, need);
        return -1;
    }

    if (virMemoryLimitIsSet(mem->swap_hard_limit) &&
        (!virMemoryLimitIsSet(mem->hard_limit) || mem->swap_hard_limit < mem->hard_limit)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<swap_hard_limit> of %llu KiB counts memory and swap together: it needs a <hard_limit> that is not above it"),
                       mem->swap_hard_limit);
        return -1;
    }

    return 0;
}


static int
nitroDomainDefValidateMemoryTuning(const virDomainDef *def)
{
    const virDomainMemtune *mem = &def->mem;
    const struct {
        bool present;
        const char *element;
    } refused[] = {
        { mem->dump_core == VIR_TRISTATE_SWITCH_ON, "memory dumpCore='on'" },
        { mem->dump_core == VIR_TRISTATE_SWITCH_OFF, "memory dumpCore='off'" },
        { mem->max_memory > 0 || mem->memory_slots > 0, "maxMemory" },
        { mem->source, "source" },
        { mem->access, "access" },
        { mem->allocation || mem->allocation_threads > 0, "allocation" },
        { mem->discard != VIR_TRISTATE_BOOL_ABSENT, "discard" },
        { nitroDomainMemtuneIsSet(mem) && nitroDomainDefGetMachine(def) == NITRO_MACHINE_NITRO,
          "memtune" },
        { mem->min_guarantee > 0, "min_guarantee" },
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(refused); i++) {
        if (refused[i].present) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("<%s> is not supported: the memory of an enclave is huge pages that "
                             "it alone owns"),
                           refused[i].element);
            return -1;
        }
    }

    return 0;
}


int
nitroDomainReportCells(void)
{
    virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                   _("<numa> of <cpu> is not supported: an enclave has no NUMA nodes"));
    return -1;
}


static int
nitroDomainDefValidateNuma(const virDomainDef *def)
{
    virDomainNumatuneMemMode mode = VIR_DOMAIN_NUMATUNE_MEM_STRICT;
    virBitmap *nodes;

    if (virDomainNumaGetNodeCount(def->numa) > 0)
        return nitroDomainReportCells();

    if (virDomainNumatuneHasPerNodeBinding(def->numa)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("<memnode> of <numatune> is not supported: an enclave has no NUMA nodes"));
        return -1;
    }

    if (virDomainNumatuneGetMode(def->numa, -1, &mode) == 0 &&
        mode != VIR_DOMAIN_NUMATUNE_MEM_STRICT) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<memory mode='%s'> of <numatune> is not supported: for an enclave only "
                         "'strict' is"),
                       virDomainNumatuneMemModeTypeToString(mode));
        return -1;
    }

    nodes = virDomainNumatuneGetNodeset(def->numa, NULL, -1);
    if (nodes && nitroDomainDefGetMachine(def) == NITRO_MACHINE_NITRO &&
        virBitmapCountBits(nodes) != 1) {
        g_autofree char *list = virBitmapFormat(nodes);

        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<memory nodeset='%s'> of <numatune> is not supported: the memory of an "
                         "enclave is on one NUMA node, that of its CPUs"),
                       NULLSTR_EMPTY(list));
        return -1;
    }

    return 0;
}


int
nitroDomainDefValidateMemory(const virDomainDef *def)
{
    if (nitroDomainDefValidateMemorySize(def) < 0 ||
        nitroDomainDefValidateHugepages(def) < 0 ||
        nitroDomainDefValidateMemoryTuning(def) < 0 ||
        nitroDomainMemtuneValidate(def, &def->mem) < 0 ||
        nitroDomainDefValidateNuma(def) < 0)
        return -1;

    return 0;
}
