/*
 * nsm_internal.h: what the files of this directory share and no other sees
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: nsm_request.c reads a request; nsm.c does what it asks for; nsm_document.c makes the
 * document.
 */

#pragma once

#include "cbor_reader.h"
#include "nsm.h"

/* The longest value of each of the three that an enclave adds to a document, in bytes */
#define NSM_USER_DATA_MAX 1024

typedef enum {
    NSM_REQUEST_DESCRIBE_NSM,
    NSM_REQUEST_DESCRIBE_PCR,
    NSM_REQUEST_EXTEND_PCR,
    NSM_REQUEST_LOCK_PCR,
    NSM_REQUEST_LOCK_PCRS,
    NSM_REQUEST_GET_RANDOM,
    NSM_REQUEST_ATTESTATION,
} NsmRequestKind;

/* A request; byte strings are in the input. Of kind CBOR_ITEM_OTHER are those that are not there. */
typedef struct _NsmRequest NsmRequest;
struct _NsmRequest {
    NsmRequestKind kind;
    uint64_t number; /* the index, or the range */
    CborItem data;   /* to extend with */
    CborItem userData;
    CborItem nonce;
    CborItem publicKey;
};

/* Returns 0, or -1: this is no request. */
int nsmRequestRead(const uint8_t *data, size_t len, NsmRequest *request);

struct _Nsm {
    char *moduleId;
    GBytes *certificate;
    GPtrArray *cabundle;
    NsmCalls calls;
    uint8_t boot[NSM_PCR_FREE][NSM_PCR_SIZE]; /* values at the start */
    uint8_t pcr[NSM_PCR_COUNT][NSM_PCR_SIZE];
    uint32_t locked; /* bit N: register N */
};

/*
 * An attestation document with what @request adds. Returns NULL when a call has failed, else the
 * document (g_byte_array_unref).
 */
GByteArray *nsmMakeDocument(const Nsm *nsm, const NsmRequest *request);
