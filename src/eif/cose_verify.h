/*
 * cose_verify.h: has a key made the signature of a COSE_Sign1?
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: the parts of cose.h -> GnuTLS.
 */

#pragma once

#include <glib.h>
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <stdint.h>

/* Handles of GnuTLS that close themselves */
typedef struct gnutls_x509_crt_int X509;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(X509, gnutls_x509_crt_deinit)
typedef struct gnutls_pubkey_st PublicKey;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PublicKey, gnutls_pubkey_deinit)

static inline void
datumClear(gnutls_datum_t *datum)
{
    gnutls_free(datum->data);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(gnutls_datum_t, datumClear)

/* An algorithm that Nitro Enclaves sign with, and the curve of its key (RFC 9053) */
typedef struct _CoseAlgorithm CoseAlgorithm;
struct _CoseAlgorithm {
    int64_t number; /* COSE's */
    const char *name;
    gnutls_sign_algorithm_t sign;
    gnutls_ecc_curve_t curve;
};

/* Returns ES256, ES384 or ES512 by its number, static; NULL: @number is that of another. */
const CoseAlgorithm *coseAlgorithmFind(int64_t number);

/* Returns the one that the public @key verifies, static; NULL: it is for none of them. */
const CoseAlgorithm *coseAlgorithmOfKey(PublicKey *key);

/* The length of each of the two numbers of a signature, which is that of the field, in bytes */
size_t coseAlgorithmGetLength(const CoseAlgorithm *algorithm);

/*
 * Whether @key has made @signature (r and s, each of full length) over @bytes. Returns NULL if
 * so, else why not: the rest of a sentence that starts with what is wrong (g_free).
 */
char *coseVerify(PublicKey *key, const CoseAlgorithm *algorithm, const GByteArray *signature,
                 const GByteArray *bytes);
