/*
 * eif_signer.h: signing images
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A signer is a certificate; its key is at hand (a PEM text, or what GnuTLS can reach by a URL,
 * which stays where it is), or elsewhere: then somebody else signs what eifSignerGetToSign()
 * returns. What comes back is a section that eif_certificate.h has found to be good.
 *
 * Of the library of eif_certificate.h, as it needs GnuTLS as well.
 */

#pragma once

#include "eif.h"

typedef struct _EifSigner EifSigner;

/*
 * The signer of the first certificate in the PEM text @pem of @len bytes. @name is that of the
 * certificate in messages. Returns a signer, or NULL with @error set (EIF_ERROR_ARGUMENT).
 */
EifSigner *eifSignerNew(const void *pem, size_t len, const char *name, GError **error);
void eifSignerFree(EifSigner *signer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EifSigner, eifSignerFree)

/* The register that an enclave of the signer's images has as PCR8 */
void eifSignerGetPcr8(const EifSigner *signer, uint8_t pcr8[EIF_PCR_SIZE]);

/*
 * Whether images can be signed with the certificate at @now (seconds since 1970): it is in date,
 * and for a key on one of the curves P-256, P-384 and P-521. Returns 0, or -1 with @error set
 * (EIF_ERROR_ARGUMENT).
 */
int eifSignerCheck(const EifSigner *signer, int64_t now, GError **error);

/* COSE's name of the algorithm of a signer that eifSignerCheck() has found good; static. */
const char *eifSignerGetAlgorithm(const EifSigner *signer);

/*
 * Has the signer use the private key in the PEM text @pem of @len bytes, which is not encrypted,
 * or at the @url ("pkcs11:..." for one). @name is that of the key in messages, and has no secret.
 * Whether it is the certificate's is only known when it has signed. Returns 0, or -1 with
 * @error set (EIF_ERROR_ARGUMENT).
 */
int eifSignerSetKey(EifSigner *signer, const void *pem, size_t len, const char *name,
                    GError **error);
int eifSignerSetKeyUrl(EifSigner *signer, const char *url, const char *name, GError **error);

/*
 * What has to be signed for an image that measures to @pcr0: the Sig_structure of RFC 9052, or
 * its digest by the hash of the algorithm (g_byte_array_unref).
 */
GByteArray *eifSignerGetToSign(const EifSigner *signer, const uint8_t pcr0[EIF_PCR_SIZE]);
GByteArray *eifSignerGetDigest(const EifSigner *signer, const uint8_t pcr0[EIF_PCR_SIZE]);

/*
 * The content of the signature section for an image that measures to @pcr0, with a signature by the
 * signer's key. One of a key in PEM is the same each time. Returns it (g_byte_array_unref), or
 * NULL with @error set (EIF_ERROR_ARGUMENT: the key is not the certificate's, cannot be used, ...).
 */
GByteArray *eifSignerSign(const EifSigner *signer, const uint8_t pcr0[EIF_PCR_SIZE],
                          GError **error);

/*
 * The same with a @signature of @len bytes that was made elsewhere: the two numbers as X.509 has
 * them (DER), or one behind the other, each as long as the key. @name is that of the signature in
 * messages.
 */
GByteArray *eifSignerAttach(const EifSigner *signer, const uint8_t pcr0[EIF_PCR_SIZE],
                            const void *signature, size_t len, const char *name, GError **error);
