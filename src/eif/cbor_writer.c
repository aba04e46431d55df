/*
 * cbor_writer.c: writing CBOR (RFC 8949), each length as short as can be
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: a value -> libcbor's encoder -> the end of an array of bytes.
 */

#include "cbor_writer.h"

#include <cbor.h>
#include <string.h>

/* The most bytes of a head */
#define HEAD_MAX 9

void
cborPutUint(GByteArray *out, uint64_t value)
{
    uint8_t head[HEAD_MAX];

    g_byte_array_append(out, head, cbor_encode_uint(value, head, sizeof(head)));
}

void
cborPutInt(GByteArray *out, int64_t value)
{
    uint8_t head[HEAD_MAX];

    if (value >= 0)
        cborPutUint(out, value);
    else
        g_byte_array_append(out, head, cbor_encode_negint(-1 - value, head, sizeof(head)));
}

void
cborPutBool(GByteArray *out, bool value)
{
    uint8_t head[HEAD_MAX];

    g_byte_array_append(out, head, cbor_encode_bool(value, head, sizeof(head)));
}

void
cborPutText(GByteArray *out, const char *text)
{
    uint8_t head[HEAD_MAX];
    size_t len = strlen(text);

    g_byte_array_append(out, head, cbor_encode_string_start(len, head, sizeof(head)));
    g_byte_array_append(out, (const uint8_t *)text, len);
}

void
cborPutBytes(GByteArray *out, const void *data, size_t len)
{
    uint8_t head[HEAD_MAX];

    g_byte_array_append(out, head, cbor_encode_bytestring_start(len, head, sizeof(head)));
    g_byte_array_append(out, data, len);
}

void
cborPutArray(GByteArray *out, size_t items)
{
    uint8_t head[HEAD_MAX];

    g_byte_array_append(out, head, cbor_encode_array_start(items, head, sizeof(head)));
}

void
cborPutMap(GByteArray *out, size_t pairs)
{
    uint8_t head[HEAD_MAX];

    g_byte_array_append(out, head, cbor_encode_map_start(pairs, head, sizeof(head)));
}
