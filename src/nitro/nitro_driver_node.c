/*
 * nitro_driver_node.c: the entry points that are about the host
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each checks the access and calls one function of libvirt's or of this driver's.
 * CPUs of the pool are offline, which libvirt's functions do not always expect.
 */

#include <config.h>

#include "capabilities.h"
#include "datatypes.h"
#include "nitro_capabilities.h"
#include "nitro_conf.h"
#include "nitro_driver_node.h"
#include "viraccessapicheck.h"
#include "virerror.h"
#include "virhostcpu.h"
#include "virhostmem.h"
#include "virnuma.h"
#include "virsysinfo.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

/* REMOTE_NODE_MAX_CELLS: the most that libvirt's protocol carries */
#define NITRO_NODE_PAGES_MAX 1024


/* The host and its CPUs */

/* Returns the host's SMBIOS information as XML (g_free), or NULL with an error set. */
static char *
nitroNodeReadSysinfo(void)
{
    g_autoptr(virSysinfoDef) sysinfo = NULL;
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;

    if (!(sysinfo = virSysinfoRead())) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("the host's SMBIOS information cannot be read: is dmidecode installed, and the daemon root's?"));
        return NULL;
    }
    if (virSysinfoFormat(&buf, sysinfo) < 0)
        return NULL;
    return virBufferContentAndReset(&buf);
}


char *
nitroConnectGetSysinfo(virConnectPtr conn,
                       unsigned int flags)
{
    nitroDriver *driver = conn->privateData;

    virCheckFlags(0, NULL);

    if (virConnectGetSysinfoEnsureACL(conn) < 0)
        return NULL;

    /* It does not change while the host is up: a program is run for it once. What could
     * not be read is tried again. */
    VIR_WITH_MUTEX_LOCK_GUARD(&driver->sysinfoLock) {
        if (!driver->sysinfo)
            driver->sysinfo = nitroNodeReadSysinfo();
        return g_strdup(driver->sysinfo);
    }
    return NULL;
}


int
nitroConnectGetMaxVcpus(virConnectPtr conn,
                        const char *type)
{
    nitroDriver *driver = conn->privateData;

    if (virConnectGetMaxVcpusEnsureACL(conn) < 0)
        return -1;

    if (type && STRCASENEQ(type, NITRO_DRIVER_NAME)) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("type '%s' is not supported: this driver knows 'nitro' only"), type);
        return -1;
    }
    return nitroCapabilitiesGetMaxVcpus(driver->config);
}


int
nitroNodeGetInfo(virConnectPtr conn,
                 virNodeInfoPtr info)
{
    if (virNodeGetInfoEnsureACL(conn) < 0 ||
        virCapabilitiesGetNodeInfo(info) < 0)
        return -1;
    return nitroCapabilitiesFixNodeInfo(info);
}


int
nitroNodeGetCPUMap(virConnectPtr conn,
                   unsigned char **cpumap,
                   unsigned int *online,
                   unsigned int flags)
{
    g_autoptr(virBitmap) cpus = NULL;
    int count;

    virCheckFlags(0, -1);

    if (virNodeGetCPUMapEnsureACL(conn) < 0 ||
        (count = virHostCPUGetCount()) < 0 ||
        !(cpus = virHostCPUGetOnlineBitmap()))
        return -1;

    if (online)
        *online = virBitmapCountBits(cpus);
    if (cpumap) {
        /* The map has a bit for each CPU, virHostCPUGetMap() allocates it only up to the
         * last one that is online. */
        *cpumap = g_new0(unsigned char, VIR_CPU_MAPLEN(count));
        virBitmapToDataBuf(cpus, *cpumap, VIR_CPU_MAPLEN(count));
    }
    return count;
}


int
nitroNodeGetCPUStats(virConnectPtr conn,
                     int cpuNum,
                     virNodeCPUStatsPtr params,
                     int *nparams,
                     unsigned int flags)
{
    if (virNodeGetCPUStatsEnsureACL(conn) < 0)
        return -1;
    return virHostCPUGetStats(cpuNum, params, nparams, flags);
}


/* Memory */

/* The NUMA node with the highest number; 0 on a host without any, or -1 with an error set */
static int
nitroNodeGetLastCell(void)
{
    return virNumaIsAvailable() ? virNumaGetMaxNode() : 0;
}


int
nitroNodeGetMemoryStats(virConnectPtr conn,
                        int cellNum,
                        virNodeMemoryStatsPtr params,
                        int *nparams,
                        unsigned int flags)
{
    if (virNodeGetMemoryStatsEnsureACL(conn) < 0)
        return -1;
    return virHostMemGetStats(cellNum, params, nparams, flags);
}


int
nitroNodeGetCellsFreeMemory(virConnectPtr conn,
                            unsigned long long *freeMems,
                            int startCell,
                            int maxCells)
{
    if (virNodeGetCellsFreeMemoryEnsureACL(conn) < 0)
        return -1;
    return virHostMemGetCellsFree(freeMems, startCell, maxCells);
}


unsigned long long
nitroNodeGetFreeMemory(virConnectPtr conn)
{
    unsigned long long freeMem;

    if (virNodeGetFreeMemoryEnsureACL(conn) < 0 ||
        virHostMemGetInfo(NULL, &freeMem) < 0)
        return 0;
    return freeMem;
}


/*
 * Clients choose both numbers, and the caller's array is as long as their product, which
 * libvirt up to 12.6 computes in 32 bits (CVE-2026-18917).
 */
static int
nitroNodeCheckPages(unsigned int npages,
                    unsigned int cellCount)
{
    if ((unsigned long long) npages * cellCount <= NITRO_NODE_PAGES_MAX)
        return 0;

    virReportError(VIR_ERR_INVALID_ARG,
                   _("%u page sizes of %u NUMA nodes are too many numbers to ask for at once: at most %d are possible"),
                   npages, cellCount, NITRO_NODE_PAGES_MAX);
    return -1;
}


int
nitroNodeGetFreePages(virConnectPtr conn,
                      unsigned int npages,
                      unsigned int *pages,
                      int startCell,
                      unsigned int cellCount,
                      unsigned long long *counts,
                      unsigned int flags)
{
    int lastCell;

    virCheckFlags(0, -1);

    if (virNodeGetFreePagesEnsureACL(conn) < 0 ||
        nitroNodeCheckPages(npages, cellCount) < 0 ||
        (lastCell = nitroNodeGetLastCell()) < 0)
        return -1;
    return virHostMemGetFreePages(npages, pages, startCell, cellCount, lastCell, counts);
}


int
nitroNodeAllocPages(virConnectPtr conn,
                    unsigned int npages,
                    unsigned int *pageSizes,
                    unsigned long long *pageCounts,
                    int startCell,
                    unsigned int cellCount,
                    unsigned int flags)
{
    int lastCell;

    virCheckFlags(VIR_NODE_ALLOC_PAGES_SET, -1);

    if (virNodeAllocPagesEnsureACL(conn) < 0 ||
        (lastCell = nitroNodeGetLastCell()) < 0)
        return -1;
    return virHostMemAllocPages(npages, pageSizes, pageCounts, startCell, cellCount, lastCell,
                                !(flags & VIR_NODE_ALLOC_PAGES_SET));
}


int
nitroNodeGetMemoryParameters(virConnectPtr conn,
                             virTypedParameterPtr params,
                             int *nparams,
                             unsigned int flags)
{
    if (virNodeGetMemoryParametersEnsureACL(conn) < 0)
        return -1;
    return virHostMemGetParameters(params, nparams, flags);
}


int
nitroNodeSetMemoryParameters(virConnectPtr conn,
                             virTypedParameterPtr params,
                             int nparams,
                             unsigned int flags)
{
    if (virNodeSetMemoryParametersEnsureACL(conn) < 0)
        return -1;
    return virHostMemSetParameters(params, nparams, flags);
}
