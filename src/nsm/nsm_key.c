/*
 * nsm_key.c: the key that an emulated NSM signs with
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: SHA-384 of the data -> nettle's ECDSA, with the number of each signature out of a stream of
 * SHA-384(seed || secret || digest || counter) -> r and s, each of full length.
 */

#include "nsm_key.h"

#include <nettle/bignum.h>
#include <nettle/ecc-curve.h>
#include <nettle/ecdsa.h>
#include <nettle/sha2.h>
#include <string.h>

struct _NsmKey {
    struct ecc_scalar scalar;
    uint8_t secret[NSM_KEY_SIZE];
};

/* Bytes that nobody can foretell */
typedef struct _Stream Stream;
struct _Stream {
    struct sha384_ctx start; /* seed, secret and digest are in it */
    uint32_t counter;
};

/* nettle's nettle_random_func */
static void
readStream(void *opaque, size_t len, uint8_t *buf)
{
    Stream *stream = opaque;

    while (len > 0) {
        struct sha384_ctx block = stream->start;
        uint32_t counter = GUINT32_TO_BE(stream->counter);
        size_t n = MIN(len, SHA384_DIGEST_SIZE);

        stream->counter++;
        sha384_update(&block, sizeof(counter), (const uint8_t *)&counter);
        sha384_digest(&block, n, buf);
        buf += n;
        len -= n;
    }
}

NsmKey *
nsmKeyNew(const uint8_t secret[NSM_KEY_SIZE])
{
    NsmKey *key = g_new0(NsmKey, 1);
    mpz_t number;
    int good;

    memcpy(key->secret, secret, NSM_KEY_SIZE);
    ecc_scalar_init(&key->scalar, nettle_get_secp_384r1());
    nettle_mpz_init_set_str_256_u(number, NSM_KEY_SIZE, secret);
    good = ecc_scalar_set(&key->scalar, number);
    mpz_clear(number);
    if (!good) {
        nsmKeyFree(key);
        return NULL;
    }
    return key;
}

void
nsmKeyFree(NsmKey *key)
{
    ecc_scalar_clear(&key->scalar);
    explicit_bzero(key, sizeof(*key));
    g_free(key);
}

void
nsmKeySign(const NsmKey *key, const uint8_t seed[NSM_KEY_SIZE], const uint8_t *data, size_t len,
           uint8_t signature[NSM_SIGNATURE_SIZE])
{
    uint8_t digest[SHA384_DIGEST_SIZE];
    struct dsa_signature number;
    struct sha384_ctx context;
    Stream stream = {0};

    sha384_init(&context);
    sha384_update(&context, len, data);
    sha384_digest(&context, sizeof(digest), digest);

    sha384_init(&stream.start);
    sha384_update(&stream.start, NSM_KEY_SIZE, seed);
    sha384_update(&stream.start, NSM_KEY_SIZE, key->secret);
    sha384_update(&stream.start, sizeof(digest), digest);

    dsa_signature_init(&number);
    ecdsa_sign(&key->scalar, &stream, readStream, sizeof(digest), digest, &number);
    nettle_mpz_get_str_256(NSM_KEY_SIZE, signature, number.r);
    nettle_mpz_get_str_256(NSM_KEY_SIZE, signature + NSM_KEY_SIZE, number.s);
    dsa_signature_clear(&number);
    explicit_bzero(&stream, sizeof(stream));
}
