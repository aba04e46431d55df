/*
 * nitro_driver_node.h: the entry points that are about the host
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * For the table of nitro_driver.c. Each is the virDrv... callback of its name.
 */

#pragma once

#include "driver.h"

char *nitroConnectGetSysinfo(virConnectPtr conn, unsigned int flags);
int nitroConnectGetMaxVcpus(virConnectPtr conn, const char *type);
int nitroNodeGetInfo(virConnectPtr conn, virNodeInfoPtr info);
int nitroNodeGetCPUMap(virConnectPtr conn, unsigned char **cpumap,
                       unsigned int *online, unsigned int flags);
int nitroNodeGetCPUStats(virConnectPtr conn, int cpuNum, virNodeCPUStatsPtr params,
                         int *nparams, unsigned int flags);
int nitroNodeGetMemoryStats(virConnectPtr conn, int cellNum, virNodeMemoryStatsPtr params,
                            int *nparams, unsigned int flags);
int nitroNodeGetCellsFreeMemory(virConnectPtr conn, unsigned long long *freeMems,
                                int startCell, int maxCells);
unsigned long long nitroNodeGetFreeMemory(virConnectPtr conn);
int nitroNodeGetFreePages(virConnectPtr conn, unsigned int npages, unsigned int *pages,
                          int startCell, unsigned int cellCount,
                          unsigned long long *counts, unsigned int flags);
int nitroNodeAllocPages(virConnectPtr conn, unsigned int npages, unsigned int *pageSizes,
                        unsigned long long *pageCounts, int startCell,
                        unsigned int cellCount, unsigned int flags);
int nitroNodeGetMemoryParameters(virConnectPtr conn, virTypedParameterPtr params,
                                 int *nparams, unsigned int flags);
int nitroNodeSetMemoryParameters(virConnectPtr conn, virTypedParameterPtr params,
                                 int nparams, unsigned int flags);
