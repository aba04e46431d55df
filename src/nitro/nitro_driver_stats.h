/*
 * nitro_driver_stats.h: entry points for what can be known of an enclave from outside
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "driver.h"

/* Each is described at libvirt's public function of that name. */
int nitroDomainGetInfo(virDomainPtr dom, virDomainInfoPtr info);
int nitroDomainGetVcpuPinInfo(virDomainPtr dom,
                              int nmaps,
                              unsigned char *maps,
                              int maplen,
                              unsigned int flags);
int nitroDomainGetVcpus(virDomainPtr dom,
                        virVcpuInfoPtr info,
                        int maxinfo,
                        unsigned char *maps,
                        int maplen);
int nitroDomainMemoryStats(virDomainPtr dom,
                           virDomainMemoryStatPtr stats,
                           unsigned int nstats,
                           unsigned int flags);
int nitroConnectGetAllDomainStats(virConnectPtr conn,
                                  virDomainPtr *doms,
                                  unsigned int ndoms,
                                  unsigned int groups,
                                  virDomainStatsRecordPtr **records,
                                  unsigned int flags);
int nitroDomainGetControlInfo(virDomainPtr dom, virDomainControlInfoPtr info, unsigned int flags);
int nitroDomainGetMessages(virDomainPtr dom, char ***messages, unsigned int flags);
