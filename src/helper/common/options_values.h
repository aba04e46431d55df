/*
 * options_values.h: values of options that the helper and the image checker have in common
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What returns a text returns NULL, or what is wrong with the value as the end of a sentence
 * (g_free).
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

/* Reads the number of an open descriptor into @fd, and makes that close-on-exec. */
char *optionsSetFd(int *fd, const char *value);

/*
 * Reads "20,21,22", regular files that are open for reading and writing, into the new array @fds of
 * int (g_array_unref; also after an error), and makes them close-on-exec.
 */
char *optionsSetFds(GArray **fds, const char *value);

/* Reads the name of an architecture. */
char *optionsSetArch(EifArch *arch, const char *value);

/* Reads the value of a register, @hex, into @pcr. */
char *optionsParsePcr(const char *hex, uint8_t pcr[EIF_PCR_SIZE]);
