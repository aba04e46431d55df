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

#include "cose.h"
#include "nsm_internal.h"

/* The protected header {1: -35}: ES384 */
static const uint8_t header[] = {0xa1, 0x01, 0x38, 0x22};

/* Registers that are locked, by their numbers */
static void
putPcrs(GByteArray *out, const Nsm *nsm)
{
    unsigned int i;

    nsmPutMap(out, __builtin_popcount(nsm->locked));
    for (i = 0; i < NSM_PCR_COUNT; i++) {
        if (!(nsm->locked & (1U << i)))
            continue;
        nsmPutUint(out, i);
        nsmPutBytes(out, nsm->pcr[i], NSM_PCR_SIZE);
    }
}

static void
putCertificate(GByteArray *out, GBytes *certificate)
{
    gsize len;
    const void *data = g_bytes_get_data(certificate, &len);

    nsmPutBytes(out, data, len);
}

static void
putBundle(GByteArray *out, GPtrArray *bundle)
{
    size_t i;

    nsmPutArray(out, bundle->len);
    for (i = 0; i < bundle->len; i++)
        putCertificate(out, g_ptr_array_index(bundle, i));
}

/* The pair @key and @value, if it is there */
static void
putOptional(GByteArray *out, const char *key, const CborItem *value)
{
    if (value->kind != CBOR_ITEM_BYTES)
        return;
    nsmPutText(out, key);
    nsmPutBytes(out, value->data, value->len);
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

    nsmPutMap(out, pairs);
    nsmPutText(out, "module_id");
    nsmPutText(out, nsm->moduleId);
    nsmPutText(out, "digest");
    nsmPutText(out, "SHA384");
    nsmPutText(out, "timestamp");
    nsmPutUint(out, now);
    nsmPutText(out, "pcrs");
    putPcrs(out, nsm);
    nsmPutText(out, "certificate");
    putCertificate(out, nsm->certificate);
    nsmPutText(out, "cabundle");
    putBundle(out, nsm->cabundle);
    putOptional(out, "public_key", &request->publicKey);
    putOptional(out, "user_data", &request->userData);
    putOptional(out, "nonce", &request->nonce);
    return out;
}

GByteArray *
nsmMakeDocument(const Nsm *nsm, const NsmRequest *request)
{
    g_autoptr(GByteArray) payload = NULL;
    g_autoptr(GByteArray) toSign = NULL;
    g_autoptr(GByteArray) out = g_byte_array_new();
    uint8_t signature[NSM_SIGNATURE_SIZE];
    uint64_t now;
    CborItem headerItem = {.data = header, .len = sizeof(header)};
    CborItem payloadItem = {0};

    if (!nsm->calls.now(nsm->calls.opaque, &now))
        return NULL;
    payload = makePayload(nsm, request, now);
    payloadItem.data = payload->data;
    payloadItem.len = payload->len;
    toSign = coseMakeSignedBytes(&headerItem, &payloadItem);
    if (!nsm->calls.sign(nsm->calls.opaque, toSign->data, toSign->len, signature))
        return NULL;

    nsmPutArray(out, 4);
    nsmPutBytes(out, header, sizeof(header));
    nsmPutMap(out, 0);
    nsmPutBytes(out, payload->data, payload->len);
    nsmPutBytes(out, signature, sizeof(signature));
    return g_steal_pointer(&out);
}
