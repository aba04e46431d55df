/*
 * cbor_reader.c: CBOR (RFC 8949) that comes from outside, one item at a time
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: CBOR bytes -> libcbor's stream decoder, which allocates nothing -> its
 * callbacks fill in one CborItem -> what the length says, against the bytes left.
 */

#include "cbor_reader.h"
#include "nitro_gettext.h"

#include <cbor.h>
#include <string.h>

/* libcbor's callbacks: each fills in the one Item. */

static void
onUint8(void *opaque, uint8_t value)
{
    *(CborItem *)opaque = (CborItem){ .kind = CBOR_ITEM_UINT, .value = value };
}

static void
onUint16(void *opaque, uint16_t value)
{
    *(CborItem *)opaque = (CborItem){ .kind = CBOR_ITEM_UINT, .value = value };
}

static void
onUint32(void *opaque, uint32_t value)
{
    *(CborItem *)opaque = (CborItem){ .kind = CBOR_ITEM_UINT, .value = value };
}

static void
onUint64(void *opaque, uint64_t value)
{
    *(CborItem *)opaque = (CborItem){ .kind = CBOR_ITEM_UINT, .value = value };
}

static void
onNegint8(void *opaque, uint8_t value)
{
    *(CborItem *)opaque = (CborItem){ .kind = CBOR_ITEM_NEGINT, .value = value };
}

static void
onNegint16(void *opaque, uint16_t value)
{
    *(CborItem *)opaque = (CborItem){ .kind = CBOR_ITEM_NEGINT, .value = value };
}

static void
onNegint32(void *opaque, uint32_t value)
{
    *(CborItem *)opaque = (CborItem){ .kind = CBOR_ITEM_NEGINT, .value = value };
}

static void
onNegint64(void *opaque, uint64_t value)
{
    *(CborItem *)opaque = (CborItem){ .kind = CBOR_ITEM_NEGINT, .value = value };
}

static void
onBytes(void *opaque, cbor_data data, size_t len)
{
    *(CborItem *)opaque = (CborItem){ .kind = CBOR_ITEM_BYTES, .data = data, .len = len };
}

static void
onText(void *opaque, cbor_data data, size_t len)
{
    *(CborItem *)opaque = (CborItem){ .kind = CBOR_ITEM_TEXT, .data = data, .len = len };
}

static void
onArray(void *opaque, size_t items)
{
    *(CborItem *)opaque = (CborItem){ .kind = CBOR_ITEM_ARRAY, .value = items };
}

static void
onMap(void *opaque, size_t pairs)
{
    *(CborItem *)opaque = (CborItem){ .kind = CBOR_ITEM_MAP, .value = pairs };
}

static void
onTag(void *opaque, uint64_t tag)
{
    *(CborItem *)opaque = (CborItem){ .kind = CBOR_ITEM_TAG };
}

static void
onNull(void *opaque)
{
    *(CborItem *)opaque = (CborItem){ .kind = CBOR_ITEM_NULL };
}

static void
onOpenMap(void *opaque)
{
    *(CborItem *)opaque = (CborItem){ .kind = CBOR_ITEM_OPEN_MAP };
}

static void
onBreak(void *opaque)
{
    *(CborItem *)opaque = (CborItem){ .kind = CBOR_ITEM_BREAK };
}

static void
onIndefinite(void *opaque)
{
    *(CborItem *)opaque = (CborItem){ .kind = CBOR_ITEM_INDEFINITE };
}

/* What cbor_stream_decode() calls for each kind of item */
static struct cbor_callbacks
makeCallbacks(void)
{
    struct cbor_callbacks callbacks = cbor_empty_callbacks;

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
    callbacks.null = onNull;
    callbacks.byte_string_start = onIndefinite;
    callbacks.string_start = onIndefinite;
    callbacks.indef_array_start = onIndefinite;
    callbacks.indef_map_start = onOpenMap;
    callbacks.indef_break = onBreak;
    return callbacks;
}

/* As cborReadItem(), and items of indefinite length are good, too. */
static int
readAnyItem(CborReader *reader, CborItem *item, GError **error)
{
    const struct cbor_callbacks callbacks = makeCallbacks();
    struct cbor_decoder_result result;

    *item = (CborItem){ .kind = CBOR_ITEM_OTHER };

    /* libcbor is not asked about nothing: it would read the first byte. */
    if (reader->pos >= reader->len) {
        reader->setError(error, "its CBOR ends early");
        return -1;
    }

    result = cbor_stream_decode(reader->data + reader->pos, reader->len - reader->pos,
                                &callbacks, item);
    if (result.status == CBOR_DECODER_NEDATA) {
        reader->setError(error, "its CBOR ends early");
        return -1;
    }
    if (result.status != CBOR_DECODER_FINISHED || result.read == 0) {
        reader->setError(error, "it is not CBOR");
        return -1;
    }

    reader->pos += result.read;

    /* Each item of a collection takes at least a byte, each pair two. */
    if ((item->kind == CBOR_ITEM_ARRAY && item->value > reader->len - reader->pos) ||
        (item->kind == CBOR_ITEM_MAP && item->value > (reader->len - reader->pos) / 2)) {
        reader->setError(error, "its CBOR ends early");
        return -1;
    }
    return 0;
}

int
cborReadItem(CborReader *reader, CborItem *item, GError **error)
{
    if (readAnyItem(reader, item, error) < 0)
        return -1;
    if (item->kind == CBOR_ITEM_INDEFINITE || item->kind == CBOR_ITEM_OPEN_MAP ||
        item->kind == CBOR_ITEM_BREAK) {
        reader->setError(error,
                         "its CBOR has an item of indefinite length, which is not supported");
        return -1;
    }
    return 0;
}

/* Each item takes a byte of input, so counting those still to come needs no stack. */
int
cborSkipItems(CborReader *reader, uint64_t count, GError **error)
{
    while (count > 0) {
        CborItem item;

        if (cborReadItem(reader, &item, error) < 0)
            return -1;

        count--;
        if (item.kind == CBOR_ITEM_ARRAY)
            count += item.value;
        else if (item.kind == CBOR_ITEM_MAP)
            count += item.value * 2;
        else if (item.kind == CBOR_ITEM_TAG)
            count++;

        if (count > reader->len - reader->pos) {
            reader->setError(error, "its CBOR ends early");
            return -1;
        }
    }
    return 0;
}

int
cborMapBegin(CborReader *reader, CborMap *map, const char *what, GError **error)
{
    CborItem item;

    if (readAnyItem(reader, &item, error) < 0)
        return -1;
    if (item.kind != CBOR_ITEM_MAP && item.kind != CBOR_ITEM_OPEN_MAP) {
        g_autofree char *text = g_strdup_printf(_("%s is no CBOR map"), _(what));

        reader->setError(error, text);
        return -1;
    }
    map->left = item.value;
    map->open = item.kind == CBOR_ITEM_OPEN_MAP;
    map->nkeys = 0;
    return 0;
}

/* Texts are equal by what is in them, numbers by their value. */
static bool
isSameKey(const CborItem *a, const CborItem *b)
{
    return a->kind == b->kind && a->value == b->value && a->len == b->len &&
        (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* Keeps @key, which must be a number or a text, and not be there yet. */
static int
addKey(CborReader *reader, CborMap *map, const CborItem *key, GError **error)
{
    size_t i;

    if (key->kind != CBOR_ITEM_UINT && key->kind != CBOR_ITEM_NEGINT &&
        key->kind != CBOR_ITEM_TEXT) {
        reader->setError(error, "a map in it has a key that is neither a number nor a text");
        return -1;
    }
    for (i = 0; i < map->nkeys; i++) {
        if (isSameKey(key, &map->keys[i])) {
            reader->setError(error, "a map in it has a key twice");
            return -1;
        }
    }
    if (map->nkeys == CBOR_MAP_MAX) {
        reader->setError(error, "a map in it has too many keys");
        return -1;
    }
    map->keys[map->nkeys++] = *key;
    return 0;
}

int
cborMapNext(CborReader *reader, CborMap *map, CborItem *key, GError **error)
{
    if (!map->open && map->left == 0)
        return 0;
    if (readAnyItem(reader, key, error) < 0)
        return -1;
    if (map->open && key->kind == CBOR_ITEM_BREAK)
        return 0;
    if (!map->open)
        map->left--;
    return addKey(reader, map, key, error) < 0 ? -1 : 1;
}

bool
cborItemIsText(const CborItem *item, const char *text)
{
    return item->kind == CBOR_ITEM_TEXT && item->len == strlen(text) &&
        memcmp(item->data, text, item->len) == 0;
}
