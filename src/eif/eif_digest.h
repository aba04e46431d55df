/*
 * eif_digest.h: SHA-384 of what images are measured into
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * There are two: by Nettle for the helper, which links little, and by GnuTLS, whose code for today's
 * processors needs three quarters of the time, for programs that have GnuTLS anyway. A program links
 * one of the two: see meson.build.
 */

#pragma once

#include <stddef.h>
#include <stdint.h>

#define EIF_DIGEST_SIZE 48 /* bytes of SHA-384 */

typedef struct _EifDigest EifDigest;

/* A digest of nothing yet (eifDigestFinish); cannot fail */
EifDigest *eifDigestNew(void);

/* Another one of all that @digest has been given */
EifDigest *eifDigestCopy(const EifDigest *digest);

/* Adds the @len bytes at @buf. */
void eifDigestUpdate(EifDigest *digest, const void *buf, size_t len);

/* Writes the result to @result, unless that is NULL, and frees @digest; NULL is nothing. */
void eifDigestFinish(EifDigest *digest, uint8_t result[EIF_DIGEST_SIZE]);
