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
 * or -1 with VIR_ERR_OPERATION_TIMEOUT set when its helper cannot be ended: it runs on.
 */
int nitroEndDomain(nitroDriver *driver,
                   virDomainObj *vm,
                   virDomainShutoffReason reason);

/* Handles the end of an enclave: the function of the driver's workers. */
void nitroEndWorker(void *jobdata, void *opaque);
