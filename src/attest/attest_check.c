/*
 * attest_check.c: does an attestation document say what is expected?
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: AttestDocument, and what was expected -> the verdict, with both values.
 */

#include "attest.h"
#include "nitro_gettext.h"

#include <string.h>

char *
attestFormatHex(const uint8_t *data, size_t len)
{
    GString *text = g_string_sized_new(2 * len);
    size_t i;

    for (i = 0; i < len; i++)
        g_string_append_printf(text, "%02x", data[i]);
    return g_string_free(text, FALSE);
}

static bool
isZero(const uint8_t value[ATTEST_PCR_SIZE])
{
    static const uint8_t zero[ATTEST_PCR_SIZE];

    return memcmp(value, zero, ATTEST_PCR_SIZE) == 0;
}

bool
attestDocumentIsDebug(const AttestDocument *document)
{
    return (document->pcrs & 1) && isZero(document->pcr[0]);
}

int
attestDocumentCheckPcr(const AttestDocument *document, unsigned int index,
                       const uint8_t value[ATTEST_PCR_SIZE], GError **error)
{
    g_autofree char *actual = NULL;
    g_autofree char *expected = NULL;

    if (!(document->pcrs & (1U << index))) {
        g_set_error(error, ATTEST_ERROR, ATTEST_ERROR_MISMATCH,
                    _("PCR%u is not in the document: the enclave has not locked it"), index);
        return -1;
    }
    if (memcmp(document->pcr[index], value, ATTEST_PCR_SIZE) == 0)
        return 0;

    actual = attestFormatHex(document->pcr[index], ATTEST_PCR_SIZE);
    expected = attestFormatHex(value, ATTEST_PCR_SIZE);
    if (attestDocumentIsDebug(document) && isZero(document->pcr[index]))
        g_set_error(error, ATTEST_ERROR, ATTEST_ERROR_MISMATCH,
                    _("PCR%u is zero, and was to be %s: the enclave runs in debug mode, in which "
                      "nothing of it is attested"), index, expected);
    else
        g_set_error(error, ATTEST_ERROR, ATTEST_ERROR_MISMATCH,
                    _("PCR%u is %s, and was to be %s: this is another enclave"), index, actual,
                    expected);
    return -1;
}

int
attestDocumentCheckNonce(const AttestDocument *document, GBytes *nonce, GError **error)
{
    size_t len;
    const uint8_t *data;
    g_autofree char *expected = NULL;
    g_autofree char *actual = NULL;

    if (document->nonce && g_bytes_equal(document->nonce, nonce))
        return 0;

    data = g_bytes_get_data(nonce, &len);
    expected = attestFormatHex(data, len);
    if (!document->nonce) {
        g_set_error(error, ATTEST_ERROR, ATTEST_ERROR_MISMATCH,
                    _("the document has no nonce, and was to have %s: it may be an old one"),
                    expected);
        return -1;
    }
    data = g_bytes_get_data(document->nonce, &len);
    actual = attestFormatHex(data, len);
    g_set_error(error, ATTEST_ERROR, ATTEST_ERROR_MISMATCH,
                _("the nonce is '%s', and was to be '%s': the document was not made for this "
                  "request"), actual, expected);
    return -1;
}
