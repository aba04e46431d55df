/*
 * eif_certificate.c: who has signed an image, and is that still good?
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: the signature section -> eifSignatureRead() (CBOR) -> GnuTLS: the certificate
 * (X.509), its key -> coseVerify(): the signature over the bytes that were signed.
 */

#include "cose_verify.h"
#include "eif_certificate.h"
#include "eif_internal.h"

#include <inttypes.h>
#include <string.h>

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

/* What the issuer has signed @crt with. Nothing depends on it: when it is odd, it is not shown. */
static char *
formatSignature(X509 *crt)
{
    GString *text = g_string_new(NULL);
    g_autofree uint8_t *bytes = NULL;
    size_t len = 0;
    size_t i;

    if (gnutls_x509_crt_get_signature(crt, NULL, &len) == GNUTLS_E_SHORT_MEMORY_BUFFER) {
        bytes = g_malloc(len);
        if (gnutls_x509_crt_get_signature(crt, (char *)bytes, &len) < 0)
            len = 0;
    }
    for (i = 0; bytes && i < len; i++)
        g_string_append_printf(text, i == 0 ? "%02X" : ":%02X", bytes[i]);
    return g_string_free(text, FALSE);
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
    certificate->signature = formatSignature(crt);
    return readNames(crt, certificate, error);
}

static int
verify(X509 *crt, const EifSignature *signature, EifCertificate *certificate, GError **error)
{
    const CoseAlgorithm *algorithm = coseAlgorithmFind(signature->algorithm);
    g_autoptr(PublicKey) key = NULL;
    int rc;

    if ((rc = gnutls_pubkey_init(&key)) < 0 || (rc = gnutls_pubkey_import_x509(key, crt, 0)) < 0)
        return setGnutlsError(error, rc);

    if (algorithm) {
        certificate->algorithm = algorithm->name;
        certificate->wrong = coseVerify(key, algorithm, signature->signature,
                                        signature->signedBytes);
        return 0;
    }

    certificate->algorithm = "unknown";
    certificate->wrong = g_strdup_printf(_("its algorithm has the COSE number %" PRId64
                                           ", and images are signed with ES256, ES384 or ES512"),
                                         signature->algorithm);
    return 0;
}

int
eifCertificateReadSection(const void *content, size_t len, EifCertificate *certificate,
                          GError **error)
{
    g_auto(EifSignature) signature = { 0 };
    g_autoptr(X509) crt = NULL;
    int rc;

    if (eifSignatureRead(content, len, &signature, error) < 0)
        return -1;
    memcpy(certificate->summary.pcr0, signature.pcr0->data, EIF_PCR_SIZE);
    eifExtend(signature.certificate, signature.certificateLen, certificate->summary.pcr8);
    eifDigest(content, len, certificate->summary.section);

    if ((rc = gnutls_x509_crt_init(&crt)) < 0)
        return setGnutlsError(error, rc);
    if (readCertificate(crt, &signature, certificate, error) < 0)
        return -1;
    return verify(crt, &signature, certificate, error);
}

int
eifCertificateRead(int fd, const EifImage *image, EifCertificate *certificate, GError **error)
{
    const EifSection *section = eifImageFindSection(image, EIF_SECTION_SIGNATURE);
    g_autofree char *content = eifImageReadSection(fd, section, EIF_SIGNATURE_MAX, error);

    return content ? eifCertificateReadSection(content, section->size, certificate, error) : -1;
}

void
eifCertificateClear(EifCertificate *certificate)
{
    g_clear_pointer(&certificate->subject, g_free);
    g_clear_pointer(&certificate->issuer, g_free);
    g_clear_pointer(&certificate->signature, g_free);
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
