/*
 * oci_store.h: the files of a container image: an OCI layout, or an archive of one
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Names are those in the layout, e.g. "blobs/sha256/..." or, in what Docker writes,
 * "manifest.json". An archive is read where it is: for each file it is gone through from its
 * start, in leaps when it is not compressed.
 */

#pragma once

#include "byte_source.h"

typedef struct _OciStore OciStore;

/*
 * Opens the directory or archive @path. Returns it, to close with ociStoreClose(), or NULL with
 * @error set (_IO, _FORMAT).
 */
OciStore *ociStoreOpen(const char *path, ContainerLimits *limits, GError **error);
void ociStoreClose(OciStore *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(OciStore, ociStoreClose)

/* The path it was opened by; owned by @store */
const char *ociStoreGetPath(const OciStore *store);

/*
 * Opens the file @name; in an archive links to other files of it are followed. At most one file
 * of an archive is open. *@missing is set when there is no such file; it may be NULL.
 * Returns a source to free before @store is closed, or NULL with @error set.
 */
ByteSource *ociStoreOpenFile(OciStore *store, const char *name, bool *missing, GError **error);

/*
 * Reads the file @name of at most @max bytes; its digest has to be @digest, and its size @size,
 * unless these are NULL and negative. Without a digest, an archive must have it only once. Returns its content with a NUL behind it (g_free) and sets
 * *@len, or NULL with @error set.
 */
char *ociStoreReadFile(OciStore *store, const char *name, const char *digest, int64_t size,
                       size_t max, size_t *len, bool *missing, GError **error);
