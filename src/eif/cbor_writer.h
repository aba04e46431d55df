/*
 * cbor_writer.h: writing CBOR (RFC 8949), each length as short as can be
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: a value -> libcbor's encoder -> the end of an array of bytes.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each appends one item to @out. Lengths are in bytes. */
void cborPutUint(GByteArray *out, uint64_t value);
void cborPutInt(GByteArray *out, int64_t value);
void cborPutBool(GByteArray *out, bool value);
void cborPutText(GByteArray *out, const char *text);
void cborPutBytes(GByteArray *out, const void *data, size_t len);

/* Each appends a head only. */
void cborPutArray(GByteArray *out, size_t items); /* the items follow */
void cborPutMap(GByteArray *out, size_t pairs);   /* keys and values follow */
