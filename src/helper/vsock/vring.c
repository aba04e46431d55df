/*
 * vring.c: the device's side of a virtio split virtqueue
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: vringPeek() reads a head from the available ring -> vringWalk() follows its
 * descriptors, in the ring's table or in an indirect one -> vringUse() writes an entry of
 * the used ring -> vringPublish() moves the index that the guest looks at.
 */

#include "vsock/vring.h"

#include <linux/virtio_ring.h>

/* Bytes in one chain: as much as the length in the used ring can tell */
#define VRING_CHAIN_BYTES_MAX UINT32_MAX

/* A packed copy of struct vring_desc: nothing aligns an indirect table. */
typedef struct {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
} __attribute__((packed)) VringDesc;

static uint16_t
vringLoad(const void *field)
{
    return GUINT16_FROM_LE(__atomic_load_n((const uint16_t *)field, __ATOMIC_RELAXED));
}

static void
vringStore(void *field, uint16_t value)
{
    __atomic_store_n((uint16_t *)field, GUINT16_TO_LE(value), __ATOMIC_RELAXED);
}

static struct vring_avail *
vringAvail(const Vring *vring)
{
    return vring->avail;
}

static struct vring_used *
vringUsed(const Vring *vring)
{
    return vring->used;
}

/* The event indexes of VIRTIO_F_EVENT_IDX are behind the last entry of either ring. */
static void *
vringUsedEvent(const Vring *vring)
{
    return &vringAvail(vring)->ring[vring->size];
}

static void *
vringAvailEvent(const Vring *vring)
{
    return &vringUsed(vring)->ring[vring->size];
}

int
vringStart(Vring *vring, const GuestMemory *memory, const VringLayout *layout,
           uint16_t availIndex, bool eventIdx)
{
    uint64_t size = layout->size;

    *vring = (Vring){0};
    if (size == 0 || size > VRING_SIZE_MAX || (size & (size - 1)) != 0)
        return -1;

    vring->desc = guestMemoryFromUser(memory, layout->desc, size * sizeof(struct vring_desc));
    vring->avail = guestMemoryFromUser(memory, layout->avail, 6 + 2 * size);
    vring->used = guestMemoryFromUser(memory, layout->used, 6 + 8 * size);
    if (!vring->desc || !vring->avail || !vring->used || (uintptr_t)vring->desc % 16 != 0 ||
        (uintptr_t)vring->avail % 2 != 0 || (uintptr_t)vring->used % 4 != 0)
        return -1;

    vring->memory = memory;
    vring->size = (uint16_t)size;
    vring->eventIdx = eventIdx;
    vring->availIndex = availIndex;
    vring->usedIndex = vring->usedPublished = vringLoad(&vringUsed(vring)->idx);
    return 0;
}

void
vringStop(Vring *vring)
{
    vring->memory = NULL;
}

bool
vringIsRunning(const Vring *vring)
{
    return vring->memory && !vring->broken;
}

static VringResult
vringBreak(Vring *vring, const char *why)
{
    vring->broken = why;
    return VRING_BROKEN;
}

static VringDesc
vringReadDesc(const volatile VringDesc *source)
{
    VringDesc desc;

    /* volatile: each member is read just once */
    desc.addr = GUINT64_FROM_LE(source->addr);
    desc.len = GUINT32_FROM_LE(source->len);
    desc.flags = GUINT16_FROM_LE(source->flags);
    desc.next = GUINT16_FROM_LE(source->next);
    return desc;
}

/* Adds what one descriptor describes to @chain. */
static VringResult
vringAddDesc(Vring *vring, const VringDesc *desc, VringChain *chain, size_t max)
{
    bool in = (desc->flags & VRING_DESC_F_WRITE) != 0;
    size_t before = chain->nout + chain->nin;
    size_t after = before;

    if (!in && chain->nin > 0)
        return vringBreak(vring, "a descriptor to read is behind one to write");
    if (chain->outSize + chain->inSize + desc->len > VRING_CHAIN_BYTES_MAX)
        return vringBreak(vring, "a chain is longer than 4 GiB");
    if (!guestMemoryAppend(vring->memory, desc->addr, desc->len, chain->iov, &after,
                           MIN(max, VRING_IOV_MAX))) {
        if (after < MIN(max, VRING_IOV_MAX))
            return vringBreak(vring, "a descriptor is not in the guest's memory");
        return max < VRING_IOV_MAX ? VRING_NO_ROOM :
                                     vringBreak(vring, "a chain has too many pieces");
    }

    if (in) {
        chain->nin += after - before;
        chain->inSize += desc->len;
    } else {
        chain->nout += after - before;
        chain->outSize += desc->len;
    }
    return VRING_CHAIN;
}

/* Follows the descriptors in the indirect table that @table describes. */
static VringResult
vringWalkIndirect(Vring *vring, const VringDesc *table, VringChain *chain, size_t max)
{
    uint32_t size = table->len / sizeof(VringDesc);
    uint32_t index = 0;
    uint32_t count;

    if (size == 0 || table->len % sizeof(VringDesc) != 0 || size > VRING_SIZE_MAX)
        return vringBreak(vring, "an indirect table has a bad size");

    for (count = 0; count < MIN(size, VRING_IOV_MAX); count++) {
        const VringDesc *source = NULL;
        VringDesc desc;
        VringResult result;

        if (table->addr <= UINT64_MAX - index * sizeof(VringDesc))
            source = guestMemoryFromGuest(vring->memory, table->addr + index * sizeof(VringDesc),
                                          sizeof(VringDesc));
        if (!source)
            return vringBreak(vring, "an indirect table is not in the guest's memory");
        desc = vringReadDesc(source);
        if (desc.flags & VRING_DESC_F_INDIRECT)
            return vringBreak(vring, "an indirect table is in another one");

        result = vringAddDesc(vring, &desc, chain, max);
        if (result != VRING_CHAIN || !(desc.flags & VRING_DESC_F_NEXT))
            return result;
        if (desc.next >= size)
            return vringBreak(vring, "a descriptor's successor is not in its indirect table");
        index = desc.next;
    }
    return vringBreak(vring, "an indirect chain loops or is too long");
}

static VringResult
vringWalk(Vring *vring, VringChain *chain, size_t max)
{
    uint16_t index = chain->head;
    uint32_t count;

    for (count = 0; count < MIN(vring->size, VRING_IOV_MAX); count++) {
        VringDesc desc = vringReadDesc((const VringDesc *)vring->desc + index);
        VringResult result;

        if (desc.flags & VRING_DESC_F_INDIRECT) {
            if (desc.flags & VRING_DESC_F_NEXT)
                return vringBreak(vring, "an indirect descriptor has a successor");
            return vringWalkIndirect(vring, &desc, chain, max);
        }

        result = vringAddDesc(vring, &desc, chain, max);
        if (result != VRING_CHAIN || !(desc.flags & VRING_DESC_F_NEXT))
            return result;
        if (desc.next >= vring->size)
            return vringBreak(vring, "a descriptor's successor is not in the table");
        index = desc.next;
    }
    return vringBreak(vring, "a chain loops or is too long");
}

VringResult
vringPeek(Vring *vring, unsigned int ahead, VringChain *chain, struct iovec *iov, size_t max)
{
    uint16_t available;
    uint16_t index = (uint16_t)(vring->availIndex + ahead);

    if (!vringIsRunning(vring))
        return vring->broken ? VRING_BROKEN : VRING_EMPTY;

    available = (uint16_t)(vringLoad(&vringAvail(vring)->idx) - vring->availIndex);
    if (available > vring->size)
        return vringBreak(vring, "the available index has jumped");
    if (ahead >= available)
        return VRING_EMPTY;
    /* What the guest wrote before it moved the index must be seen behind it. */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);

    *chain = (VringChain){.iov = iov};
    chain->head = vringLoad(&vringAvail(vring)->ring[index % vring->size]);
    if (chain->head >= vring->size)
        return vringBreak(vring, "a chain's head is not in the table");
    return vringWalk(vring, chain, max);
}

void
vringUse(Vring *vring, uint16_t head, uint32_t written)
{
    struct vring_used_elem *entry = &vringUsed(vring)->ring[vring->usedIndex % vring->size];

    entry->id = GUINT32_TO_LE(head);
    entry->len = GUINT32_TO_LE(written);
    vring->usedIndex++;
    vring->availIndex++;
}

unsigned int
vringUnpublished(const Vring *vring)
{
    return (uint16_t)(vring->usedIndex - vring->usedPublished);
}

bool
vringPublish(Vring *vring)
{
    uint16_t index = vring->usedIndex;
    uint16_t before = vring->usedNotified;
    bool known = vring->notifiedValid;
    uint16_t event;

    if (!vringIsRunning(vring) || vring->usedPublished == index)
        return false;

    __atomic_thread_fence(__ATOMIC_RELEASE);
    vringStore(&vringUsed(vring)->idx, index);
    vring->usedPublished = index;

    /* Our index must be out before we look at what the guest wants to be told. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!vring->eventIdx)
        return (vringLoad(&vringAvail(vring)->flags) & VRING_AVAIL_F_NO_INTERRUPT) == 0;

    event = vringLoad(vringUsedEvent(vring));
    vring->usedNotified = index;
    vring->notifiedValid = true;
    return !known || vring_need_event(event, index, before);
}

static void
vringSetKicks(Vring *vring, bool want, unsigned int ahead)
{
    if (!vringIsRunning(vring))
        return;
    if (!vring->eventIdx)
        vringStore(&vringUsed(vring)->flags, want ? 0 : VRING_USED_F_NO_NOTIFY);
    else if (want)
        vringStore(vringAvailEvent(vring), (uint16_t)(vring->availIndex + ahead));
    /* The wish must be out before we look for chains a last time. */
    if (want)
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void
vringWantKicks(Vring *vring, bool want)
{
    vringSetKicks(vring, want, 0);
}

void
vringWantKickAhead(Vring *vring, unsigned int ahead)
{
    vringSetKicks(vring, true, ahead);
}
