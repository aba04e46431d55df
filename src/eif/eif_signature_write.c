/*
 * eif_signature_write.c: what is signed, and the signature section of it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: algorithm -> protected header; PCR0 -> payload; both -> the bytes that are signed.
 * Those with the signature -> COSE_Sign1 (cose.h), and that with the certificate -> the
 * section. All as AWS's tools write it: what is not COSE's own as arrays of small integers, as
 * the hypervisor's reader may know nothing else.
 */

#include "cbor_writer.h"
#include "cose.h"
#include "eif_internal.h"
#include "eif_signature_format.h"

static void
appendByteArray(GByteArray *out, const uint8_t *data, size_t len)
{
    size_t i;

    cborPutArray(out, len);
    for (i = 0; i < len; i++)
        cborPutUint(out, data[i]);
}

static GByteArray *
makePayload(const uint8_t pcr0[EIF_PCR_SIZE])
{
    GByteArray *out = g_byte_array_new();

    cborPutMap(out, 2);
    cborPutText(out, INDEX_KEY);
    cborPutUint(out, 0);
    cborPutText(out, VALUE_KEY);
    appendByteArray(out, pcr0, EIF_PCR_SIZE);
    return out;
}

/* The protected header and the payload of a message, which stay the caller's */
static CoseSign1
makeMessage(const GByteArray *header, const GByteArray *payload)
{
    return (CoseSign1){
        .header = { .data = header->data, .len = header->len },
        .payload = { .data = payload->data, .len = payload->len },
    };
}

GByteArray *
eifSignatureMakeToSign(int64_t algorithm, const uint8_t pcr0[EIF_PCR_SIZE])
{
    g_autoptr(GByteArray) header = coseMakeHeader(algorithm);
    g_autoptr(GByteArray) payload = makePayload(pcr0);
    CoseSign1 message = makeMessage(header, payload);

    return coseSign1GetSignedBytes(&message);
}

GByteArray *
eifSignatureMakeSection(int64_t algorithm, const uint8_t pcr0[EIF_PCR_SIZE],
                        const GByteArray *pem, const GByteArray *signature)
{
    g_autoptr(GByteArray) header = coseMakeHeader(algorithm);
    g_autoptr(GByteArray) payload = makePayload(pcr0);
    CoseSign1 message = makeMessage(header, payload);
    g_autoptr(GByteArray) cose = NULL;
    GByteArray *out = g_byte_array_new();

    message.signature = (CborItem){ .data = signature->data, .len = signature->len };
    cose = coseSign1Write(&message);

    cborPutArray(out, 1);
    cborPutMap(out, 2);
    cborPutText(out, CERTIFICATE_KEY);
    appendByteArray(out, pem->data, pem->len);
    cborPutText(out, SIGNATURE_KEY);
    appendByteArray(out, cose->data, cose->len);
    return out;
}
