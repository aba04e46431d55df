/*
 * launch-device.c: answers for the device of the Nitro Hypervisor, at once, for bench-launch
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Preloaded into the helper. It keeps no rules (tests/nitrodevmock does): the ioctls cost
 * nothing, so that what is measured is the helper. At NE_START_ENCLAVE it writes the time,
 * CLOCK_MONOTONIC, and what CPU time was used to standard output, both in nanoseconds.
 *
 * The helper is sandboxed by then: what stands for the enclave is there before its main().
 */

#include <dlfcn.h>
#include <linux/nitro_enclaves.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define IMAGE_OFFSET (8 << 20)
#define CID 16

static int enclave; /* what the one NE_CREATE_VM returns */

static void __attribute__((constructor))
devicePrepare(void)
{
    enclave = eventfd(0, EFD_CLOEXEC);
}

static int
deviceStart(struct ne_enclave_start_info *info)
{
    struct timespec now;
    struct timespec used;
    char line[64];
    int len;

    clock_gettime(CLOCK_MONOTONIC, &now);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    len = snprintf(line, sizeof(line), "%lld %lld\n", now.tv_sec * 1000000000LL + now.tv_nsec,
                   used.tv_sec * 1000000000LL + used.tv_nsec);
    if (write(STDOUT_FILENO, line, len) != len)
        return -1;
    if (info->enclave_cid == 0)
        info->enclave_cid = CID;
    return 0;
}

int
ioctl(int fd, unsigned long request, ...)
{
    static uint32_t cpu;
    va_list ap;
    void *arg;

    va_start(ap, request);
    arg = va_arg(ap, void *);
    va_end(ap);

    switch (request) {
    case NE_CREATE_VM:
        return enclave;
    case NE_GET_IMAGE_LOAD_INFO:
        ((struct ne_image_load_info *)arg)->memory_offset = IMAGE_OFFSET;
        return 0;
    case NE_SET_USER_MEMORY_REGION:
        return 0;
    case NE_ADD_VCPU:
        *(uint32_t *)arg = ++cpu;
        return 0;
    case NE_START_ENCLAVE:
        return deviceStart(arg);
    }
    return ((int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl"))(fd, request, arg);
}
