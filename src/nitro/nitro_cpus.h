/*
 * nitro_cpus.h: which CPUs of the pool the enclaves of this daemon have
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_domain_conf.h"
#include "nitro_pool.h"

/* Self-locking */
typedef struct _nitroCpus nitroCpus;

nitroCpus *nitroCpusNew(void);
void nitroCpusFree(nitroCpus *cpus);

/*
 * Gives the domain @def the CPUs that it asks for, or as many as it asks for, from
 * @pool: whole cores that no other domain has. What enclaves of other programs have
 * cannot be seen.
 *
 * Returns 0, or -1 with an error set: VIR_ERR_OPERATION_UNSUPPORTED: no pool is set;
 * VIR_ERR_CONFIG_UNSUPPORTED: the definition can never have these CPUs;
 * VIR_ERR_OPERATION_FAILED: others have them at present. Then nothing is taken.
 */
int nitroCpusTake(nitroCpus *cpus, const nitroPool *pool, const virDomainDef *def);

/* Whether nitroCpusTake() would succeed now. Takes nothing. Returns and errors as there. */
int nitroCpusCheck(nitroCpus *cpus, const nitroPool *pool, const virDomainDef *def);

/* The domain @def runs and has its CPUs already, which are noted. */
void nitroCpusNote(nitroCpus *cpus, const virDomainDef *def);

/* The same for an enclave whose definition is not known: @name has the CPUs @ids, @nids of them. */
void nitroCpusNoteIds(nitroCpus *cpus, const char *name, const unsigned int *ids, size_t nids);

/* Takes back what the domain @name has, if anything. */
void nitroCpusRelease(nitroCpus *cpus, const char *name);

/*
 * Whether an enclave has ended within the last seconds: what it had may not be back,
 * and a helper waits for that.
 */
bool nitroCpusReleasedLately(nitroCpus *cpus);
