/*
 * eif_signer.c: signing images
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: certificate (PEM) and key (PEM or URL) -> GnuTLS -> a signature in DER form -> the two
 * numbers of full length -> the section (eif_signature_write.c) -> is it good, by what looks at
 * signatures otherwise (eif_certificate.c)? Only then it is handed out.
 */

#include "eif_signer.h"
#include "cose_verify.h"
#include "eif_certificate.h"
#include "eif_internal.h"

#include <gnutls/crypto.h>
#include <gnutls/pkcs11.h>
#include <inttypes.h>
#include <string.h>

typedef struct gnutls_privkey_st PrivateKey;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PrivateKey, gnutls_privkey_deinit)

struct _EifSigner {
    char *name;
    GByteArray *pem; /* the certificate alone */
    const CoseAlgorithm *algorithm; /* NULL: its key is for none */
    int64_t notBefore;
    int64_t notAfter;
    uint8_t pcr8[EIF_PCR_SIZE];
    PrivateKey *key; /* NULL when there is none */
    char *keyName;
};

/* @what cannot be used, as GnuTLS says by @rc. Returns -1. */
static int
setError(GError **error, const char *what, const char *name, int rc)
{
    g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT, _("%s '%s' cannot be used: %s"), what, name,
                gnutls_strerror(rc));
    return -1;
}

/* What of @crt goes into the signer. Returns 0, or GnuTLS's number of an error. */
static int
takeCertificate(EifSigner *signer, X509 *crt)
{
    g_auto(gnutls_datum_t) der = { 0 };
    g_auto(gnutls_datum_t) text = { 0 };
    g_autoptr(PublicKey) key = NULL;
    int rc;

    if ((rc = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, &der)) < 0 ||
        (rc = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &text)) < 0 ||
        (rc = gnutls_pubkey_init(&key)) < 0 ||
        (rc = gnutls_pubkey_import_x509(key, crt, 0)) < 0)
        return rc;

    signer->pem = g_byte_array_append(g_byte_array_new(), text.data, text.size);
    signer->algorithm = coseAlgorithmOfKey(key);
    signer->notBefore = gnutls_x509_crt_get_activation_time(crt);
    signer->notAfter = gnutls_x509_crt_get_expiration_time(crt);
    eifExtend(der.data, der.size, signer->pcr8);
    return 0;
}

EifSigner *
eifSignerNew(const void *pem, size_t len, const char *name, GError **error)
{
    g_autoptr(EifSigner) signer = g_new0(EifSigner, 1);
    gnutls_datum_t data = { (unsigned char *)pem, len };
    g_autoptr(X509) crt = NULL;
    int rc;

    signer->name = g_strdup(name);
    if ((rc = gnutls_x509_crt_init(&crt)) < 0 ||
        (rc = gnutls_x509_crt_import(crt, &data, GNUTLS_X509_FMT_PEM)) < 0 ||
        (rc = takeCertificate(signer, crt)) < 0) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT,
                    _("'%s' is no certificate in PEM form: %s"), name, gnutls_strerror(rc));
        return NULL;
    }
    return g_steal_pointer(&signer);
}

void
eifSignerFree(EifSigner *signer)
{
    if (!signer)
        return;

    g_free(signer->name);
    g_clear_pointer(&signer->pem, g_byte_array_unref);
    g_clear_pointer(&signer->key, gnutls_privkey_deinit);
    g_free(signer->keyName);
    g_free(signer);
}

void
eifSignerGetPcr8(const EifSigner *signer, uint8_t pcr8[EIF_PCR_SIZE])
{
    memcpy(pcr8, signer->pcr8, EIF_PCR_SIZE);
}

int
eifSignerCheck(const EifSigner *signer, int64_t now, GError **error)
{
    g_autofree char *before = eifCertificateFormatTime(signer->notBefore);
    g_autofree char *after = eifCertificateFormatTime(signer->notAfter);
    g_autofree char *today = eifCertificateFormatTime(now);

    if (!signer->algorithm) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT,
                    _("the key of certificate '%s' is not on one of the curves P-256, P-384 and "
                      "P-521: use a certificate for a key on P-384"), signer->name);
        return -1;
    }
    if (now < signer->notBefore) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT,
                    _("certificate '%s' is not valid before %s, and it is %s now: wait, or use "
                      "another one"), signer->name, before, today);
        return -1;
    }
    if (now > signer->notAfter) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT,
                    _("certificate '%s' has expired on %s, and it is %s now: use another one"),
                    signer->name, after, today);
        return -1;
    }
    return 0;
}

const char *
eifSignerGetAlgorithm(const EifSigner *signer)
{
    return signer->algorithm->name;
}

/* Takes the @key, when images can be signed with one of its kind. */
static int
takeKey(EifSigner *signer, PrivateKey **key, const char *name, GError **error)
{
    int kind = gnutls_privkey_get_pk_algorithm(*key, NULL);

    if (kind != GNUTLS_PK_ECDSA) {
        const char *found = kind < 0 ? NULL : gnutls_pk_get_name(kind);

        g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT,
                    _("key '%s' is one for %s, and images are signed with ECDSA: use a key on the "
                      "curve P-384"), name, found ? found : _("something unknown"));
        return -1;
    }

    g_clear_pointer(&signer->key, gnutls_privkey_deinit);
    g_free(signer->keyName);
    signer->key = g_steal_pointer(key);
    signer->keyName = g_strdup(name);
    return 0;
}

int
eifSignerSetKey(EifSigner *signer, const void *pem, size_t len, const char *name, GError **error)
{
    gnutls_datum_t data = { (unsigned char *)pem, len };
    g_autoptr(PrivateKey) key = NULL;
    int rc;

    if ((rc = gnutls_privkey_init(&key)) < 0 ||
        (rc = gnutls_privkey_import_x509_raw(key, &data, GNUTLS_X509_FMT_PEM, NULL, 0)) < 0) {
        if (rc == GNUTLS_E_DECRYPTION_FAILED)
            g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT,
                        _("key '%s' is encrypted: decrypt it, or keep it in a token and name that "
                          "by a PKCS#11 URL"), name);
        else
            g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT,
                        _("'%s' is no private key in PEM form: %s"), name, gnutls_strerror(rc));
        return -1;
    }
    return takeKey(signer, &key, name, error);
}

/* The value of module-path in the query of a PKCS#11 URL (RFC 7512), or NULL (g_free) */
static char *
getModulePath(const char *url)
{
    const char *query = strchr(url, '?');
    g_auto(GStrv) attributes = g_strsplit(query ? query + 1 : "", "&", -1);
    size_t i;

    for (i = 0; attributes[i]; i++) {
        if (g_str_has_prefix(attributes[i], "module-path="))
            return g_uri_unescape_string(strchr(attributes[i], '=') + 1, NULL);
    }
    return NULL;
}

/* GnuTLS asks the modules that p11-kit is set up with, and knows no module-path. */
static int
loadModule(const char *url, GError **error)
{
    g_autofree char *path = getModulePath(url);
    int rc;

    if (!path)
        return 0;
    if ((rc = gnutls_pkcs11_init(GNUTLS_PKCS11_FLAG_MANUAL, NULL)) < 0 ||
        (rc = gnutls_pkcs11_add_provider(path, NULL)) < 0)
        return setError(error, _("PKCS#11 module"), path, rc);
    return 0;
}

/* @url with a path where pin-source is a file URL: p11-kit takes paths only (g_free) */
static char *
resolvePinSource(const char *url)
{
    const char *source = strstr(url, "pin-source=file:");
    const char *path;

    if (!source)
        return g_strdup(url);

    source = strchr(source, '=') + 1;
    path = source + strlen("file:");
    if (g_str_has_prefix(path, "//"))
        path += strlen("//");
    return g_strdup_printf("%.*s%s", (int)(source - url), url, path);
}

/* Why there is no key at a URL, as GnuTLS says by @rc. Returns -1. */
static int
setUrlError(GError **error, const char *name, int rc)
{
    switch (rc) {
    case GNUTLS_E_PKCS11_PIN_ERROR:
        g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT,
                    _("key '%s' cannot be used without the PIN of its token: the URL gives none, "
                      "or a wrong one; add ?pin-source=file:PATH to it"), name);
        return -1;
    case GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE:
    case GNUTLS_E_PKCS11_REQUESTED_OBJECT_NOT_AVAILBLE:
        g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT,
                    _("key '%s' is in no token that is known: 'p11tool --list-tokens' shows these, "
                      "and ?module-path=FILE in the URL adds a module"), name);
        return -1;
    default:
        return setError(error, _("key"), name, rc);
    }
}

int
eifSignerSetKeyUrl(EifSigner *signer, const char *url, const char *name, GError **error)
{
    g_autofree char *resolved = resolvePinSource(url);
    g_autoptr(PrivateKey) key = NULL;
    int rc;

    if (loadModule(url, error) < 0)
        return -1;
    if ((rc = gnutls_privkey_init(&key)) < 0 ||
        (rc = gnutls_privkey_import_url(key, resolved, 0)) < 0)
        return setUrlError(error, name, rc);
    return takeKey(signer, &key, name, error);
}

GByteArray *
eifSignerGetToSign(const EifSigner *signer, const uint8_t pcr0[EIF_PCR_SIZE])
{
    return eifSignatureMakeToSign(signer->algorithm->number, pcr0);
}

GByteArray *
eifSignerGetDigest(const EifSigner *signer, const uint8_t pcr0[EIF_PCR_SIZE])
{
    gnutls_digest_algorithm_t hash = gnutls_sign_get_hash_algorithm(signer->algorithm->sign);
    g_autoptr(GByteArray) bytes = eifSignerGetToSign(signer, pcr0);
    GByteArray *digest = g_byte_array_new();

    g_byte_array_set_size(digest, gnutls_hash_get_len(hash));
    /* Fails for no hash of the table, and for no memory, for which GLib ends the program, too. */
    if (gnutls_hash_fast(hash, bytes->data, bytes->len, digest->data) < 0)
        g_error("gnutls_hash_fast() failed");
    return digest;
}

/*
 * Appends @number with zeros before it, @len bytes in all, which are at most the 66 of P-521.
 * Returns false when it is larger.
 */
static bool
appendNumber(GByteArray *out, const gnutls_datum_t *number, size_t len)
{
    static const uint8_t zeros[66];
    size_t skip = 0;

    while (skip < number->size && number->data[skip] == 0)
        skip++;
    if (number->size - skip > len)
        return false;

    g_byte_array_append(out, zeros, len - (number->size - skip));
    g_byte_array_append(out, number->data + skip, number->size - skip);
    return true;
}

/* The two numbers of a signature in DER form, each of full length, or NULL when it is none */
static GByteArray *
decodeDer(const CoseAlgorithm *algorithm, const void *signature, size_t len)
{
    size_t size = coseAlgorithmGetLength(algorithm);
    gnutls_datum_t data = { (unsigned char *)signature, len };
    g_autoptr(GByteArray) raw = g_byte_array_new();
    g_auto(gnutls_datum_t) r = { 0 };
    g_auto(gnutls_datum_t) s = { 0 };

    if (gnutls_decode_rs_value(&data, &r, &s) < 0 || !appendNumber(raw, &r, size) ||
        !appendNumber(raw, &s, size))
        return NULL;
    return g_steal_pointer(&raw);
}

/*
 * The section with the signature @raw, when that is good by what an image is checked with before
 * it is started, else NULL.
 */
static GByteArray *
makeGoodSection(const EifSigner *signer, const uint8_t pcr0[EIF_PCR_SIZE], const GByteArray *raw)
{
    g_autoptr(GByteArray) section = eifSignatureMakeSection(signer->algorithm->number, pcr0,
                                                            signer->pem, raw);
    g_auto(EifCertificate) certificate = { 0 };

    if (eifCertificateReadSection(section->data, section->len, &certificate, NULL) < 0 ||
        certificate.wrong || memcmp(certificate.summary.pcr0, pcr0, EIF_PCR_SIZE) != 0)
        return NULL;
    return g_steal_pointer(&section);
}

/* A longer certificate than any signer has; the hypervisor reads no such section. */
static int
checkLength(const EifSigner *signer, const GByteArray *section, GError **error)
{
    if (section->len <= EIF_SIGNATURE_FORMAT_MAX)
        return 0;

    g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT,
                _("with certificate '%s' the signature section has %u bytes, more than the %d that "
                  "the format allows: use a smaller certificate"), signer->name, section->len,
                EIF_SIGNATURE_FORMAT_MAX);
    return -1;
}

GByteArray *
eifSignerSign(const EifSigner *signer, const uint8_t pcr0[EIF_PCR_SIZE], GError **error)
{
    g_autoptr(GByteArray) bytes = eifSignerGetToSign(signer, pcr0);
    gnutls_datum_t data = { bytes->data, bytes->len };
    g_auto(gnutls_datum_t) signature = { 0 };
    g_autoptr(GByteArray) raw = NULL;
    g_autoptr(GByteArray) section = NULL;
    int rc;

    /* As in RFC 6979; tokens ignore it. */
    if ((rc = gnutls_privkey_sign_data2(signer->key, signer->algorithm->sign,
                                        GNUTLS_PRIVKEY_FLAG_REPRODUCIBLE, &data,
                                        &signature)) < 0) {
        setError(error, _("key"), signer->keyName, rc);
        return NULL;
    }

    if (!(raw = decodeDer(signer->algorithm, signature.data, signature.size)) ||
        !(section = makeGoodSection(signer, pcr0, raw))) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT,
                    _("key '%s' is not that of certificate '%s': name the two that belong "
                      "together"), signer->keyName, signer->name);
        return NULL;
    }
    if (checkLength(signer, section, error) < 0)
        return NULL;
    return g_steal_pointer(&section);
}

GByteArray *
eifSignerAttach(const EifSigner *signer, const uint8_t pcr0[EIF_PCR_SIZE], const void *signature,
                size_t len, const char *name, GError **error)
{
    g_autoptr(GByteArray) raw = NULL;
    g_autoptr(GByteArray) der = NULL;
    g_autoptr(GByteArray) section = NULL;

    /* A signature in DER form can have the length of the other form: what is good counts. */
    if (len == 2 * coseAlgorithmGetLength(signer->algorithm)) {
        raw = g_byte_array_append(g_byte_array_new(), signature, len);
        section = makeGoodSection(signer, pcr0, raw);
    }
    if (!section && (der = decodeDer(signer->algorithm, signature, len)))
        section = makeGoodSection(signer, pcr0, der);

    if (!raw && !der) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT,
                    _("signature '%s' has %zu bytes, which are no %s signature: it is either in "
                      "DER form, or has %zu bytes"), name, len, signer->algorithm->name,
                    2 * coseAlgorithmGetLength(signer->algorithm));
        return NULL;
    }
    if (!section) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT,
                    _("signature '%s' is not one of this image by the key of certificate '%s': "
                      "sign what 'virt-eif sign --print-payload' writes for both"), name,
                    signer->name);
        return NULL;
    }
    if (checkLength(signer, section, error) < 0)
        return NULL;
    return g_steal_pointer(&section);
}
