/*
 * eif_signature.c: the signing certificate in a signature section
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: CBOR bytes -> one item at a time from libcbor's stream decoder (which
 * allocates nothing, so no length in the input costs memory) -> the value of
 * "signing_certificate" in the first map -> the first PEM block -> DER.
 *
 * Nothing here recurses and nothing is believed before it is compared with the
 * bytes that are left.
 */

#include "eif_internal.h"

#include <cbor.h>
#include <string.h>

#define CERTIFICATE_KEY "signing_certificate"
#define PEM_BEGIN "-----BEGIN CERTIFICATE-----"
#define PEM_END "-----END CERTIFICATE-----"

typedef enum {
    ITEM_OTHER, /* a whole item of a kind that is only skipped */
    ITEM_UINT,
    ITEM_BYTES,
    ITEM_TEXT,
    ITEM_ARRAY,
    ITEM_MAP,
    ITEM_TAG,        /* the tagged item follows */
    ITEM_INDEFINITE, /* start or end of an item without a length */
} ItemKind;

/* One item; of an array, map or tag only its head */
typedef struct _Item Item;
struct _Item {
    ItemKind kind;
    uint64_t value;      /* UINT: the number; ARRAY: its items; MAP: its pairs */
    const uint8_t *data; /* BYTES, TEXT: @len bytes in the input */
    size_t len;
};

typedef struct _Reader Reader;
struct _Reader {
    const uint8_t *data;
    size_t len;
    size_t pos;
};

static void
setError(GError **error, const char *what)
{
    g_set_error(error, EIF_ERROR, EIF_ERROR_FORMAT, _("the signature section is wrong: %s"),
                _(what));
}

/* libcbor's callbacks: each fills in the one Item. */

static void
onUint8(void *opaque, uint8_t value)
{
    *(Item *)opaque = (Item){ .kind = ITEM_UINT, .value = value };
}

static void
onUint16(void *opaque, uint16_t value)
{
    *(Item *)opaque = (Item){ .kind = ITEM_UINT, .value = value };
}

static void
onUint32(void *opaque, uint32_t value)
{
    *(Item *)opaque = (Item){ .kind = ITEM_UINT, .value = value };
}

static void
onUint64(void *opaque, uint64_t value)
{
    *(Item *)opaque = (Item){ .kind = ITEM_UINT, .value = value };
}

static void
onBytes(void *opaque, cbor_data data, size_t len)
{
    *(Item *)opaque = (Item){ .kind = ITEM_BYTES, .data = data, .len = len };
}

static void
onText(void *opaque, cbor_data data, size_t len)
{
    *(Item *)opaque = (Item){ .kind = ITEM_TEXT, .data = data, .len = len };
}

static void
onArray(void *opaque, size_t items)
{
    *(Item *)opaque = (Item){ .kind = ITEM_ARRAY, .value = items };
}

static void
onMap(void *opaque, size_t pairs)
{
    *(Item *)opaque = (Item){ .kind = ITEM_MAP, .value = pairs };
}

static void
onTag(void *opaque, uint64_t tag)
{
    *(Item *)opaque = (Item){ .kind = ITEM_TAG };
}

static void
onIndefinite(void *opaque)
{
    *(Item *)opaque = (Item){ .kind = ITEM_INDEFINITE };
}

/* Returns 0 and the next item, or -1 with @error set. */
static int
readItem(Reader *reader, Item *item, GError **error)
{
    struct cbor_callbacks callbacks = cbor_empty_callbacks;
    struct cbor_decoder_result result;

    callbacks.uint8 = onUint8;
    callbacks.uint16 = onUint16;
    callbacks.uint32 = onUint32;
    callbacks.uint64 = onUint64;
    callbacks.byte_string = onBytes;
    callbacks.string = onText;
    callbacks.array_start = onArray;
    callbacks.map_start = onMap;
    callbacks.tag = onTag;
    callbacks.byte_string_start = onIndefinite;
    callbacks.string_start = onIndefinite;
    callbacks.indef_array_start = onIndefinite;
    callbacks.indef_map_start = onIndefinite;
    callbacks.indef_break = onIndefinite;

    *item = (Item){ .kind = ITEM_OTHER };

    /* libcbor is not asked about nothing: it would read the first byte. */
    if (reader->pos >= reader->len) {
        setError(error, "its CBOR ends early");
        return -1;
    }

    result = cbor_stream_decode(reader->data + reader->pos, reader->len - reader->pos,
                                &callbacks, item);
    if (result.status == CBOR_DECODER_NEDATA) {
        setError(error, "its CBOR ends early");
        return -1;
    }
    if (result.status != CBOR_DECODER_FINISHED || result.read == 0) {
        setError(error, "it is not CBOR");
        return -1;
    }
    if (item->kind == ITEM_INDEFINITE) {
        setError(error, "its CBOR has an item of indefinite length, which is not supported");
        return -1;
    }

    reader->pos += result.read;

    /* Each item of a collection takes at least a byte, each pair two. */
    if ((item->kind == ITEM_ARRAY && item->value > reader->len - reader->pos) ||
        (item->kind == ITEM_MAP && item->value > (reader->len - reader->pos) / 2)) {
        setError(error, "its CBOR ends early");
        return -1;
    }
    return 0;
}

/*
 * Skips @count items with all that is in them. Each item takes a byte of input,
 * so counting those still to come needs no stack.
 */
static int
skipItems(Reader *reader, uint64_t count, GError **error)
{
    while (count > 0) {
        Item item;

        if (readItem(reader, &item, error) < 0)
            return -1;

        count--;
        if (item.kind == ITEM_ARRAY)
            count += item.value;
        else if (item.kind == ITEM_MAP)
            count += item.value * 2;
        else if (item.kind == ITEM_TAG)
            count++;

        if (count > reader->len - reader->pos) {
            setError(error, "its CBOR ends early");
            return -1;
        }
    }
    return 0;
}

/* The bytes of a value: a byte string, or as AWS's tools write it, an array of small integers */
static GByteArray *
readBytes(Reader *reader, GError **error)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    Item item;
    uint64_t n;

    if (readItem(reader, &item, error) < 0)
        return NULL;

    if (item.kind == ITEM_BYTES || item.kind == ITEM_TEXT) {
        g_byte_array_append(bytes, item.data, item.len);
        return g_steal_pointer(&bytes);
    }
    if (item.kind != ITEM_ARRAY) {
        setError(error, "the value of \"signing_certificate\" is neither a byte string nor an "
                 "array of bytes");
        return NULL;
    }

    for (n = item.value; n > 0; n--) {
        Item element;
        uint8_t byte;

        if (readItem(reader, &element, error) < 0)
            return NULL;
        if (element.kind != ITEM_UINT || element.value > UINT8_MAX) {
            setError(error, "the array of \"signing_certificate\" has an item that is not a byte");
            return NULL;
        }
        byte = element.value;
        g_byte_array_append(bytes, &byte, 1);
    }
    return g_steal_pointer(&bytes);
}

/* The value of the key "signing_certificate" in the map of @pairs pairs that follows */
static GByteArray *
readCertificateOfMap(Reader *reader, uint64_t pairs, GError **error)
{
    g_autoptr(GByteArray) pem = NULL;

    for (; pairs > 0; pairs--) {
        Item key;

        if (readItem(reader, &key, error) < 0)
            return NULL;
        if (key.kind != ITEM_TEXT) {
            setError(error, "its map has a key that is not a text");
            return NULL;
        }

        if (key.len != strlen(CERTIFICATE_KEY) ||
            memcmp(key.data, CERTIFICATE_KEY, key.len) != 0) {
            if (skipItems(reader, 1, error) < 0)
                return NULL;
            continue;
        }

        if (pem) {
            setError(error, "its map has the key \"signing_certificate\" twice");
            return NULL;
        }
        if (!(pem = readBytes(reader, error)))
            return NULL;
    }

    if (!pem)
        setError(error, "its map has no key \"signing_certificate\"");
    return g_steal_pointer(&pem);
}

/* The PEM text of the certificate of the first signature, which is the one of PCR0 */
static GByteArray *
readCertificate(const uint8_t *section, size_t len, GError **error)
{
    g_autoptr(GByteArray) pem = NULL;
    Reader reader = { .data = section, .len = len };
    Item array;
    Item map;

    if (readItem(&reader, &array, error) < 0)
        return NULL;
    if (array.kind != ITEM_ARRAY || array.value == 0) {
        setError(error, "it is not a CBOR array of at least one signature");
        return NULL;
    }

    if (readItem(&reader, &map, error) < 0)
        return NULL;
    if (map.kind != ITEM_MAP) {
        setError(error, "its first item is not a CBOR map");
        return NULL;
    }

    if (!(pem = readCertificateOfMap(&reader, map.value, error)) ||
        skipItems(&reader, array.value - 1, error) < 0)
        return NULL;

    if (reader.pos != reader.len) {
        setError(error, "it goes on behind the end of its CBOR");
        return NULL;
    }
    return g_steal_pointer(&pem);
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

uint8_t *
eifSignatureGetCertificate(const uint8_t *section, size_t len, size_t *derLen, GError **error)
{
    g_autoptr(GByteArray) pem = NULL;
    g_autofree char *base64 = NULL;
    g_autofree uint8_t *der = NULL;

    if (!(pem = readCertificate(section, len, error)) ||
        !(base64 = extractBase64(pem, error)))
        return NULL;

    der = g_base64_decode(base64, derLen);
    if (!isDerSequence(der, *derLen)) {
        setError(error, "the certificate is not in DER form inside its PEM text");
        return NULL;
    }
    return g_steal_pointer(&der);
}
