/*
 * eif_digest_gnutls.c: SHA-384 by GnuTLS
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: bytes -> handle of GnuTLS's -> result. What can fail is what leaves nothing to go on with: no
 * memory, or a library that has found itself broken; as with GLib's memory, the program ends.
 */

#include "eif_digest.h"

#include <glib.h>
#include <gnutls/crypto.h>

struct _EifDigest {
    gnutls_hash_hd_t handle;
};

static void
must(int rc)
{
    if (rc < 0)
        g_error("GnuTLS: SHA-384: %s", gnutls_strerror(rc));
}

EifDigest *
eifDigestNew(void)
{
    EifDigest *digest = g_new0(EifDigest, 1);

    must(gnutls_hash_init(&digest->handle, GNUTLS_DIG_SHA384));
    return digest;
}

EifDigest *
eifDigestCopy(const EifDigest *digest)
{
    EifDigest *copy = g_new0(EifDigest, 1);

    if (!(copy->handle = gnutls_hash_copy(digest->handle)))
        must(GNUTLS_E_MEMORY_ERROR);
    return copy;
}

void
eifDigestUpdate(EifDigest *digest, const void *buf, size_t len)
{
    must(gnutls_hash(digest->handle, buf, len));
}

void
eifDigestFinish(EifDigest *digest, uint8_t result[EIF_DIGEST_SIZE])
{
    if (!digest)
        return;

    gnutls_hash_deinit(digest->handle, result);
    g_free(digest);
}
