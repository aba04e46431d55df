/*
 * validate_hugepages.c: checks of the huge pages that enclave memory is made of
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One line for each NUMA node, as the memory of an enclave is on the node of its CPUs:
 * /sys/devices/system/node/nodeN/hugepages/hugepages-*kB/{nr,free}_hugepages. A kernel
 * without NUMA tells the same in /sys/kernel/mm/hugepages. Which sizes there are depends on the
 * architecture, and on aarch64 on the size of its small pages: 4, 16 or 64 KiB.
 */

#include <config.h>

#include "validate.h"
#include "virfile.h"
#include "virstring.h"

#define NODES "/sys/devices/system/node"
#define NO_NODES "/sys/kernel/mm/hugepages"
#define NODES_MAX 1024 /* the kernel's own limit */

#define PAGE_STEP_KIB 2048          /* the device takes sizes that are a multiple of this */
#define ENCLAVE_MIN_KIB (64 * 1024) /* the least memory of an enclave */

typedef struct {
    char *name;                  /* "node0"; NULL on a kernel without NUMA */
    char *dir;                   /* with its pages */
    unsigned long long reserved; /* KiB */
    unsigned long long unused;   /* KiB */
    unsigned long long least;    /* size of the smallest pages that can be had, KiB; 0: none */
    GString *text;               /* "2048 KiB: 512 of 512 free", one size after the other */
} validateNode;


static void
validateNodeFree(validateNode *node)
{
    g_free(node->name);
    g_free(node->dir);
    g_string_free(node->text, true);
    g_free(node);
}


/* Adds up the pages of the directory @name, "hugepages-2048kB". */
static void
validateNodeReadSize(validateNode *node,
                     const char *name)
{
    unsigned long long nr;
    unsigned long long nfree;
    unsigned long long size;
    char *end;

    if (!STRPREFIX(name, "hugepages-") ||
        virStrToLong_ullp(name + strlen("hugepages-"), &end, 10, &size) < 0 ||
        STRNEQ(end, "kB") || size == 0 || size % PAGE_STEP_KIB != 0)
        return;
    if (node->least == 0 || size < node->least)
        node->least = size;

    if (virFileReadValueUllongQuiet(&nr, "%s/%s/nr_hugepages", node->dir, name) < 0 ||
        virFileReadValueUllongQuiet(&nfree, "%s/%s/free_hugepages", node->dir, name) < 0 ||
        nr == 0)
        return;

    node->reserved += nr * size;
    node->unused += nfree * size;
    if (node->text->len > 0)
        g_string_append(node->text, ", ");
    g_string_append_printf(node->text, _("%llu KiB: %llu of %llu free"), size, nfree, nr);
}


/* The node @name (copied) with the pages in the directory @dir, which it takes over. */
static validateNode *
validateNodeRead(const char *name,
                 char *dir)
{
    validateNode *node = g_new0(validateNode, 1);
    g_autoptr(DIR) handle = NULL;
    struct dirent *entry;

    node->name = g_strdup(name);
    node->dir = dir;
    node->text = g_string_new(NULL);

    if (virDirOpenQuiet(&handle, dir) >= 0) {
        while (virDirRead(handle, &entry, NULL) > 0)
            validateNodeReadSize(node, entry->d_name);
    }
    if (node->text->len == 0)
        g_string_append(node->text, _("none"));
    return node;
}


/* @nodes gets all nodes, with no NUMA a single one without a name. */
static void
validateNodesRead(const char *root,
                  GPtrArray *nodes)
{
    unsigned int n;

    for (n = 0; n < NODES_MAX; n++) {
        g_autofree char *name = g_strdup_printf("node%u", n);
        g_autofree char *dir = g_strconcat(root, NODES, "/", name, "/hugepages", NULL);

        if (virFileIsDir(dir))
            g_ptr_array_add(nodes, validateNodeRead(name, g_steal_pointer(&dir)));
    }

    if (nodes->len == 0)
        g_ptr_array_add(nodes, validateNodeRead(NULL, g_strconcat(root, NO_NODES, NULL)));
}


/* How @node gets pages, the end of a sentence (g_free) */
static char *
validateNodeAdvise(const validateNode *node)
{
    if (node->least == 0)
        return g_strdup_printf(_("%s has no huge pages of a multiple of 2 MiB: boot a kernel with hugetlbfs (CONFIG_HUGETLBFS)"),
                               node->dir);
    return g_strdup_printf(_("reserve %d MiB at least with "
                             "'echo NUMBER > %s/hugepages-%llukB/nr_hugepages'"),
                           ENCLAVE_MIN_KIB / 1024, node->dir, node->least);
}


/* Prints the line of @node; @others: another node has enough for an enclave. */
static void
validateNodePrint(const validateNode *node,
                  bool others)
{
    g_autofree char *advice = validateNodeAdvise(node);

    if (node->name)
        validateCheck(VALIDATE_NITRO, _("for huge pages on %s (%s)"), node->name, node->text->str);
    else
        validateCheck(VALIDATE_NITRO, _("for huge pages (%s)"), node->text->str);

    if (node->unused >= ENCLAVE_MIN_KIB) {
        validatePass();
    } else if (node->reserved >= ENCLAVE_MIN_KIB) {
        validateWarn(_("Too few are free for another enclave, which needs %d MiB at least"),
                     ENCLAVE_MIN_KIB / 1024);
    } else if (others) {
        validateWarn(_("No enclave with CPUs of this node can start: %s"), advice);
    } else {
        validateFail(_("No enclave can start: %s"), advice);
    }
}


void
validateHugepages(const char *root)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new_with_free_func((GDestroyNotify)validateNodeFree);
    unsigned long long most = 0;
    size_t i;

    validateNodesRead(root, nodes);

    for (i = 0; i < nodes->len; i++) {
        const validateNode *node = g_ptr_array_index(nodes, i);

        most = MAX(most, node->reserved);
    }
    for (i = 0; i < nodes->len; i++)
        validateNodePrint(g_ptr_array_index(nodes, i), most >= ENCLAVE_MIN_KIB);
}
