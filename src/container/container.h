/*
 * container.h: what the files of this directory share, and what their user needs besides
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * This directory turns container images and root directories into ramdisks. Images are
 * hostile input: names and links in them are looked up in a tree in memory alone, and
 * contents go to a temporary file that has no name, so that nothing of an image becomes a
 * path of this machine.
 *
 * Flow: ociStoreOpen() (oci_store.h: a directory or an archive) -> ociImageRead()
 * (oci_image.h: which layers, which configuration) -> ociImageApply(), or
 * rootfsReadTar(), rootfsReadDirectory() -> a RootfsTree (rootfs_tree.h) -> cpioWrite()
 * (cpio_writer.h). Errors are GErrors of the domain CONTAINER_ERROR, one sentence each.
 */

#pragma once

#include "nitro_gettext.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    CONTAINER_ERROR_IO,     /* a file cannot be read or written */
    CONTAINER_ERROR_FORMAT, /* what is read is not what it should be */
    CONTAINER_ERROR_LIMIT,  /* it is more than is accepted */
} ContainerError;

#define CONTAINER_ERROR (containerErrorQuark())
GQuark containerErrorQuark(void);

/*
 * What one image may take, and has taken: names in archives, bytes that are unpacked from
 * archives, bytes of the contents of files, and bytes of the names.
 */
typedef struct _ContainerLimits ContainerLimits;
struct _ContainerLimits {
    uint64_t maxBytes;
    uint64_t maxEntries;
    uint64_t unpacked;
    uint64_t content;
    uint64_t entries;
    uint64_t names;

    /* Called now and then with the bytes of archives that have been read, and all; may be NULL */
    void (*progress)(uint64_t done, uint64_t total, void *opaque);
    void *opaque;
    uint64_t read;
    uint64_t total; /* 0: not known */
};

/* The default of maxEntries; for each some hundred bytes of memory are needed, and its name */
#define CONTAINER_MAX_ENTRIES 1000000

/* What all names, and the paths of links each time that one is followed, may have in bytes */
#define CONTAINER_MAX_NAMES (128 * 1024 * 1024)

/*
 * Sets @error of @code. What in the message could control a terminal is shown as a number. Returns
 * -1.
 */
int containerFail(GError **error, ContainerError code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/*
 * Count what was read for @limits; @what names it in errors, and the name, of an entry or alone, has
 * @name bytes. Each returns 0, or -1 with @error set (_LIMIT).
 */
int containerCountUnpacked(ContainerLimits *limits, uint64_t bytes, const char *what,
                           GError **error);
int containerCountContent(ContainerLimits *limits, uint64_t bytes, const char *what,
                          GError **error);
int containerCountName(ContainerLimits *limits, size_t name, const char *what, GError **error);
int containerCountEntry(ContainerLimits *limits, size_t name, const char *what, GError **error);

/*
 * @name in a form that is safe to print: valid UTF-8 without control characters, and not too
 * long (g_free).
 */
char *containerPrintable(const char *name);
