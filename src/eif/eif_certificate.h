/*
 * eif_certificate.h: who has signed an image, and is that still good?
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The Nitro Hypervisor does not boot an image whose signature is wrong or whose
 * certificate is not in date, and says nothing: these checks say it before. They do
 * not say whether the signer is to be trusted: the hypervisor attests the
 * certificate (PCR8), and who reads the attestation decides.
 *
 * A library of its own, as it needs GnuTLS, which the helper does not.
 */

#pragma once

#include "eif.h"

typedef struct _EifCertificate EifCertificate;
struct _EifCertificate {
    char *subject;         /* distinguished names as in RFC 4514 */
    char *issuer;
    char *signature;       /* of its issuer, as "30:65:..."; may be empty */
    int64_t notBefore;     /* seconds since 1970, UTC */
    int64_t notAfter;
    const char *algorithm; /* of COSE: "ES384" for ECDSA with SHA-384, ...; static */
    char *wrong;           /* why the signature is not that of this certificate, or NULL */
    EifSigned summary;
};

/*
 * Reads the signing certificate of @image, which has a signature section, from @fd,
 * and verifies that its key has made the signature. Only that section is read, so
 * this takes milliseconds; eifCertificateCheckPcr0() does the rest.
 *
 * Returns 0, also when the signature is wrong (see the member @wrong), or -1 with
 * @error set (EIF_ERROR_IO, _FORMAT) when there is no certificate to be read. Call
 * eifCertificateClear() in either case. @certificate is zeroed by the caller.
 */
int eifCertificateRead(int fd, const EifImage *image, EifCertificate *certificate,
                       GError **error);

/* The same of the content of a signature section, @len bytes */
int eifCertificateReadSection(const void *content, size_t len, EifCertificate *certificate,
                              GError **error);

void eifCertificateClear(EifCertificate *certificate);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(EifCertificate, eifCertificateClear)

/*
 * Checks that the signature is that of the certificate, and that it is in date at
 * @now (seconds since 1970). Returns 0, or -1 with @error set (EIF_ERROR_SIGNATURE),
 * which has the date.
 */
int eifCertificateCheck(const EifCertificate *certificate, int64_t now, GError **error);

/*
 * Checks that what was signed is the image that @measurements are of. Returns 0, or
 * -1 with @error set (EIF_ERROR_SIGNATURE).
 */
int eifCertificateCheckPcr0(const EifCertificate *certificate,
                            const EifMeasurements *measurements, GError **error);

/* "2026-11-24 05:00:00 UTC" of seconds since 1970 (g_free) */
char *eifCertificateFormatTime(int64_t seconds);
