/*
 * nitro_cpu_list.h: lists of CPUs as the kernel takes them
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * For driver, helper and virt-nitro-validate: the kernel shows the enclaves' CPU pool in the words
 * in which it was written, of which virBitmapParse() knows only some.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>

#include "nitro_limits.h"

static inline bool
nitroCpuListNumber(const char **text, unsigned int last, unsigned int *number)
{
    guint64 value = last;
    char *end;

    if (**text == 'N') {
        (*text)++;
    } else if (g_ascii_isdigit(**text)) {
        value = g_ascii_strtoull(*text, &end, 10);
        *text = end;
    } else {
        return false;
    }
    *number = value;
    return value <= NITRO_CPU_MAX;
}

/* One range, "N", "1-3", "all", or with a pattern at its end; appends what it means to @list. */
static inline bool
nitroCpuListRange(const char *text, unsigned int last, GString *list)
{
    bool all = g_ascii_strncasecmp(text, "all", 3) == 0;
    unsigned int used = NITRO_CPU_MAX;
    unsigned int group = NITRO_CPU_MAX;
    unsigned int from = 0;
    unsigned int to = last;

    if (all) {
        text += 3;
    } else {
        if (!nitroCpuListNumber(&text, last, &from))
            return false;
        to = from;
        if (*text == '-' && (text++, !nitroCpuListNumber(&text, last, &to)))
            return false;
    }
    if (*text == ':' && (text++, !nitroCpuListNumber(&text, last, &used) || *text++ != '/' ||
                         !nitroCpuListNumber(&text, last, &group)))
        return false;
    if (*text != '\0' || to < from || group == 0 || used > group)
        return false;

    for (; from <= to && used > 0; from += group) {
        g_string_append_printf(list, "%s%u", list->len > 0 ? "," : "", from);
        if (used > 1 && from < to)
            g_string_append_printf(list, "-%u", MIN(from + used - 1, to));
    }
    return true;
}

/*
 * Returns what @text, in the kernel's format (bitmap_parselist(), "CPU lists" in its
 * admin-guide/kernel-parameters), means as numbers and ranges with commas between, "2-3,6"
 * (g_free), or NULL if it is no list. Beside those, with commas or white space between, it has "N",
 * which is @last, the highest number of a CPU, "all", and "0-7:2/4": of each four the first two.
 */
static inline char *
nitroCpuListExpand(const char *text, unsigned int last)
{
    g_auto(GStrv) ranges = g_strsplit_set(text, ", \t\n\v\f\r", -1);
    GString *list = g_string_new(NULL);
    size_t i;

    for (i = 0; ranges[i]; i++) {
        if (*ranges[i] && !nitroCpuListRange(ranges[i], last, list)) {
            g_string_free(list, TRUE);
            return NULL;
        }
    }
    return g_string_free(list, FALSE);
}
