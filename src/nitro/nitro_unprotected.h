/*
 * nitro_unprotected.h: what of an enclave's confinement is missing
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The confinement protects the host from the enclave and the programs that run it. What a host
 * does not have of it is a list of codes (NITRO_UNPROTECTED_*): the helper tells its own, the
 * driver adds what is its business. A newer helper may tell codes that are not known here: they
 * count as well, and are shown as they are.
 *
 * A list is a NULL-terminated array of strings (g_strfreev); NULL: it is not known, which is not
 * the same as an empty one.
 */

#pragma once

#include "internal.h"

/*
 * Adds @code to @list, once, and only while there is room; NULL becomes a list.
 * More than NITRO_UNPROTECTED_MAX of a helper's with the driver's own never are.
 */
void nitroUnprotectedAdd(char ***list, const char *code);

/* Adds all of @codes, which may be NULL: then @list is a list afterwards, too. */
void nitroUnprotectedAddAll(char ***list, char *const *codes);

/* What @code means, a sentence without its full stop (g_free). */
char *nitroUnprotectedDescribe(const char *code);

/* The codes of @list in one string, "namespaces, landlock" (g_free); empty for none. */
char *nitroUnprotectedJoin(char *const *list);

/*
 * Whether enclaves may run with what is missing in @list, which may be NULL. @required:
 * nitro.conf's security_required. Returns 0, or -1 with VIR_ERR_OPERATION_UNSUPPORTED set, which
 * says what is missing.
 */
int nitroUnprotectedCheck(char *const *list, bool required);

/*
 * Whether this host has Landlock, by which the process of a domain's services gives up files
 * (NITRO_UNPROTECTED_SERVICES). Returns 1, 0, or -1 with an error set: it is not known.
 */
int nitroUnprotectedFindLandlock(void);
