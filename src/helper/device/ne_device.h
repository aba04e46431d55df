/*
 * ne_device.h: the calls of /dev/nitro_enclaves
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Thin: types in place of untyped arguments, one function a call, errno as the driver sets
 * it (some numbers are its own, above 255). Source: linux/nitro_enclaves.h.
 *
 * Every call can keep its thread in the kernel for two minutes when the hypervisor does not
 * answer, closing the enclave's descriptor too. All calls for one enclave come from the
 * process that has created it.
 */

#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef enum {
    NE_CALL_CREATE_VM,
    NE_CALL_GET_IMAGE_LOAD_INFO,
    NE_CALL_SET_USER_MEMORY_REGION,
    NE_CALL_ADD_VCPU,
    NE_CALL_START_ENCLAVE,
} NeCall;

/* "NE_CREATE_VM" and so on; static. */
const char *neCallToString(NeCall call);

/*
 * Creates an enclave: the returned descriptor, close-on-exec, is the enclave, and ends it
 * when it is closed. It hangs up (POLLHUP) when the enclave has ended by itself.
 * -1 with errno set on failure.
 */
int neCreateVm(int device);

/* Where in its memory an enclave wants its EIF image, in bytes. Returns 0, or -1 with errno. */
int neGetImageOffset(int enclave, uint64_t *offset);

/* Donates @size bytes from @address on. Returns 0, or -1 with errno set. */
int neSetMemory(int enclave, void *address, uint64_t size);

/* Gives the enclave the CPU *@cpu; 0: one of the pool, whose id comes back. Returns 0 or -1. */
int neAddVcpu(int enclave, uint32_t *cpu);

/*
 * Starts the enclave with the CID *@cid; 0: the hypervisor chooses, and the CID comes back.
 * Returns 0, or -1 with errno set.
 */
int neStart(int enclave, bool debug, uint64_t *cid);
