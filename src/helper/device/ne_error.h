/*
 * ne_error.h: what a failed call of /dev/nitro_enclaves means, and what to do about it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "device/enclave_memory.h"
#include "common/failure.h"
#include "device/ne_device.h"
#include "options.h"

/* What was being done when a call failed */
typedef struct _NeContext NeContext;
struct _NeContext {
    const Options *options;
    unsigned int cpu;            /* NE_ADD_VCPU: the id asked for; 0: any */
    const unsigned int *cpus;    /* ids that the enclave has got, in all calls from then on */
    size_t ncpus;
    const EnclaveRegion *region; /* NE_SET_USER_MEMORY_REGION: the region; else NULL */
    uint64_t cid;                /* NE_START_ENCLAVE: the CID asked for; 0: any */
};

/* Opens what sentences say of the host: the CPU pool, the threads of a core. Once in a process. */
void neErrorOpen(void);

/*
 * Fills @failure in with the call, its errno @err and one sentence for the user. What the
 * sentence says of the host is read here, from what neErrorOpen() has opened.
 */
void neSetFailure(Failure *failure, NeCall call, int err, const NeContext *context);

/*
 * Whether a call that has failed with @err can succeed in a moment, when an enclave that has
 * just ended has given back what it had: the pool holds enough CPUs, but not right now.
 */
bool neIsTransient(NeCall call, int err, const NeContext *context);

/*
 * Fills @failure in for memory of @size bytes that cannot be had from @pools, where @missing
 * bytes are short (enclaveMemoryPlan()).
 */
void neSetMemoryFailure(Failure *failure, const Options *options, const EnclavePools *pools,
                        uint64_t missing);
