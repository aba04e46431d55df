/*
 * oci_layout.c: the manifest of an image in an OCI layout
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: ociLayoutRead() -> selectManifest() in the index, which can lead to another index -> the
 * manifest -> layers, and the configuration.
 */

#include "oci_internal.h"

#include <string.h>

/* Indexes behind each other */
#define INDEXES_MAX 4

#define TAG "org.opencontainers.image.ref.name"
#define NAME "io.containerd.image.name"

static const char *
getAnnotation(yajl_val descriptor, const char *name)
{
    return ociJsonGetString(ociJsonGet(descriptor, "annotations"), name, "", NULL);
}

static const char *
getTag(yajl_val descriptor)
{
    const char *tag = getAnnotation(descriptor, TAG);

    return tag ? tag : getAnnotation(descriptor, NAME);
}

static bool
hasTag(yajl_val descriptor, const char *tag)
{
    const char *names[] = { getAnnotation(descriptor, TAG), getAnnotation(descriptor, NAME) };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(names); i++) {
        if (names[i] && strcmp(names[i], tag) == 0)
            return true;
    }
    return false;
}

/* Whether @descriptor says that it is for another architecture, or for none */
static bool
isForAnother(yajl_val descriptor, const char *architecture)
{
    yajl_val platform = ociJsonGet(descriptor, "platform");
    const char *is = ociJsonGetString(platform, "architecture", "", NULL);

    return is && strcmp(is, architecture) != 0;
}

/* What there is to choose of, for messages (g_free) */
static char *
describeChoice(yajl_val manifests)
{
    GString *text = g_string_new(NULL);
    size_t i;

    for (i = 0; i < YAJL_GET_ARRAY(manifests)->len; i++) {
        yajl_val item = YAJL_GET_ARRAY(manifests)->values[i];
        yajl_val platform = ociJsonGet(item, "platform");
        const char *is = ociJsonGetString(platform, "architecture", "", NULL);
        const char *tag = getTag(item);

        g_string_append_printf(text, "%s%s%s%s%s", i > 0 ? ", " : "", tag ? tag : _("no tag"),
                               is ? " (" : "", is ? is : "", is ? ")" : "");
    }
    return g_string_free(text, FALSE);
}

/* The only descriptor of @index that @tag and @architecture leave, or NULL with @error set */
static yajl_val
selectManifest(yajl_val index, const char *tag, const char *architecture, const char *what,
               GError **error)
{
    yajl_val manifests = ociJsonGet(index, "manifests");
    g_autofree char *choice = NULL;
    g_autofree char *shown = NULL;
    yajl_val found = NULL;
    size_t count = 0;
    size_t all;
    size_t i;

    all = YAJL_IS_ARRAY(manifests) ? YAJL_GET_ARRAY(manifests)->len : 0;
    for (i = 0; i < all; i++) {
        yajl_val item = YAJL_GET_ARRAY(manifests)->values[i];

        if ((tag && !hasTag(item, tag)) || (all > 1 && isForAnother(item, architecture)))
            continue;
        found = item;
        count++;
    }
    if (count == 1)
        return found;

    choice = all > 0 ? describeChoice(manifests) : g_strdup(_("nothing"));
    shown = containerPrintable(choice);
    if (count > 1)
        containerFail(error, CONTAINER_ERROR_FORMAT, _("%s has %zu images for %s, name one by its "
                      "tag: %s"), what, count, architecture, shown);
    else
        containerFail(error, CONTAINER_ERROR_FORMAT, _("%s has no image%s%s for %s, but: %s"), what,
                      tag ? " " : "", tag ? tag : "", architecture, shown);
    return NULL;
}

/* An index, unlike a manifest, has manifests. */
static bool
isIndex(yajl_val value)
{
    return ociJsonGet(value, "manifests") != NULL;
}

/* Whether @type, which may be NULL, is one that a file which is no index (or, with @index, is one) has */
static bool
isTypeOf(const char *type, bool index)
{
    static const char *const types[][2] = {
        { "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json" },
        { "application/vnd.docker.distribution.manifest.v2+json",
          "application/vnd.docker.distribution.manifest.list.v2+json" },
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(types); i++) {
        if (g_strcmp0(type, types[i][index]) == 0)
            return true;
    }
    return false;
}

/*
 * What can be read as an index and as a manifest is one image for one program and another for the
 * next, with the same digest (CVE-2021-41190). @type is what the descriptor says of it, or NULL.
 * Returns 0, or -1 with @error set.
 */
static int
checkKind(yajl_val value, const char *type, const char *what, GError **error)
{
    bool index = isIndex(value);

    if (!(index && (ociJsonGet(value, "layers") || ociJsonGet(value, "config"))) &&
        !isTypeOf(type, !index) &&
        !isTypeOf(ociJsonGetString(value, "mediaType", what, NULL), !index))
        return 0;
    return containerFail(error, CONTAINER_ERROR_FORMAT,
                         _("%s has an index of images that is a manifest as well"), what);
}

static int
readLayers(OciImage *image, yajl_val manifest, const char *what, GError **error)
{
    yajl_val layers = ociJsonGet(manifest, "layers");
    size_t i;

    if (!YAJL_IS_ARRAY(layers))
        return containerFail(error, CONTAINER_ERROR_FORMAT, _("%s has no array 'layers'"), what);

    for (i = 0; i < YAJL_GET_ARRAY(layers)->len; i++) {
        yajl_val layer = YAJL_GET_ARRAY(layers)->values[i];
        const char *type = ociJsonGetString(layer, "mediaType", what, NULL);
        OciDescriptor descriptor;
        g_autofree char *name = NULL;

        if (ociDescriptorRead(layer, what, &descriptor, error) < 0)
            return -1;
        if (type && g_str_has_suffix(type, "+encrypted"))
            return containerFail(error, CONTAINER_ERROR_FORMAT,
                                 _("layer '%s' is encrypted, decrypt the image first"),
                                 descriptor.digest);
        name = ociBlobName(descriptor.digest);
        if (ociImageAddLayer(image, name, descriptor.digest, descriptor.size, error) < 0)
            return -1;
    }
    return 0;
}

static yajl_val
readBlob(OciStore *store, const OciDescriptor *descriptor, GError **error)
{
    g_autofree char *name = ociBlobName(descriptor->digest);

    return ociReadJson(store, name, descriptor->digest, descriptor->size, NULL, error);
}

static int
readManifest(OciStore *store, yajl_val manifest, OciImage *image, yajl_val *config, GError **error)
{
    const char *what = _("the manifest");
    OciDescriptor descriptor;

    if (readLayers(image, manifest, what, error) < 0 ||
        ociDescriptorRead(ociJsonGet(manifest, "config"), what, &descriptor, error) < 0)
        return -1;
    image->id = g_strdup(descriptor.digest);
    return (*config = readBlob(store, &descriptor, error)) ? 0 : -1;
}

int
ociLayoutRead(OciStore *store, yajl_val index, const char *tag, const char *architecture,
              OciImage *image, yajl_val *config, GError **error)
{
    g_autofree char *what = g_strdup_printf("'%s'", ociStoreGetPath(store));
    yajl_val value = index;
    size_t hops;
    int ret = -1;

    if (checkKind(index, NULL, what, error) < 0)
        return -1;
    for (hops = 0; value && isIndex(value) && hops < INDEXES_MAX; hops++) {
        /* a tag is in the first one only */
        yajl_val item = selectManifest(value, hops == 0 ? tag : NULL, architecture, what, error);
        yajl_val next = NULL;
        OciDescriptor descriptor;

        if (item && hops == 0)
            image->tag = g_strdup(getTag(item));
        if (item && ociDescriptorRead(item, what, &descriptor, error) == 0)
            next = readBlob(store, &descriptor, error);
        if (next && checkKind(next, ociJsonGetString(item, "mediaType", what, NULL), what,
                              error) < 0)
            g_clear_pointer(&next, yajl_tree_free);
        if (value != index)
            yajl_tree_free(value);
        value = next;
    }

    if (value && isIndex(value))
        containerFail(error, CONTAINER_ERROR_FORMAT,
                      _("%s leads through more than %d indexes to its image"), what, INDEXES_MAX);
    else if (value)
        ret = readManifest(store, value, image, config, error);
    if (value && value != index)
        yajl_tree_free(value);
    return ret;
}
