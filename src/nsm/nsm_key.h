/*
 * nsm_key.h: the key that an emulated NSM signs with
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * ECDSA with P-384 and SHA-384, by nettle: a program that signs needs neither GnuTLS nor a
 * certificate.
 */

#pragma once

#include "nsm.h"

typedef struct _NsmKey NsmKey;

/*
 * The key whose private number is @secret, big endian; it is copied. Returns NULL when that is
 * none: zero, or too large.
 */
NsmKey *nsmKeyNew(const uint8_t secret[NSM_KEY_SIZE]);

/* Wipes the secret. */
void nsmKeyFree(NsmKey *key);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NsmKey, nsmKeyFree)

/*
 * Signs the @len bytes at @data. @seed are random bytes, which should not be used twice: if
 * they are, the secret still is one, as it and the data go into the signature's number as well.
 */
void nsmKeySign(const NsmKey *key, const uint8_t seed[NSM_KEY_SIZE], const uint8_t *data,
                size_t len, uint8_t signature[NSM_SIGNATURE_SIZE]);
