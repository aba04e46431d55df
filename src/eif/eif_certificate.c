/*
 * eif_certificate.c: who has signed an image, and is that still good?
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: the signature section -> eifSignatureRead() (CBOR) -> GnuTLS: the certificate
 * (X.509), its key, the signature over the bytes that were signed.
 */

#include "eif_certificate.h"
#include "eif_internal.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <inttypes.h>
#include <string.h>

/* The algorithms that Nitro Enclaves sign with, each with the curve of its key (RFC 9053) */
typedef struct _Algorithm Algorithm;
struct _Algorithm {
    int64_t cose;
    const char *name;
    gnutls_sign_algorithm_t sign;
    gnutls_ecc_curve_t curve;
};

static const Algorithm algorithms[] = {
    { -7, "ES256", GNUTLS_SIGN_ECDSA_SHA256, GNUTLS_ECC_CURVE_SECP256R1 },
    { -35, "ES384", GNUTLS_SIGN_ECDSA_SHA384, GNUTLS_ECC_CURVE_SECP384R1 },
    { -36, "ES512", GNUTLS_SIGN_ECDSA_SHA512, GNUTLS_ECC_CURVE_SECP521R1 },
};

/* Handles of GnuTLS that close themselves */
typedef struct gnutls_x509_crt_int X509;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(X509, gnutls_x509_crt_deinit)
typedef struct gnutls_pubkey_st PublicKey;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PublicKey, gnutls_pubkey_deinit)

static void
datumClear(gnutls_datum_t *datum)
{
    gnutls_free(datum->data);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(gnutls_datum_t, datumClear)

static int
setGnutlsError(GError **error, int rc)
{
    g_set_error(error, EIF_ERROR, EIF_ERROR_FORMAT,
                _("the signing certificate cannot be read: %s"), gnutls_strerror(rc));
    return -1;
}

/* The subject and issuer of @crt. An empty name is none. */
static int
readNames(X509 *crt, EifCertificate *certificate, GError **error)
{
    g_auto(gnutls_datum_t) subject = { 0 };
    g_auto(gnutls_datum_t) issuer = { 0 };
    int rc;

    if (((rc = gnutls_x509_crt_get_dn3(crt, &subject, 0)) < 0 &&
         rc != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) ||
        ((rc = gnutls_x509_crt_get_issuer_dn3(crt, &issuer, 0)) < 0 &&
         rc != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE))
        return setGnutlsError(error, rc);

    certificate->subject = g_strndup(subject.data ? (const char *)subject.data : "", subject.size);
    certificate->issuer = g_strndup(issuer.data ? (const char *)issuer.data : "", issuer.size);
    return 0;
}

static int
readCertificate(X509 *crt, const EifSignature *signature, EifCertificate *certificate,
                GError **error)
{
    gnutls_datum_t der = { signature->certificate, signature->certificateLen };
    int rc;

    if ((rc = gnutls_x509_crt_import(crt, &der, GNUTLS_X509_FMT_DER)) < 0)
        return setGnutlsError(error, rc);

    certificate->notBefore = gnutls_x509_crt_get_activation_time(crt);
    certificate->notAfter = gnutls_x509_crt_get_expiration_time(crt);
    if (certificate->notBefore == -1 || certificate->notAfter == -1) {
        g_set_error_literal(error, EIF_ERROR, EIF_ERROR_FORMAT,
                            _("the signing certificate cannot be read: it has no dates"));
        return -1;
    }
    return readNames(crt, certificate, error);
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

/* Returns NULL when @key has made the signature, else why not (g_free). */
static char *
verifySignature(PublicKey *key, const Algorithm *algorithm, const EifSignature *signature)
{
    size_t len = gnutls_ecc_curve_get_size(algorithm->curve); /* of the field, bytes */
    gnutls_ecc_curve_t curve;
    gnutls_datum_t data = { signature->signedBytes->data, signature->signedBytes->len };
    g_auto(gnutls_datum_t) encoded = { 0 };
    gnutls_datum_t r;
    gnutls_datum_t s;
    int rc;

    if (gnutls_pubkey_get_pk_algorithm(key, NULL) != GNUTLS_PK_ECDSA ||
        gnutls_pubkey_export_ecc_raw2(key, &curve, NULL, NULL, 0) < 0 ||
        curve != algorithm->curve)
        return g_strdup_printf(_("it is an %s one, and the certificate's key is not for that"),
                               algorithm->name);
    if (signature->signature->len != 2 * len)
        return g_strdup_printf(_("it has %u bytes, and one of %s has %zu"),
                               signature->signature->len, algorithm->name, 2 * len);

    r = numberOf(signature->signature, 0, len);
    s = numberOf(signature->signature, len, len);
    if ((rc = gnutls_encode_rs_value(&encoded, &r, &s)) < 0 ||
        (rc = gnutls_pubkey_verify_data2(key, algorithm->sign, 0, &data, &encoded)) < 0)
        return g_strdup_printf(_("it was not made with the certificate's key (%s)"),
                               gnutls_strerror(rc));
    return NULL;
}

static int
verify(X509 *crt, const EifSignature *signature, EifCertificate *certificate, GError **error)
{
    g_autoptr(PublicKey) key = NULL;
    size_t i;
    int rc;

    if ((rc = gnutls_pubkey_init(&key)) < 0 || (rc = gnutls_pubkey_import_x509(key, crt, 0)) < 0)
        return setGnutlsError(error, rc);

    for (i = 0; i < G_N_ELEMENTS(algorithms); i++) {
        if (algorithms[i].cose != signature->algorithm)
            continue;
        certificate->algorithm = algorithms[i].name;
        certificate->wrong = verifySignature(key, &algorithms[i], signature);
        return 0;
    }

    certificate->algorithm = "unknown";
    certificate->wrong = g_strdup_printf(_("its algorithm has the COSE number %" PRId64
                                           ", and images are signed with ES256, ES384 or ES512"),
                                         signature->algorithm);
    return 0;
}

int
eifCertificateRead(int fd, const EifImage *image, EifCertificate *certificate, GError **error)
{
    const EifSection *section = eifImageFindSection(image, EIF_SECTION_SIGNATURE);
    g_auto(EifSignature) signature = { 0 };
    g_autofree char *content = NULL;
    g_autoptr(X509) crt = NULL;
    int rc;

    if (!(content = eifImageReadSection(fd, section, EIF_SIGNATURE_MAX, error)) ||
        eifSignatureRead((const uint8_t *)content, section->size, &signature, error) < 0)
        return -1;
    memcpy(certificate->summary.pcr0, signature.pcr0->data, EIF_PCR_SIZE);
    eifExtend(signature.certificate, signature.certificateLen, certificate->summary.pcr8);
    eifDigest(content, section->size, certificate->summary.section);

    if ((rc = gnutls_x509_crt_init(&crt)) < 0)
        return setGnutlsError(error, rc);
    if (readCertificate(crt, &signature, certificate, error) < 0)
        return -1;
    return verify(crt, &signature, certificate, error);
}

void
eifCertificateClear(EifCertificate *certificate)
{
    g_clear_pointer(&certificate->subject, g_free);
    g_clear_pointer(&certificate->issuer, g_free);
    g_clear_pointer(&certificate->wrong, g_free);
}

char *
eifCertificateFormatTime(int64_t seconds)
{
    g_autoptr(GDateTime) when = g_date_time_new_from_unix_utc(seconds);

    /* GLib's calendar ends with the year 9999, as that of X.509 does. */
    return when ? g_date_time_format(when, "%Y-%m-%d %H:%M:%S UTC") : g_strdup("never");
}

int
eifCertificateCheck(const EifCertificate *certificate, int64_t now, GError **error)
{
    g_autofree char *before = eifCertificateFormatTime(certificate->notBefore);
    g_autofree char *after = eifCertificateFormatTime(certificate->notAfter);
    g_autofree char *today = eifCertificateFormatTime(now);

    if (certificate->wrong) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_SIGNATURE, _("the image's signature is wrong: %s"),
                    certificate->wrong);
        return -1;
    }
    if (now < certificate->notBefore) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_SIGNATURE,
                    _("the image's signing certificate is not valid before %s, and it is %s now: "
                    "wait, or sign the image with another one"), before, today);
        return -1;
    }
    if (now > certificate->notAfter) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_SIGNATURE,
                    _("the image's signing certificate has expired on %s, and it is %s now: "
                    "sign the image with another one"), after, today);
        return -1;
    }
    return 0;
}

int
eifCertificateCheckPcr0(const EifCertificate *certificate, const EifMeasurements *measurements,
                        GError **error)
{
    return eifMeasurementsCheckSigned(measurements, certificate->summary.pcr0, error);
}
