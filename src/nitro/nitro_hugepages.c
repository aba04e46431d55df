/*
 * nitro_hugepages.c: the huge pages that enclave memory is made of
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * virNuma's tables of page sizes -> what is free of those that can be used; and what a node
 * has free -> whether more can be taken from it.
 */

#include <config.h>

#include "nitro_hugepages.h"
#include "virbuffer.h"
#include "virerror.h"
#include "virfile.h"
#include "virnuma.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

/* The host keeps an eighth of a node's memory, and no more than this, KiB. */
#define NITRO_HUGEPAGES_RESERVE_PART 8
#define NITRO_HUGEPAGES_RESERVE_MAX (1024 * 1024)

#define NITRO_HUGEPAGES_NODE_MEMORY "/sys/devices/system/node/node%d/meminfo"
#define NITRO_HUGEPAGES_MEMORY "/proc/meminfo"

#define NITRO_HUGEPAGES_PATH "/sys/kernel/mm/hugepages/hugepages-%ukB"

/* What the host has of each size that can be used */
typedef struct _nitroHugepagesTable nitroHugepagesTable;
struct _nitroHugepagesTable {
    size_t n;
    unsigned int *sizes;      /* KiB, ascending */
    unsigned long long *free; /* numbers of pages */
};

static void
nitroHugepagesTableClear(nitroHugepagesTable *table)
{
    g_free(table->sizes);
    g_free(table->free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroHugepagesTable, nitroHugepagesTableClear);


/* How many pages of @size the kernel would still add on demand, on any node */
static unsigned long long
nitroHugepagesGetOvercommit(unsigned int size)
{
    unsigned long long most = 0;
    unsigned long long have = 0;

    if (virFileReadValueUllongQuiet(&most, NITRO_HUGEPAGES_PATH "/nr_overcommit_hugepages",
                                    size) < 0 ||
        virFileReadValueUllongQuiet(&have, NITRO_HUGEPAGES_PATH "/surplus_hugepages", size) < 0)
        return 0;
    return most > have ? most - have : 0;
}


/* Fills in @table with the sizes that can be used, and are @want when that is not 0. */
static int
nitroHugepagesRead(int node,
                   unsigned long long want,
                   nitroHugepagesTable *table)
{
    size_t n;
    size_t i;

    if (virNumaGetPages(node, &table->sizes, NULL, &table->free, &n) < 0)
        return -1;

    for (i = 0; i < n; i++) {
        unsigned int size = table->sizes[i];

        if (size % NITRO_HUGEPAGE_STEP_KIB != 0 || (want != 0 && size != want))
            continue;
        table->sizes[table->n] = size;
        table->free[table->n] = table->free[i] + nitroHugepagesGetOvercommit(size);
        table->n++;
    }
    return 0;
}


/* Fills in @table likewise, for the domain @name; that there is no such size is an error. */
static int
nitroHugepagesFind(const char *name,
                   int node,
                   unsigned long long want,
                   nitroHugepagesTable *table)
{
    if (nitroHugepagesRead(node, want, table) < 0)
        return -1;
    if (table->n > 0)
        return 0;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("domain '%s' needs huge pages of %llu MiB, and this host has none of that size: choose another <page size>"),
                   name, MAX(want, NITRO_HUGEPAGE_STEP_KIB) / 1024);
    return -1;
}


/* "3 of 2 MiB and 0 of 1024 MiB" (g_free) */
static char *
nitroHugepagesFormat(const nitroHugepagesTable *table)
{
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;
    size_t i;

    for (i = 0; i < table->n; i++)
        virBufferAsprintf(&buf, _("%s%llu of %u MiB"), i > 0 ? ", " : "",
                          table->free[i], table->sizes[i] / 1024);
    return virBufferContentAndReset(&buf);
}


int
nitroHugepagesCheckSize(const char *name,
                        unsigned long long size)
{
    g_auto(nitroHugepagesTable) table = { 0 };

    return size == 0 ? 0 : nitroHugepagesFind(name, -1, size, &table);
}


int
nitroHugepagesCheck(const char *name,
                    unsigned long long memory,
                    unsigned long long size,
                    int node)
{
    g_auto(nitroHugepagesTable) table = { 0 };
    g_autofree char *found = NULL;
    unsigned long long missing = memory;
    size_t i;

    if (nitroHugepagesFind(name, node, size, &table) < 0)
        return -1;

    for (i = 0; i < table.n; i++) {
        unsigned long long pages = VIR_DIV_UP(missing, table.sizes[i]);

        missing -= MIN(missing, MIN(pages, table.free[i]) * table.sizes[i]);
    }
    if (missing == 0)
        return 0;

    found = nitroHugepagesFormat(&table);
    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("domain '%s' needs %llu MiB of huge pages on NUMA node %d, and free are %s: reserve more with 'virsh -c nitro:///system allocpages %u %llu --cellno %d --add'"),
                   name, memory / 1024, MAX(node, 0), found, table.sizes[0],
                   VIR_DIV_UP(missing, table.sizes[0]), MAX(node, 0));
    return -1;
}


/* Adds the value, KiB, of the line of @text that has "@name:", if there is one. */
static bool
nitroHugepagesAddValue(const char *text,
                       const char *name,
                       unsigned long long *sum)
{
    g_autofree char *key = g_strdup_printf("%s:", name);
    const char *line = text;
    unsigned long long value;
    char *end; /* the unit follows */

    /* Behind "Node N " or at the beginning of the line */
    while ((line = strstr(line, key))) {
        if ((line == text || line[-1] == '\n' || line[-1] == ' ') &&
            virStrToLong_ull(line + strlen(key), &end, 10, &value) == 0) {
            *sum += value;
            return true;
        }
        line += strlen(key);
    }
    return false;
}


/*
 * What can be taken from @node, KiB: its free memory, and that which holds copies of
 * files, without what the host is to keep (@reserve). Returns 0, or -1 with an error set.
 */
static int
nitroHugepagesGetAvailable(int node,
                           unsigned long long *available,
                           unsigned long long *reserve)
{
    static const char *const copies[] = { "Active(file)", "Inactive(file)", "SReclaimable" };
    g_autofree char *path = node < 0 ? g_strdup(NITRO_HUGEPAGES_MEMORY) :
                                       g_strdup_printf(NITRO_HUGEPAGES_NODE_MEMORY, node);
    g_autofree char *text = NULL;
    unsigned long long total = 0;
    size_t i;

    *available = 0;
    if (virFileReadAll(path, 64 * 1024, &text) < 0)
        return -1;
    if (!nitroHugepagesAddValue(text, "MemTotal", &total) ||
        !nitroHugepagesAddValue(text, "MemFree", available)) {
        virReportError(VIR_ERR_INTERNAL_ERROR,
                       _("'%s' does not say how much memory is free"), path);
        return -1;
    }
    for (i = 0; i < G_N_ELEMENTS(copies); i++)
        nitroHugepagesAddValue(text, copies[i], available);

    *reserve = MIN(total / NITRO_HUGEPAGES_RESERVE_PART, NITRO_HUGEPAGES_RESERVE_MAX);
    *available -= MIN(*available, *reserve);
    return 0;
}


/* Whether @count more pages of @size KiB can be taken from @node and leave the host enough */
static int
nitroHugepagesCheckMemory(int node,
                          unsigned int size,
                          unsigned long long count)
{
    unsigned long long available;
    unsigned long long reserve;

    if (nitroHugepagesGetAvailable(node, &available, &reserve) < 0)
        return -1;
    if (count <= available / size)
        return 0;

    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("%llu more huge pages of %u MiB do not fit into the %llu MiB that can be taken from NUMA node %d: %llu MiB stay with the host"),
                   count, size / 1024, available / 1024, MAX(node, 0), reserve / 1024);
    return -1;
}


int
nitroHugepagesReserve(const nitroHugepages *pages,
                      int node,
                      unsigned long long *found)
{
    unsigned long long before = 0;
    virErrorPtr err;

    *found = 0;
    if (virNumaGetPageInfo(node, pages->size, 0, &before, NULL) < 0)
        return -1;
    *found = before;
    if (before >= pages->count)
        return 0;
    if (nitroHugepagesCheckMemory(node, pages->size, pages->count - before) < 0)
        return -1;

    if (virNumaSetPagePoolSize(node, pages->size, pages->count, false) == 0) {
        *found = pages->count;
        return 0;
    }

    /* Less than the whole serves nobody, and the host could use it. */
    virErrorPreserveLast(&err);
    ignore_value(virNumaSetPagePoolSize(node, pages->size, before, false));
    ignore_value(virNumaGetPageInfo(node, pages->size, 0, found, NULL));
    virErrorRestore(&err);
    return -1;
}
