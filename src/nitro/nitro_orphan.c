/*
 * nitro_orphan.c: enclaves of an earlier daemon whose status was lost
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An enclave whose status file is gone or cannot be read has no definition: nobody
 * could see it, and it would keep its CPUs and memory for ever. The directory that it
 * runs in is left, and in it the pid file that its helper holds a lock on.
 */

#include <config.h>

#include <unistd.h>

#include "nitro_domain.h"
#include "nitro_orphan.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virpidfile.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_DOMAIN

VIR_LOG_INIT("nitro.nitro_orphan");

#define NITRO_ORPHAN_DIR_PREFIX "domain-"


/* What of the state directory belongs to domains: names of files and directories */
struct nitroOrphanKnown {
    nitroDriver *driver;
    GHashTable *names;
};

static int
nitroOrphanNoteKnown(virDomainObj *vm,
                     void *opaque)
{
    struct nitroOrphanKnown *known = opaque;
    VIR_LOCK_GUARD lock = virObjectLockGuard(vm);
    g_autofree char *dir = nitroDomainGetRunDir(known->driver, vm->def);

    g_hash_table_add(known->names, g_path_get_basename(dir));
    g_hash_table_add(known->names, g_strdup_printf("%s.xml", vm->def->name));
    return 0;
}


static void
nitroOrphanEnd(const char *dir)
{
    g_autofree char *pidfile = g_strdup_printf("%s/pid", dir);

    VIR_ERROR(_("'%s' belongs to no domain whose status can be read: what runs there is ended"), dir);
    /* kills it only if it still holds the lock */
    if (virFileExists(pidfile) && virPidFileForceCleanupPath(pidfile) < 0)
        VIR_ERROR(_("cannot end the helper of '%s': %s"), pidfile, virGetLastErrorMessage());
    if (nitroDomainRemoveRunDir(dir) < 0)
        VIR_ERROR(_("cannot remove '%s': %s"), dir, virGetLastErrorMessage());
}


void
nitroOrphanRemoveAll(nitroDriver *driver)
{
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    struct nitroOrphanKnown known = { driver, names };
    g_autoptr(DIR) dir = NULL;
    struct dirent *entry;

    if (virDirOpen(&dir, driver->config->stateDir) < 0) {
        VIR_ERROR(_("cannot look for enclaves of an earlier daemon: %s"), virGetLastErrorMessage());
        return;
    }
    virDomainObjListForEach(driver->domains, false, nitroOrphanNoteKnown, &known);

    while (virDirRead(dir, &entry, NULL) > 0) {
        g_autofree char *path = g_strdup_printf("%s/%s", driver->config->stateDir, entry->d_name);

        if (g_hash_table_contains(names, entry->d_name))
            continue;
        if (STRPREFIX(entry->d_name, NITRO_ORPHAN_DIR_PREFIX)) {
            nitroOrphanEnd(path);
        } else if (virStringHasSuffix(entry->d_name, ".xml") && unlink(path) < 0) {
            VIR_ERROR(_("cannot remove '%s': %s"), path, g_strerror(errno));
        }
    }
}
