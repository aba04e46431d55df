/*
 * nitro_services_monitor.h: the daemon's side of the control socket of a services process
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"
#include "nitro_services_message.h"
#include "virobject.h"

/* ms: how long a process that is well may take to answer */
#define NITRO_SERVICES_TIMEOUT 5000

typedef struct _nitroServicesMonitor nitroServicesMonitor;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(nitroServicesMonitor, virObjectUnref);

/*
 * Called in the event loop's thread without any lock of the monitor; must not wait for a reply of
 * the same process. @message is no reply; NITRO_SERVICES_TOLD_GONE is the last one, also when
 * the process has broken the protocol.
 */
typedef void (*nitroServicesMonitorCallback)(nitroServicesMonitor *mon,
                                             const nitroServicesMessage *message,
                                             void *opaque);

/*
 * Starts to watch the connection @fd, which is taken over in any case, with the process that has
 * the @n @services of the domain @name. @callback gets events until nitroServicesMonitorClose();
 * @opaque is released by @freecb with the last reference to the monitor.
 *
 * Returns the monitor (virObjectUnref), or NULL with an error set; then @freecb is not called.
 */
nitroServicesMonitor *nitroServicesMonitorOpen(int fd,
                                               const char *name,
                                               const nitroServiceDef *services,
                                               size_t n,
                                               nitroServicesMonitorCallback callback,
                                               void *opaque,
                                               virFreeCallback freecb);

/* Whether the process has closed the connection, or broken the protocol. */
bool nitroServicesMonitorIsGone(nitroServicesMonitor *mon);

/* Closes the connection; callbacks that are under way may still end. Idempotent. */
void nitroServicesMonitorClose(nitroServicesMonitor *mon);

/*
 * The following wait @timeout ms at most; call them without the lock of a domain. They return 0, or
 * -1 with an error set: VIR_ERR_OPERATION_TIMEOUT when the process does not answer,
 * VIR_ERR_INTERNAL_ERROR when its answer makes no sense.
 */

/* Hands over the @link, and the pidfd @helper unless it is -1; both stay the caller's. */
int nitroServicesMonitorLink(nitroServicesMonitor *mon,
                             int link,
                             int helper,
                             unsigned int timeout);

/* Asks for the @status (nitroServicesStatusClear). */
int nitroServicesMonitorQuery(nitroServicesMonitor *mon,
                              unsigned int timeout,
                              nitroServicesStatus *status);

/* Tells the process to finish, and asks for the last @status. */
int nitroServicesMonitorFinish(nitroServicesMonitor *mon,
                               unsigned int timeout,
                               nitroServicesStatus *status);
