/*
 * nsm_registers.h: the registers of the image, as who has loaded it tells them
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An enclave starts before its image has been measured. So the registers come later, by a pipe: lines
 * "N=HEX", and at last "end", without which a writer that has died would look like a debug mode.
 */

#pragma once

#include "nsm.h"

typedef struct _NsmRegisters NsmRegisters;

/*
 * Reads the registers from @fd, which is taken over, into @nsm as they come. @done is called, once,
 * from within the main loop: with @error NULL when they are complete, or with one sentence that says
 * what is wrong, which is its to free.
 */
NsmRegisters *nsmRegistersNew(int fd, Nsm *nsm, void (*done)(char *error, void *opaque),
                              void *opaque);
void nsmRegistersFree(NsmRegisters *registers);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NsmRegisters, nsmRegistersFree)
