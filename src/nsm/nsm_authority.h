/*
 * nsm_authority.h: who vouches for the emulated NSMs of a host
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One root certificate for each host, whose name says that it is not AWS's, and below it one for
 * each start of an enclave. The root's key never leaves the process that opens it; an NSM gets
 * its own.
 *
 * Flow: a directory -> nsmAuthorityOpen() -> nsmAuthorityIssue() -> a certificate and its key ->
 * nsmNew(), nsmKeyNew().
 */

#pragma once

#include "nsm.h"

typedef enum {
    NSM_ERROR_IO,        /* a file cannot be read or written */
    NSM_ERROR_AUTHORITY, /* what is there is not the root's key and certificate */
    NSM_ERROR_CRYPTO,    /* the library for it refuses */
} NsmError;

#define NSM_ERROR (nsmErrorQuark())
GQuark nsmErrorQuark(void);

/* In the directory: key and certificate, for its owner alone; and the certificate for everybody */
#define NSM_AUTHORITY_KEY "nsm-root.key"
#define NSM_AUTHORITY_CERTIFICATE "nsm-root.pem"

typedef struct _NsmAuthority NsmAuthority;

/*
 * Opens the root in the directory @dirfd, which stays the caller's; @path names it in errors. When
 * there is none it is made, at once complete, so that of two who do so at the same time
 * both get the same. What is there and cannot be read, or others can read, is an error: it is never
 * replaced, as documents of before would not be good any more. The certificate for everybody is made
 * again when it is not that of the root.
 *
 * Returns NULL with @error set (NSM_ERROR).
 */
NsmAuthority *nsmAuthorityOpen(int dirfd, const char *path, GError **error);
void nsmAuthorityFree(NsmAuthority *authority);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NsmAuthority, nsmAuthorityFree)

/* The root's certificate in DER form; the authority's */
GBytes *nsmAuthorityGetCertificate(const NsmAuthority *authority);

/*
 * A new key @secret, and the certificate of it for the NSM of the enclave @moduleId, of at most 64
 * bytes, in DER form (g_bytes_unref): good from @now on (seconds since 1970) for a year. Returns NULL
 * with @error set (NSM_ERROR_CRYPTO).
 */
GBytes *nsmAuthorityIssue(const NsmAuthority *authority, const char *moduleId, int64_t now,
                          uint8_t secret[NSM_KEY_SIZE], GError **error);
