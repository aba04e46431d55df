/*
 * nitro_host_check.c: can the Nitro Hypervisor of this host run a domain now?
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A definition, the device file, the CPU pool and the tables of huge pages -> nothing,
 * or one sentence. Nothing is opened or changed here.
 */

#include <config.h>

#include "nitro_device.h"
#include "nitro_host_check.h"
#include "nitro_hugepages.h"
#include "nitro_pool.h"
#include "virerror.h"
#include "virnuma.h"

#define VIR_FROM_THIS VIR_FROM_NITRO


/*
 * The NUMA node for the huge pages of @def: that of the pool's CPUs, as the kernel
 * wants it. Returns 0, or -1 with an error set when the definition wants another one.
 */
static int
nitroHostCheckNode(const virDomainDef *def,
                   const nitroPool *pool)
{
    virBitmap *nodes = virDomainNumatuneGetNodeset(def->numa, NULL, -1);
    g_autofree char *list = virBitmapFormat(nodes);

    if (!nodes || pool->node < 0 || virBitmapIsBitSet(nodes, pool->node))
        return 0;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("the memory of domain '%s' is to be on NUMA node %s, but has to be on that of its CPUs, and the CPU pool is on node %d: change <numatune>"),
                   def->name, list, pool->node);
    return -1;
}


unsigned long long
nitroHostGetPageSize(const nitroDriverConfig *config,
                     const virDomainDef *def)
{
    unsigned long long own = nitroDomainDefGetPageSize(def);

    if (own > 0 || nitroDomainDefGetMachine(def) != NITRO_MACHINE_NITRO)
        return own;
    return config->pageSize;
}


int
nitroHostGetNumaNode(const virDomainDef *def)
{
    g_autoptr(nitroPool) pool = NULL;
    int own = nitroDomainDefGetNumaNode(def);

    if (own >= 0 || nitroDomainDefGetMachine(def) != NITRO_MACHINE_NITRO ||
        !virNumaIsAvailable() || virNumaGetMaxNode() < 1)
        return own;

    if (!(pool = nitroPoolRead())) {
        virResetLastError();
        return -1;
    }
    return pool->node;
}


int
nitroHostCheckNitro(nitroDriver *driver,
                    const virDomainDef *def)
{
    g_autoptr(nitroPool) pool = NULL;

    if (nitroDeviceCheck(driver->config->device) < 0 ||
        !(pool = nitroPoolRead()) ||
        nitroCpusCheck(driver->cpus, pool, def) < 0 ||
        nitroHostCheckNode(def, pool) < 0)
        return -1;

    /* Pages of an enclave that has just ended may not be back yet: the helper waits
     * for them, so it has the last word. */
    if (nitroCpusReleasedLately(driver->cpus))
        return 0;
    return nitroHugepagesCheck(def->name, virDomainDefGetMemoryTotal(def),
                               nitroHostGetPageSize(driver->config, def), pool->node);
}


int
nitroHostTakeCpus(nitroDriver *driver,
                  const virDomainDef *def)
{
    g_autoptr(nitroPool) pool = NULL;

    if (nitroDomainDefGetMachine(def) != NITRO_MACHINE_NITRO)
        return 0;

    if (!(pool = nitroPoolRead()))
        return -1;
    return nitroCpusTake(driver->cpus, pool, def);
}
