/*
 * nitro_end.h: ends the enclave of a domain, and handles the end of one that has ended
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_conf.h"

/*
 * Ends the enclave of the active domain @vm and cleans up after it; @reason is
 * what the domain's state will tell. The lock of @vm is released meanwhile, so
 * the caller holds a job. Does nothing when the domain is inactive by then.
 *
 * Returns 1 when this call has made the domain inactive, 0 when it was or another call has,
 * or -1 with an error set: VIR_ERR_OPERATION_TIMEOUT when its helper cannot be ended, and
 * VIR_ERR_OPERATION_FAILED when nobody can tell whether it is. The domain is as it was then.
 */
int nitroEndDomain(nitroDriver *driver,
                   virDomainObj *vm,
                   virDomainShutoffReason reason);

/* The helper of the locked domain @vm has ended: a worker makes the domain inactive. Once only. */
void nitroEndNote(nitroDriver *driver, virDomainObj *vm);

/*
 * Makes the locked domain @vm inactive, whose helper is known to be gone, as nitroEndNote() would,
 * with the job of the caller. Returns true when it is to be restarted: driver->restart, after the job.
 */
bool nitroEndLost(nitroDriver *driver, virDomainObj *vm);
