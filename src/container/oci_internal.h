/*
 * oci_internal.h: what the files that read container images share
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "oci_image.h"
#include "oci_json.h"

/* A file of the store as another one describes it */
typedef struct _OciDescriptor OciDescriptor;
struct _OciDescriptor {
    const char *digest; /* of the JSON value; valid */
    int64_t size;       /* bytes; negative when it is not said */
};

/*
 * Reads the descriptor @value of a manifest or index; @what names where it is. Returns 0, or -1
 * with @error set.
 */
int ociDescriptorRead(yajl_val value, const char *what, OciDescriptor *descriptor, GError **error);

/* The name of the file with the valid @digest in an OCI layout (g_free) */
char *ociBlobName(const char *digest);

/*
 * Reads the JSON file @name; its digest must be @digest and its size @size, unless these are NULL
 * and negative. Returns the value (yajl_tree_free()), or NULL with @error set, or with *@missing
 * set as well.
 */
yajl_val ociReadJson(OciStore *store, const char *name, const char *digest, int64_t size,
                     bool *missing, GError **error);

/*
 * Adds a layer to @image, all strings copied. Returns 0, or -1 with @error set (_LIMIT): container
 * engines have a limit of 128 themselves.
 */
int ociImageAddLayer(OciImage *image, const char *name, const char *digest, int64_t size,
                     GError **error);

/*
 * Reads the manifest that the "index.json" in @index, or what that leads to, has for @tag and
 * @architecture: @image gets its layers, and *@config the configuration (yajl_tree_free()).
 * Returns 0, or -1 with @error set.
 */
int ociLayoutRead(OciStore *store, yajl_val index, const char *tag, const char *architecture,
                  OciImage *image, yajl_val *config, GError **error);

/* As that, for "manifest.json" in @manifest, of an archive by Docker. */
int ociDockerRead(OciStore *store, yajl_val manifest, const char *tag, OciImage *image,
                  yajl_val *config, GError **error);
