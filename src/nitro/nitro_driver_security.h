/*
 * nitro_driver_security.h: the entry points that are about what protects an enclave
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * For the table of nitro_driver.c. Each is the virDrv... callback of its name.
 */

#pragma once

#include "driver.h"

/*
 * The parameters, all of the running domain:
 *   nitro-hash           string: the hash of the measurements, "sha384"
 *   nitro-pcr0, 1, 2, 8  strings of hex digits: what the image that was loaded measures
 *                        to; nitro-pcr8 of signed images only
 *   nitro-attested-zero  boolean: the enclave is in debug mode, so the hypervisor
 *                        attests zeros in place of these values
 */
int nitroDomainGetLaunchSecurityInfo(virDomainPtr dom, virTypedParameterPtr *params,
                                     int *nparams, unsigned int flags);

/* No labels: no security driver of the host is used. */
int nitroDomainGetSecurityLabelList(virDomainPtr dom, virSecurityLabelPtr *seclabels);
