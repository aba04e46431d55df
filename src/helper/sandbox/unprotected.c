/*
 * unprotected.c: the protections that a host lacks
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "sandbox/unprotected.h"

#include "helper_protocol.h"

static const char *const unprotectedNames[] = {
    NITRO_UNPROTECTED_NAMESPACES,
    NITRO_UNPROTECTED_QEMU_NAMESPACES,
    NITRO_UNPROTECTED_LANDLOCK,
};

char *
unprotectedParse(const char *text, unsigned int *bits)
{
    g_auto(GStrv) names = g_strsplit(text, ",", -1);
    size_t i;
    size_t bit;

    for (i = 0; names[i]; i++) {
        for (bit = 0; bit < G_N_ELEMENTS(unprotectedNames); bit++) {
            if (g_str_equal(unprotectedNames[bit], names[i]))
                break;
        }
        if (bit == G_N_ELEMENTS(unprotectedNames))
            return g_strdup_printf("has '%s', which is no protection that there is", names[i]);
        *bits |= 1U << bit;
    }
    return NULL;
}

void
unprotectedAddTo(unsigned int bits, JsonWriter *writer)
{
    const char *names[G_N_ELEMENTS(unprotectedNames)];
    size_t n = 0;
    size_t bit;

    for (bit = 0; bit < G_N_ELEMENTS(unprotectedNames); bit++) {
        if (bits & (1U << bit))
            names[n++] = unprotectedNames[bit];
    }
    jsonAddStrings(writer, "unprotected", names, n);
}
