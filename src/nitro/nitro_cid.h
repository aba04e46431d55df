/*
 * nitro_cid.h: which CIDs the enclaves of this host have
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The hypervisor gives enclaves of the device their CIDs; those of the emulated
 * machine are given here. A context identifier is the address of a vsock: 32 bits,
 * of which 0 to 3 and the highest have a meaning of their own.
 */

#pragma once

#include "internal.h"

typedef struct _nitroCids nitroCids;

/* Returns a new table; never NULL. All functions may be called from any thread. */
nitroCids *nitroCidsNew(void);
void nitroCidsFree(nitroCids *cids);

/*
 * Takes the CID *@cid for the domain @name, or the lowest free one when that is 0;
 * then it is stored there.
 *
 * Returns 0, or -1 with VIR_ERR_OPERATION_INVALID set when another domain has it.
 */
int nitroCidsTake(nitroCids *cids,
                  const char *name,
                  unsigned int *cid);

/* Gives @cid back; 0 does nothing. */
void nitroCidsRelease(nitroCids *cids,
                      unsigned int cid);
