/*
 * nitro_driver_tune.h: entry points for the limits of the emulated machine
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "driver.h"

/* Each is described at libvirt's public function of that name. */
char *nitroDomainGetSchedulerType(virDomainPtr dom, int *nparams);
int nitroDomainGetSchedulerParameters(virDomainPtr dom, virTypedParameterPtr params, int *nparams);
int nitroDomainGetSchedulerParametersFlags(virDomainPtr dom,
                                           virTypedParameterPtr params,
                                           int *nparams,
                                           unsigned int flags);
int nitroDomainSetSchedulerParameters(virDomainPtr dom, virTypedParameterPtr params, int nparams);
int nitroDomainSetSchedulerParametersFlags(virDomainPtr dom,
                                           virTypedParameterPtr params,
                                           int nparams,
                                           unsigned int flags);
int nitroDomainGetMemoryParameters(virDomainPtr dom,
                                   virTypedParameterPtr params,
                                   int *nparams,
                                   unsigned int flags);
int nitroDomainSetMemoryParameters(virDomainPtr dom,
                                   virTypedParameterPtr params,
                                   int nparams,
                                   unsigned int flags);
