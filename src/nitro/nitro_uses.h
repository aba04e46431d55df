/*
 * nitro_uses.h: which files the running domains use, and for what
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An output must have a file of its own: written to twice it is of no use, and an image that
 * is one is lost. Files are told apart by device and inode, so that their names do not
 * matter.
 */

#pragma once

#include "nitro_file.h"
#include "virenum.h"

/* What a file is to a domain; the order of nitroUse's texts */
typedef enum {
    NITRO_USE_KERNEL,      /* <kernel>: only read */
    NITRO_USE_INITRD,      /* <initrd>: only read */
    NITRO_USE_LOG,         /* the domain's log */
    NITRO_USE_CONSOLE,     /* <console type='file'> */
    NITRO_USE_CONSOLE_LOG, /* <log> of the console */
    NITRO_USE_SERVICE_LOG, /* <channel type='file'> */

    NITRO_USE_LAST
} nitroUse;

/* Names for files of the driver's own, not for people */
VIR_ENUM_DECL(nitroUse);

/* Self-locking */
typedef struct _nitroUses nitroUses;

/* Returns a new register; never NULL. */
nitroUses *nitroUsesNew(void);
void nitroUsesFree(nitroUses *uses);

/*
 * Notes that the domain @name uses the file @id, with the path @path, as @use. Files that
 * are only read can be used by many.
 *
 * Returns 0, or -1 with VIR_ERR_CONFIG_UNSUPPORTED set, which names both uses, when the file is an
 * output and used already, by this domain or another one, or the other way round.
 */
int nitroUsesTake(nitroUses *uses,
                  const char *name,
                  const nitroFileId *id,
                  const char *path,
                  nitroUse use);

/* Whether the domain @name uses the file @id as @use. */
bool nitroUsesHas(nitroUses *uses, const char *name, const nitroFileId *id, nitroUse use);

/* The domain @name runs and uses the file @id already, whoever else does: that is noted. */
void nitroUsesNote(nitroUses *uses, const char *name, const nitroFileId *id, nitroUse use);

/* Forgets all that the domain @name uses. */
void nitroUsesRelease(nitroUses *uses, const char *name);

/*
 * The same after @func, which may remove files of the domain: nobody else takes a file meanwhile. A new
 * one may be given the number (inode) of a removed one, which must not be in the register then. @func
 * does not use the register.
 */
typedef void (*nitroUsesFunc)(void *opaque);
void nitroUsesReleaseAfter(nitroUses *uses,
                           const char *name,
                           nitroUsesFunc func,
                           void *opaque);
