/*
 * nitro_services_link.h: makes the link of a services process with its switch
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The daemon's words on it, in the order of the functions; then the process gets it. The protocol is
 * described in src/services/services_protocol.h. Call them without the lock of a domain, but for
 * nitroServicesLinkingInit().
 */

#pragma once

#include "nitro_conf.h"
#include "nitro_domain_services.h"
#include "nitro_helper.h"
#include "nitro_services_monitor.h"

/* What is needed of a domain to make a link without its lock */
typedef struct _nitroServicesLinking nitroServicesLinking;
struct _nitroServicesLinking {
    char *name;
    char *path; /* of the helper's socket; NULL: the broker is the switch */
    nitroServiceDef *services; /* types and ports */
    size_t n;
    unsigned int cid;
    nitroServicesMonitor *mon;
    nitroHelper *helper; /* NULL: none yet */
};

/* Fills @linking, which is zero (g_auto), with what the locked domain @vm has. */
void nitroServicesLinkingInit(nitroServicesLinking *linking, nitroDriver *driver, virDomainObj *vm);

void nitroServicesLinkingClear(nitroServicesLinking *linking);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroServicesLinking, nitroServicesLinkingClear);

/*
 * Connects to the helper's socket @path, or, where that is NULL, to the broker of the host, which is
 * started when there is none; and says which of the @n @services the switch has ports for.
 * That is not answered yet: see below.
 *
 * Returns the non-blocking connection, or -1 with an error set.
 */
int nitroServicesLinkOpen(nitroDriver *driver,
                          const char *path,
                          const nitroServiceDef *services,
                          size_t n);

/*
 * Waits until the switch serves the ports of the link @fd of the domain @name. @broker: as the path
 * above was NULL. Returns 0, or -1 with an error set: VIR_ERR_OPERATION_FAILED when a port is in
 * use, VIR_ERR_OPERATION_UNSUPPORTED when the broker is one of an earlier version, and
 * VIR_ERR_OPERATION_TIMEOUT when nothing is answered within 5 seconds.
 */
int nitroServicesLinkAwait(int fd, const char *name, bool broker);

/* Says which enclave the link @fd is for. Returns 0, or -1 with an error set. */
int nitroServicesLinkTellEnclave(int fd, const char *name, unsigned int cid);

/*
 * Gives the link @fd to the process of @linking, after the above, with the helper's pidfd. The link stays
 * the caller's. Returns 0, or -1 with an error set.
 */
int nitroServicesLinkGive(const nitroServicesLinking *linking, int fd);
