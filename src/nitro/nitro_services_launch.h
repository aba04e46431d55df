/*
 * nitro_services_launch.h: runs the services process of a domain
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_conf.h"
#include "nitro_outputs.h"
#include "nitro_services_monitor.h"

/*
 * Opens what the services of the active domain @vm need, but for the files in @outputs, runs their
 * process, and connects to it: the run of @vm has the process and its monitor then. @callback gets its
 * events, with @vm.
 *
 * Returns 0, or -1 with an error set. A process that was started is noted in the run in any case.
 */
int nitroServicesLaunch(nitroDriver *driver,
                        virDomainObj *vm,
                        const nitroOutputs *outputs,
                        nitroServicesMonitorCallback callback);

/* Connects to the process of @vm, which runs. Returns 0, or -1 with an error set. */
int nitroServicesConnect(nitroDriver *driver,
                         virDomainObj *vm,
                         nitroServicesMonitorCallback callback);
