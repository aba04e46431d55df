/*
 * fuzz_nsm.c: fuzz target for the emulated NSM
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The input is requests, each behind its length of two bytes, little endian: an enclave may send
 * any bytes. Each reply has to be one CBOR item that has room in the driver's buffer; a
 * register that is locked has to stay as it is, and locked.
 */

#include <stdlib.h>
#include <string.h>

#include "cbor_reader.h"
#include "nsm.h"
#include "nsm_key.h"

static NsmKey *key;

static bool
onRandom(void *opaque, uint8_t *buf, size_t len)
{
    memset(buf, 0x5a, len);
    return true;
}

static bool
onNow(void *opaque, uint64_t *milliseconds)
{
    *milliseconds = 1764500000000;
    return true;
}

static bool
onSign(void *opaque, const uint8_t *data, size_t len, uint8_t signature[NSM_SIGNATURE_SIZE])
{
    static const uint8_t seed[NSM_KEY_SIZE] = {1};

    nsmKeySign(key, seed, data, len, signature);
    return true;
}

static void
ignoreError(GError **error, const char *what)
{
}

/* One CBOR item, with nothing behind it */
static void
checkReply(const GByteArray *reply)
{
    CborReader reader = {.data = reply->data, .len = reply->len, .setError = ignoreError};

    if (reply->len == 0 || reply->len > NSM_REPLY_MAX || cborSkipItems(&reader, 1, NULL) < 0 ||
        reader.pos != reader.len)
        abort();
}

/* The value of each register, or of those that are not locked NULL */
static void
describe(Nsm *nsm, GByteArray *values[NSM_PCR_COUNT])
{
    static const uint8_t locked[] = {0x64, 'l', 'o', 'c', 'k', 0xf5};
    unsigned int i;

    for (i = 0; i < NSM_PCR_COUNT; i++) {
        const uint8_t request[] = {0xa1, 0x6b, 'D', 'e', 's', 'c', 'r',  'i', 'b', 'e', 'P', 'C',
                                   'R',  0xa1, 0x65, 'i', 'n', 'd', 'e', 'x', 0x18, i};

        values[i] = nsmHandle(nsm, request, sizeof(request));
        if (!memmem(values[i]->data, values[i]->len, locked, sizeof(locked)))
            g_clear_pointer(&values[i], g_byte_array_unref);
    }
}

static void
handle(Nsm *nsm, const uint8_t *data, size_t size)
{
    /* Of the exact size, so that one byte too far is seen */
    g_autofree uint8_t *request = g_memdup2(data, size);
    g_autoptr(GByteArray) reply = NULL;
    GByteArray *before[NSM_PCR_COUNT];
    GByteArray *after[NSM_PCR_COUNT];
    unsigned int i;

    describe(nsm, before);
    reply = nsmHandle(nsm, request, size);
    checkReply(reply);
    describe(nsm, after);

    for (i = 0; i < NSM_PCR_COUNT; i++) {
        if (before[i] && (!after[i] || before[i]->len != after[i]->len ||
                          memcmp(before[i]->data, after[i]->data, before[i]->len) != 0))
            abort();
        if (i < NSM_PCR_FREE && !before[i])
            abort();
        g_clear_pointer(&before[i], g_byte_array_unref);
        g_clear_pointer(&after[i], g_byte_array_unref);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t secret[NSM_KEY_SIZE] = {[NSM_KEY_SIZE - 1] = 1};
    const NsmCalls calls = {.random = onRandom, .now = onNow, .sign = onSign};
    g_autoptr(GBytes) certificate = g_bytes_new_static(secret, sizeof(secret));
    g_autoptr(GPtrArray) bundle = g_ptr_array_new();
    g_autoptr(Nsm) nsm = NULL;

    if (!key && !(key = nsmKeyNew(secret)))
        abort();
    g_ptr_array_add(bundle, certificate);
    nsm = nsmNew("i-0-enc0", certificate, bundle, &calls);

    while (size >= 2) {
        size_t len = data[0] | data[1] << 8;

        data += 2;
        size -= 2;
        len = MIN(len, size);
        handle(nsm, data, len);
        data += len;
        size -= len;
    }
    return 0;
}
