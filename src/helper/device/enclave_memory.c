/*
 * enclave_memory.c: the memory of an enclave, huge pages of this host
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The mappings are shared ones of memfds, which nobody else has: the enclave gets the very
 * pages that were written, whatever happens to this process. They are not in a core dump, and
 * a child would not inherit them.
 */

#include "device/enclave_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGES_STEP (2ULL << 20) /* bytes: page sizes that the device takes are multiples */
#define POPULATE_STEP (1ULL << 30)
#define NODE_MAX 1024

#ifndef MFD_HUGE_SHIFT
# define MFD_HUGE_SHIFT 26
#endif
#ifndef MADV_POPULATE_WRITE
# define MADV_POPULATE_WRITE 23
#endif

/* The files that tell of the pages of one size: read again and again, by a process that can open none */
typedef struct {
    uint64_t size; /* bytes */
    int unused;    /* -1: there is no such file, likewise below */
    int reserved;
    int total;
    int nodeUnused; /* of the one NUMA node that counts */
    int nodeTotal;
} EnclaveHostPages;

struct _EnclaveHost {
    bool node; /* one counts only */
    EnclaveHostPages pages[ENCLAVE_PAGE_SIZES_MAX];
    size_t n;
};

static int
hostOpenFile(const char *dir, const char *name)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);

    return open(path, O_RDONLY | O_CLOEXEC);
}

static EnclaveHostPages
hostOpenPages(const char *root, int node, uint64_t size)
{
    g_autofree char *name = g_strdup_printf("hugepages-%" G_GUINT64_FORMAT "kB", size / 1024);
    g_autofree char *dir = g_strdup_printf("%s/sys/kernel/mm/hugepages/%s", root, name);
    EnclaveHostPages pages = {
        .size = size,
        .unused = hostOpenFile(dir, "free_hugepages"),
        .reserved = hostOpenFile(dir, "resv_hugepages"),
        .total = hostOpenFile(dir, "nr_hugepages"),
        .nodeUnused = -1,
        .nodeTotal = -1,
    };

    if (node >= 0) {
        g_free(dir);
        dir = g_strdup_printf("%s/sys/devices/system/node/node%d/hugepages/%s", root, node, name);
        pages.nodeUnused = hostOpenFile(dir, "free_hugepages");
        pages.nodeTotal = hostOpenFile(dir, "nr_hugepages");
    }
    return pages;
}

static int
hostCompare(const void *a, const void *b)
{
    uint64_t left = ((const EnclaveHostPages *)a)->size;
    uint64_t right = ((const EnclaveHostPages *)b)->size;

    return left < right ? 1 : left > right ? -1 : 0;
}

EnclaveHost *
enclaveHostOpen(const char *root, int node, uint64_t pageSize)
{
    EnclaveHost *host = g_new0(EnclaveHost, 1);
    g_autofree char *path = g_strdup_printf("%s/sys/kernel/mm/hugepages", root);
    g_autoptr(GDir) dir = NULL;
    const char *name;

    host->node = node >= 0;
    if (pageSize > 0) {
        host->pages[host->n++] = hostOpenPages(root, node, pageSize);
        return host;
    }

    dir = g_dir_open(path, 0, NULL);
    while (dir && (name = g_dir_read_name(dir)) && host->n < ENCLAVE_PAGE_SIZES_MAX) {
        uint64_t size = 0;

        if (g_str_has_prefix(name, "hugepages-"))
            size = g_ascii_strtoull(name + strlen("hugepages-"), NULL, 10) * 1024;
        if (size > 0 && size % PAGES_STEP == 0)
            host->pages[host->n++] = hostOpenPages(root, node, size);
    }
    qsort(host->pages, host->n, sizeof(host->pages[0]), hostCompare);
    return host;
}

void
enclaveHostFree(EnclaveHost *host)
{
    size_t i;
    size_t k;

    for (i = 0; host && i < host->n; i++) {
        const EnclaveHostPages *pages = &host->pages[i];
        const int fds[] = {pages->unused, pages->reserved, pages->total, pages->nodeUnused,
                           pages->nodeTotal};

        for (k = 0; k < G_N_ELEMENTS(fds); k++) {
            if (fds[k] >= 0)
                close(fds[k]);
        }
    }
    g_free(host);
}

/* The number in the file @fd; 0 when there is none */
static uint64_t
hostReadNumber(int fd)
{
    char text[32];
    ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);

    if (n <= 0)
        return 0;
    text[n] = '\0';
    return g_ascii_strtoull(text, NULL, 10);
}

void
enclaveHostReadPools(const EnclaveHost *host, EnclavePools *pools)
{
    for (pools->n = 0; pools->n < host->n; pools->n++) {
        const EnclaveHostPages *files = &host->pages[pools->n];
        EnclavePages *pages = &pools->pages[pools->n];
        uint64_t unused = hostReadNumber(files->unused);
        uint64_t reserved = hostReadNumber(files->reserved);

        pages->size = files->size;
        pages->free = unused - MIN(reserved, unused);
        pages->total = hostReadNumber(files->total);
        /* Reservations are not known by node. */
        if (host->node) {
            pages->free = MIN(pages->free, hostReadNumber(files->nodeUnused));
            pages->total = hostReadNumber(files->nodeTotal);
        }
    }
}

static uint64_t
pagesGetCount(const EnclavePages *pages, bool all)
{
    return all ? pages->total : pages->free;
}

/*
 * Covers the @rest, of which all pages are larger than it that are left, with the smallest
 * one, and takes those back which that makes superfluous. Returns whether there is one.
 */
static bool
planRest(const EnclavePools *pools, uint64_t rest, bool all, uint64_t *counts)
{
    uint64_t over;
    size_t i = pools->n;
    size_t k;

    while (i-- > 0) {
        if (counts[i] < pagesGetCount(&pools->pages[i], all))
            break;
    }
    if (i >= pools->n)
        return false;

    counts[i]++;
    over = pools->pages[i].size - rest;
    for (k = i + 1; k < pools->n; k++) {
        uint64_t less = MIN(counts[k], over / pools->pages[k].size);

        counts[k] -= less;
        over -= less * pools->pages[k].size;
    }
    return true;
}

uint64_t
enclaveMemoryPlan(const EnclavePools *pools, uint64_t size, bool all, EnclaveLayout *layout)
{
    uint64_t counts[ENCLAVE_PAGE_SIZES_MAX];
    uint64_t rest = size;
    size_t i;

    *layout = (EnclaveLayout){ 0 };
    for (i = 0; i < pools->n; i++) {
        counts[i] = MIN(pagesGetCount(&pools->pages[i], all), rest / pools->pages[i].size);
        rest -= counts[i] * pools->pages[i].size;
    }
    if (rest > 0 && !planRest(pools, rest, all, counts))
        return rest;

    for (i = 0; i < pools->n; i++) {
        if (counts[i] == 0)
            continue;
        layout->parts[layout->nparts].pageSize = pools->pages[i].size;
        layout->parts[layout->nparts++].count = counts[i];
        layout->size += counts[i] * pools->pages[i].size;
    }
    return 0;
}

/* Takes a range of addresses in which regions of pages of up to @align bytes fit. */
static int
memoryReserve(EnclaveMemory *memory, uint64_t align)
{
    void *range;

    if (memory->size > G_MAXSIZE / 2 || align > G_MAXSIZE / 2) {
        errno = ENOMEM;
        return -1;
    }
    range = mmap(NULL, memory->size + align, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED)
        return -1;

    memory->reserved = range;
    memory->reservedSize = memory->size + align;
    memory->base = (uint8_t *)range + (align - (uintptr_t)range % align) % align;
    return 0;
}

/* The policy is also the file's, whoever faults the pages in. */
static int
regionBind(const EnclaveRegion *region, int node)
{
    unsigned long mask[NODE_MAX / (8 * sizeof(unsigned long))] = { 0 };
    const size_t bits = 8 * sizeof(mask[0]);

    if (node >= NODE_MAX) {
        errno = EINVAL;
        return -1;
    }
    mask[node / bits] = 1UL << (node % bits);
    return syscall(SYS_mbind, region->address, region->size, MPOL_BIND, mask,
                   (unsigned long)NODE_MAX + 1, 0UL) < 0 ? -1 : 0;
}

/* A reservation does not say of which node the pages are, so they are taken here. */
static int
regionPopulate(const EnclaveRegion *region, const int *cancel)
{
    uint64_t done;

    for (done = 0; done < region->size; done += POPULATE_STEP) {
        uint64_t step = MIN(region->size - done, POPULATE_STEP);

        if (g_atomic_int_get(cancel) != 0) {
            errno = ECANCELED;
            return -1;
        }
        if (madvise((uint8_t *)region->address + done, step, MADV_POPULATE_WRITE) < 0) {
            /* Linux knows it from 5.14 on. The driver will touch the pages, too. */
            if (errno == EINVAL)
                return 0;
            if (errno == EFAULT)
                errno = ENOMEM;
            return -1;
        }
    }
    return 0;
}

/* Maps huge pages at the address of @region; the reservation of pages is made here. */
static int
regionMap(const EnclaveRegion *region)
{
    unsigned int shift = g_bit_storage(region->pageSize) - 1;
    int fd = memfd_create("enclave-memory",
                          MFD_CLOEXEC | MFD_HUGETLB | shift << MFD_HUGE_SHIFT);
    void *address = MAP_FAILED;
    int err;

    if (fd < 0)
        return -1;
    if (ftruncate(fd, region->size) == 0)
        address = mmap(region->address, region->size, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_FIXED, fd, 0);
    err = errno;
    close(fd);
    if (address == MAP_FAILED) {
        errno = err;
        return -1;
    }

    madvise(address, region->size, MADV_DONTDUMP);
    madvise(address, region->size, MADV_DONTFORK);
    return 0;
}

int
enclaveMemoryMap(EnclaveMemory *memory, const EnclaveLayout *layout, int node, const int *cancel)
{
    uint64_t done = 0;
    size_t i;

    *memory = (EnclaveMemory){
        .size = layout->size,
        .regions = g_array_new(FALSE, FALSE, sizeof(EnclaveRegion)),
    };
    if (memoryReserve(memory, layout->parts[0].pageSize) < 0)
        return -1;

    for (i = 0; i < layout->nparts; i++) {
        uint64_t pageSize = layout->parts[i].pageSize;
        uint64_t end = done + pageSize * layout->parts[i].count;

        while (done < end) {
            EnclaveRegion region = {
                .address = memory->base + done,
                .size = MIN(end - done, MAX(ENCLAVE_REGION_MAX, pageSize)),
                .pageSize = pageSize,
            };

            if (regionMap(&region) < 0 ||
                (node >= 0 && (regionBind(&region, node) < 0 ||
                               regionPopulate(&region, cancel) < 0)))
                return -1;
            g_array_append_val(memory->regions, region);
            done += region.size;
        }
    }
    return 0;
}

void
enclaveMemoryUnmap(EnclaveMemory *memory)
{
    if (memory->reserved)
        munmap(memory->reserved, memory->reservedSize);
    if (memory->regions)
        g_array_unref(memory->regions);
    *memory = (EnclaveMemory){ 0 };
}
