/*
 * options_table.c: parses a command line by a table of its options
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: a word of argv -> its entry in the table -> is the option allowed here, and does it have its
 * value? -> its setter.
 */

#include "common/options_table.h"

#include <glib.h>
#include <string.h>

typedef struct {
    const OptionsTableEntry *table;
    bool *seen;
    int argc;
    char **argv;
    int next; /* index in argv of the word to be looked at */
    void *opaque;
    bool ended;
} OptionsTableParser;

/* Handles the next option, and skips the words that it takes. */
static char *
optionsTableParseOne(OptionsTableParser *parser)
{
    const char *word = parser->argv[parser->next++];
    const char *equals = strchr(word, '=');
    g_autofree char *name = equals ? g_strndup(word, equals - word) : g_strdup(word);
    const char *value = equals ? equals + 1 : NULL;
    const OptionsTableEntry *entry = parser->table;
    g_autofree char *error = NULL;
    bool *seen;

    while (entry->name && !g_str_equal(entry->name, name))
        entry++;
    if (!entry->name)
        return g_strdup_printf(*word == '-' ? "Option %s is unknown" :
                                              "Argument '%s' is not an option", name);
    seen = &parser->seen[entry - parser->table];
    if (*seen && !entry->repeats)
        return g_strdup_printf("Option %s is given twice", name);
    *seen = true;

    if (!entry->hasValue && value)
        return g_strdup_printf("Option %s takes no value, not '%s'", name, value);
    if (entry->hasValue && !value) {
        if (parser->next >= parser->argc)
            return g_strdup_printf("Option %s lacks its value", name);
        value = parser->argv[parser->next++];
    }

    parser->ended = entry->ends;
    error = entry->set(parser->opaque, value);
    return error ? g_strdup_printf("Value '%s' of option %s %s", value, name, error) : NULL;
}

char *
optionsTableParse(const OptionsTableEntry *table, bool *seen, int argc, char **argv, void *opaque)
{
    OptionsTableParser parser = {table, seen, argc, argv, .next = 1, .opaque = opaque};
    char *error = NULL;

    while (parser.next < argc && !parser.ended && !error)
        error = optionsTableParseOne(&parser);
    return error;
}

char *
optionsTableCheckRequired(const OptionsTableEntry *table, const bool *seen)
{
    size_t i;

    for (i = 0; table[i].name; i++) {
        if (table[i].required && !seen[i])
            return g_strdup_printf("Option %s is missing", table[i].name);
    }
    return NULL;
}
