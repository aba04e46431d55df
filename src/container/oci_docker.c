/*
 * oci_docker.c: the manifest of an image in an archive that Docker has written
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * "manifest.json" is an array of objects with "Config" and "Layers", names of files of the
 * archive, and "RepoTags". No digest of a layer's file is there: what it unpacks to has one in the
 * configuration, whose own is its name.
 *
 * Flow: ociDockerRead() -> selectImage() -> layers, and the configuration.
 */

#include "oci_internal.h"

#include <string.h>

#define JSON_SUFFIX ".json"

/* Whether @name, e.g. "registry/hello:1.0", is meant by @tag: the same, or "1.0" */
static bool
isMeant(const char *name, const char *tag)
{
    const char *colon = strrchr(name, ':');

    return strcmp(name, tag) == 0 || (colon && strcmp(colon + 1, tag) == 0);
}

static bool
anyIsMeant(char **names, const char *tag)
{
    size_t i;

    for (i = 0; names && names[i]; i++) {
        if (isMeant(names[i], tag))
            return true;
    }
    return false;
}

/* The only image that @tag leaves, its first name in *@name (g_free); or NULL with @error set */
static yajl_val
selectImage(yajl_val manifest, const char *tag, const char *what, char **name, GError **error)
{
    size_t all = YAJL_IS_ARRAY(manifest) ? YAJL_GET_ARRAY(manifest)->len : 0;
    g_autofree char *shown = NULL;
    GString *choice = g_string_new(NULL);
    yajl_val found = NULL;
    size_t count = 0;
    size_t i;

    for (i = 0; i < all; i++) {
        yajl_val item = YAJL_GET_ARRAY(manifest)->values[i];
        g_auto(GStrv) names = NULL;
        const char *first;

        ociJsonGetStrings(item, "RepoTags", what, &names, NULL);
        first = names && names[0] ? names[0] : NULL;
        g_string_append_printf(choice, "%s%s", i > 0 ? ", " : "", first ? first : _("no tag"));
        if (tag && !anyIsMeant(names, tag))
            continue;
        g_free(*name);
        *name = g_strdup(first);
        found = item;
        count++;
    }

    shown = containerPrintable(choice->len > 0 ? choice->str : _("nothing"));
    g_string_free(choice, TRUE);
    if (count == 1)
        return found;
    if (count > 1)
        containerFail(error, CONTAINER_ERROR_FORMAT,
                      _("%s has %zu images, name one by its tag: %s"), what, count, shown);
    else
        containerFail(error, CONTAINER_ERROR_FORMAT, _("%s has no image%s%s, but: %s"), what,
                      tag ? " " : "", tag ? tag : "", shown);
    return NULL;
}

/* The digest that the configuration's name says, or NULL: "DIGITS.json", "blobs/sha256/DIGITS" */
static char *
getId(const char *name)
{
    g_autofree char *base = g_path_get_basename(name);
    g_autofree char *digest = NULL;

    if (g_str_has_suffix(base, JSON_SUFFIX))
        base[strlen(base) - strlen(JSON_SUFFIX)] = '\0';
    digest = g_strconcat("sha256:", base, NULL);
    return byteSourceDigestIsValid(digest) ? g_steal_pointer(&digest) : NULL;
}

int
ociDockerRead(OciStore *store, yajl_val manifest, const char *tag, OciImage *image,
              yajl_val *config, GError **error)
{
    g_autofree char *what = g_strdup_printf("'%s'", ociStoreGetPath(store));
    yajl_val item = selectImage(manifest, tag, what, &image->tag, error);
    g_autoptr(GError) local = NULL;
    g_auto(GStrv) layers = NULL;
    const char *name;
    size_t i;

    if (!item)
        return -1;
    name = ociJsonGetString(item, "Config", what, &local);
    if (!name && !local)
        containerFail(&local, CONTAINER_ERROR_FORMAT, _("%s names no configuration"), what);
    if (!local)
        ociJsonGetStrings(item, "Layers", what, &layers, &local);
    if (local) {
        g_propagate_error(error, g_steal_pointer(&local));
        return -1;
    }

    for (i = 0; layers && layers[i]; i++) {
        if (ociImageAddLayer(image, layers[i], NULL, -1, error) < 0)
            return -1;
    }
    image->id = getId(name);
    *config = ociReadJson(store, name, image->id, -1, NULL, error);
    return *config ? 0 : -1;
}
