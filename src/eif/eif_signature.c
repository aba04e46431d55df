/*
 * eif_signature.c: the certificate and the signature in a signature section
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: CBOR bytes -> one item at a time (cbor_reader.h; this
 * allocates nothing, so no length in the input costs memory) -> the values in the
 * first map: "signing_certificate" -> the first PEM block -> DER; "signature" ->
 * COSE_Sign1 (RFC 9052) -> its parts, and the bytes that were signed.
 *
 * Nothing here recurses and nothing is believed before it is compared with the
 * bytes that are left.
 */

#include "cbor_reader.h"
#include "cose.h"
#include "eif_internal.h"
#include "eif_signature_format.h"

#include <string.h>

#define PEM_BEGIN "-----BEGIN CERTIFICATE-----"
#define PEM_END "-----END CERTIFICATE-----"

static void
setError(GError **error, const char *what)
{
    g_set_error(error, EIF_ERROR, EIF_ERROR_FORMAT, _("the signature section is wrong: %s"),
                _(what));
}

/* The same for the value of @key */
static void
setErrorOf(GError **error, const char *key, const char *what)
{
    g_autofree char *text = g_strdup_printf(_("the value of \"%s\" %s"), key, _(what));

    setError(error, text);
}

/* The bytes of a value: a byte string, or as AWS's tools write it, an array of small integers */
static GByteArray *
readBytes(CborReader *reader, const char *key, GError **error)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    CborItem item;
    uint64_t n;

    if (cborReadItem(reader, &item, error) < 0)
        return NULL;

    if (item.kind == CBOR_ITEM_BYTES || item.kind == CBOR_ITEM_TEXT) {
        g_byte_array_append(bytes, item.data, item.len);
        return g_steal_pointer(&bytes);
    }
    if (item.kind != CBOR_ITEM_ARRAY) {
        setErrorOf(error, key, "is neither a byte string nor an array of bytes");
        return NULL;
    }

    for (n = item.value; n > 0; n--) {
        CborItem element;
        uint8_t byte;

        if (cborReadItem(reader, &element, error) < 0)
            return NULL;
        if (element.kind != CBOR_ITEM_UINT || element.value > UINT8_MAX) {
            setErrorOf(error, key, "is an array with an item that is not a byte");
            return NULL;
        }
        byte = element.value;
        g_byte_array_append(bytes, &byte, 1);
    }
    return g_steal_pointer(&bytes);
}

/* Reads the key of a pair into @key. Returns 0, or -1 with @error set: it is not a text. */
static int
readKey(CborReader *reader, CborItem *key, GError **error)
{
    if (cborReadItem(reader, key, error) < 0)
        return -1;
    if (key->kind != CBOR_ITEM_TEXT) {
        setError(error, "its map has a key that is not a text");
        return -1;
    }
    return 0;
}

/* Reads the bytes of @name into @bytes, which must not be there yet. */
static int
readBytesOnce(CborReader *reader, const char *name, GByteArray **bytes, GError **error)
{
    if (*bytes) {
        g_autofree char *text = g_strdup_printf("its map has the key \"%s\" twice", name);

        setError(error, text);
        return -1;
    }
    *bytes = readBytes(reader, name, error);
    return *bytes ? 0 : -1;
}

/* What one signature is made of, as it is in the section */
typedef struct _Parts Parts;
struct _Parts {
    GByteArray *pem;
    GByteArray *cose; /* NULL when there is none */
};

static void
partsClear(Parts *parts)
{
    g_clear_pointer(&parts->pem, g_byte_array_unref);
    g_clear_pointer(&parts->cose, g_byte_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Parts, partsClear)

/* The map of @pairs pairs that follows */
static int
readMap(CborReader *reader, uint64_t pairs, Parts *parts, GError **error)
{
    int rc = 0;

    for (; pairs > 0 && rc == 0; pairs--) {
        CborItem key;

        if (readKey(reader, &key, error) < 0)
            return -1;

        if (cborItemIsText(&key, CERTIFICATE_KEY))
            rc = readBytesOnce(reader, CERTIFICATE_KEY, &parts->pem, error);
        else if (cborItemIsText(&key, SIGNATURE_KEY))
            rc = readBytesOnce(reader, SIGNATURE_KEY, &parts->cose, error);
        else
            rc = cborSkipItems(reader, 1, error);
    }

    if (rc == 0 && !parts->pem) {
        setError(error, "its map has no key \"signing_certificate\"");
        return -1;
    }
    return rc;
}

/* The first signature of the section, which is the one of PCR0 */
static int
readParts(const uint8_t *section, size_t len, Parts *parts, GError **error)
{
    CborReader reader = { .data = section, .len = len, .setError = setError };
    CborItem array;
    CborItem map;

    if (cborReadItem(&reader, &array, error) < 0)
        return -1;
    if (array.kind != CBOR_ITEM_ARRAY || array.value == 0) {
        setError(error, "it is not a CBOR array of at least one signature");
        return -1;
    }

    if (cborReadItem(&reader, &map, error) < 0)
        return -1;
    if (map.kind != CBOR_ITEM_MAP) {
        setError(error, "its first item is not a CBOR map");
        return -1;
    }

    if (readMap(&reader, map.value, parts, error) < 0 ||
        cborSkipItems(&reader, array.value - 1, error) < 0)
        return -1;

    if (reader.pos != reader.len) {
        setError(error, "it goes on behind the end of its CBOR");
        return -1;
    }
    return 0;
}

/*
 * Finds what is between the marks of the first certificate in @pem. Returns false
 * when there is none.
 */
static bool
findPemBody(const GByteArray *pem, const uint8_t **body, const uint8_t **end)
{
    const uint8_t *begin;

    /* An empty array has no data at all. */
    if (pem->len == 0 ||
        !(begin = memmem(pem->data, pem->len, PEM_BEGIN, strlen(PEM_BEGIN))))
        return false;

    *body = begin + strlen(PEM_BEGIN);
    *end = memmem(*body, pem->data + pem->len - *body, PEM_END, strlen(PEM_END));
    return *end != NULL;
}

/*
 * The base64 text of the first certificate in @pem, without white space; checked,
 * as g_base64_decode() passes over what it does not know.
 */
static char *
extractBase64(const GByteArray *pem, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    const uint8_t *p;
    const uint8_t *end;
    bool padded = false;

    if (!findPemBody(pem, &p, &end)) {
        setError(error, "the certificate is not in PEM form");
        return NULL;
    }

    for (; p < end; p++) {
        if (g_ascii_isspace(*p))
            continue;

        if (*p == '=')
            padded = true;
        else if (padded || !(g_ascii_isalnum(*p) || *p == '+' || *p == '/')) {
            setError(error, "the certificate's PEM text is not base64");
            return NULL;
        }
        g_string_append_c(text, *p);
    }

    if (text->len == 0 || text->len % 4 != 0 || g_str_has_suffix(text->str, "===")) {
        setError(error, "the certificate's PEM text is not base64");
        return NULL;
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/*
 * Whether @der is one ASN.1 SEQUENCE with a definite length and nothing behind
 * it, as each certificate is: measuring anything else would be a wrong PCR8.
 */
static bool
isDerSequence(const uint8_t *der, size_t len)
{
    size_t contents = 0;
    size_t nbytes;
    size_t i;

    if (len < 2 || der[0] != 0x30)
        return false;
    if (der[1] < 0x80)
        return der[1] == len - 2;

    nbytes = der[1] & 0x7f;
    if (nbytes < 1 || nbytes > 4 || len < 2 + nbytes)
        return false;

    for (i = 0; i < nbytes; i++)
        contents = contents << 8 | der[2 + i];

    return contents == len - 2 - nbytes;
}

/* The certificate of @pem in DER form */
static uint8_t *
decodePem(const GByteArray *pem, size_t *derLen, GError **error)
{
    g_autofree char *base64 = NULL;
    g_autofree uint8_t *der = NULL;

    if (!(base64 = extractBase64(pem, error)))
        return NULL;

    der = g_base64_decode(base64, derLen);
    if (!isDerSequence(der, *derLen)) {
        setError(error, "the certificate is not in DER form inside its PEM text");
        return NULL;
    }
    return g_steal_pointer(&der);
}

uint8_t *
eifSignatureGetCertificate(const uint8_t *section, size_t len, size_t *derLen, GError **error)
{
    g_auto(Parts) parts = { 0 };

    if (readParts(section, len, &parts, error) < 0)
        return NULL;
    return decodePem(parts.pem, derLen, error);
}

/* What was signed, the payload @payload: which register, and its value */
static int
readPayload(const CborItem *payload, EifSignature *signature, GError **error)
{
    CborReader reader = { .data = payload->data, .len = payload->len, .setError = setError };
    bool found = false;
    bool again = false;
    CborItem item;
    uint64_t pairs;

    if (cborReadItem(&reader, &item, error) < 0)
        return -1;
    if (item.kind != CBOR_ITEM_MAP) {
        setError(error, "the payload of its COSE_Sign1 is no map");
        return -1;
    }

    for (pairs = item.value; pairs > 0; pairs--) {
        if (readKey(&reader, &item, error) < 0)
            return -1;

        if (cborItemIsText(&item, INDEX_KEY)) {
            if (cborReadItem(&reader, &item, error) < 0)
                return -1;
            again = again || found;
            found = item.kind == CBOR_ITEM_UINT && item.value == 0;
        } else if (cborItemIsText(&item, VALUE_KEY)) {
            if (readBytesOnce(&reader, VALUE_KEY, &signature->pcr0, error) < 0)
                return -1;
        } else if (cborSkipItems(&reader, 1, error) < 0) {
            return -1;
        }
    }

    if (!found || again || !signature->pcr0 || signature->pcr0->len != EIF_PCR_SIZE ||
        reader.pos != reader.len) {
        setError(error, "the payload of its COSE_Sign1 is not the value of PCR0");
        return -1;
    }
    return 0;
}

/* The COSE_Sign1 over PCR0 */
static int
readCose(const GByteArray *cose, EifSignature *signature, GError **error)
{
    CoseSign1 parts;

    if (coseSign1Read(cose->data, cose->len, setError, &parts, error) < 0 ||
        readPayload(&parts.payload, signature, error) < 0)
        return -1;

    signature->algorithm = parts.algorithm;
    signature->signature = g_byte_array_new();
    g_byte_array_append(signature->signature, parts.signature.data, parts.signature.len);
    signature->signedBytes = coseSign1GetSignedBytes(&parts);
    return 0;
}

void
eifSignatureClear(EifSignature *signature)
{
    g_clear_pointer(&signature->certificate, g_free);
    g_clear_pointer(&signature->signature, g_byte_array_unref);
    g_clear_pointer(&signature->signedBytes, g_byte_array_unref);
    g_clear_pointer(&signature->pcr0, g_byte_array_unref);
}

int
eifSignatureRead(const uint8_t *section, size_t len, EifSignature *signature, GError **error)
{
    g_auto(Parts) parts = { 0 };

    if (readParts(section, len, &parts, error) < 0 ||
        !(signature->certificate = decodePem(parts.pem, &signature->certificateLen, error)))
        return -1;

    if (!parts.cose) {
        setError(error, "its map has no key \"signature\"");
        return -1;
    }
    return readCose(parts.cose, signature, error);
}

int
eifImageMeasureCertificate(const EifImage *image, int fd, EifMeasurements *measurements,
                           GError **error)
{
    const EifSection *section = eifImageFindSection(image, EIF_SECTION_SIGNATURE);
    g_autofree char *content = NULL;
    g_autofree uint8_t *der = NULL;
    size_t len;

    if (!section)
        return 0;
    if (!(content = eifImageReadSection(fd, section, EIF_SIGNATURE_MAX, error)) ||
        !(der = eifSignatureGetCertificate((const uint8_t *)content, section->size, &len, error)))
        return -1;

    eifExtend(der, len, measurements->pcr[8]);
    measurements->valid[8] = true;
    return 0;
}
