/*
 * nsm_identity.h: what an emulated NSM is given of itself
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Written by who has the root's key, read by the process that is the NSM: by a descriptor, so that
 * the secret is on no command line and in no file system. Fields one behind the other, each behind its
 * length in two bytes, big endian: the enclave's name, the secret, the certificate of it, and
 * the chain from the root on.
 */

#pragma once

#include "nsm.h"

/* The longest name, which is a common name of X.509, and of certificates, in bytes */
#define NSM_MODULE_MAX 64
#define NSM_CERTIFICATE_MAX 1024

typedef struct _NsmIdentity NsmIdentity;
struct _NsmIdentity {
    char *moduleId; /* UTF-8 */
    uint8_t secret[NSM_KEY_SIZE];
    GBytes *certificate; /* DER, as all */
    GPtrArray *cabundle; /* of GBytes */
};

/* Whether @text can be a name: not empty, printable UTF-8, and not too long */
bool nsmIdentityIsModule(const char *text);

/* Writes @identity to @fd. Returns 0, or -1 with errno set. */
int nsmIdentityWrite(const NsmIdentity *identity, int fd);

/*
 * Reads all of @fd from where it is. Returns 0, or -1 with *@error set to one new sentence; call
 * nsmIdentityClear() in either case, which wipes the secret. @identity is zeroed by the caller.
 */
int nsmIdentityRead(NsmIdentity *identity, int fd, char **error);
void nsmIdentityClear(NsmIdentity *identity);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(NsmIdentity, nsmIdentityClear)
