/*
 * unprotected.h: the protections that a host lacks
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The daemon asks (libvirt_nitro --probe), tells its user, and tells each helper what it has to
 * do without (--without). Nobody else leaves anything out.
 */

#pragma once

#include "common/failure.h"
#include "common/json.h"

/* Bits; the names are NITRO_UNPROTECTED_... of helper_protocol.h. */
enum {
    UNPROTECTED_NAMESPACES = 1 << 0,
    UNPROTECTED_QEMU_NAMESPACES = 1 << 1,
    UNPROTECTED_LANDLOCK = 1 << 2,
};

/*
 * Adds the protections that the comma-separated list @text names to @bits. Returns NULL, or what
 * is wrong with it: the end of a sentence (g_free).
 */
char *unprotectedParse(const char *text, unsigned int *bits);

/* Adds the member "unprotected", which is empty for none. */
void unprotectedAddTo(unsigned int bits, JsonWriter *writer);

/*
 * Finds out what this host lacks, for this user; makes processes for that. The reasons of what is
 * lacking are written to stderr. Returns 0 with @bits set, or -1 with @failure set: "unsupported"
 * where system calls cannot be filtered, which nothing is done without, and "internal" when it
 * could not be found out, which tells nothing of the host.
 */
int unprotectedProbe(unsigned int *bits, Failure *failure);
