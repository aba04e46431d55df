/*
 * cose_verify.c: has a key made the signature of a COSE_Sign1?
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: the algorithm's number -> its curve and hash; the signature's two numbers -> DER
 * -> GnuTLS.
 */

#include "cose_verify.h"
#include "cose.h"
#include "nitro_gettext.h"

#include <gnutls/crypto.h>

static const CoseAlgorithm algorithms[] = {
    { -7, "ES256", GNUTLS_SIGN_ECDSA_SHA256, GNUTLS_ECC_CURVE_SECP256R1 },
    { COSE_ALGORITHM_ES384, "ES384", GNUTLS_SIGN_ECDSA_SHA384, GNUTLS_ECC_CURVE_SECP384R1 },
    { -36, "ES512", GNUTLS_SIGN_ECDSA_SHA512, GNUTLS_ECC_CURVE_SECP521R1 },
};

const CoseAlgorithm *
coseAlgorithmFind(int64_t number)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(algorithms); i++) {
        if (algorithms[i].number == number)
            return &algorithms[i];
    }
    return NULL;
}

const CoseAlgorithm *
coseAlgorithmOfKey(PublicKey *key)
{
    gnutls_ecc_curve_t curve;
    size_t i;

    if (gnutls_pubkey_get_pk_algorithm(key, NULL) != GNUTLS_PK_ECDSA ||
        gnutls_pubkey_export_ecc_raw2(key, &curve, NULL, NULL, 0) < 0)
        return NULL;

    for (i = 0; i < G_N_ELEMENTS(algorithms); i++) {
        if (algorithms[i].curve == curve)
            return &algorithms[i];
    }
    return NULL;
}

size_t
coseAlgorithmGetLength(const CoseAlgorithm *algorithm)
{
    return gnutls_ecc_curve_get_size(algorithm->curve);
}

/* One number of the signature, without the zeros before it, which DER does not have */
static gnutls_datum_t
numberOf(const GByteArray *signature, size_t offset, size_t len)
{
    gnutls_datum_t number = { signature->data + offset, len };

    while (number.size > 1 && *number.data == 0) {
        number.data++;
        number.size--;
    }
    return number;
}

char *
coseVerify(PublicKey *key, const CoseAlgorithm *algorithm, const GByteArray *signature,
           const GByteArray *bytes)
{
    size_t len = coseAlgorithmGetLength(algorithm);
    gnutls_datum_t data = { bytes->data, bytes->len };
    g_auto(gnutls_datum_t) encoded = { 0 };
    gnutls_datum_t r;
    gnutls_datum_t s;
    int rc;

    if (coseAlgorithmOfKey(key) != algorithm)
        return g_strdup_printf(_("it is an %s one, and the certificate's key is not for that"),
                               algorithm->name);
    if (signature->len != 2 * len)
        return g_strdup_printf(_("it has %u bytes, and one of %s has %zu"),
                               signature->len, algorithm->name, 2 * len);

    r = numberOf(signature, 0, len);
    s = numberOf(signature, len, len);
    if ((rc = gnutls_encode_rs_value(&encoded, &r, &s)) < 0 ||
        (rc = gnutls_pubkey_verify_data2(key, algorithm->sign, 0, &data, &encoded)) < 0)
        return g_strdup_printf(_("it was not made with the certificate's key (%s)"),
                               gnutls_strerror(rc));
    return NULL;
}
