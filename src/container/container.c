/*
 * container.c: errors and limits of the directory
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: all other files of this directory -> an error, or a count that is still good.
 */

#include "container.h"

#include <inttypes.h>
#include <string.h>

/* Characters of a name that are shown */
#define PRINTABLE_MAX 200

/* Characters of a message */
#define MESSAGE_MAX 2000

GQuark
containerErrorQuark(void)
{
    return g_quark_from_static_string("container-error-quark");
}

/*
 * @text as valid UTF-8, with characters that could control a terminal, and those of @also, as
 * numbers, and no more than @max characters (g_free)
 */
static char *
makePrintable(const char *text, const char *also, size_t max)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    GString *result = g_string_new(NULL);
    const char *p;
    size_t n = 0;

    for (p = valid; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);

        if (n++ == max) {
            g_string_append(result, "...");
            break;
        }
        if (!g_unichar_isprint(c) || (c < 128 && strchr(also, (int)c)))
            g_string_append_printf(result, "\\x%02x", c);
        else
            g_string_append_unichar(result, c);
    }
    return g_string_free(result, FALSE);
}

int
containerFail(GError **error, ContainerError code, const char *format, ...)
{
    g_autofree char *message = NULL;
    g_autofree char *printable = NULL;
    va_list args;

    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);

    /* names of all kinds are in it */
    printable = makePrintable(message, "", MESSAGE_MAX);
    g_set_error_literal(error, CONTAINER_ERROR, code, printable);
    return -1;
}

/* Adds @bytes to *@count, which then must not be above @max. */
static bool
addUpTo(uint64_t *count, uint64_t bytes, uint64_t max)
{
    if (bytes > max || *count > max - bytes)
        return false;

    *count += bytes;
    return true;
}

int
containerCountUnpacked(ContainerLimits *limits, uint64_t bytes, const char *what, GError **error)
{
    if (addUpTo(&limits->unpacked, bytes, limits->maxBytes))
        return 0;
    return containerFail(error, CONTAINER_ERROR_LIMIT, _("%s unpacks to more than the %" PRIu64
                         " bytes that are accepted of all; --max-size sets another limit"),
                         what, limits->maxBytes);
}

int
containerCountContent(ContainerLimits *limits, uint64_t bytes, const char *what, GError **error)
{
    if (addUpTo(&limits->content, bytes, limits->maxBytes))
        return 0;
    return containerFail(error, CONTAINER_ERROR_LIMIT, _("with %s the files have more than the %"
                         PRIu64 " bytes that are accepted; --max-size sets another limit"),
                         what, limits->maxBytes);
}

int
containerCountName(ContainerLimits *limits, size_t name, const char *what, GError **error)
{
    if (addUpTo(&limits->names, name, CONTAINER_MAX_NAMES))
        return 0;
    return containerFail(error, CONTAINER_ERROR_LIMIT, _("with %s the names of all files have "
                         "more than the %d bytes that are accepted"), what, CONTAINER_MAX_NAMES);
}

int
containerCountEntry(ContainerLimits *limits, size_t name, const char *what, GError **error)
{
    if (containerCountName(limits, name, what, error) < 0)
        return -1;
    if (addUpTo(&limits->entries, 1, limits->maxEntries))
        return 0;
    return containerFail(error, CONTAINER_ERROR_LIMIT, _("with %s there are more files than the %"
                         PRIu64 " that are accepted"), what, limits->maxEntries);
}

char *
containerPrintable(const char *name)
{
    return makePrintable(name, "\\", PRINTABLE_MAX);
}
