/*
 * oci_user.c: whom an image's "User" means
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source of the rules: the OCI Image Format Specification, config.md, "User".
 *
 * Flow: "user:group" -> findUser() in /etc/passwd -> the group given, or findGroups() in
 * /etc/group.
 */

#include "oci_user.h"

#include <string.h>

#define PASSWD "/etc/passwd"
#define GROUP "/etc/group"

/* Of either file, in bytes */
#define DATABASE_MAX (1024 * 1024)

/* As many as the kernel takes */
#define GROUPS_MAX 65536

void
ociUserClear(OciUser *user)
{
    if (user->groups)
        g_array_unref(user->groups);
    g_free(user->home);
}

static bool
parseNumber(const char *text, uint32_t *number)
{
    guint64 value;

    if (!text || !g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT32 - 1, &value, NULL))
        return false;
    *number = (uint32_t)value;
    return true;
}

/* The lines of the file @path of @tree, none when there is no such file; NULL with @error set */
static char **
readLines(RootfsTree *tree, const char *path, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autofree char *text = rootfsTreeReadText(tree, path, DATABASE_MAX, &local);

    if (local) {
        g_propagate_error(error, g_steal_pointer(&local));
        return NULL;
    }
    return g_strsplit(text ? text : "", "\n", -1);
}

/*
 * The line of a file like /etc/passwd whose first field is @name, or whose third is the number
 * @name; its fields (g_strfreev), at least @nfields of them, or NULL
 */
static char **
findLine(char **lines, const char *name, size_t nfields)
{
    uint32_t number = 0;
    bool isNumber = parseNumber(name, &number);
    size_t pass;
    size_t i;

    /* a name may look like a number, and comes first */
    for (pass = 0; pass < 2; pass++) {
        for (i = 0; lines[i]; i++) {
            g_auto(GStrv) fields = g_strsplit(lines[i], ":", -1);
            uint32_t id;

            if (g_strv_length(fields) < nfields || !parseNumber(fields[2], &id))
                continue;
            if (pass == 0 ? strcmp(fields[0], name) == 0 : isNumber && id == number)
                return g_steal_pointer(&fields);
        }
    }
    return NULL;
}

/* Sets uid, gid and home of @result; *@name is the user's name (g_free), or NULL. */
static int
findUser(RootfsTree *tree, const char *user, OciUser *result, char **name, GError **error)
{
    g_auto(GStrv) lines = readLines(tree, PASSWD, error);
    g_auto(GStrv) fields = NULL;

    if (!lines)
        return -1;
    if ((fields = findLine(lines, user, 6))) {
        parseNumber(fields[2], &result->uid);
        *name = g_strdup(fields[0]);
        result->home = g_strdup(fields[5][0] ? fields[5] : "/");
        if (parseNumber(fields[3], &result->gid))
            return 0;
        return containerFail(error, CONTAINER_ERROR_FORMAT, _("the user '%s' has no number of a "
                             "group in the image's /etc/passwd"), *name);
    }

    result->home = g_strdup("/");
    if (parseNumber(user, &result->uid))
        return 0;
    return containerFail(error, CONTAINER_ERROR_FORMAT, _("the image's /etc/passwd has no user "
                         "'%s'; --user names another, or its number"), user);
}

static int
findGroup(char **lines, const char *group, OciUser *result, GError **error)
{
    g_auto(GStrv) fields = findLine(lines, group, 3);

    if (fields)
        parseNumber(fields[2], &result->gid);
    else if (!parseNumber(group, &result->gid))
        return containerFail(error, CONTAINER_ERROR_FORMAT, _("the image's /etc/group has no group "
                             "'%s'; --user names another, or its number"), group);
    return 0;
}

/* The groups that @name is a member of */
static void
findGroups(char **lines, const char *name, OciUser *result)
{
    size_t i;

    for (i = 0; lines[i] && result->groups->len < GROUPS_MAX; i++) {
        g_auto(GStrv) fields = g_strsplit(lines[i], ":", -1);
        g_auto(GStrv) members = NULL;
        uint32_t id;

        if (g_strv_length(fields) < 4 || !parseNumber(fields[2], &id))
            continue;
        members = g_strsplit(fields[3], ",", -1);
        if (g_strv_contains((const char *const *)members, name) && id != result->gid)
            g_array_append_val(result->groups, id);
    }
}

int
ociUserResolve(RootfsTree *tree, const char *user, OciUser *result, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(user, ":", 2);
    const char *group = parts[0] && parts[1] && parts[1][0] ? parts[1] : NULL;
    g_autofree char *name = NULL;
    g_auto(GStrv) lines = NULL;

    result->groups = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    if (findUser(tree, parts[0] && parts[0][0] ? parts[0] : "0", result, &name, error) < 0 ||
        !(lines = readLines(tree, GROUP, error)))
        return -1;
    if (group)
        return findGroup(lines, group, result, error);
    if (name)
        findGroups(lines, name, result);
    return 0;
}
