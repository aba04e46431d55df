/*
 * nitro_uses.c: which files the running domains use, and for what
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A list of (file, domain, use): a handful for each domain, which a start walks through.
 */

#include <config.h>

#include "nitro_uses.h"
#include "virerror.h"
#include "virthread.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_ENUM_IMPL(nitroUse,
              NITRO_USE_LAST,
              "kernel", "initrd", "log", "console", "console-log", "service-log",
);

typedef struct _nitroUsesEntry nitroUsesEntry;
struct _nitroUsesEntry {
    nitroFileId id;
    char *name; /* of the domain */
    nitroUse use;
};

struct _nitroUses {
    GMutex lock;
    GArray *entries; /* of nitroUsesEntry */
};


static void
nitroUsesEntryClear(void *opaque)
{
    nitroUsesEntry *entry = opaque;

    g_free(entry->name);
}


nitroUses *
nitroUsesNew(void)
{
    nitroUses *uses = g_new0(nitroUses, 1);

    g_mutex_init(&uses->lock);
    uses->entries = g_array_new(FALSE, FALSE, sizeof(nitroUsesEntry));
    g_array_set_clear_func(uses->entries, nitroUsesEntryClear);
    return uses;
}


void
nitroUsesFree(nitroUses *uses)
{
    if (!uses)
        return;

    g_array_unref(uses->entries);
    g_mutex_clear(&uses->lock);
    g_free(uses);
}


static bool
nitroUsesIsOutput(nitroUse use)
{
    return use != NITRO_USE_KERNEL && use != NITRO_USE_INITRD;
}


/* @use in words, for errors */
static const char *
nitroUsesDescribe(nitroUse use)
{
    switch (use) {
    case NITRO_USE_KERNEL:
        return _("the image or kernel (<kernel>)");
    case NITRO_USE_INITRD:
        return _("the ramdisk (<initrd>)");
    case NITRO_USE_LOG:
        return _("the log of the domain");
    case NITRO_USE_CONSOLE:
        return _("the file of the console (<source>)");
    case NITRO_USE_CONSOLE_LOG:
        return _("the log of the console (<log>)");
    case NITRO_USE_SERVICE_LOG:
        return _("the file of a log service (<channel type='file'>)");
    case NITRO_USE_LAST:
        break;
    }
    return "";
}


/* The entry that excludes @use of the file @id, or NULL */
static const nitroUsesEntry *
nitroUsesFindConflict(const nitroUses *uses,
                      const nitroFileId *id,
                      nitroUse use)
{
    size_t i;

    for (i = 0; i < uses->entries->len; i++) {
        const nitroUsesEntry *entry = &g_array_index(uses->entries, nitroUsesEntry, i);

        if (nitroFileIdEqual(&entry->id, id) &&
            (nitroUsesIsOutput(use) || nitroUsesIsOutput(entry->use)))
            return entry;
    }
    return NULL;
}


/* Adds an entry; the lock is held. */
static void
nitroUsesAdd(nitroUses *uses,
             const char *name,
             const nitroFileId *id,
             nitroUse use)
{
    nitroUsesEntry entry = { *id, g_strdup(name), use };

    g_array_append_val(uses->entries, entry);
}


int
nitroUsesTake(nitroUses *uses,
              const char *name,
              const nitroFileId *id,
              const char *path,
              nitroUse use)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&uses->lock);
    const nitroUsesEntry *other = nitroUsesFindConflict(uses, id, use);

    if (other) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("'%s' cannot be %s of domain '%s', as it is %s of domain '%s': an output needs a file of its own"),
                       path, nitroUsesDescribe(use), name,
                       nitroUsesDescribe(other->use), other->name);
        return -1;
    }

    nitroUsesAdd(uses, name, id, use);
    return 0;
}


bool
nitroUsesHas(nitroUses *uses,
             const char *name,
             const nitroFileId *id,
             nitroUse use)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&uses->lock);
    size_t i;

    for (i = 0; i < uses->entries->len; i++) {
        const nitroUsesEntry *entry = &g_array_index(uses->entries, nitroUsesEntry, i);

        if (entry->use == use && STREQ(entry->name, name) && nitroFileIdEqual(&entry->id, id))
            return true;
    }
    return false;
}


void
nitroUsesNote(nitroUses *uses,
              const char *name,
              const nitroFileId *id,
              nitroUse use)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&uses->lock);

    nitroUsesAdd(uses, name, id, use);
}


void
nitroUsesRelease(nitroUses *uses,
                 const char *name)
{
    nitroUsesReleaseAfter(uses, name, NULL, NULL);
}


void
nitroUsesReleaseAfter(nitroUses *uses,
                      const char *name,
                      nitroUsesFunc func,
                      void *opaque)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&uses->lock);
    size_t i = 0;

    if (func)
        func(opaque);

    while (i < uses->entries->len) {
        if (STREQ(g_array_index(uses->entries, nitroUsesEntry, i).name, name))
            g_array_remove_index_fast(uses->entries, i);
        else
            i++;
    }
}
