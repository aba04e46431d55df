/*
 * attest_verify.c: who has signed an attestation document
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: the root's fingerprint -> the chain of certificates (X.509, GnuTLS), its last one first
 * -> their dates -> the document's signature. GnuTLS knows one time only, that of the clock, so
 * the dates are compared here.
 */

#include "attest.h"
#include "cose.h"
#include "cose_verify.h"
#include "eif_certificate.h"
#include "nitro_gettext.h"

#include <gnutls/crypto.h>
#include <string.h>

#define PEM_MARK "-----BEGIN"

const uint8_t attestAwsRoot[ATTEST_FINGERPRINT_SIZE] = {
    0x64, 0x1a, 0x03, 0x21, 0xa3, 0xe2, 0x44, 0xef, 0xe4, 0x56, 0x46, 0x31, 0x95, 0xd6, 0x06, 0x31,
    0x7e, 0xd7, 0xcd, 0xcc, 0x3c, 0x17, 0x56, 0xe0, 0x98, 0x93, 0xf3, 0xc6, 0x8f, 0x79, 0xbb, 0x5b,
};

/* The certificates of a document: its own, then each one's issuer, the root last */
typedef struct _Chain Chain;
struct _Chain {
    size_t len;
    X509 *crts[ATTEST_BUNDLE_MAX + 1];
};

static void
chainFree(Chain *chain)
{
    size_t i;

    for (i = 0; i < chain->len; i++)
        gnutls_x509_crt_deinit(chain->crts[i]);
    g_free(chain);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Chain, chainFree)

static gnutls_datum_t
datumOf(GBytes *bytes)
{
    gsize len;
    const void *data = g_bytes_get_data(bytes, &len);

    return (gnutls_datum_t){ (unsigned char *)data, len };
}

static int
setGnutlsError(GError **error, int rc)
{
    g_set_error(error, ATTEST_ERROR, ATTEST_ERROR_FORMAT,
                _("a certificate cannot be read: %s"), gnutls_strerror(rc));
    return -1;
}

static void
setUntrusted(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void
setUntrusted(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_propagate_error(error, g_error_new_valist(ATTEST_ERROR, ATTEST_ERROR_UNTRUSTED, format,
                                                args));
    va_end(args);
}

/* The certificate of @bytes (DER), or NULL with @error set */
static X509 *
importCertificate(GBytes *bytes, GError **error)
{
    const gnutls_datum_t der = datumOf(bytes);
    g_autoptr(X509) crt = NULL;
    int rc;

    if ((rc = gnutls_x509_crt_init(&crt)) < 0 ||
        (rc = gnutls_x509_crt_import(crt, &der, GNUTLS_X509_FMT_DER)) < 0) {
        setGnutlsError(error, rc);
        return NULL;
    }
    return g_steal_pointer(&crt);
}

/*
 * The subject of @crt (g_free). Who has made a chain that is not good puts what he likes into it: it
 * is valid UTF-8 here, and characters that could control a terminal are shown as numbers.
 */
static char *
nameOf(X509 *crt)
{
    g_auto(gnutls_datum_t) name = { 0 };
    g_autofree char *valid = NULL;
    GString *text = g_string_new(NULL);
    const char *p;

    if (gnutls_x509_crt_get_dn3(crt, &name, 0) == 0)
        valid = g_utf8_make_valid((const char *)name.data, name.size);
    for (p = valid; p && *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);

        if (g_unichar_isprint(c))
            g_string_append_unichar(text, c);
        else
            g_string_append_printf(text, "\\x%02x", c);
    }
    return g_string_free(text, FALSE);
}

static int
fingerprintOf(const gnutls_datum_t *der, uint8_t fingerprint[ATTEST_FINGERPRINT_SIZE],
              GError **error)
{
    size_t len = ATTEST_FINGERPRINT_SIZE;
    int rc;

    if ((rc = gnutls_fingerprint(GNUTLS_DIG_SHA256, der, fingerprint, &len)) < 0)
        return setGnutlsError(error, rc);
    return 0;
}

int
attestRootFingerprint(const void *data, size_t len,
                      uint8_t fingerprint[ATTEST_FINGERPRINT_SIZE], GError **error)
{
    const gnutls_datum_t datum = { (unsigned char *)data, len };
    g_auto(gnutls_datum_t) der = { 0 };
    gnutls_x509_crt_t *crts = NULL;
    unsigned int ncrts = 0;
    unsigned int i;
    int rc;

    if (len >= strlen(PEM_MARK) && memmem(data, len, PEM_MARK, strlen(PEM_MARK)))
        rc = gnutls_x509_crt_list_import2(&crts, &ncrts, &datum, GNUTLS_X509_FMT_PEM, 0);
    else
        rc = gnutls_x509_crt_list_import2(&crts, &ncrts, &datum, GNUTLS_X509_FMT_DER, 0);
    if (rc >= 0 && ncrts == 1)
        rc = gnutls_x509_crt_export2(crts[0], GNUTLS_X509_FMT_DER, &der);
    for (i = 0; i < ncrts; i++)
        gnutls_x509_crt_deinit(crts[i]);
    gnutls_free(crts);

    if (rc < 0)
        return setGnutlsError(error, rc);
    if (ncrts != 1) {
        g_set_error(error, ATTEST_ERROR, ATTEST_ERROR_FORMAT,
                    _("it has %u certificates, and a root is one"), ncrts);
        return -1;
    }
    return fingerprintOf(&der, fingerprint, error);
}

static int
checkRoot(const AttestDocument *document, const uint8_t expected[ATTEST_FINGERPRINT_SIZE],
          GError **error)
{
    const gnutls_datum_t der = datumOf(g_ptr_array_index(document->cabundle, 0));
    uint8_t fingerprint[ATTEST_FINGERPRINT_SIZE];
    g_autofree char *actualText = NULL;
    g_autofree char *expectedText = NULL;

    if (fingerprintOf(&der, fingerprint, error) < 0)
        return -1;
    if (memcmp(fingerprint, expected, sizeof(fingerprint)) == 0)
        return 0;

    actualText = attestFormatHex(fingerprint, sizeof(fingerprint));
    expectedText = attestFormatHex(expected, sizeof(fingerprint));
    setUntrusted(error, _("the document's root certificate has the SHA-256 fingerprint %s, and the "
                          "trusted one has %s"), actualText, expectedText);
    return -1;
}

/*
 * Checks that the root is the first of the chain only. GnuTLS leaves out what is above a root that it
 * finds further on, without a look at it.
 */
static int
checkRootOnce(const AttestDocument *document, GError **error)
{
    GPtrArray *bundle = document->cabundle;
    bool again = g_bytes_equal(document->certificate, g_ptr_array_index(bundle, 0));
    size_t i;

    for (i = 1; i < bundle->len; i++)
        again = again || g_bytes_equal(g_ptr_array_index(bundle, i), g_ptr_array_index(bundle, 0));
    if (!again)
        return 0;
    setUntrusted(error, _("the chain of certificates is wrong: the root is in it more than once"));
    return -1;
}

static Chain *
readChain(const AttestDocument *document, GError **error)
{
    GPtrArray *bundle = document->cabundle;
    g_autoptr(Chain) chain = g_new0(Chain, 1);
    size_t i;

    for (i = 0; i <= bundle->len; i++) {
        GBytes *bytes = i == 0 ? document->certificate :
                                 g_ptr_array_index(bundle, bundle->len - i);

        if (!(chain->crts[i] = importCertificate(bytes, error)))
            return NULL;
        chain->len++;
    }
    return g_steal_pointer(&chain);
}

/* Checks that @crt is in date @when. */
static int
checkDate(X509 *crt, int64_t when, GError **error)
{
    int64_t start = gnutls_x509_crt_get_activation_time(crt);
    int64_t end = gnutls_x509_crt_get_expiration_time(crt);
    g_autofree char *name = nameOf(crt);
    g_autofree char *startText = eifCertificateFormatTime(start);
    g_autofree char *endText = eifCertificateFormatTime(end);
    g_autofree char *whenText = eifCertificateFormatTime(when);

    if (start != -1 && end != -1 && when >= start && when <= end)
        return 0;
    setUntrusted(error, _("the certificate of '%s' is valid from %s to %s, and not at %s"), name,
                 startText, endText, whenText);
    return -1;
}

/* Checks that @issuer has signed the last of the @n certificates at @crts, and each the one before. */
static int
checkPart(X509 *const *crts, size_t n, X509 *issuer, GError **error)
{
    g_auto(gnutls_datum_t) text = { 0 };
    unsigned int status = 0;
    int rc;

    rc = gnutls_x509_crt_list_verify(crts, n, &issuer, 1, NULL, 0,
                                     GNUTLS_VERIFY_DISABLE_TIME_CHECKS, &status);
    if (rc < 0) {
        setUntrusted(error, _("the chain of certificates cannot be verified: %s"),
                     gnutls_strerror(rc));
        return -1;
    }
    if (status == 0)
        return 0;
    if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) < 0)
        setUntrusted(error, _("the chain of certificates is wrong (status 0x%x)"), status);
    else
        setUntrusted(error, _("the chain of certificates is wrong: %s"),
                     g_strchomp((char *)text.data));
    return -1;
}

/*
 * Checks that each certificate has signed the one before it, and was allowed to: in the whole, for
 * how many may be below each other, and two by two, as GnuTLS leaves out a last one that names
 * itself as its issuer.
 */
static int
checkChain(const Chain *chain, GError **error)
{
    size_t i;

    for (i = 0; i + 1 < chain->len; i++) {
        if (checkPart(&chain->crts[i], 1, chain->crts[i + 1], error) < 0)
            return -1;
    }
    return checkPart(chain->crts, chain->len - 1, chain->crts[chain->len - 1], error);
}

/* Checks that the certificate @crt is one to sign documents with: no authority's, no other use. */
static int
checkUse(X509 *crt, GError **error)
{
    unsigned int usage = 0;
    unsigned int ca = 0;
    int rc = gnutls_x509_crt_get_basic_constraints(crt, NULL, &ca, NULL);

    if (rc < 0 && rc != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
        return setGnutlsError(error, rc);
    if (ca) {
        setUntrusted(error, _("the document's certificate is that of an authority, which signs no "
                              "documents"));
        return -1;
    }
    rc = gnutls_x509_crt_get_key_usage(crt, &usage, NULL);
    if (rc < 0 && rc != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
        return setGnutlsError(error, rc);
    if (rc >= 0 && !(usage & GNUTLS_KEY_DIGITAL_SIGNATURE)) {
        setUntrusted(error, _("the document's certificate is not one for digital signatures"));
        return -1;
    }
    return 0;
}

static int
checkSignature(const AttestDocument *document, X509 *crt, GError **error)
{
    g_autoptr(PublicKey) key = NULL;
    g_autofree char *wrong = NULL;
    int rc;

    if ((rc = gnutls_pubkey_init(&key)) < 0 || (rc = gnutls_pubkey_import_x509(key, crt, 0)) < 0)
        return setGnutlsError(error, rc);

    wrong = coseVerify(key, coseAlgorithmFind(COSE_ALGORITHM_ES384), document->signature,
                       document->signedBytes);
    if (!wrong)
        return 0;
    setUntrusted(error, _("the document's signature is wrong: %s"), wrong);
    return -1;
}

int
attestDocumentVerify(const AttestDocument *document,
                     const uint8_t fingerprint[ATTEST_FINGERPRINT_SIZE], int64_t when,
                     GError **error)
{
    g_autoptr(Chain) chain = NULL;
    size_t i;

    if (checkRoot(document, fingerprint, error) < 0 || checkRootOnce(document, error) < 0 ||
        !(chain = readChain(document, error)))
        return -1;
    for (i = chain->len; i > 0; i--) {
        if (checkDate(chain->crts[i - 1], when, error) < 0)
            return -1;
    }
    if (checkChain(chain, error) < 0 || checkUse(chain->crts[0], error) < 0)
        return -1;
    return checkSignature(document, chain->crts[0], error);
}

char *
attestDocumentGetRootName(const AttestDocument *document)
{
    g_autoptr(X509) root = importCertificate(g_ptr_array_index(document->cabundle, 0), NULL);

    return root ? nameOf(root) : g_strdup("");
}
