/*
 * oci_image.h: a container image: its configuration and layers
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source of the formats: the OCI Image Format Specification (image-layout.md, image-index.md,
 * manifest.md, config.md), and "manifest.json" of what "docker save" writes.
 */

#pragma once

#include "oci_store.h"
#include "rootfs_tree.h"

typedef struct _OciLayer OciLayer;
struct _OciLayer {
    char *name;   /* in the store */
    char *digest; /* of the file, or NULL when nothing says it */
    int64_t size; /* of the file in bytes; negative when nothing says it */
    char *diffId; /* digest of what the file unpacks to */
};

typedef struct _OciImage OciImage;
struct _OciImage {
    char *tag;          /* as the store names it, or NULL */
    char *id;           /* digest of the configuration, or NULL when nothing says it */
    char *architecture; /* as Go names it: "amd64", "arm64" */
    char **entrypoint;  /* this and what follows: NULL when the configuration has none */
    char **cmd;
    char **env;
    char *workingDir;
    char *user;
    GPtrArray *layers;  /* of OciLayer, lowest first */
};

/*
 * Finds the image @tag of @store, or its only one when @tag is NULL, and reads its configuration.
 * Of an image for several architectures, the one for @architecture is taken.
 * Returns the image, or NULL with @error set.
 */
OciImage *ociImageRead(OciStore *store, const char *tag, const char *architecture, GError **error);
void ociImageFree(OciImage *image);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(OciImage, ociImageFree)

/*
 * Puts the files of all layers of @image into @tree; each digest is checked.
 * Returns 0, or -1 with @error set.
 */
int ociImageApply(OciStore *store, const OciImage *image, RootfsTree *tree,
                  ContainerLimits *limits, GError **error);
