/*
 * nitro_limits.h: the numbers that bound every enclave, for driver and helper
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One place for each: what the driver takes and shows in its capabilities is what the helper
 * starts.
 */

#pragma once

#include <stdint.h>

/* Memory: the least that the hypervisor starts, and what its size is a multiple of, KiB */
#define NITRO_MEMORY_MIN_KIB (64 * 1024)
#define NITRO_MEMORY_STEP_KIB (2 * 1024)

/* The memory is at least so many times as large as the image, which is unpacked in it. */
#define NITRO_IMAGE_MEMORY_FACTOR 4

/* No memory is as large as four of these, and no sum of a few such sizes overflows; bytes. */
#define NITRO_IMAGE_SIZE_MAX (1ULL << 50)

/* The least memory for an image of @size bytes, up to NITRO_IMAGE_SIZE_MAX; bytes */
static inline uint64_t
nitroLimitsMemoryFor(uint64_t size)
{
    const uint64_t step = NITRO_MEMORY_STEP_KIB * 1024ULL;

    return (size * NITRO_IMAGE_MEMORY_FACTOR + step - 1) / step * step;
}

/* What QEMU and the helper need at least beside the memory of an emulated enclave, KiB */
#define NITRO_MEMORY_QEMU_KIB (128 * 1024)

/* Lower CIDs mean hypervisor, host and parent; the highest of all means "any". */
#define NITRO_CID_MIN 4

/* Above what any instance has; as is, with 8191, the highest id of a CPU in Linux */
#define NITRO_VCPUS_MAX 4096
#define NITRO_CPU_MAX 8191

/*
 * vCPUs of the emulated machine: ids of APICs have eight bits, and 255 means all. QEMU's microvm
 * has up to 288, but only with KVM, and which accelerator there is, the start finds out.
 */
#define NITRO_VCPUS_MAX_EMULATED 255

/* The port of the parent's vsock to which enclaves send their heartbeat */
#define NITRO_HEARTBEAT_PORT 9000

#define NITRO_HEARTBEAT_TIMEOUT_MAX 86400 /* seconds: a day */

/* Bytes that files which are written to can have, if there is a limit: any line of the log fits. */
#define NITRO_LOG_SIZE_MIN 4096
