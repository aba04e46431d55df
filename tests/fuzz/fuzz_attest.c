/*
 * fuzz_attest.c: fuzz target for attestation documents
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The input is a document. One that can be read is verified with its own root as the trusted one,
 * so that the chain is looked at, and is compared with itself, of which it has to be equal.
 */

#include <stdlib.h>

#include "attest.h"

static void
checkFields(const AttestDocument *document)
{
    if (!g_utf8_validate(document->moduleId, -1, NULL) || document->timestamp == 0 ||
        document->pcrs == 0 || document->cabundle->len < 1 ||
        document->cabundle->len > ATTEST_BUNDLE_MAX ||
        g_bytes_get_size(document->certificate) > ATTEST_CERTIFICATE_MAX)
        abort();
    if (document->publicKey && g_bytes_get_size(document->publicKey) > ATTEST_PUBLIC_KEY_MAX)
        abort();
}

static void
checkItself(const AttestDocument *document)
{
    unsigned int i;

    for (i = 0; i < ATTEST_PCR_COUNT; i++) {
        bool there = document->pcrs & (1U << i);
        g_autoptr(GError) error = NULL;

        if ((attestDocumentCheckPcr(document, i, document->pcr[i], &error) == 0) != there)
            abort();
    }
    if (document->nonce && attestDocumentCheckNonce(document, document->nonce, NULL) < 0)
        abort();
    attestDocumentIsDebug(document);
}

static void
checkChain(const AttestDocument *document)
{
    GBytes *root = g_ptr_array_index(document->cabundle, 0);
    g_autofree char *name = attestDocumentGetRootName(document);
    g_autoptr(GError) error = NULL;
    uint8_t fingerprint[ATTEST_FINGERPRINT_SIZE];

    if (!name)
        abort();
    /* AWS has not signed it, whatever it is. */
    if (attestDocumentVerify(document, attestAwsRoot, document->timestamp / 1000, NULL) == 0)
        abort();
    if (attestRootFingerprint(g_bytes_get_data(root, NULL), g_bytes_get_size(root), fingerprint,
                              NULL) < 0)
        return;
    if (attestDocumentVerify(document, fingerprint, document->timestamp / 1000, &error) < 0 &&
        !error)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* Of the exact size, so that one byte too far is seen */
    g_autofree uint8_t *copy = g_memdup2(data, size);
    g_auto(AttestDocument) document = {0};
    g_autoptr(GError) error = NULL;

    if (attestDocumentRead(copy, size, &document, &error) < 0) {
        if (!error)
            abort();
        return 0;
    }
    checkFields(&document);
    checkItself(&document);
    checkChain(&document);
    return 0;
}
