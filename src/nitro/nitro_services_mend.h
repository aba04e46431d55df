/*
 * nitro_services_mend.h: what the services process of a domain tells, and what is done about it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * All is done with the lock of the domain, but for the callback.
 */

#pragma once

#include "nitro_conf.h"
#include "nitro_services_monitor.h"

/*
 * The nitroServicesMonitorCallback of the processes; @opaque is the domain. Services that do not work any
 * more are mended, in a thread; a start that waits for them has that as its error.
 */
void nitroServicesFromMonitor(nitroServicesMonitor *mon,
                              const nitroServicesMessage *message,
                              void *opaque);

/* Notes what query-services or finish has returned of @vm; nothing when it has not answered. */
void nitroServicesNoteStatus(nitroDriver *driver,
                             virDomainObj *vm,
                             const nitroServicesStatus *status);

/*
 * What clients see of the services of @vm: the state of its channels, and, to @tell, an event of that,
 * which is for when the enclave runs.
 */
void nitroServicesSetState(nitroDriver *driver, virDomainObj *vm, bool connected, bool tell);

/* The process of @vm has its link: the services work. Clients get an event if they do @again. */
void nitroServicesWork(nitroDriver *driver, virDomainObj *vm, bool again);

/* The enclave of the locked domain @vm runs: from now on what its services tell counts. */
void nitroServicesNoteRunning(nitroDriver *driver, virDomainObj *vm);

/*
 * The locked domain @vm is of an earlier daemon, and what that has known of its services does not
 * count: they are disconnected until they are found again.
 */
void nitroServicesForget(nitroDriver *driver, virDomainObj *vm);

/* The enclave of the locked domain @vm was taken over: finds its services again, in a thread. */
void nitroServicesTakeOver(nitroDriver *driver, virDomainObj *vm);
