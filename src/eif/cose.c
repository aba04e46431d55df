/*
 * cose.c: signed messages in the form COSE_Sign1 (RFC 9052)
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: CBOR bytes -> an array of protected and unprotected header, payload, signature
 * -> the algorithm in the protected header; and the bytes that were signed. Or these parts
 * -> CBOR bytes.
 */

#include "cose.h"
#include "cbor_writer.h"
#include "nitro_gettext.h"

/* The labels in a protected header, and what a signature is over */
#define LABEL_ALGORITHM 1
#define LABEL_CRITICAL 2
#define CONTEXT "Signature1"

/* The tag that may stand before a COSE_Sign1: 18, as it is encoded */
#define SIGN1_TAG 0xd2

/* The next item as a byte string: one part of the COSE_Sign1, called @what */
static int
readBytes(CborReader *reader, const char *what, CborItem *item, GError **error)
{
    if (cborReadItem(reader, item, error) < 0)
        return -1;
    if (item->kind != CBOR_ITEM_BYTES) {
        g_autofree char *text = g_strdup_printf("the %s of its COSE_Sign1 is no byte string", what);

        reader->setError(error, text);
        return -1;
    }
    return 0;
}

/* The unprotected header: its head into @item; all of it is passed over. */
static int
readUnprotected(CborReader *reader, CborItem *item, GError **error)
{
    size_t start = reader->pos;

    if (cborReadItem(reader, item, error) < 0)
        return -1;
    reader->pos = start;
    return cborSkipItems(reader, 1, error);
}

/* Whether @label is one that may be passed over */
static bool
isOtherLabel(const CborItem *label)
{
    if (label->kind == CBOR_ITEM_UINT)
        return label->value != LABEL_CRITICAL;
    return label->kind == CBOR_ITEM_NEGINT || label->kind == CBOR_ITEM_TEXT;
}

/* The algorithm in the protected header @header, a map inside a byte string */
static int
readAlgorithm(const CborItem *header, CborSetError setError, int64_t *algorithm, GError **error)
{
    CborReader reader = { .data = header->data, .len = header->len, .setError = setError };
    bool found = false;
    bool again = false;
    CborItem map;

    if (cborReadItem(&reader, &map, error) < 0)
        return -1;
    if (map.kind != CBOR_ITEM_MAP) {
        setError(error, "the protected header of its COSE_Sign1 is no map");
        return -1;
    }

    for (; map.value > 0; map.value--) {
        CborItem label;
        CborItem value;

        if (cborReadItem(&reader, &label, error) < 0)
            return -1;
        if (label.kind == CBOR_ITEM_UINT && label.value == LABEL_ALGORITHM) {
            if (cborReadItem(&reader, &value, error) < 0)
                return -1;
            again = again || found;
            found = (value.kind == CBOR_ITEM_NEGINT || value.kind == CBOR_ITEM_UINT) &&
                    value.value < INT64_MAX;
            *algorithm = value.kind == CBOR_ITEM_NEGINT ? -1 - (int64_t)value.value :
                                                          (int64_t)value.value;
        } else if (!isOtherLabel(&label)) {
            setError(error, "the protected header of its COSE_Sign1 has what is not understood");
            return -1;
        } else if (cborSkipItems(&reader, 1, error) < 0) {
            return -1;
        }
    }

    if (!found || again || reader.pos != reader.len) {
        setError(error, "the protected header of its COSE_Sign1 does not name one algorithm");
        return -1;
    }
    return 0;
}

int
coseSign1Read(const uint8_t *data, size_t len, CborSetError setError, CoseSign1 *message,
              GError **error)
{
    CborReader reader = { .data = data, .len = len, .setError = setError };
    CborItem item;

    /* libcbor takes tags that it has no name for as errors (up to version 0.10). */
    if (len > 0 && data[0] == SIGN1_TAG)
        reader.pos = 1;

    if (cborReadItem(&reader, &item, error) < 0)
        return -1;
    if (item.kind != CBOR_ITEM_ARRAY || item.value != 4) {
        setError(error, "its COSE_Sign1 is not an array of four items");
        return -1;
    }

    if (readBytes(&reader, "protected header", &message->header, error) < 0 ||
        readUnprotected(&reader, &message->unprotected, error) < 0 ||
        readBytes(&reader, "payload", &message->payload, error) < 0 ||
        readBytes(&reader, "signature", &message->signature, error) < 0 ||
        readAlgorithm(&message->header, setError, &message->algorithm, error) < 0)
        return -1;
    if (reader.pos != reader.len) {
        setError(error, "its COSE_Sign1 goes on behind its end");
        return -1;
    }
    return 0;
}

GByteArray *
coseMakeHeader(int64_t algorithm)
{
    GByteArray *out = g_byte_array_new();

    cborPutMap(out, 1);
    cborPutUint(out, LABEL_ALGORITHM);
    cborPutInt(out, algorithm);
    return out;
}

GByteArray *
coseSign1GetSignedBytes(const CoseSign1 *message)
{
    GByteArray *out = g_byte_array_new();

    cborPutArray(out, 4);
    cborPutText(out, CONTEXT);
    cborPutBytes(out, message->header.data, message->header.len);
    cborPutBytes(out, "", 0); /* no external data */
    cborPutBytes(out, message->payload.data, message->payload.len);
    return out;
}

GByteArray *
coseSign1Write(const CoseSign1 *message)
{
    GByteArray *out = g_byte_array_new();

    cborPutArray(out, 4);
    cborPutBytes(out, message->header.data, message->header.len);
    cborPutMap(out, 0);
    cborPutBytes(out, message->payload.data, message->payload.len);
    cborPutBytes(out, message->signature.data, message->signature.len);
    return out;
}
