/*
 * nsm.h: an emulated Nitro Security Module (NSM)
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What an enclave asks for its registers, random numbers and attestation documents. Source of the
 * protocol: facts of aws-nitro-enclaves-nsm-api (src/api/mod.rs, docs/attestation_process.md,
 * nsm-test) and of Linux' driver (drivers/misc/nsm.c). A request is a text or a CBOR map of one
 * pair, the reply as well:
 *
 *     "DescribeNSM"                             {"DescribeNSM": {version_major, ..., digest}}
 *     {"DescribePCR": {"index": N}}             {"DescribePCR": {"lock": bool, "data": bytes}}
 *     {"ExtendPCR": {"index": N, "data": ...}}  {"ExtendPCR": {"data": SHA384(old || data)}}
 *     {"LockPCR": {"index": N}}                 "LockPCR"
 *     {"LockPCRs": {"range": N}}                "LockPCRs"
 *     "GetRandom"                               {"GetRandom": {"random": bytes}}
 *     {"Attestation": {user_data, nonce,        {"Attestation": {"document": bytes}}
 *                      public_key: each, or null}}
 *     any                                       {"Error": "InvalidIndex"}, for instance
 *
 * Linux compares the start of replies byte by byte: lengths are definite, and as short as can be.
 *
 * Pure: no file, no clock; what it has not in itself it is given as NsmCalls.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest request, and the buffer that a driver has for a reply, in bytes */
#define NSM_REQUEST_MAX 0x1000
#define NSM_REPLY_MAX 0x3000

/* Registers; those from the first free one on are the enclave's to extend and lock */
#define NSM_PCR_COUNT 32
#define NSM_PCR_FREE 16
#define NSM_PCR_SIZE 48

/* Registers that say something of the enclave's parent */
#define NSM_PCR_ROLE 3
#define NSM_PCR_INSTANCE 4

/* Of an ECDSA signature with P-384: r and s, and of a private key, in bytes */
#define NSM_SIGNATURE_SIZE 96
#define NSM_KEY_SIZE 48

/* What an NSM needs of its surroundings. Each returns whether it has done it. */
typedef struct _NsmCalls NsmCalls;
struct _NsmCalls {
    /* Fills @buf with @len random bytes. */
    bool (*random)(void *opaque, uint8_t *buf, size_t len);
    /* The time in milliseconds since 1970, UTC */
    bool (*now)(void *opaque, uint64_t *milliseconds);
    /* Signs the @len bytes at @data with ES384 and the key of the NSM's certificate. */
    bool (*sign)(void *opaque, const uint8_t *data, size_t len,
                 uint8_t signature[NSM_SIGNATURE_SIZE]);
    void *opaque;
};

typedef struct _Nsm Nsm;

/*
 * A new NSM, never NULL, all of whose registers are zero, the first 16 of them locked. @moduleId
 * names the enclave; @certificate is that of the NSM's key, @cabundle the chain from the root (first)
 * to what has issued it, each GBytes in DER form, at most 1024 bytes. All are copied or referenced.
 */
Nsm *nsmNew(const char *moduleId, GBytes *certificate, GPtrArray *cabundle, const NsmCalls *calls);
void nsmFree(Nsm *nsm);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Nsm, nsmFree)

/*
 * The value that register @index, less than NSM_PCR_FREE, has from the start on. An enclave in debug
 * mode has zeros: this is not called.
 */
void nsmSetPcr(Nsm *nsm, unsigned int index, const uint8_t value[NSM_PCR_SIZE]);

/* The value of a register for the parent's @text: SHA-384 of 48 zero bytes and the text */
void nsmMeasureText(const char *text, uint8_t value[NSM_PCR_SIZE]);

/* As the enclave starts anew: registers are as they were at its first start, and so are locks. */
void nsmReset(Nsm *nsm);

/* Answers the @len bytes at @request: at most NSM_REPLY_MAX of them, never NULL (g_byte_array_unref) */
GByteArray *nsmHandle(Nsm *nsm, const uint8_t *request, size_t len);
