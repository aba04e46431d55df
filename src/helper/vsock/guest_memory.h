/*
 * guest_memory.h: the guest's memory, as a device in another process sees it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A table of shared mappings, made of the file descriptors of the vhost-user message
 * SET_MEM_TABLE. The guest writes to this memory whenever it likes: what is decided on
 * must have been copied out of it before.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Regions that a front end may name in one message (vhost-user specification) */
#define GUEST_MEMORY_REGIONS_MAX 8

/* One region, in the layout of the message */
typedef struct _GuestMemoryRegion GuestMemoryRegion;
struct _GuestMemoryRegion {
    uint64_t guest;  /* guest physical address */
    uint64_t size;   /* bytes */
    uint64_t user;   /* address in the front end, which ring addresses are given in */
    uint64_t offset; /* of the region in its file, in bytes */
};

typedef struct _GuestMemory GuestMemory;

/*
 * Maps @n regions, region i from the file @fds[i]; the descriptors stay the caller's and
 * are not needed any longer afterwards. Returns the table, or NULL with *@error set to a new
 * text when a region is empty, overlaps another one, or is not all in its file, or when the
 * file may get shorter (no F_SEAL_SHRINK).
 */
GuestMemory *guestMemoryNew(const GuestMemoryRegion *regions, const int *fds, size_t n,
                            char **error);
void guestMemoryFree(GuestMemory *memory);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GuestMemory, guestMemoryFree)

/*
 * Translates @size bytes from the front end's address @user on, and likewise from the
 * guest physical address @guest on. Return NULL unless all are in one region.
 */
void *guestMemoryFromUser(const GuestMemory *memory, uint64_t user, uint64_t size);
void *guestMemoryFromGuest(const GuestMemory *memory, uint64_t guest, uint64_t size);

/*
 * Appends @size bytes from the guest physical address @guest on to @iov, which has room
 * for @max entries and holds *@n; a range that crosses regions takes several.
 * Returns false, with @iov and *@n undefined behind the former *@n, when some byte is not
 * in the guest's memory or there is no room.
 */
bool guestMemoryAppend(const GuestMemory *memory, uint64_t guest, uint64_t size,
                       struct iovec *iov, size_t *n, size_t max);

/*
 * Gives up the page tables of all regions: this process then has nothing of them
 * resident, until it touches them again. The contents stay.
 */
void guestMemoryTrim(const GuestMemory *memory);
