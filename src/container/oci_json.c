/*
 * oci_json.c: the JSON texts of container images
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: a text -> checkText(), as what yajl makes of it is freed by a function that calls itself
 * for each level -> yajl's tree -> checkMembers() -> members of it.
 */

#include "oci_json.h"

#include <stdlib.h>
#include <string.h>

#define ERROR_MAX 256

/* Whether the string that starts behind @p has an escaped NUL; sets *@end to its last quote. */
static bool
hasNul(const char *p, const char *limit, const char **end)
{
    for (; p < limit && *p != '"'; p++) {
        if (*p != '\\')
            continue;
        if (limit - p > 5 && strncmp(p + 1, "u0000", 5) == 0)
            return true;
        p++;
    }
    *end = p;
    return false;
}

static int
checkText(const char *text, size_t len, const char *what, GError **error)
{
    const char *limit = text + len;
    const char *p;
    size_t depth = 0;

    for (p = text; p < limit; p++) {
        if (*p == '\0' || (*p == '"' && hasNul(p + 1, limit, &p)))
            return containerFail(error, CONTAINER_ERROR_FORMAT, _("%s has a NUL in it"), what);
        if (p < limit && (*p == '{' || *p == '[') && ++depth > OCI_JSON_DEPTH)
            return containerFail(error, CONTAINER_ERROR_FORMAT,
                                 _("%s is nested more than %d levels deep"), what, OCI_JSON_DEPTH);
        if (p < limit && (*p == '}' || *p == ']') && depth > 0)
            depth--;
    }
    return 0;
}

static int
compareNames(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/*
 * A name that @object has twice (g_free), or NULL. Programs in Go take names of members that differ
 * in case only for the same; with @exact these are others.
 */
static char *
findTwice(yajl_val object, bool exact)
{
    size_t n = object->u.object.len;
    g_auto(GStrv) names = g_new0(char *, n + 1);
    const char *twice = NULL;
    size_t i;

    for (i = 0; i < n; i++) {
        const char *name = object->u.object.keys[i];

        names[i] = exact ? g_strdup(name) : g_utf8_casefold(name, -1);
    }
    /* not a hash table: a text can have many names with the same hash */
    qsort(names, n, sizeof(*names), compareNames);
    for (i = 1; i < n && !twice; i++) {
        if (strcmp(names[i - 1], names[i]) == 0)
            twice = names[i];
    }
    return g_strdup(twice);
}

/* Whether the names in the member @name are not of the format, but of who has made the image */
static bool
isFree(const char *name)
{
    static const char *const names[] = { "annotations", "Labels", "ExposedPorts", "Volumes" };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(names); i++) {
        if (g_ascii_strcasecmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

/*
 * Whether no object in @value, which is the member @name of another, or "", has a member twice: of
 * two, each program takes the one it likes. Returns 0, or -1 with @error set.
 */
static int
checkMembers(yajl_val value, const char *name, const char *what, GError **error)
{
    g_autofree char *twice = YAJL_IS_OBJECT(value) ? findTwice(value, isFree(name)) : NULL;
    int ret = 0;
    size_t i;

    if (twice) {
        g_autofree char *shown = containerPrintable(twice);

        return containerFail(error, CONTAINER_ERROR_FORMAT, _("%s has '%s' twice in an object"),
                             what, shown);
    }
    for (i = 0; YAJL_IS_OBJECT(value) && ret == 0 && i < value->u.object.len; i++)
        ret = checkMembers(value->u.object.values[i], value->u.object.keys[i], what, error);
    for (i = 0; YAJL_IS_ARRAY(value) && ret == 0 && i < value->u.array.len; i++)
        ret = checkMembers(value->u.array.values[i], "", what, error);
    return ret;
}

yajl_val
ociJsonParse(const char *text, size_t len, const char *what, GError **error)
{
    g_autofree char *copy = g_strndup(text, len);
    char reason[ERROR_MAX] = "";
    yajl_val value;

    if (checkText(text, len, what, error) < 0)
        return NULL;
    if ((value = yajl_tree_parse(copy, reason, sizeof(reason)))) {
        if (checkMembers(value, "", what, error) < 0)
            g_clear_pointer(&value, yajl_tree_free);
        return value;
    }

    /* only the first line of yajl's is a reason, the others show the text */
    reason[strcspn(reason, "\n")] = '\0';
    containerFail(error, CONTAINER_ERROR_FORMAT, _("%s is not JSON: %s"), what,
                  *reason ? reason : _("it is empty"));
    return NULL;
}

yajl_val
ociJsonGet(yajl_val value, const char *name)
{
    const char *path[] = { name, NULL };

    return YAJL_IS_OBJECT(value) ? yajl_tree_get(value, path, yajl_t_any) : NULL;
}

const char *
ociJsonGetString(yajl_val value, const char *name, const char *what, GError **error)
{
    yajl_val member = ociJsonGet(value, name);

    if (!member || YAJL_IS_NULL(member))
        return NULL;
    if (YAJL_IS_STRING(member))
        return YAJL_GET_STRING(member);
    containerFail(error, CONTAINER_ERROR_FORMAT, _("'%s' in %s is not a string"), name, what);
    return NULL;
}

int
ociJsonGetStrings(yajl_val value, const char *name, const char *what, char ***list, GError **error)
{
    yajl_val member = ociJsonGet(value, name);
    size_t i;

    *list = NULL;
    if (!member || YAJL_IS_NULL(member))
        return 0;
    if (!YAJL_IS_ARRAY(member))
        return containerFail(error, CONTAINER_ERROR_FORMAT, _("'%s' in %s is not an array"), name,
                             what);

    for (i = 0; i < YAJL_GET_ARRAY(member)->len; i++) {
        if (!YAJL_IS_STRING(YAJL_GET_ARRAY(member)->values[i]))
            return containerFail(error, CONTAINER_ERROR_FORMAT,
                                 _("'%s' in %s has something else than strings"), name, what);
    }
    *list = g_new0(char *, YAJL_GET_ARRAY(member)->len + 1);
    for (i = 0; i < YAJL_GET_ARRAY(member)->len; i++)
        (*list)[i] = g_strdup(YAJL_GET_STRING(YAJL_GET_ARRAY(member)->values[i]));
    return 0;
}
