/*
 * options_values.h: values of options that several programs have
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What returns a text returns NULL, or what is wrong with the value as the end of a sentence
 * (g_free). Those whose name begins with optionsSet are setters of an OptionsTable, for a field of
 * the type that is told.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "eif.h"

/*
 * Reads a number from @min to @max: plain decimal digits only, no sign, no blanks, no suffix.
 * Returns false when @text is none.
 */
bool optionsParseNumber(const char *text, uint64_t min, uint64_t max, uint64_t *number);

/* An option without a value: bool, which becomes true */
char *optionsSetFlag(void *flag, const char *value);

/* char * (g_free): any text, and one that is not empty */
char *optionsSetText(void *text, const char *value);
char *optionsSetWord(void *text, const char *value);

/* uint64_t: a size in bytes, and one that a log may be limited to */
char *optionsSetSize(void *bytes, const char *value);
char *optionsSetLogSize(void *bytes, const char *value);

/* int: the number of an open descriptor, which becomes close-on-exec */
char *optionsSetFd(void *fd, const char *value);

/*
 * GArray * of int (g_array_unref; also after an error): "20,21,22", regular files that are open for
 * reading and writing, which become close-on-exec
 */
char *optionsSetFds(void *fds, const char *value);

/* EifArch: the name of an architecture */
char *optionsSetArch(void *arch, const char *value);

/* Reads the value of a register, @hex, into @pcr. */
char *optionsParsePcr(const char *hex, uint8_t pcr[EIF_PCR_SIZE]);
