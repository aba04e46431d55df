/*
 * nitro_process.h: starts, watches and ends the helper of a domain
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_conf.h"

/*
 * Does of a start of @def what may take long and needs no domain, so that
 * nitroProcessBeginStartJob() need not: see there. No domain is locked.
 *
 * Returns 0, or -1 with an error set.
 */
int nitroProcessPrepareHost(nitroDriver *driver, const virDomainDef *def);

/*
 * A start waits for the guest, but must not keep others from querying or
 * destroying the domain: it is an asynchronous job, held from before
 * nitroProcessStart() until after it. An inactive domain with such a job is never
 * unlocked, so that nobody can change what is about to start.
 *
 * Returns 0, or -1 with an error set. @vm is locked. It is unlocked meanwhile when it has
 * a job already, and for nitroProcessPrepareHost() when nobody has called that.
 */
int nitroProcessBeginStartJob(nitroDriver *driver, virDomainObj *vm);
void nitroProcessEndStartJob(virDomainObj *vm);

/*
 * Starts the inactive domain @vm and waits until its enclave has booted; the
 * lock of @vm is released meanwhile. On success the domain runs and the event
 * "started" is queued. On failure nothing is left behind, and the domain is as
 * inactive as before.
 *
 * Returns 0, or -1 with an error set.
 */
int nitroProcessStart(nitroDriver *driver, virDomainObj *vm);

/*
 * Ends the enclave of the active domain @vm and cleans up after it; @reason is
 * what the domain's state will tell. The lock of @vm is released meanwhile, so
 * the caller holds a job. Does nothing when the domain is inactive by then.
 *
 * Returns 1 when this call has made the domain inactive, 0 when it was or another call has,
 * or -1 with VIR_ERR_OPERATION_TIMEOUT set when its helper cannot be ended: it runs on.
 */
int nitroProcessStop(nitroDriver *driver,
                     virDomainObj *vm,
                     virDomainShutoffReason reason);

/*
 * Takes over the enclaves that an earlier daemon has left running, in threads
 * of their own.
 */
void nitroProcessReconnectAll(nitroDriver *driver);

/* Handles the end of an enclave: the function of the driver's workers. */
void nitroProcessWorker(void *jobdata, void *opaque);

/* Starts @vm on the daemon's own account: a function for nitroDriverRunThread(). */
void nitroProcessStartThread(nitroDriver *driver, virDomainObj *vm);

/*
 * Makes all that waits for an enclave give up, as the daemon ends: enclaves that
 * start go on starting, and the next daemon takes them over. Takes no lock, as the lock of
 * the daemon is held when it ends.
 */
void nitroProcessQuit(nitroDriver *driver);
