/*
 * enclave_memory.h: the memory of an enclave, huge pages of this host
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An enclave's memory is one or more regions in a row, each of huge pages of one size. Here
 * they also follow each other in our address space, so that whoever writes the image sees
 * one buffer and no borders. Source of the rules: linux/nitro_enclaves.h,
 * NE_SET_USER_MEMORY_REGION.
 *
 * Flow: enclaveMemoryReadPools() -> enclaveMemoryPlan() -> enclaveMemoryMap() -> the image is
 * written and the regions are donated -> enclaveMemoryUnmap().
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Page sizes that one host can have */
#define ENCLAVE_PAGE_SIZES_MAX 16

/* What is donated at once, in bytes; the driver keeps lists that grow with a region */
#define ENCLAVE_REGION_MAX (256ULL << 30)

/* The huge pages of one size that a host has, or some of them */
typedef struct _EnclavePages EnclavePages;
struct _EnclavePages {
    uint64_t size;  /* of a page, bytes */
    uint64_t free;  /* pages that nobody uses or has reserved */
    uint64_t total; /* pages, those in use included */
};

/* The host's huge pages that an enclave can have, by size, largest first. */
typedef struct _EnclavePools EnclavePools;
struct _EnclavePools {
    EnclavePages pages[ENCLAVE_PAGE_SIZES_MAX];
    size_t n;
};

/* How the memory is made up: so many pages of each size, largest first. */
typedef struct _EnclaveLayout EnclaveLayout;
struct _EnclaveLayout {
    struct {
        uint64_t pageSize; /* bytes */
        uint64_t count;    /* pages, at least 1 */
    } parts[ENCLAVE_PAGE_SIZES_MAX];
    size_t nparts;
    uint64_t size; /* bytes in all: what was asked for, or more, by less than a page */
};

/* One region as it is mapped */
typedef struct _EnclaveRegion EnclaveRegion;
struct _EnclaveRegion {
    void *address;
    uint64_t size;     /* bytes */
    uint64_t pageSize; /* bytes */
};

/* The mapped memory; all zero when there is none. */
typedef struct _EnclaveMemory EnclaveMemory;
struct _EnclaveMemory {
    uint8_t *base;  /* of all regions, without gaps */
    uint64_t size;  /* bytes */
    void *reserved; /* the range of addresses that they are in */
    uint64_t reservedSize;
    GArray *regions; /* of EnclaveRegion, in the order in which they are to be donated */
};

/* The files of a host that tell which huge pages it has, opened */
typedef struct _EnclaveHost EnclaveHost;

/*
 * Opens them. @root is "", or a directory to look for /sys in; @node is the only NUMA node that
 * counts, or -1; @pageSize in bytes is the only size, or 0 for all that are multiples of 2 MiB.
 * Returns them (enclaveHostFree); never NULL.
 */
EnclaveHost *enclaveHostOpen(const char *root, int node, uint64_t pageSize);
void enclaveHostFree(EnclaveHost *host);

/* Reads which huge pages the host has now. A size that cannot be read has no pages. */
void enclaveHostReadPools(const EnclaveHost *host, EnclavePools *pools);

/*
 * Chooses pages for @size bytes out of those that are free, or out of all (@all): the
 * largest first, as many as fit into what is left; if then a rest is left, one page more, the
 * smallest that can be had.
 *
 * Returns 0 with @layout filled in, or the bytes that are missing.
 */
uint64_t enclaveMemoryPlan(const EnclavePools *pools, uint64_t size, bool all,
                           EnclaveLayout *layout);

/*
 * Maps memory as @layout says, shared, readable and writable, on NUMA node @node or, with -1,
 * wherever the kernel takes it from. The pages are the caller's from here on, but only those
 * of a given node are touched: elsewhere the kernel's reservation is enough. @cancel is
 * looked at now and then.
 *
 * Returns 0, or -1 with errno set: ENOMEM when there are too few pages after all,
 * ENODEV when the kernel has no pages of such a size, EINVAL when there is no such node,
 * ECANCELED. @memory is to be unmapped in any case.
 */
int enclaveMemoryMap(EnclaveMemory *memory, const EnclaveLayout *layout, int node,
                     const int *cancel);

/* Gives the memory back, unless an enclave has it. */
void enclaveMemoryUnmap(EnclaveMemory *memory);
