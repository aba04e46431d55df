/*
 * guest_memory.c: the guest's memory, as a device in another process sees it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: regions and descriptors -> guestMemoryNew() checks and maps them -> addresses are
 * looked up by guestMemoryFind(), the only place where an address becomes a pointer.
 *
 * A file that got shorter under us would end this process by SIGBUS: only those are taken
 * that are sealed against it, as QEMU's memfds are.
 */

#include "vsock/guest_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>

typedef struct {
    GuestMemoryRegion region;
    uint8_t *data;  /* the region's first byte */
    void *map;      /* what munmap() wants */
    size_t mapSize; /* bytes */
} GuestMapping;

struct _GuestMemory {
    size_t n;
    GuestMapping mappings[GUEST_MEMORY_REGIONS_MAX];
};

typedef enum {
    GUEST_ADDRESS,
    USER_ADDRESS,
} AddressKind;

static uint64_t
guestMemoryStart(const GuestMapping *mapping, AddressKind kind)
{
    return kind == GUEST_ADDRESS ? mapping->region.guest : mapping->region.user;
}

/* The region that holds @address, or NULL; *@left is set to the bytes from there on. */
static const GuestMapping *
guestMemoryFind(const GuestMemory *memory, AddressKind kind, uint64_t address, uint64_t *left)
{
    size_t i;

    for (i = 0; i < memory->n; i++) {
        const GuestMapping *mapping = &memory->mappings[i];
        uint64_t start = guestMemoryStart(mapping, kind);

        if (address >= start && address - start < mapping->region.size) {
            *left = mapping->region.size - (address - start);
            return mapping;
        }
    }
    return NULL;
}

static bool
guestMemoryOverlaps(const GuestMapping *a, const GuestMapping *b, AddressKind kind)
{
    uint64_t startA = guestMemoryStart(a, kind);
    uint64_t startB = guestMemoryStart(b, kind);

    return startA < startB ? startB - startA < a->region.size : startA - startB < b->region.size;
}

static int
guestMemoryCheck(const GuestMemory *memory, const GuestMapping *mapping, char **error)
{
    const GuestMemoryRegion *region = &mapping->region;
    size_t i;

    if (region->size == 0 || region->size - 1 > UINT64_MAX - region->guest ||
        region->size - 1 > UINT64_MAX - region->user ||
        region->size > (uint64_t)SSIZE_MAX || region->offset > (uint64_t)SSIZE_MAX - region->size) {
        *error = g_strdup_printf("a memory region of %" G_GUINT64_FORMAT " bytes at 0x%"
                                 G_GINT64_MODIFIER "x cannot be", region->size, region->guest);
        return -1;
    }
    for (i = 0; i < memory->n; i++) {
        if (guestMemoryOverlaps(mapping, &memory->mappings[i], GUEST_ADDRESS) ||
            guestMemoryOverlaps(mapping, &memory->mappings[i], USER_ADDRESS)) {
            *error = g_strdup_printf("the memory region at 0x%" G_GINT64_MODIFIER
                                     "x overlaps another one", region->guest);
            return -1;
        }
    }
    return 0;
}

/*
 * Maps from the start of the file on: the offset of a region need not be a multiple of the
 * page size of a file of huge pages.
 */
static int
guestMemoryMap(GuestMapping *mapping, int fd, char **error)
{
    const GuestMemoryRegion *region = &mapping->region;
    struct stat st;
    size_t page;
    int seals = fcntl(fd, F_GET_SEALS);

    if (seals < 0 || !(seals & F_SEAL_SHRINK)) {
        *error = g_strdup_printf("the file of the memory region at 0x%" G_GINT64_MODIFIER
                                 "x is not sealed: it could get shorter", region->guest);
        return -1;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_blksize <= 0 || st.st_size < 0 ||
        region->offset + region->size > (uint64_t)st.st_size) {
        *error = g_strdup_printf("the memory region at 0x%" G_GINT64_MODIFIER
                                 "x is not in its file", region->guest);
        return -1;
    }

    page = st.st_blksize;
    mapping->mapSize = region->offset + region->size;
    mapping->mapSize += (page - mapping->mapSize % page) % page;
    mapping->map = mmap(NULL, mapping->mapSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                        fd, 0);
    if (mapping->map == MAP_FAILED) {
        *error = g_strdup_printf("the memory region at 0x%" G_GINT64_MODIFIER
                                 "x cannot be mapped: %s", region->guest, g_strerror(errno));
        return -1;
    }
    /* Guest memory in a core dump would be the enclave's secrets in a file. */
    madvise(mapping->map, mapping->mapSize, MADV_DONTDUMP);
    madvise(mapping->map, mapping->mapSize, MADV_DONTFORK);
    mapping->data = (uint8_t *)mapping->map + region->offset;
    return 0;
}

GuestMemory *
guestMemoryNew(const GuestMemoryRegion *regions, const int *fds, size_t n, char **error)
{
    g_autoptr(GuestMemory) memory = g_new0(GuestMemory, 1);
    size_t i;

    g_return_val_if_fail(n <= GUEST_MEMORY_REGIONS_MAX, NULL);

    for (i = 0; i < n; i++) {
        GuestMapping *mapping = &memory->mappings[i];

        mapping->region = regions[i];
        if (guestMemoryCheck(memory, mapping, error) < 0 ||
            guestMemoryMap(mapping, fds[i], error) < 0)
            return NULL;
        memory->n++;
    }
    return g_steal_pointer(&memory);
}

void
guestMemoryFree(GuestMemory *memory)
{
    size_t i;

    if (!memory)
        return;
    for (i = 0; i < memory->n; i++)
        munmap(memory->mappings[i].map, memory->mappings[i].mapSize);
    g_free(memory);
}

static void *
guestMemoryTranslate(const GuestMemory *memory, AddressKind kind, uint64_t address, uint64_t size)
{
    uint64_t left;
    const GuestMapping *mapping = guestMemoryFind(memory, kind, address, &left);

    if (!mapping || size > left)
        return NULL;
    return mapping->data + (mapping->region.size - left);
}

void *
guestMemoryFromUser(const GuestMemory *memory, uint64_t user, uint64_t size)
{
    return guestMemoryTranslate(memory, USER_ADDRESS, user, size);
}

void *
guestMemoryFromGuest(const GuestMemory *memory, uint64_t guest, uint64_t size)
{
    return guestMemoryTranslate(memory, GUEST_ADDRESS, guest, size);
}

bool
guestMemoryAppend(const GuestMemory *memory, uint64_t guest, uint64_t size,
                  struct iovec *iov, size_t *n, size_t max)
{
    while (size > 0) {
        uint64_t left;
        const GuestMapping *mapping = guestMemoryFind(memory, GUEST_ADDRESS, guest, &left);
        uint64_t piece;

        if (!mapping || *n >= max)
            return false;
        piece = MIN(size, left);
        iov[*n].iov_base = mapping->data + (mapping->region.size - left);
        iov[*n].iov_len = piece;
        (*n)++;

        size -= piece;
        if (size > 0 && piece > UINT64_MAX - guest)
            return false;
        guest += piece;
    }
    return true;
}

void
guestMemoryTrim(const GuestMemory *memory)
{
    size_t i;

    /* Of a shared mapping this drops no contents. Should it fail, nothing is lost either. */
    for (i = 0; i < memory->n; i++)
        madvise(memory->mappings[i].map, memory->mappings[i].mapSize, MADV_DONTNEED);
}
