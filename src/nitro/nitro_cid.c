/*
 * nitro_cid.c: which CIDs the enclaves of this host have
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A table from CID to the name of the domain that has it.
 */

#include <config.h>

#include "nitro_cid.h"
#include "nitro_domain_conf.h"
#include "virerror.h"
#include "virthread.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

struct _nitroCids {
    GMutex lock;
    GHashTable *names; /* GUINT_TO_POINTER(cid) to char * */
};


nitroCids *
nitroCidsNew(void)
{
    nitroCids *cids = g_new0(nitroCids, 1);

    g_mutex_init(&cids->lock);
    cids->names = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    return cids;
}


void
nitroCidsFree(nitroCids *cids)
{
    if (!cids)
        return;

    g_hash_table_unref(cids->names);
    g_mutex_clear(&cids->lock);
    g_free(cids);
}


int
nitroCidsTake(nitroCids *cids,
              const char *name,
              unsigned int *cid)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&cids->lock);
    unsigned int want = *cid;
    const char *owner;

    if (want == 0) {
        /* There are more CIDs than a host can have domains: this ends. */
        for (want = NITRO_CID_MIN; g_hash_table_contains(cids->names, GUINT_TO_POINTER(want));)
            want++;
    } else if ((owner = g_hash_table_lookup(cids->names, GUINT_TO_POINTER(want)))) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("CID %u is in use by the running domain '%s': choose another address, or <cid auto='yes'/>"),
                       want, owner);
        return -1;
    }

    g_hash_table_insert(cids->names, GUINT_TO_POINTER(want), g_strdup(name));
    *cid = want;
    return 0;
}


void
nitroCidsRelease(nitroCids *cids,
                 unsigned int cid)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&cids->lock);

    g_hash_table_remove(cids->names, GUINT_TO_POINTER(cid));
}
