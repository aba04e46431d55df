/*
 * unprotected.h: the protections that a host lacks
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The daemon asks once (libvirt_nitro --probe), tells its user, and tells each helper what it has to
 * do without (--without). Nobody else leaves anything out.
 */

#pragma once

#include "common/json.h"

/* Bits; the names are NITRO_UNPROTECTED_... of helper_protocol.h. */
enum {
    UNPROTECTED_SECCOMP = 1 << 0,
    UNPROTECTED_NAMESPACES = 1 << 1,
    UNPROTECTED_QEMU_NAMESPACES = 1 << 2,
    UNPROTECTED_LANDLOCK = 1 << 3,
};

/*
 * Adds the protections that the comma-separated list @text names to @bits. Returns NULL, or what
 * is wrong with it: the end of a sentence (g_free).
 */
char *unprotectedParse(const char *text, unsigned int *bits);

/* Adds the member "unprotected", if there is any. */
void unprotectedAddTo(unsigned int bits, JsonWriter *writer);

/*
 * Finds out what this host lacks, for this user; makes processes for that. What cannot be tried is
 * lacking, and the reason is written to stderr.
 */
unsigned int unprotectedProbe(void);
