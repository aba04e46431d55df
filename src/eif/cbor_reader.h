/*
 * cbor_reader.h: CBOR (RFC 8949) that comes from outside, one item at a time
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: bytes -> CborReader -> CborItem after CborItem, or CborMap's pairs.
 *
 * Nothing here recurses, allocates for a length that the input claims, or believes
 * a length before it is compared with the bytes that are left. Items point into
 * the input, which has to stay.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    CBOR_ITEM_OTHER, /* a whole item of a kind that is only skipped */
    CBOR_ITEM_UINT,
    CBOR_ITEM_NEGINT,
    CBOR_ITEM_BYTES,
    CBOR_ITEM_TEXT,
    CBOR_ITEM_ARRAY,
    CBOR_ITEM_MAP,
    CBOR_ITEM_TAG,        /* the tagged item follows */
    CBOR_ITEM_NULL,
    CBOR_ITEM_OPEN_MAP,   /* start of a map of indefinite length: see CborMap */
    CBOR_ITEM_BREAK,      /* the end of one */
    CBOR_ITEM_INDEFINITE, /* start of another item of indefinite length */
} CborItemKind;

/* One item; of an array, map or tag only its head */
typedef struct _CborItem CborItem;
struct _CborItem {
    CborItemKind kind;
    uint64_t value;      /* UINT: the number; NEGINT: -1 less the number; ARRAY: its items;
                          * MAP: its pairs */
    const uint8_t *data; /* BYTES, TEXT: @len bytes in the input */
    size_t len;
};

/* Sets an error of the caller's domain: @what is wrong, "its CBOR ends early" (not translated) */
typedef void (*CborSetError)(GError **error, const char *what);

typedef struct _CborReader CborReader;
struct _CborReader {
    const uint8_t *data; /* the input, @len bytes */
    size_t len;
    size_t pos; /* of the next item */
    CborSetError setError;
};

/*
 * Reads the next item, which must not be of indefinite length. Returns 0, or -1 with
 * @error set.
 */
int cborReadItem(CborReader *reader, CborItem *item, GError **error);

/*
 * Skips @count items with all that is in them. Returns 0, or -1 with @error set, also
 * when one is of indefinite length.
 */
int cborSkipItems(CborReader *reader, uint64_t count, GError **error);

/* The most pairs of a map that is read as a CborMap */
#define CBOR_MAP_MAX 32

/* A map that is being read, of definite or indefinite length */
typedef struct _CborMap CborMap;
struct _CborMap {
    uint64_t left; /* pairs to come; of no use when @open */
    bool open;     /* of indefinite length: there is a break at the end */
    size_t nkeys;  /* so far */
    CborItem keys[CBOR_MAP_MAX];
};

/*
 * Reads the start of a map into @map. @what names it in errors, e.g. "the map of its PCRs"
 * (not translated). Returns 0, or -1 with @error set.
 */
int cborMapBegin(CborReader *reader, CborMap *map, const char *what, GError **error);

/*
 * Reads the next key of @map into @key, which may be a number or a text; its value is to be
 * read by the caller before the next call. Returns 1, 0 when there is none any more, or -1 with
 * @error set: also for a key that was there before, for a key of another kind, and for more
 * than CBOR_MAP_MAX of them.
 */
int cborMapNext(CborReader *reader, CborMap *map, CborItem *key, GError **error);

/* Whether @item is the text @text */
bool cborItemIsText(const CborItem *item, const char *text);
