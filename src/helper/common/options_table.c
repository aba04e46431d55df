/*
 * options_table.c: parses a command line by a table of its options
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: a word of argv -> its entry in the table -> is the option allowed here, and does it have its
 * value? -> its setter; at last what they mean together -> go on, or an exit status.
 */

#include "common/options_table.h"

#include <glib.h>
#include <stdio.h>
#include <string.h>

#include "common/startup.h"

typedef struct {
    const OptionsTable *table;
    bool *seen; /* an element for each entry */
    int argc;
    char **argv;
    int next; /* index in argv of the word to be looked at */
    void *options;
    char *answer; /* what is printed instead of the program's work; NULL: nothing */
} OptionsTableParser;

static char *
optionsTableRefuseValue(const char *name, const char *value)
{
    return value ? g_strdup_printf("Option %s takes no value, not '%s'", name, value) : NULL;
}

/* Whether @name is an option that all programs have: then there is an answer to it. */
static bool
optionsTableAnswer(OptionsTableParser *parser, const char *name)
{
    if (g_str_equal(name, "--help"))
        parser->answer = g_strdup(parser->table->help);
    else if (g_str_equal(name, "--version"))
        parser->answer = g_strdup_printf("%s %s\n", parser->table->program, NITRO_VERSION);
    return parser->answer != NULL;
}

/* Handles the next option, and skips the words that it takes. */
static char *
optionsTableParseOne(OptionsTableParser *parser)
{
    const char *word = parser->argv[parser->next++];
    const char *equals = strchr(word, '=');
    g_autofree char *name = equals ? g_strndup(word, equals - word) : g_strdup(word);
    const char *value = equals ? equals + 1 : NULL;
    const OptionsTableEntry *entry = parser->table->entries;
    g_autofree char *error = NULL;
    bool *seen;

    if (optionsTableAnswer(parser, name))
        return optionsTableRefuseValue(name, value);

    while (entry->name && !g_str_equal(entry->name, name))
        entry++;
    if (!entry->name)
        return g_strdup_printf(*word == '-' ? "Option %s is unknown" :
                                              "Argument '%s' is not an option", name);
    seen = &parser->seen[entry - parser->table->entries];
    if (*seen && !entry->repeats)
        return g_strdup_printf("Option %s is given twice", name);
    *seen = true;

    if (!entry->hasValue && value)
        return optionsTableRefuseValue(name, value);
    if (entry->hasValue && !value) {
        if (parser->next >= parser->argc)
            return g_strdup_printf("Option %s lacks its value", name);
        value = parser->argv[parser->next++];
    }

    error = entry->set((char *)parser->options + entry->offset, value);
    return error ? g_strdup_printf("Value '%s' of option %s %s", value, name, error) : NULL;
}

/* Returns what is wrong with the command line (g_free), or NULL. */
static char *
optionsTableParse(OptionsTableParser *parser)
{
    const OptionsTable *table = parser->table;
    char *error = NULL;

    while (parser->next < parser->argc && !parser->answer && !error)
        error = optionsTableParseOne(parser);
    if (error || parser->answer)
        return error;
    return table->check ? table->check(parser->options, parser->seen) :
                          optionsTableCheckRequired(table->entries, parser->seen);
}

int
optionsTableRead(const OptionsTable *table, int argc, char **argv, void *options)
{
    OptionsTableParser parser = {table, NULL, argc, argv, .next = 1, .options = options};
    g_autofree char *answer = NULL;
    g_autofree char *error = NULL;
    g_autofree bool *seen = NULL;
    size_t n = 0;

    while (table->entries[n].name)
        n++;
    parser.seen = seen = g_new0(bool, n);

    error = optionsTableParse(&parser);
    answer = parser.answer;
    if (error) {
        fprintf(stderr, "%s: %s\n", table->program, error);
        return STARTUP_EXIT_USAGE;
    }
    if (!answer)
        return -1;
    return fputs(answer, stdout) < 0 ? STARTUP_EXIT_FAILED : STARTUP_EXIT_ENDED;
}

char *
optionsTableCheckRequired(const OptionsTableEntry *entries, const bool *seen)
{
    size_t i;

    for (i = 0; entries[i].name; i++) {
        if (entries[i].required && !seen[i])
            return g_strdup_printf("Option %s is missing", entries[i].name);
    }
    return NULL;
}
