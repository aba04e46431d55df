/*
 * ne_device.c: the calls of /dev/nitro_enclaves
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * No state: a structure is filled in, the call is made, what comes back is taken out.
 */

#include "device/ne_device.h"

#include <fcntl.h>
#include <linux/nitro_enclaves.h>
#include <sys/ioctl.h>

const char *
neCallToString(NeCall call)
{
    static const char *const names[] = {
        [NE_CALL_CREATE_VM] = "NE_CREATE_VM",
        [NE_CALL_GET_IMAGE_LOAD_INFO] = "NE_GET_IMAGE_LOAD_INFO",
        [NE_CALL_SET_USER_MEMORY_REGION] = "NE_SET_USER_MEMORY_REGION",
        [NE_CALL_ADD_VCPU] = "NE_ADD_VCPU",
        [NE_CALL_START_ENCLAVE] = "NE_START_ENCLAVE",
    };

    return names[call];
}

int
neCreateVm(int device)
{
    uint64_t slot = 0;
    int enclave = ioctl(device, NE_CREATE_VM, &slot);

    if (enclave >= 0)
        fcntl(enclave, F_SETFD, FD_CLOEXEC);
    return enclave;
}

int
neGetImageOffset(int enclave, uint64_t *offset)
{
    struct ne_image_load_info info = { .flags = NE_EIF_IMAGE };

    if (ioctl(enclave, NE_GET_IMAGE_LOAD_INFO, &info) < 0)
        return -1;
    *offset = info.memory_offset;
    return 0;
}

int
neSetMemory(int enclave, void *address, uint64_t size)
{
    struct ne_user_memory_region region = {
        .flags = NE_DEFAULT_MEMORY_REGION,
        .memory_size = size,
        .userspace_addr = (uintptr_t)address,
    };

    return ioctl(enclave, NE_SET_USER_MEMORY_REGION, &region) < 0 ? -1 : 0;
}

int
neAddVcpu(int enclave, uint32_t *cpu)
{
    return ioctl(enclave, NE_ADD_VCPU, cpu) < 0 ? -1 : 0;
}

int
neStart(int enclave, bool debug, uint64_t *cid)
{
    struct ne_enclave_start_info info = {
        .flags = debug ? NE_ENCLAVE_DEBUG_MODE : NE_ENCLAVE_PRODUCTION_MODE,
        .enclave_cid = *cid,
    };

    if (ioctl(enclave, NE_START_ENCLAVE, &info) < 0)
        return -1;
    *cid = info.enclave_cid;
    return 0;
}
