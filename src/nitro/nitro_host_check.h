/*
 * nitro_host_check.h: can the Nitro Hypervisor of this host run a domain now?
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_conf.h"
#include "nitro_domain_conf.h"

/*
 * Checks what can be seen before anything of a start has happened: the device and
 * the right to open it, CPUs of the pool, and huge pages on its NUMA node. A wrong
 * host or definition fails in milliseconds and in words, not with a number of the
 * kernel's; but the kernel has the last word, and may still refuse.
 *
 * Returns 0, or -1 with an error set: what nitroDeviceCheck() sets; VIR_ERR_CONFIG_UNSUPPORTED:
 * the definition cannot work on this host; VIR_ERR_OPERATION_FAILED: it cannot at present.
 */
int nitroHostCheckNitro(nitroDriver *driver, const virDomainDef *def);

/*
 * Takes CPUs of the pool for @def, until nitroCpusRelease(). Returns 0, or -1 with an
 * error set as nitroCpusTake() does.
 */
int nitroHostTakeCpus(nitroDriver *driver, const virDomainDef *def);

/*
 * The page size that the memory of the domain @def is to have, in KiB: its own, or on the
 * device that of nitro.conf. 0: any.
 */
unsigned long long nitroHostGetPageSize(const nitroDriverConfig *config, const virDomainDef *def);

/*
 * The NUMA node that the memory of the domain @def has to be on: its own, or that of the CPU
 * pool. -1 where there is nothing to choose: one node, no pool, the emulated machine. Sets
 * no error.
 */
int nitroHostGetNumaNode(const virDomainDef *def);
