/*
 * nitro_pool.c: the CPU pool, from which enclaves get their CPUs
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * sysfs -> nitroPool, and a list of CPUs -> checks -> sysfs.
 */

#include <config.h>

#include "nitro_cpu_list.h"
#include "nitro_pool.h"
#include "virerror.h"
#include "virfile.h"
#include "virhostcpu.h"
#include "virlog.h"
#include "virnuma.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_pool");

#define NITRO_CPU_PATH "/sys/devices/system/cpu"

void
nitroPoolFree(nitroPool *pool)
{
    if (!pool)
        return;

    virBitmapFree(pool->cpus);
    g_free(pool);
}


int
nitroPoolGetCpuNode(unsigned int cpu)
{
    int last = virNumaIsAvailable() ? virNumaGetMaxNode() : -1;
    int node;

    for (node = 0; node <= last; node++) {
        /* The link stays when the CPU goes offline; the lists of the node forget it. */
        g_autofree char *path = g_strdup_printf(NITRO_CPU_PATH "/cpu%u/node%d", cpu, node);

        if (virFileExists(path))
            return node;
    }
    return -1;
}


virBitmap *
nitroPoolGetSiblings(const nitroPool *pool,
                     unsigned int cpu)
{
    virBitmap *siblings = virBitmapNew(0);
    unsigned int block = pool->stride * pool->threads;
    unsigned int first;
    size_t i;

    if (pool->threads == 0)
        return siblings;

    /* With a stride of 1 threads are next to each other; with as many as there are
     * cores, the second threads come after all first ones. */
    first = cpu / block * block + cpu % pool->stride;
    for (i = 0; i < pool->threads; i++)
        virBitmapSetBitExpand(siblings, first + i * pool->stride);
    return siblings;
}


/* Takes all but what is in @other, too, from @bitmap, which may be the larger one. */
static void
nitroPoolIntersect(virBitmap *bitmap,
                   virBitmap *other)
{
    g_autoptr(virBitmap) surplus = virBitmapNewCopy(bitmap);

    virBitmapSubtract(surplus, other);
    virBitmapSubtract(bitmap, surplus);
}


/*
 * Takes the numbers of threads and the stride from @siblings, a core with more threads
 * than those seen so far. Returns false when its ids have no common distance.
 */
static bool
nitroPoolLearn(nitroPool *pool,
               virBitmap *siblings)
{
    ssize_t first = virBitmapNextSetBit(siblings, -1);
    ssize_t second = virBitmapNextSetBit(siblings, first);
    ssize_t last = virBitmapLastSetBit(siblings);

    pool->threads = virBitmapCountBits(siblings);
    pool->stride = second > first ? second - first : 1;
    return last == first + (ssize_t)(pool->threads - 1) * pool->stride;
}


/* Whether each core of @online, and the pool, is numbered as @pool says */
static bool
nitroPoolVerify(const nitroPool *pool,
                virBitmap *online)
{
    ssize_t cpu = -1;

    while ((cpu = virBitmapNextSetBit(online, cpu)) >= 0) {
        g_autoptr(virBitmap) siblings = virHostCPUGetSiblingsList(cpu);
        g_autoptr(virBitmap) expected = nitroPoolGetSiblings(pool, cpu);

        /* Threads that are offline are missing in the kernel's list. */
        nitroPoolIntersect(expected, online);
        if (!siblings || !virBitmapEqual(expected, siblings))
            return false;
    }

    while ((cpu = virBitmapNextSetBit(pool->cpus, cpu)) >= 0) {
        g_autoptr(virBitmap) expected = nitroPoolGetSiblings(pool, cpu);

        virBitmapSubtract(expected, pool->cpus);
        if (!virBitmapIsAllClear(expected))
            return false;
    }
    return true;
}


/* Fills in threads and stride. The core of CPU 0 is online always, and whole. */
static int
nitroPoolReadTopology(nitroPool *pool)
{
    g_autoptr(virBitmap) online = virHostCPUGetOnlineBitmap();
    ssize_t cpu = -1;

    if (!online)
        return -1;

    while ((cpu = virBitmapNextSetBit(online, cpu)) >= 0) {
        g_autoptr(virBitmap) siblings = virHostCPUGetSiblingsList(cpu);

        if (!siblings)
            return -1;
        if (virBitmapCountBits(siblings) > pool->threads && !nitroPoolLearn(pool, siblings))
            break;
    }

    if (cpu >= 0 || !nitroPoolVerify(pool, online)) {
        VIR_INFO("The numbers of the CPUs do not tell which of the pool share a core");
        pool->threads = pool->stride = 0;
    }
    return 0;
}


static void
nitroPoolReadNode(nitroPool *pool)
{
    ssize_t cpu = virBitmapNextSetBit(pool->cpus, -1);

    pool->node = cpu >= 0 ? nitroPoolGetCpuNode(cpu) : -1;
}


/* Returns the CPUs of the pool @text, or NULL with an error set. */
static virBitmap *
nitroPoolParse(const char *text)
{
    g_autoptr(virBitmap) present = virHostCPUGetPresentBitmap();
    g_autofree char *list = NULL;

    if (!present)
        return NULL;

    if (!(list = nitroCpuListExpand(text, virBitmapLastSetBit(present)))) {
        virReportError(VIR_ERR_INTERNAL_ERROR, _("'%s' is no list of CPUs: '%s'"),
                       NITRO_POOL_PATH, text);
        return NULL;
    }
    return *list ? virBitmapParseUnlimited(list) : virBitmapNew(0);
}


nitroPool *
nitroPoolRead(void)
{
    g_autoptr(nitroPool) pool = g_new0(nitroPool, 1);
    g_autofree char *text = NULL;

    /* Without the module there is no such file. */
    if (virFileReadValueString(&text, NITRO_POOL_PATH) == -1 ||
        !(pool->cpus = nitroPoolParse(text ? text : "")))
        return NULL;

    nitroPoolReadNode(pool);
    if (nitroPoolReadTopology(pool) < 0)
        return NULL;
    return g_steal_pointer(&pool);
}


/* One CPU of a new pool. Returns 0, or -1 with an error set. */
static int
nitroPoolCheckCpu(const nitroPool *pool,
                  virBitmap *cpus,
                  virBitmap *present,
                  unsigned int cpu)
{
    g_autoptr(virBitmap) siblings = nitroPoolGetSiblings(pool, cpu);
    g_autofree char *hotplug = g_strdup_printf(NITRO_CPU_PATH "/cpu%u/online", cpu);
    g_autofree char *text = virBitmapFormat(siblings);
    int node = nitroPoolGetCpuNode(cpu);
    int first = nitroPoolGetCpuNode(virBitmapNextSetBit(cpus, -1));

    if (!virBitmapIsBitSet(present, cpu)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("CPU %u cannot be in the CPU pool: this host has no such CPU"), cpu);
        return -1;
    }
    if (cpu == 0 || virBitmapIsBitSet(siblings, 0) || !virFileExists(hotplug)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("CPU %u cannot be in the CPU pool: CPU 0, the CPUs that share its core, and those that cannot go offline stay with the host"),
                       cpu);
        return -1;
    }
    if (node != first) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("the CPU pool must be of one NUMA node: CPU %u is of node %d, CPU %zd of node %d"),
                       cpu, node, virBitmapNextSetBit(cpus, -1), first);
        return -1;
    }

    virBitmapSubtract(siblings, cpus);
    if (!virBitmapIsAllClear(siblings)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("the CPU pool must be of whole cores: CPU %u needs all of CPUs %s in it"),
                       cpu, text);
        return -1;
    }
    return 0;
}


int
nitroPoolCheck(const nitroPool *pool,
               virBitmap *cpus)
{
    g_autoptr(virBitmap) present = virHostCPUGetPresentBitmap();
    ssize_t cpu = -1;

    if (!present)
        return -1;

    if (virBitmapIsAllClear(cpus)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("the CPU pool must have a CPU at least"));
        return -1;
    }
    if (pool->threads == 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("the numbers of the CPUs do not tell which share a core: set the CPU pool by hand"));
        return -1;
    }

    while ((cpu = virBitmapNextSetBit(cpus, cpu)) >= 0) {
        if (nitroPoolCheckCpu(pool, cpus, present, cpu) < 0)
            return -1;
    }
    return 0;
}


/* The write has failed: says so, and what the pool is now. */
static void
nitroPoolReportRefused(const char *list,
                       int err)
{
    g_autoptr(nitroPool) now = nitroPoolRead();
    g_autofree char *have = now ? virBitmapFormat(now->cpus) : NULL;

    if (err == EPERM && now && !virBitmapIsAllClear(now->cpus))
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("the CPU pool stays %s and does not become %s: it cannot change while there are enclaves, and root alone can change it"),
                       have, list);
    else
        virReportSystemError(err, _("cannot make %s the CPU pool by '%s'; it is now: %s"),
                             list, NITRO_POOL_PATH, have && *have ? have : _("empty"));
}


int
nitroPoolSet(virBitmap *cpus)
{
    g_autoptr(nitroPool) before = nitroPoolRead();
    g_autoptr(nitroPool) after = NULL;
    g_autofree char *list = virBitmapFormat(cpus);

    if (!before)
        return -1;
    if (!virFileExists(NITRO_POOL_PATH)) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("there is no '%s' to set the CPU pool by: load the kernel module nitro_enclaves"),
                       NITRO_POOL_PATH);
        return -1;
    }
    if (virBitmapEqual(before->cpus, cpus))
        return 0;
    if (nitroPoolCheck(before, cpus) < 0)
        return -1;

    if (virFileWriteStr(NITRO_POOL_PATH, list, 0) < 0) {
        nitroPoolReportRefused(list, errno);
        return -1;
    }
    if (!(after = nitroPoolRead()))
        return -1;
    if (!virBitmapEqual(after->cpus, cpus)) {
        nitroPoolReportRefused(list, EIO);
        return -1;
    }
    return 0;
}
