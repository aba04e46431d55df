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

typedef struct {
    const char *name; /* with its dashes; NULL: the end of the table */
    bool hasValue;
    /*
     * Stores @value, which is NULL for an option without one, in @opaque. Returns NULL, or what is
     * wrong with the value as the end of a sentence (g_free).
     */
    char *(*set)(void *opaque, const char *value);
    bool required; /* see optionsTableCheckRequired() */
    bool repeats;  /* may be given more than once */
    bool ends;     /* what follows is not looked at, as after --help */
} OptionsTableEntry;

/*
 * Calls the setters of the options in @argv, whose first word is skipped, with @opaque. @seen has an
 * element for each of @table, all false at first: it becomes true for those that are given. Returns
 * NULL, or one sentence that names the option and value at fault (g_free); @opaque may have values of
 * earlier options, and of the one at fault, then.
 */
char *optionsTableParse(const OptionsTableEntry *table, bool *seen, int argc, char **argv,
                        void *opaque);

/*
 * Returns NULL when each option that is required has been @seen, or a sentence that names the first
 * one of @table that has not (g_free). Not to be asked when an option asks for something else than the
 * program's usual work.
 */
char *optionsTableCheckRequired(const OptionsTableEntry *table, const bool *seen);
