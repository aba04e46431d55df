/*
 * attest_document.c: what is in an attestation document
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: bytes -> coseSign1Read() -> the payload, a map -> one function for each of its values.
 * A key that is not known is passed over: the signature is over it as well. Each of the others is
 * there once.
 */

#include "attest.h"
#include "cose.h"
#include "nitro_gettext.h"

#include <inttypes.h>
#include <string.h>

#define DIGEST "SHA384"

GQuark
attestErrorQuark(void)
{
    return g_quark_from_static_string("libvirt-nitro-attest-error");
}

static void
setError(GError **error, const char *what)
{
    g_set_error(error, ATTEST_ERROR, ATTEST_ERROR_FORMAT,
                _("this is no attestation document: %s"), _(what));
}

/* Reads bytes between @min and @max long: the value of @key. Returns NULL with @error set. */
static GBytes *
readBytes(CborReader *reader, const char *key, size_t min, size_t max, GError **error)
{
    g_autofree char *text = NULL;
    CborItem item;

    if (cborReadItem(reader, &item, error) < 0)
        return NULL;
    if (item.kind == CBOR_ITEM_BYTES && item.len >= min && item.len <= max)
        return g_bytes_new(item.data, item.len);

    if (item.kind == CBOR_ITEM_BYTES)
        text = g_strdup_printf(_("its \"%s\" has %zu bytes, and may have %zu to %zu"), key,
                               item.len, min, max);
    else
        text = g_strdup_printf(_("its \"%s\" is no byte string"), key);
    setError(error, text);
    return NULL;
}

/* The same of a value that may be null, which is none. Returns 0, or -1 with @error set. */
static int
readOptional(CborReader *reader, const char *key, size_t min, size_t max, GBytes **bytes,
             GError **error)
{
    size_t start = reader->pos;
    CborItem item;

    if (cborReadItem(reader, &item, error) < 0)
        return -1;
    if (item.kind == CBOR_ITEM_NULL)
        return 0;
    reader->pos = start;
    return (*bytes = readBytes(reader, key, min, max, error)) ? 0 : -1;
}

static int
readModuleId(CborReader *reader, AttestDocument *document, GError **error)
{
    CborItem item;

    if (cborReadItem(reader, &item, error) < 0)
        return -1;
    if (item.kind != CBOR_ITEM_TEXT || item.len == 0 ||
        !g_utf8_validate((const char *)item.data, item.len, NULL)) {
        setError(error, "its \"module_id\" is no text");
        return -1;
    }
    document->moduleId = g_strndup((const char *)item.data, item.len);
    return 0;
}

static int
readDigest(CborReader *reader, bool *found, GError **error)
{
    CborItem item;

    if (cborReadItem(reader, &item, error) < 0)
        return -1;
    if (!cborItemIsText(&item, DIGEST)) {
        setError(error, "its \"digest\" is not \"SHA384\"");
        return -1;
    }
    *found = true;
    return 0;
}

static int
readTimestamp(CborReader *reader, AttestDocument *document, GError **error)
{
    CborItem item;

    if (cborReadItem(reader, &item, error) < 0)
        return -1;
    if (item.kind != CBOR_ITEM_UINT || item.value == 0 || item.value > INT64_MAX) {
        setError(error, "its \"timestamp\" is no number of milliseconds");
        return -1;
    }
    document->timestamp = item.value;
    return 0;
}

static int
readPcrs(CborReader *reader, AttestDocument *document, GError **error)
{
    CborItem start;
    CborItem key;
    uint64_t n;

    if (cborReadItem(reader, &start, error) < 0)
        return -1;
    if (start.kind != CBOR_ITEM_MAP || start.value < 1 || start.value > ATTEST_PCR_COUNT) {
        setError(error, "its \"pcrs\" is no map of 1 to 32 registers");
        return -1;
    }
    for (n = start.value; n > 0; n--) {
        g_autoptr(GBytes) value = NULL;

        if (cborReadItem(reader, &key, error) < 0)
            return -1;
        if (key.kind != CBOR_ITEM_UINT || key.value >= ATTEST_PCR_COUNT ||
            document->pcrs & (1U << key.value)) {
            setError(error, "its \"pcrs\" has a key that is no register, or is there twice");
            return -1;
        }
        if (!(value = readBytes(reader, "pcrs", ATTEST_PCR_SIZE, ATTEST_PCR_SIZE, error)))
            return -1;
        memcpy(document->pcr[key.value], g_bytes_get_data(value, NULL), ATTEST_PCR_SIZE);
        document->pcrs |= 1U << key.value;
    }
    return 0;
}

static int
readBundle(CborReader *reader, AttestDocument *document, GError **error)
{
    CborItem item;
    uint64_t n;

    if (cborReadItem(reader, &item, error) < 0)
        return -1;
    if (item.kind != CBOR_ITEM_ARRAY || item.value < 1 || item.value > ATTEST_BUNDLE_MAX) {
        setError(error, "its \"cabundle\" is no array of 1 to 16 certificates");
        return -1;
    }
    document->cabundle = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    for (n = item.value; n > 0; n--) {
        GBytes *certificate = readBytes(reader, "cabundle", 1, ATTEST_CERTIFICATE_MAX, error);

        if (!certificate)
            return -1;
        g_ptr_array_add(document->cabundle, certificate);
    }
    return 0;
}

/* The value of @key. Returns 0, or -1 with @error set. */
static int
readValue(CborReader *reader, const CborItem *key, AttestDocument *document, bool *digest,
          GError **error)
{
    if (cborItemIsText(key, "module_id"))
        return readModuleId(reader, document, error);
    if (cborItemIsText(key, "digest"))
        return readDigest(reader, digest, error);
    if (cborItemIsText(key, "timestamp"))
        return readTimestamp(reader, document, error);
    if (cborItemIsText(key, "pcrs"))
        return readPcrs(reader, document, error);
    if (cborItemIsText(key, "cabundle"))
        return readBundle(reader, document, error);
    if (cborItemIsText(key, "certificate")) {
        document->certificate = readBytes(reader, "certificate", 1, ATTEST_CERTIFICATE_MAX, error);
        return document->certificate ? 0 : -1;
    }
    if (cborItemIsText(key, "public_key"))
        return readOptional(reader, "public_key", 1, ATTEST_PUBLIC_KEY_MAX, &document->publicKey,
                            error);
    if (cborItemIsText(key, "user_data"))
        return readOptional(reader, "user_data", 0, ATTEST_USER_DATA_MAX,
                            &document->userData, error);
    if (cborItemIsText(key, "nonce"))
        return readOptional(reader, "nonce", 0, ATTEST_USER_DATA_MAX, &document->nonce,
                            error);
    return cborSkipItems(reader, 1, error);
}

/* Checks that nothing is missing that each document has. */
static int
checkComplete(const AttestDocument *document, bool digest, GError **error)
{
    const char *missing = NULL;
    g_autofree char *text = NULL;

    if (!document->moduleId)
        missing = "module_id";
    else if (!digest)
        missing = "digest";
    else if (document->timestamp == 0)
        missing = "timestamp";
    else if (document->pcrs == 0)
        missing = "pcrs";
    else if (!document->certificate)
        missing = "certificate";
    else if (!document->cabundle)
        missing = "cabundle";
    if (!missing)
        return 0;

    text = g_strdup_printf(_("it has no \"%s\""), missing);
    setError(error, text);
    return -1;
}

static int
readPayload(const CborItem *payload, AttestDocument *document, GError **error)
{
    CborReader reader = { .data = payload->data, .len = payload->len, .setError = setError };
    bool digest = false;
    CborItem key;
    CborMap map;
    int rc;

    if (cborMapBegin(&reader, &map, N_("its payload"), error) < 0)
        return -1;
    while ((rc = cborMapNext(&reader, &map, &key, error)) > 0) {
        if (readValue(&reader, &key, document, &digest, error) < 0)
            return -1;
    }
    if (rc < 0)
        return -1;
    if (reader.pos != reader.len) {
        setError(error, "its payload goes on behind its end");
        return -1;
    }
    return checkComplete(document, digest, error);
}

int
attestDocumentRead(const uint8_t *data, size_t len, AttestDocument *document, GError **error)
{
    CoseSign1 message;

    if (len > ATTEST_DOCUMENT_MAX) {
        g_autofree char *text = g_strdup_printf(_("it has %zu bytes, and may have %u"), len,
                                                ATTEST_DOCUMENT_MAX);

        setError(error, text);
        return -1;
    }
    if (coseSign1Read(data, len, setError, &message, error) < 0)
        return -1;
    if (message.unprotected.kind != CBOR_ITEM_MAP || message.unprotected.value != 0) {
        setError(error, "the unprotected header of its COSE_Sign1 is no empty map");
        return -1;
    }
    if (message.algorithm != COSE_ALGORITHM_ES384) {
        g_autofree char *text = g_strdup_printf(_("its algorithm has the COSE number %" PRId64
                                                  ", and documents are signed with ES384, -35"),
                                                message.algorithm);

        setError(error, text);
        return -1;
    }
    if (readPayload(&message.payload, document, error) < 0)
        return -1;

    document->signature = g_byte_array_new();
    g_byte_array_append(document->signature, message.signature.data, message.signature.len);
    document->signedBytes = coseSign1GetSignedBytes(&message);
    return 0;
}

void
attestDocumentClear(AttestDocument *document)
{
    g_clear_pointer(&document->moduleId, g_free);
    g_clear_pointer(&document->certificate, g_bytes_unref);
    g_clear_pointer(&document->cabundle, g_ptr_array_unref);
    g_clear_pointer(&document->publicKey, g_bytes_unref);
    g_clear_pointer(&document->userData, g_bytes_unref);
    g_clear_pointer(&document->nonce, g_bytes_unref);
    g_clear_pointer(&document->signature, g_byte_array_unref);
    g_clear_pointer(&document->signedBytes, g_byte_array_unref);
}
