/*
 * fuzz_vring.c: fuzz target for what reads the guest's rings
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The input is a guest: RingInput tells where its ring is and what the device does with it,
 * and what follows is its memory. Whatever comes out of vringPeek() must lie in that
 * memory; every byte of it is touched.
 */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vsock/vring.h"

#define MEMORY_SIZE 0x10000
#define MEMORY_SPLIT 0x4000 /* of two regions that are next to one another for the guest */
#define USER_ADDRESS 0x100000
#define STEPS 64

typedef struct {
    uint8_t sizeLog;
    uint8_t flags; /* bit 0: event index */
    uint16_t availIndex;
    uint16_t desc;
    uint16_t avail;
    uint16_t used;
    uint8_t steps[6];
} __attribute__((packed)) RingInput;

static int memoryFd = -1;
static uint8_t *memoryData;

static GuestMemory *
fuzzMap(void)
{
    const GuestMemoryRegion regions[] = {
        {0, MEMORY_SPLIT, USER_ADDRESS, 0},
        {MEMORY_SPLIT, MEMORY_SIZE - MEMORY_SPLIT, 2 * USER_ADDRESS, MEMORY_SPLIT},
    };
    int fds[2];
    char *error = NULL;
    GuestMemory *memory;

    if (memoryFd < 0) {
        memoryFd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (memoryFd < 0 || ftruncate(memoryFd, MEMORY_SIZE) < 0 ||
            fcntl(memoryFd, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
            abort();
        memoryData = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memoryFd, 0);
        if (memoryData == MAP_FAILED)
            abort();
    }
    fds[0] = fds[1] = memoryFd;
    memory = guestMemoryNew(regions, fds, G_N_ELEMENTS(regions), &error);
    if (!memory)
        abort();
    return memory;
}

static void
fuzzTouch(const GuestMemory *memory, const VringChain *chain)
{
    const uint8_t *low = guestMemoryFromGuest(memory, 0, MEMORY_SPLIT);
    const uint8_t *high = guestMemoryFromGuest(memory, MEMORY_SPLIT, MEMORY_SIZE - MEMORY_SPLIT);
    uint64_t sum = 0;
    size_t i;

    if (chain->nout + chain->nin > VRING_IOV_MAX)
        abort();
    for (i = 0; i < chain->nout + chain->nin; i++) {
        uint8_t *data = chain->iov[i].iov_base;
        size_t len = chain->iov[i].iov_len;
        bool isLow = data >= low && data + len <= low + MEMORY_SPLIT;
        bool isHigh = data >= high && data + len <= high + MEMORY_SIZE - MEMORY_SPLIT;

        if (len == 0 || len > MEMORY_SIZE || (!isLow && !isHigh))
            abort();
        sum += len;
        if (i >= chain->nout)
            data[0] = data[len - 1] = (uint8_t)i;
    }
    if (sum != chain->outSize + chain->inSize)
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct iovec iov[VRING_IOV_MAX];
    RingInput input = {0};
    g_autoptr(GuestMemory) memory = fuzzMap();
    VringLayout layout;
    Vring vring;
    VringChain chain;
    unsigned int step;

    if (size < sizeof(input) || size - sizeof(input) > MEMORY_SIZE)
        return 0;
    memcpy(&input, data, sizeof(input));
    memset(memoryData, 0, MEMORY_SIZE);
    memcpy(memoryData, data + sizeof(input), size - sizeof(input));

    layout = (VringLayout){1U << (input.sizeLog % 17), USER_ADDRESS + input.desc,
                           USER_ADDRESS + input.avail, USER_ADDRESS + input.used};
    if (vringStart(&vring, memory, &layout, input.availIndex, input.flags & 1) < 0)
        return 0;

    for (step = 0; step < STEPS && vringIsRunning(&vring); step++) {
        uint8_t what = input.steps[step % G_N_ELEMENTS(input.steps)];
        size_t room = what & 0x40 ? 1 + what % 8 : VRING_IOV_MAX;

        if (vringPeek(&vring, what % 4, &chain, iov, room) == VRING_CHAIN)
            fuzzTouch(memory, &chain);
        if (vringPeek(&vring, 0, &chain, iov, VRING_IOV_MAX) == VRING_CHAIN) {
            fuzzTouch(memory, &chain);
            if (what & 0x80)
                vringUse(&vring, chain.head, (uint32_t)chain.inSize);
        }
        if (what & 0x20)
            vringPublish(&vring);
        vringWantKicks(&vring, (what & 0x10) != 0);
    }
    return 0;
}
