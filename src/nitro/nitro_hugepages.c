/*
 * nitro_hugepages.c: the huge pages that enclave memory is made of
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * virNuma's tables of page sizes -> what is free of those that can be used.
 */

#include <config.h>

#include "nitro_hugepages.h"
#include "virbuffer.h"
#include "virerror.h"
#include "virfile.h"
#include "virnuma.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

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
                   unsigned int want,
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
nitroHugepagesCheck(const char *name,
                    unsigned long long memory,
                    unsigned int size,
                    int node)
{
    g_auto(nitroHugepagesTable) table = { 0 };
    g_autofree char *found = NULL;
    unsigned long long missing = memory;
    size_t i;

    if (nitroHugepagesRead(node, size, &table) < 0)
        return -1;

    if (table.n == 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("domain '%s' needs huge pages of %u MiB, and this host has none of that size: choose another <page size>"),
                       name, MAX(size, NITRO_HUGEPAGE_STEP_KIB) / 1024);
        return -1;
    }

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


int
nitroHugepagesReserve(const nitroHugepages *pages,
                      int node,
                      unsigned long long *found)
{
    int rc = 0;

    *found = 0;
    if (virNumaGetPageInfo(node, pages->size, 0, found, NULL) < 0)
        return -1;
    if (*found >= pages->count)
        return 0;

    rc = virNumaSetPagePoolSize(node, pages->size, pages->count, false);
    if (rc < 0) {
        virErrorPtr err;

        virErrorPreserveLast(&err);
        ignore_value(virNumaGetPageInfo(node, pages->size, 0, found, NULL));
        virErrorRestore(&err);
        return -1;
    }
    *found = pages->count;
    return 0;
}
