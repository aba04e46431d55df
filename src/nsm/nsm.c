/*
 * nsm.c: an emulated Nitro Security Module (NSM)
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: nsmHandle() -> nsmRequestRead() -> one function for each kind of request, which writes
 * its reply or says which error there is -> the reply.
 */

#include "cbor_writer.h"
#include "nsm_internal.h"

#include <nettle/sha2.h>
#include <string.h>

/* Linux reads byte strings of fewer than 24 bytes wrongly: replies to GetRandom are longer. */
#define RANDOM_SIZE 256

/* Of the protocol; the enclave sees it with DescribeNSM. */
#define VERSION_MAJOR 1
#define VERSION_MINOR 0
#define VERSION_PATCH 0

/* The errors of the protocol that this NSM has, by their names; NULL: none */
#define ERROR_ARGUMENT "InvalidArgument"
#define ERROR_BUFFER "BufferTooSmall"
#define ERROR_INDEX "InvalidIndex"
#define ERROR_READ_ONLY "ReadOnlyIndex"
#define ERROR_OPERATION "InvalidOperation"
#define ERROR_TOO_LARGE "InputTooLarge"
#define ERROR_INTERNAL "InternalError"

#define LOCKED_AT_START ((1U << NSM_PCR_FREE) - 1)

Nsm *
nsmNew(const char *moduleId, GBytes *certificate, GPtrArray *cabundle, const NsmCalls *calls)
{
    Nsm *nsm = g_new0(Nsm, 1);
    size_t i;

    nsm->moduleId = g_strdup(moduleId);
    nsm->certificate = g_bytes_ref(certificate);
    nsm->cabundle = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    for (i = 0; i < cabundle->len; i++)
        g_ptr_array_add(nsm->cabundle, g_bytes_ref(g_ptr_array_index(cabundle, i)));
    nsm->calls = *calls;
    nsmReset(nsm);
    return nsm;
}

void
nsmFree(Nsm *nsm)
{
    g_free(nsm->moduleId);
    g_bytes_unref(nsm->certificate);
    g_ptr_array_unref(nsm->cabundle);
    g_free(nsm);
}

void
nsmSetPcr(Nsm *nsm, unsigned int index, const uint8_t value[NSM_PCR_SIZE])
{
    memcpy(nsm->boot[index], value, NSM_PCR_SIZE);
    memcpy(nsm->pcr[index], value, NSM_PCR_SIZE);
}

void
nsmReset(Nsm *nsm)
{
    memset(nsm->pcr, 0, sizeof(nsm->pcr));
    memcpy(nsm->pcr, nsm->boot, sizeof(nsm->boot));
    nsm->locked = LOCKED_AT_START;
}

/* SHA-384 of @old and the @len bytes at @data */
static void
extend(const uint8_t old[NSM_PCR_SIZE], const void *data, size_t len, uint8_t value[NSM_PCR_SIZE])
{
    struct sha384_ctx context;

    sha384_init(&context);
    sha384_update(&context, NSM_PCR_SIZE, old);
    sha384_update(&context, len, data);
    sha384_digest(&context, NSM_PCR_SIZE, value);
}

void
nsmMeasureText(const char *text, uint8_t value[NSM_PCR_SIZE])
{
    static const uint8_t zero[NSM_PCR_SIZE];

    extend(zero, text, strlen(text), value);
}

/* The start of a reply: {@name: a map of @pairs} */
static void
putReply(GByteArray *reply, const char *name, size_t pairs)
{
    cborPutMap(reply, 1);
    cborPutText(reply, name);
    cborPutMap(reply, pairs);
}

static bool
isLocked(const Nsm *nsm, uint64_t index)
{
    return nsm->locked & (1U << index);
}

static const char *
describeNsm(const Nsm *nsm, GByteArray *reply)
{
    unsigned int i;

    putReply(reply, "DescribeNSM", 7);
    cborPutText(reply, "version_major");
    cborPutUint(reply, VERSION_MAJOR);
    cborPutText(reply, "version_minor");
    cborPutUint(reply, VERSION_MINOR);
    cborPutText(reply, "version_patch");
    cborPutUint(reply, VERSION_PATCH);
    cborPutText(reply, "module_id");
    cborPutText(reply, nsm->moduleId);
    cborPutText(reply, "max_pcrs");
    cborPutUint(reply, NSM_PCR_COUNT);
    cborPutText(reply, "locked_pcrs");
    cborPutArray(reply, __builtin_popcount(nsm->locked));
    for (i = 0; i < NSM_PCR_COUNT; i++) {
        if (isLocked(nsm, i))
            cborPutUint(reply, i);
    }
    cborPutText(reply, "digest");
    cborPutText(reply, "SHA384");
    return NULL;
}

static const char *
describePcr(const Nsm *nsm, const NsmRequest *request, GByteArray *reply)
{
    if (request->number >= NSM_PCR_COUNT)
        return ERROR_INDEX;

    putReply(reply, "DescribePCR", 2);
    cborPutText(reply, "lock");
    cborPutBool(reply, isLocked(nsm, request->number));
    cborPutText(reply, "data");
    cborPutBytes(reply, nsm->pcr[request->number], NSM_PCR_SIZE);
    return NULL;
}

static const char *
extendPcr(Nsm *nsm, const NsmRequest *request, GByteArray *reply)
{
    uint8_t *pcr;

    if (request->number >= NSM_PCR_COUNT)
        return ERROR_INDEX;
    if (isLocked(nsm, request->number))
        return ERROR_READ_ONLY;

    pcr = nsm->pcr[request->number];
    extend(pcr, request->data.data, request->data.len, pcr);
    putReply(reply, "ExtendPCR", 1);
    cborPutText(reply, "data");
    cborPutBytes(reply, pcr, NSM_PCR_SIZE);
    return NULL;
}

static const char *
lockPcr(Nsm *nsm, const NsmRequest *request, GByteArray *reply)
{
    if (request->number >= NSM_PCR_COUNT)
        return ERROR_INDEX;
    if (isLocked(nsm, request->number))
        return ERROR_READ_ONLY;

    nsm->locked |= 1U << request->number;
    cborPutText(reply, "LockPCR");
    return NULL;
}

/* Locks all registers below a number; that some are locked already is no error. */
static const char *
lockPcrs(Nsm *nsm, const NsmRequest *request, GByteArray *reply)
{
    if (request->number > NSM_PCR_COUNT)
        return ERROR_INDEX;

    nsm->locked |= (uint32_t)((1ULL << request->number) - 1);
    cborPutText(reply, "LockPCRs");
    return NULL;
}

static const char *
getRandom(const Nsm *nsm, GByteArray *reply)
{
    uint8_t random[RANDOM_SIZE];

    if (!nsm->calls.random(nsm->calls.opaque, random, sizeof(random)))
        return ERROR_INTERNAL;

    putReply(reply, "GetRandom", 1);
    cborPutText(reply, "random");
    cborPutBytes(reply, random, sizeof(random));
    return NULL;
}

static const char *
attest(const Nsm *nsm, const NsmRequest *request, GByteArray *reply)
{
    g_autoptr(GByteArray) document = NULL;

    if (request->userData.len > NSM_USER_DATA_MAX || request->nonce.len > NSM_USER_DATA_MAX ||
        request->publicKey.len > NSM_USER_DATA_MAX)
        return ERROR_TOO_LARGE;
    /* A document has a key of at least one byte, or none. */
    if (request->publicKey.kind == CBOR_ITEM_BYTES && request->publicKey.len == 0)
        return ERROR_ARGUMENT;
    if (!(document = nsmMakeDocument(nsm, request)))
        return ERROR_INTERNAL;

    putReply(reply, "Attestation", 1);
    cborPutText(reply, "document");
    cborPutBytes(reply, document->data, document->len);
    return NULL;
}

/* Returns the error's name, or NULL when the answer is in @reply. */
static const char *
answer(Nsm *nsm, const NsmRequest *request, GByteArray *reply)
{
    switch (request->kind) {
    case NSM_REQUEST_DESCRIBE_NSM:
        return describeNsm(nsm, reply);
    case NSM_REQUEST_DESCRIBE_PCR:
        return describePcr(nsm, request, reply);
    case NSM_REQUEST_EXTEND_PCR:
        return extendPcr(nsm, request, reply);
    case NSM_REQUEST_LOCK_PCR:
        return lockPcr(nsm, request, reply);
    case NSM_REQUEST_LOCK_PCRS:
        return lockPcrs(nsm, request, reply);
    case NSM_REQUEST_GET_RANDOM:
        return getRandom(nsm, reply);
    case NSM_REQUEST_ATTESTATION:
        return attest(nsm, request, reply);
    }
    return ERROR_OPERATION;
}

GByteArray *
nsmHandle(Nsm *nsm, const uint8_t *request, size_t len)
{
    g_autoptr(GByteArray) reply = g_byte_array_new();
    NsmRequest parsed;
    const char *error;

    if (len > NSM_REQUEST_MAX)
        error = ERROR_TOO_LARGE;
    else if (nsmRequestRead(request, len, &parsed) < 0)
        error = ERROR_OPERATION;
    else
        error = answer(nsm, &parsed, reply);
    if (!error && reply->len > NSM_REPLY_MAX)
        error = ERROR_BUFFER;

    if (error) {
        g_byte_array_set_size(reply, 0);
        cborPutMap(reply, 1);
        cborPutText(reply, "Error");
        cborPutText(reply, error);
    }
    return g_steal_pointer(&reply);
}
