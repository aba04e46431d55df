/*
 * eif_signature.c: the certificate and the signature in a signature section
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: CBOR bytes -> one item at a time from libcbor's stream decoder (which
 * allocates nothing, so no length in the input costs memory) -> the values in the
 * first map: "signing_certificate" -> the first PEM block -> DER; "signature" ->
 * COSE_Sign1 (RFC 9052) -> its parts, and the bytes that were signed.
 *
 * Nothing here recurses and nothing is believed before it is compared with the
 * bytes that are left.
 */

#include "eif_internal.h"

#include <cbor.h>
#include <string.h>

#define CERTIFICATE_KEY "signing_certificate"
#define SIGNATURE_KEY "signature"
#define INDEX_KEY "register_index"
#define VALUE_KEY "register_value"
#define PEM_BEGIN "-----BEGIN CERTIFICATE-----"
#define PEM_END "-----END CERTIFICATE-----"

/* Of COSE (RFC 9052): the labels in a protected header, and what a signature is over */
#define COSE_LABEL_ALGORITHM 1
#define COSE_LABEL_CRITICAL 2
#define COSE_CONTEXT "Signature1"

/* The tag that may stand before a COSE_Sign1: 18, as it is encoded */
#define COSE_SIGN1_TAG 0xd2

typedef enum {
    ITEM_OTHER, /* a whole item of a kind that is only skipped */
    ITEM_UINT,
    ITEM_NEGINT,
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
    uint64_t value;      /* UINT: the number; NEGINT: -1 less the number; ARRAY: its items;
                          * MAP: its pairs */
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

/* The same for the value of @key */
static void
setErrorOf(GError **error, const char *key, const char *what)
{
    g_autofree char *text = g_strdup_printf(_("the value of \"%s\" %s"), key, _(what));

    setError(error, text);
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
onNegint8(void *opaque, uint8_t value)
{
    *(Item *)opaque = (Item){ .kind = ITEM_NEGINT, .value = value };
}

static void
onNegint16(void *opaque, uint16_t value)
{
    *(Item *)opaque = (Item){ .kind = ITEM_NEGINT, .value = value };
}

static void
onNegint32(void *opaque, uint32_t value)
{
    *(Item *)opaque = (Item){ .kind = ITEM_NEGINT, .value = value };
}

static void
onNegint64(void *opaque, uint64_t value)
{
    *(Item *)opaque = (Item){ .kind = ITEM_NEGINT, .value = value };
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
    callbacks.negint8 = onNegint8;
    callbacks.negint16 = onNegint16;
    callbacks.negint32 = onNegint32;
    callbacks.negint64 = onNegint64;
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
readBytes(Reader *reader, const char *key, GError **error)
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
        setErrorOf(error, key, "is neither a byte string nor an array of bytes");
        return NULL;
    }

    for (n = item.value; n > 0; n--) {
        Item element;
        uint8_t byte;

        if (readItem(reader, &element, error) < 0)
            return NULL;
        if (element.kind != ITEM_UINT || element.value > UINT8_MAX) {
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
readKey(Reader *reader, Item *key, GError **error)
{
    if (readItem(reader, key, error) < 0)
        return -1;
    if (key->kind != ITEM_TEXT) {
        setError(error, "its map has a key that is not a text");
        return -1;
    }
    return 0;
}

static bool
isKey(const Item *key, const char *name)
{
    return key->len == strlen(name) && memcmp(key->data, name, key->len) == 0;
}

/* Reads the bytes of @name into @bytes, which must not be there yet. */
static int
readBytesOnce(Reader *reader, const char *name, GByteArray **bytes, GError **error)
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
readMap(Reader *reader, uint64_t pairs, Parts *parts, GError **error)
{
    int rc = 0;

    for (; pairs > 0 && rc == 0; pairs--) {
        Item key;

        if (readKey(reader, &key, error) < 0)
            return -1;

        if (isKey(&key, CERTIFICATE_KEY))
            rc = readBytesOnce(reader, CERTIFICATE_KEY, &parts->pem, error);
        else if (isKey(&key, SIGNATURE_KEY))
            rc = readBytesOnce(reader, SIGNATURE_KEY, &parts->cose, error);
        else
            rc = skipItems(reader, 1, error);
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
    Reader reader = { .data = section, .len = len };
    Item array;
    Item map;

    if (readItem(&reader, &array, error) < 0)
        return -1;
    if (array.kind != ITEM_ARRAY || array.value == 0) {
        setError(error, "it is not a CBOR array of at least one signature");
        return -1;
    }

    if (readItem(&reader, &map, error) < 0)
        return -1;
    if (map.kind != ITEM_MAP) {
        setError(error, "its first item is not a CBOR map");
        return -1;
    }

    if (readMap(&reader, map.value, parts, error) < 0 ||
        skipItems(&reader, array.value - 1, error) < 0)
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

/* The next item as a byte string: one part of the COSE_Sign1, called @what */
static int
readCoseBytes(Reader *reader, const char *what, Item *item, GError **error)
{
    if (readItem(reader, item, error) < 0)
        return -1;
    if (item->kind != ITEM_BYTES) {
        g_autofree char *text = g_strdup_printf("the %s of its COSE_Sign1 is no byte string", what);

        setError(error, text);
        return -1;
    }
    return 0;
}

/* The algorithm in the protected header @header, a map inside a byte string */
static int
readAlgorithm(const Item *header, int64_t *algorithm, GError **error)
{
    Reader reader = { .data = header->data, .len = header->len };
    bool found = false;
    bool again = false;
    Item map;

    if (readItem(&reader, &map, error) < 0)
        return -1;
    if (map.kind != ITEM_MAP) {
        setError(error, "the protected header of its COSE_Sign1 is no map");
        return -1;
    }

    for (; map.value > 0; map.value--) {
        Item label;
        Item value;

        if (readItem(&reader, &label, error) < 0)
            return -1;
        if (label.kind == ITEM_UINT && label.value == COSE_LABEL_ALGORITHM) {
            if (readItem(&reader, &value, error) < 0)
                return -1;
            again = again || found;
            found = (value.kind == ITEM_NEGINT || value.kind == ITEM_UINT) &&
                    value.value < INT64_MAX;
            *algorithm = value.kind == ITEM_NEGINT ? -1 - (int64_t)value.value :
                                                     (int64_t)value.value;
        } else if ((label.kind == ITEM_UINT && label.value == COSE_LABEL_CRITICAL) ||
                   (label.kind != ITEM_UINT && label.kind != ITEM_NEGINT &&
                    label.kind != ITEM_TEXT)) {
            setError(error, "the protected header of its COSE_Sign1 has what is not understood");
            return -1;
        } else if (skipItems(&reader, 1, error) < 0) {
            return -1;
        }
    }

    if (!found || again || reader.pos != reader.len) {
        setError(error, "the protected header of its COSE_Sign1 does not name one algorithm");
        return -1;
    }
    return 0;
}

/* What was signed, the payload @payload: which register, and its value */
static int
readPayload(const Item *payload, EifSignature *signature, GError **error)
{
    Reader reader = { .data = payload->data, .len = payload->len };
    bool found = false;
    bool again = false;
    Item item;
    uint64_t pairs;

    if (readItem(&reader, &item, error) < 0)
        return -1;
    if (item.kind != ITEM_MAP) {
        setError(error, "the payload of its COSE_Sign1 is no map");
        return -1;
    }

    for (pairs = item.value; pairs > 0; pairs--) {
        if (readKey(&reader, &item, error) < 0)
            return -1;

        if (isKey(&item, INDEX_KEY)) {
            if (readItem(&reader, &item, error) < 0)
                return -1;
            again = again || found;
            found = item.kind == ITEM_UINT && item.value == 0;
        } else if (isKey(&item, VALUE_KEY)) {
            if (readBytesOnce(&reader, VALUE_KEY, &signature->pcr0, error) < 0)
                return -1;
        } else if (skipItems(&reader, 1, error) < 0) {
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

static void
appendBytes(GByteArray *out, const Item *item)
{
    uint8_t head[9];

    g_byte_array_append(out, head, cbor_encode_bytestring_start(item->len, head, sizeof(head)));
    g_byte_array_append(out, item->data, item->len);
}

/* The Sig_structure of RFC 9052, section 4.4, with no external data */
static GByteArray *
makeSignedBytes(const Item *header, const Item *payload)
{
    const Item external = { .data = (const uint8_t *)"" };
    GByteArray *out = g_byte_array_new();
    uint8_t head[9];

    g_byte_array_append(out, head, cbor_encode_array_start(4, head, sizeof(head)));
    g_byte_array_append(out, head,
                        cbor_encode_string_start(strlen(COSE_CONTEXT), head, sizeof(head)));
    g_byte_array_append(out, (const uint8_t *)COSE_CONTEXT, strlen(COSE_CONTEXT));
    appendBytes(out, header);
    appendBytes(out, &external);
    appendBytes(out, payload);
    return out;
}

/* COSE_Sign1: an array of protected and unprotected header, payload, signature; perhaps tagged */
static int
readCose(const GByteArray *cose, EifSignature *signature, GError **error)
{
    Reader reader = { .data = cose->data, .len = cose->len };
    Item item;
    Item header;
    Item payload;

    /* libcbor takes tags that it has no name for as errors (up to version 0.10). */
    if (cose->len > 0 && cose->data[0] == COSE_SIGN1_TAG)
        reader.pos = 1;

    if (readItem(&reader, &item, error) < 0)
        return -1;
    if (item.kind != ITEM_ARRAY || item.value != 4) {
        setError(error, "the value of \"signature\" is no COSE_Sign1");
        return -1;
    }

    if (readCoseBytes(&reader, "protected header", &header, error) < 0 ||
        skipItems(&reader, 1, error) < 0 ||
        readCoseBytes(&reader, "payload", &payload, error) < 0 ||
        readCoseBytes(&reader, "signature", &item, error) < 0 ||
        readAlgorithm(&header, &signature->algorithm, error) < 0 ||
        readPayload(&payload, signature, error) < 0)
        return -1;
    if (reader.pos != reader.len) {
        setError(error, "its COSE_Sign1 goes on behind its end");
        return -1;
    }

    signature->signature = g_byte_array_new();
    g_byte_array_append(signature->signature, item.data, item.len);
    signature->signedBytes = makeSignedBytes(&header, &payload);
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
