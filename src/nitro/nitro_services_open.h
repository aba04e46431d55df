/*
 * nitro_services_open.h: what listens on the host for the services of an enclave
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The sockets of inbound services are opened by the daemon: their process cannot.
 */

#pragma once

#include "domain_conf.h"
#include "nitro_domain_services.h"

/*
 * Listens for the inbound ones of the @n @services of the domain @name, and stores the descriptors in
 * @listeners, -1 for others. UNIX sockets are noted in the run directory @rundir:
 * nitroServicesRemoveSockets() removes them.
 *
 * Returns 0, or -1 with an error set: VIR_ERR_OPERATION_FAILED for an address that is in use,
 * VIR_ERR_CONFIG_UNSUPPORTED for what nitro_file.h refuses. Descriptors are the caller's then, too.
 */
int nitroServicesListen(const char *name,
                        const char *rundir,
                        const nitroServiceDef *services,
                        size_t n,
                        int *listeners);

/*
 * Removes the sockets that are noted in @rundir, unless other files have taken their places. Does
 * nothing when there is no note.
 */
void nitroServicesRemoveSockets(const char *rundir);
