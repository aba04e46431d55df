/*
 * nitro_pool.h: the CPU pool, from which enclaves get their CPUs
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The pool is a parameter of the kernel module nitro_enclaves. Its CPUs are offline
 * in the parent. It holds whole cores of one NUMA node, and never CPU 0 or a sibling
 * of CPU 0.
 */

#pragma once

#include "internal.h"
#include "virbitmap.h"

#define NITRO_POOL_PATH "/sys/module/nitro_enclaves/parameters/ne_cpus"

/* A snapshot: the pool can change whenever no enclave exists. */
typedef struct _nitroPool nitroPool;
struct _nitroPool {
    virBitmap *cpus;      /* empty: no pool is set, or the module is not loaded */
    unsigned int threads; /* of a core; 0: it cannot be told */
    unsigned int stride;  /* from one thread of a core to the next, in CPU ids */
    int node;             /* the NUMA node of the CPUs; -1: none, or it cannot be told */
};

/*
 * Reads the pool and what can be told about its cores. The kernel tells the topology
 * of online CPUs only, so that of the pool follows from theirs: CPU ids that it
 * numbers in the same way all over the machine, as is checked with each online CPU.
 *
 * Returns the pool (nitroPoolFree), or NULL with an error set.
 */
nitroPool *nitroPoolRead(void);
void nitroPoolFree(nitroPool *pool);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(nitroPool, nitroPoolFree);

/*
 * The threads of the core that @cpu is one of, itself included; none when it cannot
 * be told. Returns a bitmap (virBitmapFree).
 */
virBitmap *nitroPoolGetSiblings(const nitroPool *pool, unsigned int cpu);

/*
 * The NUMA node of @cpu, online or offline. Returns -1 when there is no such CPU, or
 * the kernel knows no nodes.
 */
int nitroPoolGetCpuNode(unsigned int cpu);

/*
 * Checks that the kernel module would take @cpus as its pool, now that @pool is set:
 * a pool that it refuses leaves it without any.
 *
 * Returns 0, or -1 with VIR_ERR_CONFIG_UNSUPPORTED set.
 */
int nitroPoolCheck(const nitroPool *pool, virBitmap *cpus);

/*
 * Makes @cpus the pool, after nitroPoolCheck(), unless it is that already. No enclave
 * may exist.
 *
 * Returns 0 when the kernel says that this is the pool, or -1 with an error set, which
 * says what the pool is now.
 */
int nitroPoolSet(virBitmap *cpus);
