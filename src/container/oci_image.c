/*
 * oci_image.c: a container image: its configuration and layers
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: "index.json" (oci_layout.c), else "manifest.json" (oci_docker.c) -> layers, and the
 * configuration -> ociImageApply(): each layer's file -> its digest -> unpacked -> the digest of
 * that -> rootfs_tar.c.
 */

#include "oci_internal.h"

#include <string.h>

#include "rootfs_tar.h"

#define INDEX "index.json"
#define MANIFEST "manifest.json"

#define LAYERS_MAX 500

static void
layerFree(void *opaque)
{
    OciLayer *layer = opaque;

    g_free(layer->name);
    g_free(layer->digest);
    g_free(layer->diffId);
    g_free(layer);
}

void
ociImageFree(OciImage *image)
{
    if (!image)
        return;

    g_free(image->tag);
    g_free(image->id);
    g_free(image->architecture);
    g_strfreev(image->entrypoint);
    g_strfreev(image->cmd);
    g_strfreev(image->env);
    g_free(image->workingDir);
    g_free(image->user);
    g_ptr_array_unref(image->layers);
    g_free(image);
}

int
ociImageAddLayer(OciImage *image, const char *name, const char *digest, int64_t size,
                 GError **error)
{
    OciLayer *layer;

    if (image->layers->len == LAYERS_MAX)
        return containerFail(error, CONTAINER_ERROR_LIMIT, _("the image has more than %d layers"),
                             LAYERS_MAX);

    layer = g_new0(OciLayer, 1);
    layer->name = g_strdup(name);
    layer->digest = g_strdup(digest);
    layer->size = size;
    g_ptr_array_add(image->layers, layer);
    return 0;
}

char *
ociBlobName(const char *digest)
{
    const char *colon = strchr(digest, ':');

    return g_strdup_printf("blobs/%.*s/%s", (int)(colon - digest), digest, colon + 1);
}

yajl_val
ociReadJson(OciStore *store, const char *name, const char *digest, int64_t size, bool *missing,
            GError **error)
{
    g_autofree char *what = g_strdup_printf(_("'%s' in '%s'"), name, ociStoreGetPath(store));
    g_autofree char *text = NULL;
    size_t len;

    text = ociStoreReadFile(store, name, digest, size, OCI_JSON_MAX, &len, missing, error);
    return text ? ociJsonParse(text, len, what, error) : NULL;
}

int
ociDescriptorRead(yajl_val value, const char *what, OciDescriptor *descriptor, GError **error)
{
    g_autoptr(GError) local = NULL;
    const char *digest = ociJsonGetString(value, "digest", what, &local);
    yajl_val size = ociJsonGet(value, "size");

    if (local) {
        g_propagate_error(error, g_steal_pointer(&local));
        return -1;
    }
    if (!digest || !byteSourceDigestIsValid(digest)) {
        g_autofree char *shown = containerPrintable(digest ? digest : "");

        return containerFail(error, CONTAINER_ERROR_FORMAT, _("the digest '%s' in %s is neither a "
                             "SHA-256 nor a SHA-512"), shown, what);
    }
    if (size && (!YAJL_IS_INTEGER(size) || YAJL_GET_INTEGER(size) < 0))
        return containerFail(error, CONTAINER_ERROR_FORMAT, _("the size of %s in %s is not a "
                             "number of bytes"), digest, what);

    descriptor->digest = digest;
    descriptor->size = size ? YAJL_GET_INTEGER(size) : -1;
    return 0;
}

/* Sets the digests of what the layers unpack to. */
static int
readDiffIds(OciImage *image, yajl_val config, const char *what, GError **error)
{
    g_auto(GStrv) ids = NULL;
    size_t i;

    if (ociJsonGetStrings(ociJsonGet(config, "rootfs"), "diff_ids", what, &ids, error) < 0)
        return -1;
    if ((ids ? g_strv_length(ids) : 0) != image->layers->len)
        return containerFail(error, CONTAINER_ERROR_FORMAT, _("%s has %u 'diff_ids', and the image "
                             "has %u layers"), what, ids ? g_strv_length(ids) : 0,
                             image->layers->len);

    for (i = 0; i < image->layers->len; i++) {
        OciLayer *layer = g_ptr_array_index(image->layers, i);

        if (!byteSourceDigestIsValid(ids[i])) {
            g_autofree char *shown = containerPrintable(ids[i]);

            return containerFail(error, CONTAINER_ERROR_FORMAT, _("the digest '%s' in %s is "
                                 "neither a SHA-256 nor a SHA-512"), shown, what);
        }
        layer->diffId = g_strdup(ids[i]);
    }
    return 0;
}

/* Copies the string @name of @value to *@copy. */
static int
copyString(yajl_val value, const char *name, const char *what, char **copy, GError **error)
{
    g_autoptr(GError) local = NULL;

    *copy = g_strdup(ociJsonGetString(value, name, what, &local));
    if (!local)
        return 0;
    g_propagate_error(error, g_steal_pointer(&local));
    return -1;
}

static int
readConfig(OciImage *image, yajl_val value, GError **error)
{
    const char *what = _("the image's configuration");
    yajl_val config = ociJsonGet(value, "config");
    g_autofree char *os = NULL;

    if (copyString(value, "architecture", what, &image->architecture, error) < 0 ||
        copyString(value, "os", what, &os, error) < 0 ||
        copyString(config, "WorkingDir", what, &image->workingDir, error) < 0 ||
        copyString(config, "User", what, &image->user, error) < 0 ||
        ociJsonGetStrings(config, "Entrypoint", what, &image->entrypoint, error) < 0 ||
        ociJsonGetStrings(config, "Cmd", what, &image->cmd, error) < 0 ||
        ociJsonGetStrings(config, "Env", what, &image->env, error) < 0)
        return -1;
    if (os && strcmp(os, "linux") != 0) {
        g_autofree char *shown = containerPrintable(os);

        return containerFail(error, CONTAINER_ERROR_FORMAT,
                             _("the image is for the operating system '%s', not for linux"), shown);
    }
    return readDiffIds(image, value, what, error);
}

/* The files that say what is in @store; *@index tells which of the two it is. */
static yajl_val
readFirst(OciStore *store, bool *index, GError **error)
{
    g_autoptr(GError) local = NULL;
    bool missing = false;
    yajl_val value;

    *index = true;
    if ((value = ociReadJson(store, INDEX, NULL, -1, &missing, &local)))
        return value;
    if (missing) {
        g_clear_error(&local);
        *index = false;
        if ((value = ociReadJson(store, MANIFEST, NULL, -1, &missing, &local)))
            return value;
    }
    if (missing)
        containerFail(error, CONTAINER_ERROR_FORMAT, _("'%s' is no container image: it has "
                      "neither a file '%s' nor '%s'"), ociStoreGetPath(store), INDEX, MANIFEST);
    else
        g_propagate_error(error, g_steal_pointer(&local));
    return NULL;
}

OciImage *
ociImageRead(OciStore *store, const char *tag, const char *architecture, GError **error)
{
    g_autoptr(OciImage) image = g_new0(OciImage, 1);
    bool index;
    yajl_val first;
    yajl_val config = NULL;
    int ret;

    image->layers = g_ptr_array_new_with_free_func(layerFree);
    if (!(first = readFirst(store, &index, error)))
        return NULL;
    if (index)
        ret = ociLayoutRead(store, first, tag, architecture, image, &config, error);
    else
        ret = ociDockerRead(store, first, tag, image, &config, error);
    if (ret == 0)
        ret = readConfig(image, config, error);

    yajl_tree_free(first);
    yajl_tree_free(config);
    return ret < 0 ? NULL : g_steal_pointer(&image);
}

static int
applyLayer(OciStore *store, const OciLayer *layer, unsigned int number, RootfsTree *tree,
           ContainerLimits *limits, GError **error)
{
    g_autofree char *name = containerPrintable(layer->name);
    g_autofree char *what = g_strdup_printf(_("layer '%s'"), name);
    g_autofree char *unpacked = g_strdup_printf(_("layer '%s', unpacked,"), name);
    g_autoptr(ByteSource) source = ociStoreOpenFile(store, layer->name, NULL, error);

    if (!source)
        return -1;
    if (layer->digest)
        source = byteSourceNewDigest(g_steal_pointer(&source), what, layer->digest, layer->size);
    source = byteSourceNewUnpacked(g_steal_pointer(&source), what, false, limits);
    source = byteSourceNewDigest(g_steal_pointer(&source), unpacked, layer->diffId, -1);
    return rootfsReadTar(tree, source, what, number, limits, error);
}

int
ociImageApply(OciStore *store, const OciImage *image, RootfsTree *tree, ContainerLimits *limits,
              GError **error)
{
    unsigned int i;

    for (i = 0; i < image->layers->len; i++) {
        const OciLayer *layer = g_ptr_array_index(image->layers, i);

        limits->total += (uint64_t)MAX(layer->size, 0);
    }
    for (i = 0; i < image->layers->len; i++) {
        if (applyLayer(store, g_ptr_array_index(image->layers, i), i + 1, tree, limits, error) < 0)
            return -1;
    }
    return 0;
}
