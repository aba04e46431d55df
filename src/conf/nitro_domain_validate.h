/*
 * nitro_domain_validate.h: checks of enclave domains
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What libvirt has an element for but an enclave has no counterpart for is refused,
 * never ignored. Each function returns 0, or -1 with a libvirt error reported:
 * VIR_ERR_CONFIG_UNSUPPORTED naming the element and its value, or VIR_ERR_XML_ERROR
 * where the value is wrong for any hypervisor.
 */

#pragma once

#include "domain_conf.h"

/* The validate callbacks of virDomainDefParserConfig; @opaque is not used. */
int nitroDomainDefValidate(const virDomainDef *def,
                           void *opaque,
                           void *parseOpaque);
int nitroDomainDeviceDefValidate(const virDomainDeviceDef *dev,
                                 const virDomainDef *def,
                                 void *opaque,
                                 void *parseOpaque);

/* The domain type is this driver's. */
int nitroDomainVirtTypeValidate(virDomainVirtType type);

/*
 * Enclaves can have the architecture @name. Returns 0, or -1 with VIR_ERR_CONFIG_UNSUPPORTED set.
 */
int nitroDomainArchValidate(const char *name);

/*
 * For what is refused before libvirt's parser sees it (nitro_domain_xml.c): the same errors.
 * @element is a name; in nitroDomainReportCputune() with its angle brackets. Return -1.
 */
int nitroDomainReportDevice(const char *element);
int nitroDomainReportCputune(const char *element);
int nitroDomainReportCells(void);

/* vCPUs, the host CPUs for them, <cpu>, <cputune> (nitro_domain_validate_cpu.c). */
int nitroDomainDefValidateCpus(const virDomainDef *def);

/* <memory>, <memoryBacking>, <memtune>, <numatune> (nitro_domain_validate_memory.c). */
int nitroDomainDefValidateMemory(const virDomainDef *def);

/* Whether the domain @def can live with the limits of <memtune> that are in @mem. */
int nitroDomainMemtuneValidate(const virDomainDef *def, const virDomainMemtune *mem);

/* All in <devices> (nitro_domain_validate_devices.c). */
int nitroDomainDefValidateDevices(const virDomainDef *def);

/* One <channel>, and all vsock services together (nitro_domain_validate_services.c). */
int nitroDomainChannelDefValidate(const virDomainChrDef *chr);
int nitroDomainDefValidateServices(const virDomainDef *def);

/* What a device of an enclave has not: an address, an index of ACPI (.._devices.c) */
int nitroDomainDeviceInfoValidate(const virDomainDeviceInfo *info,
                                  const char *element);
