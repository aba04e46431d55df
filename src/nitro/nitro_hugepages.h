/*
 * nitro_hugepages.h: the huge pages that enclave memory is made of
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

/* The hypervisor takes pages of any size that is a multiple of this, KiB. */
#define NITRO_HUGEPAGE_STEP_KIB 2048

/* So many pages of one size */
typedef struct _nitroHugepages nitroHugepages;
struct _nitroHugepages {
    unsigned int size; /* KiB */
    unsigned long long count;
};

/*
 * Checks that @memory KiB of huge pages are free on the NUMA node @node (-1: the host
 * has none, or any will do), of the size @size KiB (0: of all sizes that can be used).
 * Pages that the kernel may add on demand (nr_overcommit_hugepages) count. It is the
 * least that a start needs: the helper finds out the rest.
 *
 * @name is the domain's, for the error. Returns 0, or -1 with an error set:
 * VIR_ERR_CONFIG_UNSUPPORTED: the host has no pages of that size;
 * VIR_ERR_OPERATION_FAILED: too few are free.
 */
int nitroHugepagesCheck(const char *name,
                        unsigned long long memory,
                        unsigned long long size,
                        int node);

/*
 * Checks that the host has huge pages of @size KiB (0: nothing to check), free or not, on any
 * node. Returns 0, or -1 with VIR_ERR_CONFIG_UNSUPPORTED set, as above.
 */
int nitroHugepagesCheckSize(const char *name, unsigned long long size);

/*
 * Sees to it that there are at least @pages on @node (-1 as above), free or in use.
 * Never takes any away. *@found is the number that there is then.
 *
 * Returns 0, or -1 with an error set when there would be fewer, or too little memory be left
 * for the host; then there are as many as before.
 */
int nitroHugepagesReserve(const nitroHugepages *pages,
                          int node,
                          unsigned long long *found);
