/*
 * enclavememorytest.c: which huge pages make up an enclave's memory, and how they are mapped
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Hosts are played by directories with the files of /sys that count. Mapping takes real huge
 * pages and is skipped where there are too few.
 */

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device/enclave_memory.h"
#include "image.h"

#define KIB 1024ULL
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* A host's pages in /sys: of which size, how many in all, free, reserved, on NUMA node 1 */
typedef struct {
    uint64_t size; /* KiB */
    uint64_t total;
    uint64_t unused;
    uint64_t reserved;
    uint64_t nodeTotal;
    uint64_t nodeUnused;
} HostPages;

static void
hostWrite(const char *dir, const char *name, uint64_t number)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT "\n", number);

    g_assert_cmpint(g_mkdir_with_parents(dir, 0700), ==, 0);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

/* Makes the /sys of a host with the @n sizes of @pages; returns its root. */
static char *
hostNew(const HostPages *pages, size_t n)
{
    char *root = g_dir_make_tmp("enclavememoryXXXXXX", NULL);
    size_t i;

    g_assert_nonnull(root);
    for (i = 0; i < n; i++) {
        g_autofree char *name = g_strdup_printf("hugepages-%" G_GUINT64_FORMAT "kB", pages[i].size);
        g_autofree char *all = g_build_filename(root, "sys/kernel/mm/hugepages", name, NULL);
        g_autofree char *node = g_build_filename(root, "sys/devices/system/node/node1/hugepages",
                                                 name, NULL);

        hostWrite(all, "nr_hugepages", pages[i].total);
        hostWrite(all, "free_hugepages", pages[i].unused);
        hostWrite(all, "resv_hugepages", pages[i].reserved);
        hostWrite(node, "nr_hugepages", pages[i].nodeTotal);
        hostWrite(node, "free_hugepages", pages[i].nodeUnused);
    }
    return root;
}

static void
hostFree(char *root)
{
    g_autofree char *command = g_strdup_printf("rm -r '%s'", root);

    g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
    g_free(root);
}

static void
readPools(const char *root, int node, uint64_t pageSize, EnclavePools *pools)
{
    EnclaveHost *host = enclaveHostOpen(root, node, pageSize);

    enclaveHostReadPools(host, pools);
    enclaveHostFree(host);
}

static void
testPools(void)
{
    const HostPages host[] = {
        {2048, 100, 60, 10, 50, 30},
        {1048576, 4, 3, 0, 2, 2},
        {64, 1000, 1000, 0, 0, 0}, /* no multiple of 2 MiB: not for enclaves */
        {32768, 8, 2, 5, 8, 2},    /* all of the free ones are reserved */
    };
    char *root = hostNew(host, G_N_ELEMENTS(host));
    EnclavePools pools;

    readPools(root, -1, 0, &pools);
    g_assert_cmpuint(pools.n, ==, 3);
    g_assert_cmpuint(pools.pages[0].size, ==, GIB);
    g_assert_cmpuint(pools.pages[0].free, ==, 3);
    g_assert_cmpuint(pools.pages[1].size, ==, 32 * MIB);
    g_assert_cmpuint(pools.pages[1].free, ==, 0);
    g_assert_cmpuint(pools.pages[2].size, ==, 2 * MIB);
    g_assert_cmpuint(pools.pages[2].free, ==, 50);
    g_assert_cmpuint(pools.pages[2].total, ==, 100);

    readPools(root, 1, 0, &pools);
    g_assert_cmpuint(pools.pages[0].free, ==, 2);
    g_assert_cmpuint(pools.pages[2].free, ==, 30);
    g_assert_cmpuint(pools.pages[2].total, ==, 50);

    readPools(root, -1, 2 * MIB, &pools);
    g_assert_cmpuint(pools.n, ==, 1);
    g_assert_cmpuint(pools.pages[0].free, ==, 50);

    readPools(root, 7, 0, &pools);
    g_assert_cmpuint(pools.n, ==, 3);
    g_assert_cmpuint(pools.pages[0].free, ==, 0);
    hostFree(root);

    readPools("/nonexistent", -1, 0, &pools);
    g_assert_cmpuint(pools.n, ==, 0);
}

/*
 * The sizes of huge pages that kernels for aarch64 have, largest first, with base pages of 4, 16 and
 * 64 KiB (arch/arm64/mm/hugetlbpage.c); x86_64 has two of the first kernel's. Below 2 MiB none is
 * for enclaves.
 */
static const struct {
    const char *name;
    uint64_t sizes[3];
    uint64_t tooSmall; /* 0: none */
    uint64_t least;    /* what 64 MiB become with one page of each */
} kernels[] = {
    {"4 KiB", {GIB, 32 * MIB, 2 * MIB}, 64 * KIB, GIB},
    {"16 KiB", {GIB, 32 * MIB, 2 * MIB}, 0, GIB},
    {"64 KiB", {16 * GIB, 512 * MIB, 2 * MIB}, 0, 512 * MIB},
};

static void
testKernel(gconstpointer opaque)
{
    size_t number = GPOINTER_TO_SIZE(opaque);
    HostPages host[4] = {{0}};
    const size_t n = kernels[number].tooSmall ? 4 : 3;
    g_autofree char *root = NULL;
    EnclavePools pools;
    EnclaveLayout layout;
    size_t i;

    for (i = 0; i < 3; i++)
        host[i] = (HostPages){kernels[number].sizes[i] / KIB, 4, 3, 1, 2, 1};
    host[3] = (HostPages){kernels[number].tooSmall / KIB, 1000, 1000, 0, 500, 500};
    root = hostNew(host, n);

    readPools(root, -1, 0, &pools);
    g_assert_cmpuint(pools.n, ==, 3);
    for (i = 0; i < 3; i++) {
        g_assert_cmpuint(pools.pages[i].size, ==, kernels[number].sizes[i]);
        g_assert_cmpuint(pools.pages[i].free, ==, 2);
        g_assert_cmpuint(pools.pages[i].total, ==, 4);
    }
    readPools(root, 1, 0, &pools);
    for (i = 0; i < 3; i++)
        g_assert_cmpuint(pools.pages[i].free, ==, 1);

    /* one of each, and only then a larger page than is needed */
    g_assert_cmpuint(enclaveMemoryPlan(&pools, pools.pages[0].size + pools.pages[1].size + 2 * MIB,
                                       false, &layout), ==, 0);
    g_assert_cmpuint(layout.nparts, ==, 3);
    g_assert_cmpuint(enclaveMemoryPlan(&pools, 64 * MIB, false, &layout), ==, 0);
    g_assert_cmpuint(layout.size, ==, kernels[number].least);

    /* of one size, the largest */
    readPools(root, 1, kernels[number].sizes[0], &pools);
    g_assert_cmpuint(enclaveMemoryPlan(&pools, kernels[number].sizes[0], false, &layout), ==, 0);
    g_assert_cmpuint(enclaveMemoryPlan(&pools, kernels[number].sizes[0] + 2 * MIB, false, &layout),
                     ==, 2 * MIB);
    hostFree(g_steal_pointer(&root));
}

/* Pages of 1 GiB, 32 MiB and 2 MiB that are free, a request in MiB, and what comes of it */
static const struct {
    const char *name;
    uint64_t free[3];
    uint64_t request;
    uint64_t counts[3];
    uint64_t missing; /* MiB */
} plans[] = {
    {"one size", {0, 0, 200}, 256, {0, 0, 128}, 0},
    {"exact", {0, 0, 128}, 256, {0, 0, 128}, 0},
    {"largest first", {4, 100, 2000}, 2048 + 64 + 6, {2, 2, 3}, 0},
    {"no larger than the request", {4, 0, 2000}, 1022, {0, 0, 511}, 0},
    {"rest in smaller ones", {1, 3, 2000}, 3072, {1, 3, 976}, 0},
    {"one page more", {0, 3, 2}, 64 + 6, {0, 3, 0}, 0},
    {"one page more, the smallest", {2, 3, 1}, 64 + 6, {0, 3, 0}, 0},
    {"one page more, a large one", {2, 0, 10}, 64, {1, 0, 0}, 0},
    {"nothing but large ones", {3, 0, 0}, 1026, {2, 0, 0}, 0},
    {"too few", {0, 0, 100}, 256, {0, 0, 0}, 56},
    {"too few of all", {1, 1, 1}, 2048, {0, 0, 0}, 990},
    {"none", {0, 0, 0}, 64, {0, 0, 0}, 64},
};

static void
testPlan(gconstpointer opaque)
{
    size_t number = GPOINTER_TO_SIZE(opaque);
    static const uint64_t sizes[] = {GIB, 32 * MIB, 2 * MIB};
    EnclavePools pools = {.n = 3};
    EnclaveLayout layout;
    uint64_t total = 0;
    size_t part = 0;
    size_t i;

    for (i = 0; i < 3; i++)
        pools.pages[i] = (EnclavePages){.size = sizes[i], .free = plans[number].free[i]};

    g_assert_cmpuint(enclaveMemoryPlan(&pools, plans[number].request * MIB, false, &layout), ==,
                     plans[number].missing * MIB);
    for (i = 0; i < 3; i++) {
        if (plans[number].counts[i] == 0)
            continue;
        g_assert_cmpuint(part, <, layout.nparts);
        g_assert_cmpuint(layout.parts[part].pageSize, ==, sizes[i]);
        g_assert_cmpuint(layout.parts[part].count, ==, plans[number].counts[i]);
        total += sizes[i] * plans[number].counts[i];
        part++;
    }
    g_assert_cmpuint(layout.nparts, ==, part);
    g_assert_cmpuint(layout.size, ==, total);
}

/* What is in use counts when it is asked what the host has in all. */
static void
testPlanAll(void)
{
    const EnclavePools pools = {
        .pages = {{.size = 2 * MIB, .free = 10, .total = 40}},
        .n = 1,
    };
    EnclaveLayout layout;

    g_assert_cmpuint(enclaveMemoryPlan(&pools, 64 * MIB, false, &layout), ==, 44 * MIB);
    g_assert_cmpuint(enclaveMemoryPlan(&pools, 64 * MIB, true, &layout), ==, 0);
}

/* The size of the pages at @address, as the kernel tells it */
static uint64_t
kernelPageSize(const void *address)
{
    g_autofree char *start = g_strdup_printf("%" G_GINTPTR_MODIFIER "x-", (uintptr_t)address);
    const char *word = "KernelPageSize:";
    g_autofree char *smaps = NULL;
    const char *found;

    g_assert_true(g_file_get_contents("/proc/self/smaps", &smaps, NULL, NULL));
    found = strstr(smaps, start);
    g_assert_nonnull(found);
    found = strstr(found, word);
    g_assert_nonnull(found);
    return g_ascii_strtoull(found + strlen(word), NULL, 10) * KIB;
}

/* Regions in a row without gaps, each of whole pages; returns false without huge pages. */
static bool
mapRegions(EnclaveMemory *memory)
{
    const EnclaveLayout layout = {
        .parts = {{2 * MIB, 3}, {2 * MIB, 1}, {2 * MIB, 8}},
        .nparts = 3,
        .size = 24 * MIB,
    };
    const int cancel = 0;
    uint8_t *next;
    size_t i;

    if (enclaveMemoryMap(memory, &layout, -1, &cancel) < 0) {
        g_test_skip("huge pages cannot be had");
        enclaveMemoryUnmap(memory);
        return false;
    }

    next = memory->base;
    g_assert_cmpuint(memory->regions->len, ==, 3);
    for (i = 0; i < memory->regions->len; i++) {
        const EnclaveRegion *region = &g_array_index(memory->regions, EnclaveRegion, i);

        g_assert_true(region->address == next);
        g_assert_cmpuint((uintptr_t)region->address % region->pageSize, ==, 0);
        g_assert_cmpuint(region->size, ==, layout.parts[i].count * 2 * MIB);
        next += region->size;
    }
    g_assert_cmpuint(next - memory->base, ==, memory->size);
    return true;
}

/* An EIF of 14 MiB, in a memfd, with bytes that differ from place to place */
static int
makeKernel(size_t size)
{
    int fd = memfd_create("kernel", MFD_CLOEXEC);
    g_autofree uint32_t *words = g_malloc(size);
    size_t i;

    for (i = 0; i < size / sizeof(*words); i++)
        words[i] = i * 2654435761U;
    g_assert_cmpint(write(fd, words, size), ==, size);
    return fd;
}

/* An image that crosses two borders of regions: the same bytes as in a file */
static void
testBorders(void)
{
    const uint64_t offset = 5 * MIB + 4096;
    const int cancel = 0;
    g_autoptr(EifBuilder) builder = eifBuilderNew(EIF_ARCH_X86_64);
    g_autoptr(GError) error = NULL;
    EnclaveMemory memory = {0};
    g_auto(Failure) failure = {0};
    Image image = {.initrdFd = -1, .cmdline = ""};
    g_autofree uint8_t *expected = NULL;
    int kernel;

    if (!mapRegions(&memory))
        return;
    kernel = makeKernel(14 * MIB);
    g_assert_cmpint(eifBuilderSetKernel(builder, kernel, "kernel", NULL), ==, 0);
    image.fd = memfd_create("image", MFD_CLOEXEC);
    g_assert_cmpint(eifBuilderWrite(builder, image.fd, NULL, NULL, &error), ==, 0);
    g_assert_cmpint(eifImageRead(image.fd, &image.eif, &error), ==, 0);
    image.isEif = true;
    image.size = image.eif.fileSize;

    g_assert_cmpint(imageLoad(&image, memory.base + offset, NULL, NULL, &cancel, &failure), ==, 0);
    expected = g_malloc(image.size);
    g_assert_cmpint(pread(image.fd, expected, image.size, 0), ==, image.size);
    g_assert_cmpint(memcmp(memory.base + offset, expected, image.size), ==, 0);

    /* The same, assembled on the way */
    memset(memory.base, 0, memory.size);
    g_assert_cmpint(eifBuilderWriteBuffer(builder, memory.base + offset, image.size, NULL, NULL,
                                          &error), ==, 0);
    g_assert_cmpint(memcmp(memory.base + offset, expected, image.size), ==, 0);
    g_assert_cmpuint(memory.base[offset - 1], ==, 0);
    g_assert_cmpuint(memory.base[offset + image.size], ==, 0);

    enclaveMemoryUnmap(&memory);
    close(kernel);
    close(image.fd);
}

/* A page of each size that can be had of this host's kernel, in a row, which are such pages */
static void
testSizes(void)
{
    const int cancel = 0;
    EnclaveMemory memory;
    EnclavePools pools;
    EnclaveLayout layout = {0};
    size_t i;

    readPools("", -1, 0, &pools);
    for (i = 0; i < pools.n; i++) {
        if (pools.pages[i].free == 0)
            continue;
        layout.parts[layout.nparts].pageSize = pools.pages[i].size;
        layout.parts[layout.nparts++].count = 1;
        layout.size += pools.pages[i].size;
        g_test_message("%" G_GUINT64_FORMAT " KiB", pools.pages[i].size / 1024);
    }
    if (layout.nparts == 0) {
        g_test_skip("there are no free huge pages");
        return;
    }

    g_assert_cmpint(enclaveMemoryMap(&memory, &layout, -1, &cancel), ==, 0);
    g_assert_cmpuint(memory.regions->len, ==, layout.nparts);
    for (i = 0; i < memory.regions->len; i++) {
        const EnclaveRegion *region = &g_array_index(memory.regions, EnclaveRegion, i);

        g_assert_cmpuint(region->size, ==, layout.parts[i].pageSize);
        g_assert_cmpuint((uintptr_t)region->address % region->pageSize, ==, 0);
        ((volatile uint8_t *)region->address)[0] = 1;
        ((volatile uint8_t *)region->address)[region->size - 1] = 1;
        g_assert_cmpuint(kernelPageSize(region->address), ==, region->pageSize);
    }
    enclaveMemoryUnmap(&memory);
}

/* A size of pages that no kernel has */
static void
testNoSuchSize(void)
{
    const EnclaveLayout layout = {
        .parts = {{1ULL << 45, 1}}, .nparts = 1, .size = 1ULL << 45,
    };
    const int cancel = 0;
    EnclaveMemory memory;

    g_assert_cmpint(enclaveMemoryMap(&memory, &layout, -1, &cancel), ==, -1);
    enclaveMemoryUnmap(&memory);
    g_assert_null(memory.base);
    enclaveMemoryUnmap(&memory);
}

int
main(int argc, char **argv)
{
    size_t i;

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/enclavememory/pools", testPools);
    for (i = 0; i < G_N_ELEMENTS(kernels); i++) {
        g_autofree char *path = g_strdup_printf("/enclavememory/kernel/%s", kernels[i].name);

        g_test_add_data_func(path, GSIZE_TO_POINTER(i), testKernel);
    }
    for (i = 0; i < G_N_ELEMENTS(plans); i++) {
        g_autofree char *path = g_strdup_printf("/enclavememory/plan/%s", plans[i].name);

        g_test_add_data_func(path, GSIZE_TO_POINTER(i), testPlan);
    }
    g_test_add_func("/enclavememory/plan-all", testPlanAll);
    g_test_add_func("/enclavememory/borders", testBorders);
    g_test_add_func("/enclavememory/sizes", testSizes);
    g_test_add_func("/enclavememory/no-such-size", testNoSuchSize);
    return g_test_run();
}
