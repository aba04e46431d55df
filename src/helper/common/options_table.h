/*
 * options_table.h: parses a command line by a table of its options
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Long options only, "--name VALUE" or "--name=VALUE", for the programs that the daemon runs.
 * getopt_long() and GOption are not used: they take repeated options, the first abbreviations too.
 */

#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    const char *name; /* with its dashes; NULL: the end of the table */
    bool hasValue;
    /*
     * Stores @value, which is NULL for an option without one, in @field. Returns NULL, or what is
     * wrong with the value as the end of a sentence (g_free). Many of them are in options_values.h.
     */
    char *(*set)(void *field, const char *value);
    size_t offset; /* of the field in the program's options; 0: all of them */
    bool required; /* see optionsTableCheckRequired() */
    bool repeats;  /* may be given more than once */
} OptionsTableEntry;

/* The command line of a program. Beside its own options each has --help and --version. */
typedef struct {
    const char *program;
    const char *help; /* what --help prints */
    const OptionsTableEntry *entries;
    /*
     * Looks at what several options, those that have been @seen, mean together. Returns NULL, or a
     * sentence (g_free). NULL: that those are there that are required is enough.
     */
    char *(*check)(void *options, const bool *seen);
} OptionsTable;

/*
 * Calls the setters of the options in @argv, whose first word is skipped, with fields of @options,
 * and then the check. With --help or --version what follows is not looked at, and the text is
 * printed.
 *
 * Returns -1 when the program is to go on; else with what to exit at once, STARTUP_EXIT_...: when
 * the command line is wrong, stderr has a sentence that names the option and value at fault.
 */
int optionsTableRead(const OptionsTable *table, int argc, char **argv, void *options);

/*
 * For a check: returns NULL when each option that is required has been @seen, or a sentence that
 * names the first one of @entries that has not (g_free). Not to be asked when an option asks for
 * something else than the program's usual work.
 */
char *optionsTableCheckRequired(const OptionsTableEntry *entries, const bool *seen);
