/*
 * nitro_start.h: starts the enclave of a domain
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_conf.h"

/*
 * Does of a start of @def what may take long and needs no domain, so that
 * nitroStartBeginJob() need not: see there. No domain is locked.
 *
 * Returns 0, or -1 with an error set.
 */
int nitroStartPrepareHost(nitroDriver *driver, const virDomainDef *def);

/*
 * A start waits for the guest, but must not keep others from querying or
 * destroying the domain: it is an asynchronous job, held from before
 * nitroStartDomain() until after it. An inactive domain with such a job is never
 * unlocked, so that nobody can change what is about to start.
 *
 * Returns 0, or -1 with an error set. @vm is locked. It is unlocked meanwhile when it has
 * a job already, and for nitroStartPrepareHost() when nobody has called that.
 */
int nitroStartBeginJob(nitroDriver *driver, virDomainObj *vm);
void nitroStartEndJob(virDomainObj *vm);

/*
 * Starts the inactive domain @vm and waits until its enclave has booted; the
 * lock of @vm is released meanwhile. On success the domain runs and the event
 * "started" is queued. On failure nothing is left behind, and the domain is as
 * inactive as before.
 *
 * Returns 0, or -1 with an error set.
 */
int nitroStartDomain(nitroDriver *driver, virDomainObj *vm);

/* The job alone, for who finds the enclave started. Returns 0, or -1 with an error set. */
int nitroStartBeginJobOnly(virDomainObj *vm);

/* The enclave of @vm has booted. */
void nitroStartSetRunning(nitroDriver *driver, virDomainObj *vm);

/* Starts @vm on the daemon's own account, with errors in the log: a function for nitroDriverRun(). */
void nitroStartOwn(nitroDriver *driver, virDomainObj *vm);
