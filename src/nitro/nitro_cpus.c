/*
 * nitro_cpus.c: which CPUs of the pool the enclaves of this daemon have
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A table from the name of a domain to its CPUs, or to their number when the
 * hypervisor chooses them.
 */

#include <config.h>

#include "nitro_cpus.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

/* How long the memory and the CPUs of an enclave may take to come back, microseconds */
#define NITRO_CPUS_RETURN (3 * G_USEC_PER_SEC)

/* What one domain has */
typedef struct _nitroCpusShare nitroCpusShare;
struct _nitroCpusShare {
    virBitmap *cpus;    /* empty: the hypervisor chooses */
    unsigned int count;
};

struct _nitroCpus {
    GMutex lock;
    GHashTable *shares; /* char * to nitroCpusShare * */
    gint64 released;    /* when, g_get_monotonic_time(); 0: never */
};


static void
nitroCpusShareFree(void *opaque)
{
    nitroCpusShare *share = opaque;

    virBitmapFree(share->cpus);
    g_free(share);
}


nitroCpus *
nitroCpusNew(void)
{
    nitroCpus *cpus = g_new0(nitroCpus, 1);

    g_mutex_init(&cpus->lock);
    cpus->shares = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, nitroCpusShareFree);
    return cpus;
}


void
nitroCpusFree(nitroCpus *cpus)
{
    if (!cpus)
        return;

    g_hash_table_unref(cpus->shares);
    g_mutex_clear(&cpus->lock);
    g_free(cpus);
}


static nitroCpusShare *
nitroCpusShareNew(const virDomainDef *def)
{
    nitroCpusShare *share = g_new0(nitroCpusShare, 1);
    size_t ncpus;
    g_autofree unsigned int *ids = nitroDomainDefGetCpus(def, &ncpus);
    size_t i;

    share->cpus = virBitmapNew(0);
    share->count = ids ? ncpus : virDomainDefGetVcpus(def);
    for (i = 0; i < ncpus; i++)
        virBitmapSetBitExpand(share->cpus, ids[i]);
    return share;
}


/* What can be said without a look at other domains */
static int
nitroCpusCheckPool(const nitroPool *pool,
                   const virDomainDef *def,
                   const nitroCpusShare *share)
{
    size_t size = virBitmapCountBits(pool->cpus);
    g_autofree char *list = virBitmapFormat(pool->cpus);
    ssize_t cpu = -1;

    if (size == 0) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("there is no CPU pool for enclaves on this host: set one, in nitro.conf or by writing a list of CPUs to '%s'"),
                       NITRO_POOL_PATH);
        return -1;
    }
    if (share->count > size) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("domain '%s' has %u vCPUs, but the CPU pool has %zu CPUs (%s): reduce <vcpu>, or set a larger pool"),
                       def->name, share->count, size, list);
        return -1;
    }
    while ((cpu = virBitmapNextSetBit(share->cpus, cpu)) >= 0) {
        if (!virBitmapIsBitSet(pool->cpus, cpu)) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("CPU %zd of domain '%s' is not in the CPU pool, which is %s: choose others, or leave 'cpuset' out"),
                           cpu, def->name, list);
            return -1;
        }
    }
    return 0;
}


/* An enclave has whole cores, so that nobody else runs on a sibling of its CPUs. */
static int
nitroCpusCheckCores(const nitroPool *pool,
                    const virDomainDef *def,
                    const nitroCpusShare *share)
{
    ssize_t cpu = -1;

    if (pool->threads < 2)
        return 0;

    if (share->count % pool->threads != 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("domain '%s' has %u vCPUs, but an enclave has whole cores, and a core of this host has %u threads: use a multiple of %u for <vcpu>"),
                       def->name, share->count, pool->threads, pool->threads);
        return -1;
    }
    while ((cpu = virBitmapNextSetBit(share->cpus, cpu)) >= 0) {
        g_autoptr(virBitmap) missing = nitroPoolGetSiblings(pool, cpu);

        virBitmapSubtract(missing, share->cpus);
        if (!virBitmapIsAllClear(missing)) {
            g_autofree char *list = virBitmapFormat(missing);

            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("domain '%s' has CPU %zd without CPU %s of the same core: an enclave has whole cores"),
                           def->name, cpu, list);
            return -1;
        }
    }
    return 0;
}


/* The lock is held. */
static int
nitroCpusCheckFree(nitroCpus *cpus,
                   const nitroPool *pool,
                   const virDomainDef *def,
                   const nitroCpusShare *share)
{
    size_t size = virBitmapCountBits(pool->cpus);
    size_t used = 0;
    GHashTableIter iter;
    const char *name;
    nitroCpusShare *other;

    g_hash_table_iter_init(&iter, cpus->shares);
    while (g_hash_table_iter_next(&iter, (void **)&name, (void **)&other)) {
        if (STREQ(name, def->name))
            continue;
        used += other->count;
        if (virBitmapOverlaps(other->cpus, share->cpus)) {
            g_autofree char *list = virBitmapFormat(other->cpus);

            virReportError(VIR_ERR_OPERATION_FAILED,
                           _("domain '%s' asks for CPUs that the running domain '%s' has: choose others than %s"),
                           def->name, name, list);
            return -1;
        }
    }

    if (share->count + used > size) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("domain '%s' needs %u CPUs, but of the %zu in the CPU pool the running domains have %zu: end one of them, or set a larger pool when none runs"),
                       def->name, share->count, size, used);
        return -1;
    }
    return 0;
}


/* The lock is held. */
static int
nitroCpusCheckShare(nitroCpus *cpus,
                    const nitroPool *pool,
                    const virDomainDef *def,
                    const nitroCpusShare *share)
{
    if (nitroCpusCheckPool(pool, def, share) < 0 ||
        nitroCpusCheckCores(pool, def, share) < 0 ||
        nitroCpusCheckFree(cpus, pool, def, share) < 0)
        return -1;
    return 0;
}


int
nitroCpusCheck(nitroCpus *cpus,
               const nitroPool *pool,
               const virDomainDef *def)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&cpus->lock);
    nitroCpusShare *share = nitroCpusShareNew(def);
    int rc = nitroCpusCheckShare(cpus, pool, def, share);

    nitroCpusShareFree(share);
    return rc;
}


int
nitroCpusTake(nitroCpus *cpus,
              const nitroPool *pool,
              const virDomainDef *def)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&cpus->lock);
    nitroCpusShare *share = nitroCpusShareNew(def);

    if (nitroCpusCheckShare(cpus, pool, def, share) < 0) {
        nitroCpusShareFree(share);
        return -1;
    }
    g_hash_table_insert(cpus->shares, g_strdup(def->name), share);
    return 0;
}


void
nitroCpusNote(nitroCpus *cpus,
              const virDomainDef *def)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&cpus->lock);

    g_hash_table_insert(cpus->shares, g_strdup(def->name), nitroCpusShareNew(def));
}


void
nitroCpusNoteIds(nitroCpus *cpus,
                 const char *name,
                 const unsigned int *ids,
                 size_t nids)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&cpus->lock);
    nitroCpusShare *share = g_new0(nitroCpusShare, 1);
    size_t i;

    share->cpus = virBitmapNew(0);
    share->count = nids;
    for (i = 0; i < nids; i++)
        virBitmapSetBitExpand(share->cpus, ids[i]);
    g_hash_table_insert(cpus->shares, g_strdup(name), share);
}


void
nitroCpusRelease(nitroCpus *cpus,
                 const char *name)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&cpus->lock);

    if (g_hash_table_remove(cpus->shares, name))
        cpus->released = g_get_monotonic_time();
}


bool
nitroCpusReleasedLately(nitroCpus *cpus)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&cpus->lock);

    return cpus->released != 0 &&
           g_get_monotonic_time() - cpus->released < NITRO_CPUS_RETURN;
}
