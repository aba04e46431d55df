/*
 * nsm_request.c: what an enclave asks its NSM
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: bytes -> a text, or a map of one pair -> the kind's name in a table -> the fields that
 * the kind has. As AWS's NSM does, numbers are read in any width, and fields that are not known
 * are passed over.
 */

#include "nsm_internal.h"

#include <string.h>

/* The fields that a request may have, and has to have */
#define FIELD_INDEX (1U << 0)
#define FIELD_RANGE (1U << 1)
#define FIELD_DATA (1U << 2)
#define FIELD_OPTIONAL (1U << 3) /* user_data, nonce, public_key: each may be missing */

typedef struct _Kind Kind;
struct _Kind {
    const char *name;
    NsmRequestKind kind;
    unsigned int fields; /* 0: it is a text only */
};

static const Kind kinds[] = {
    {"DescribeNSM", NSM_REQUEST_DESCRIBE_NSM, 0},
    {"GetRandom", NSM_REQUEST_GET_RANDOM, 0},
    {"DescribePCR", NSM_REQUEST_DESCRIBE_PCR, FIELD_INDEX},
    {"ExtendPCR", NSM_REQUEST_EXTEND_PCR, FIELD_INDEX | FIELD_DATA},
    {"LockPCR", NSM_REQUEST_LOCK_PCR, FIELD_INDEX},
    {"LockPCRs", NSM_REQUEST_LOCK_PCRS, FIELD_RANGE},
    {"Attestation", NSM_REQUEST_ATTESTATION, FIELD_OPTIONAL},
};

/* The enclave gets no text of what is wrong. */
static void
ignoreError(GError **error, const char *what)
{
}

static const Kind *
findKind(const CborItem *name, bool fields)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (cborItemIsText(name, kinds[i].name) && (kinds[i].fields != 0) == fields)
            return &kinds[i];
    }
    return NULL;
}

static int
readNumber(CborReader *reader, uint64_t *number)
{
    CborItem item;

    if (cborReadItem(reader, &item, NULL) < 0 || item.kind != CBOR_ITEM_UINT ||
        item.value > UINT16_MAX)
        return -1;
    *number = item.value;
    return 0;
}

/* Bytes, or with @optional null, which is none */
static int
readBytes(CborReader *reader, bool optional, CborItem *bytes)
{
    if (cborReadItem(reader, bytes, NULL) < 0)
        return -1;
    if (bytes->kind == CBOR_ITEM_BYTES)
        return 0;
    if (bytes->kind != CBOR_ITEM_NULL || !optional)
        return -1;
    bytes->kind = CBOR_ITEM_OTHER;
    return 0;
}

/* The value of @key, which one of @fields may be. What was read is added to *@seen. */
static int
readField(CborReader *reader, const CborItem *key, unsigned int fields, NsmRequest *request,
          unsigned int *seen)
{
    if (fields & FIELD_INDEX && cborItemIsText(key, "index")) {
        *seen |= FIELD_INDEX;
        return readNumber(reader, &request->number);
    }
    if (fields & FIELD_RANGE && cborItemIsText(key, "range")) {
        *seen |= FIELD_RANGE;
        return readNumber(reader, &request->number);
    }
    if (fields & FIELD_DATA && cborItemIsText(key, "data")) {
        *seen |= FIELD_DATA;
        return readBytes(reader, false, &request->data);
    }
    if (fields & FIELD_OPTIONAL && cborItemIsText(key, "user_data"))
        return readBytes(reader, true, &request->userData);
    if (fields & FIELD_OPTIONAL && cborItemIsText(key, "nonce"))
        return readBytes(reader, true, &request->nonce);
    if (fields & FIELD_OPTIONAL && cborItemIsText(key, "public_key"))
        return readBytes(reader, true, &request->publicKey);
    return cborSkipItems(reader, 1, NULL);
}

static int
readFields(CborReader *reader, unsigned int fields, NsmRequest *request)
{
    unsigned int seen = FIELD_OPTIONAL;
    CborItem key;
    CborMap map;
    int rc;

    if (cborMapBegin(reader, &map, "the request", NULL) < 0)
        return -1;
    while ((rc = cborMapNext(reader, &map, &key, NULL)) > 0) {
        if (readField(reader, &key, fields, request, &seen) < 0)
            return -1;
    }
    return rc < 0 || (fields & ~seen) ? -1 : 0;
}

/* The map of one pair that follows: the kind's name, and its fields */
static int
readPair(CborReader *reader, NsmRequest *request)
{
    const Kind *kind;
    CborItem key;
    CborMap map;

    if (cborMapBegin(reader, &map, "the request", NULL) < 0 || cborMapNext(reader, &map, &key, NULL) != 1 ||
        !(kind = findKind(&key, true)))
        return -1;
    request->kind = kind->kind;
    if (readFields(reader, kind->fields, request) < 0)
        return -1;
    return cborMapNext(reader, &map, &key, NULL) == 0 ? 0 : -1;
}

int
nsmRequestRead(const uint8_t *data, size_t len, NsmRequest *request)
{
    CborReader reader = {.data = data, .len = len, .setError = ignoreError};
    const Kind *kind;
    CborItem item;

    memset(request, 0, sizeof(*request));
    if (cborReadItem(&reader, &item, NULL) == 0 && item.kind == CBOR_ITEM_TEXT) {
        if (!(kind = findKind(&item, false)))
            return -1;
        request->kind = kind->kind;
    } else {
        reader.pos = 0;
        if (readPair(&reader, request) < 0)
            return -1;
    }
    return reader.pos == reader.len ? 0 : -1;
}
