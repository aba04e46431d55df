/*
 * eif_digest_nettle.c: SHA-384 by Nettle
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: bytes -> context of Nettle's -> result. Nothing of it can fail.
 */

#include "eif_digest.h"

#include <glib.h>
#include <nettle/sha2.h>

G_STATIC_ASSERT(EIF_DIGEST_SIZE == SHA384_DIGEST_SIZE);

struct _EifDigest {
    struct sha384_ctx context;
};

EifDigest *
eifDigestNew(void)
{
    EifDigest *digest = g_new(EifDigest, 1);

    sha384_init(&digest->context);
    return digest;
}

EifDigest *
eifDigestCopy(const EifDigest *digest)
{
    EifDigest *copy = g_new(EifDigest, 1);

    *copy = *digest;
    return copy;
}

void
eifDigestUpdate(EifDigest *digest, const void *buf, size_t len)
{
    sha384_update(&digest->context, len, buf);
}

void
eifDigestFinish(EifDigest *digest, uint8_t result[EIF_DIGEST_SIZE])
{
    if (digest && result)
        sha384_digest(&digest->context, EIF_DIGEST_SIZE, result);
    g_free(digest);
}
