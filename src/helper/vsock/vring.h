/*
 * vring.h: the device's side of a virtio split virtqueue
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source: Virtual I/O Device (VIRTIO) 1.2, section 2.7, with the features
 * VIRTIO_F_INDIRECT_DESC and VIRTIO_F_EVENT_IDX.
 *
 * The guest owns the ring and may write to it at any time. Each index and descriptor is
 * read once into our own memory and checked there. A ring that breaks the rules is
 * broken: it gives nothing more until it is started again.
 */

#pragma once

#include "vsock/guest_memory.h"

/* The largest ring, and the number of entries that a chain may have */
#define VRING_SIZE_MAX 32768
#define VRING_IOV_MAX 1024

/* Where a ring is; addresses are the front end's (guestMemoryFromUser()). */
typedef struct _VringLayout VringLayout;
struct _VringLayout {
    uint32_t size; /* descriptors */
    uint64_t desc;
    uint64_t avail;
    uint64_t used;
};

typedef struct _Vring Vring;
struct _Vring {
    const GuestMemory *memory; /* NULL: stopped */
    uint16_t size;
    bool eventIdx; /* whether VIRTIO_F_EVENT_IDX was negotiated */
    const void *desc;
    void *avail;
    void *used;
    uint16_t availIndex;    /* of the next chain to take */
    uint16_t usedIndex;     /* of the next entry to write */
    uint16_t usedPublished; /* what the guest knows of it */
    uint16_t usedNotified;  /* what it has been notified of */
    bool notifiedValid;     /* whether usedNotified holds since the start */
    const char *broken;     /* which rule the guest broke, static; NULL: none */
};

/* One descriptor chain; entries that the device reads, then those that it writes */
typedef struct _VringChain VringChain;
struct _VringChain {
    uint16_t head;     /* identifies it to the guest */
    struct iovec *iov; /* in the caller's array */
    size_t nout;       /* entries to read */
    size_t nin;        /* entries to write, behind them */
    uint64_t outSize;  /* bytes */
    uint64_t inSize;   /* bytes */
};

typedef enum {
    VRING_CHAIN,   /* there is one */
    VRING_EMPTY,   /* the guest has made no more available */
    VRING_NO_ROOM, /* its entries do not fit in what is left of @iov */
    VRING_BROKEN,  /* vring->broken says why */
} VringResult;

/*
 * Starts the ring at @layout with the chain of index @availIndex; @memory must live until
 * vringStop(). Returns 0, or -1 when the layout is not good.
 */
int vringStart(Vring *vring, const GuestMemory *memory, const VringLayout *layout,
               uint16_t availIndex, bool eventIdx);
void vringStop(Vring *vring);

/* Whether chains can be taken. */
bool vringIsRunning(const Vring *vring);

/*
 * Reads the chain that is @ahead behind the next one into @chain, without taking it; its
 * entries go to @iov, which has room for @max (VRING_IOV_MAX is always enough).
 */
VringResult vringPeek(Vring *vring, unsigned int ahead, VringChain *chain, struct iovec *iov,
                      size_t max);

/*
 * Takes the next chain, which is @head, and gives it back with @written bytes written to
 * it. The guest sees it after vringPublish().
 */
void vringUse(Vring *vring, uint16_t head, uint32_t written);

/* Number of chains that have been used and not been published */
unsigned int vringUnpublished(const Vring *vring);

/* Publishes what has been used. Returns whether the guest wants to be notified. */
bool vringPublish(Vring *vring);

/* Asks the guest (not) to notify us of more chains; after true look again with vringPeek(). */
void vringWantKicks(Vring *vring, bool want);

/*
 * Asks it to notify us of the chain that is @ahead behind the next one, for who has a use only for
 * so many together. Look again with vringPeek(), too.
 */
void vringWantKickAhead(Vring *vring, unsigned int ahead);
