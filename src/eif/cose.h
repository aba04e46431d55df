/*
 * cose.h: signed messages in the form COSE_Sign1 (RFC 9052)
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What signs images and attestation documents of Nitro Enclaves. Flow: bytes ->
 * coseSign1Read() -> CoseSign1 -> coseSign1GetSignedBytes() -> coseVerify() of
 * cose_verify.h. Or, to sign: coseMakeHeader() and a payload -> coseSign1GetSignedBytes() ->
 * their signature -> coseSign1Write() -> bytes.
 */

#pragma once

#include "cbor_reader.h"

/* ECDSA with SHA-384, the algorithm of attestation documents (RFC 9053, section 2.1) */
#define COSE_ALGORITHM_ES384 (-35)

/* The parts of a message, as they are in it; nothing of it is believed. */
typedef struct _CoseSign1 CoseSign1;
struct _CoseSign1 {
    CborItem header;      /* the protected one, the bytes of a map */
    CborItem unprotected; /* a head only */
    CborItem payload;     /* bytes */
    CborItem signature;   /* bytes: r and s, each as long as the key's field */
    int64_t algorithm;    /* what the protected header says */
};

/*
 * Takes the @len bytes at @data apart, which stay in use: an array of four, perhaps tagged as a
 * COSE_Sign1, with nothing behind it. A protected header with critical labels is refused.
 * Returns 0, or -1 with @error set by @setError.
 */
int coseSign1Read(const uint8_t *data, size_t len, CborSetError setError, CoseSign1 *message,
                  GError **error);

/* The content of a protected header that names @algorithm, COSE's number (g_byte_array_unref) */
GByteArray *coseMakeHeader(int64_t algorithm);

/*
 * What the signature is over, also for who is to make it: the Sig_structure of RFC 9052, section
 * 4.4, with no external data. Of @message only @data and @len of header and payload are looked at
 * (g_byte_array_unref).
 */
GByteArray *coseSign1GetSignedBytes(const CoseSign1 *message);

/*
 * The message as AWS's tools write one: not tagged, and with an empty unprotected header. Of
 * @message only @data and @len of header, payload and signature are looked at
 * (g_byte_array_unref).
 */
GByteArray *coseSign1Write(const CoseSign1 *message);
