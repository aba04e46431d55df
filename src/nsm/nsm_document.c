/*
 * nsm_document.c: the attestation document of an emulated NSM
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: the state of the NSM, and what the enclave adds -> the payload, a CBOR map -> what is
 * signed (cose.h) -> COSE_Sign1, not tagged, as AWS's. See attest.h for the format.
 */

#include "cbor_writer.h"
#include "cose.h"
#include "nsm_internal.h"

/* Registers that are locked, by their numbers */
static void
putPcrs(GByteArray *out, const Nsm *nsm)
{
    unsigned int i;

    cborPutMap(out, __builtin_popcount(nsm->locked));
    for (i = 0; i < NSM_PCR_COUNT; i++) {
        if (!(nsm->locked & (1U << i)))
            continue;
        cborPutUint(out, i);
        cborPutBytes(out, nsm->pcr[i], NSM_PCR_SIZE);
    }
}

static void
putCertificate(GByteArray *out, GBytes *certificate)
{
    gsize len;
    const void *data = g_bytes_get_data(certificate, &len);

    cborPutBytes(out, data, len);
}

static void
putBundle(GByteArray *out, GPtrArray *bundle)
{
    size_t i;

    cborPutArray(out, bundle->len);
    for (i = 0; i < bundle->len; i++)
        putCertificate(out, g_ptr_array_index(bundle, i));
}

/* The pair @key and @value, if it is there */
static void
putOptional(GByteArray *out, const char *key, const CborItem *value)
{
    if (value->kind != CBOR_ITEM_BYTES)
        return;
    cborPutText(out, key);
    cborPutBytes(out, value->data, value->len);
}

static GByteArray *
makePayload(const Nsm *nsm, const NsmRequest *request, uint64_t now)
{
    GByteArray *out = g_byte_array_new();
    const CborItem *const optional[] = {&request->publicKey, &request->userData, &request->nonce};
    size_t pairs = 6;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(optional); i++)
        pairs += optional[i]->kind == CBOR_ITEM_BYTES;

    cborPutMap(out, pairs);
    cborPutText(out, "module_id");
    cborPutText(out, nsm->moduleId);
    cborPutText(out, "digest");
    cborPutText(out, "SHA384");
    cborPutText(out, "timestamp");
    cborPutUint(out, now);
    cborPutText(out, "pcrs");
    putPcrs(out, nsm);
    cborPutText(out, "certificate");
    putCertificate(out, nsm->certificate);
    cborPutText(out, "cabundle");
    putBundle(out, nsm->cabundle);
    putOptional(out, "public_key", &request->publicKey);
    putOptional(out, "user_data", &request->userData);
    putOptional(out, "nonce", &request->nonce);
    return out;
}

GByteArray *
nsmMakeDocument(const Nsm *nsm, const NsmRequest *request)
{
    g_autoptr(GByteArray) header = coseMakeHeader(COSE_ALGORITHM_ES384);
    g_autoptr(GByteArray) payload = NULL;
    g_autoptr(GByteArray) toSign = NULL;
    uint8_t signature[NSM_SIGNATURE_SIZE];
    CoseSign1 message = {0};
    uint64_t now;

    if (!nsm->calls.now(nsm->calls.opaque, &now))
        return NULL;
    payload = makePayload(nsm, request, now);
    message.header = (CborItem){.data = header->data, .len = header->len};
    message.payload = (CborItem){.data = payload->data, .len = payload->len};
    toSign = coseSign1GetSignedBytes(&message);
    if (!nsm->calls.sign(nsm->calls.opaque, toSign->data, toSign->len, signature))
        return NULL;

    message.signature = (CborItem){.data = signature, .len = sizeof(signature)};
    return coseSign1Write(&message);
}
