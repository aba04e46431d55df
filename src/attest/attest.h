/*
 * attest.h: attestation documents of Nitro Enclaves
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What an enclave shows to prove what it is: a COSE_Sign1 (RFC 9052, ES384), tagged or not, of
 * a CBOR map with the values of its registers, signed by the Nitro Security Module (NSM) with a
 * certificate, with which comes the chain up to its root. Source of the format: the page
 * "attestation_process.md" of aws-nitro-enclaves-nsm-api, and documents of the year 2026, whose
 * map is of indefinite length; no other item may be.
 *
 * Flow: bytes -> attestDocumentRead() -> AttestDocument: what it says, nothing of it believed ->
 * attestDocumentVerify(): who says it -> attestDocumentCheckPcr(), _CheckNonce(): is it what was
 * expected? Pure: no file, no clock. Errors are GErrors of the domain ATTEST_ERROR, one sentence
 * each.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest document, in bytes */
#define ATTEST_DOCUMENT_MAX 16384

/* Registers of an NSM, and the size of a value in bytes: that of SHA-384, the only digest */
#define ATTEST_PCR_COUNT 32
#define ATTEST_PCR_SIZE 48

/* Of a certificate in bytes, and how many may be above the document's own: AWS has four */
#define ATTEST_CERTIFICATE_MAX 1024
#define ATTEST_BUNDLE_MAX 16

/* Of the key that an enclave wants something encrypted with, in bytes */
#define ATTEST_PUBLIC_KEY_MAX 1024

/* Of the nonce and of the data that an enclave adds, in bytes */
#define ATTEST_USER_DATA_MAX 1024

/* SHA-256 of a certificate in DER form, in bytes */
#define ATTEST_FINGERPRINT_SIZE 32

typedef enum {
    ATTEST_ERROR_FORMAT,    /* this is no attestation document, or no certificate */
    ATTEST_ERROR_UNTRUSTED, /* it is not shown that an NSM below the root has made it, then */
    ATTEST_ERROR_MISMATCH,  /* it is good, and not what was expected */
} AttestError;

#define ATTEST_ERROR (attestErrorQuark())
GQuark attestErrorQuark(void);

typedef struct _AttestDocument AttestDocument;
struct _AttestDocument {
    char *moduleId;     /* of the enclave; UTF-8 */
    uint64_t timestamp; /* when it was made, in milliseconds since 1970, UTC */
    uint32_t pcrs;      /* bit N: @pcr[N] is in the document */
    uint8_t pcr[ATTEST_PCR_COUNT][ATTEST_PCR_SIZE];
    GBytes *certificate;     /* of the NSM, in DER form */
    GPtrArray *cabundle;     /* of GBytes: the chain in DER form, the root first */
    GBytes *publicKey;       /* these three come from the enclave; NULL when there is none */
    GBytes *userData;
    GBytes *nonce;
    GByteArray *signature;   /* of ES384 */
    GByteArray *signedBytes; /* what it is a signature of */
};

/*
 * Reads the document of @len bytes at @data. Returns 0, or -1 with @error set
 * (ATTEST_ERROR_FORMAT); call attestDocumentClear() in either case. @document is zeroed by the
 * caller.
 */
int attestDocumentRead(const uint8_t *data, size_t len, AttestDocument *document, GError **error);
void attestDocumentClear(AttestDocument *document);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(AttestDocument, attestDocumentClear)

/*
 * The fingerprint of the root that AWS publishes, CN=aws.nitro-enclaves,
 * https://docs.aws.amazon.com/enclaves/latest/user/verify-root.html
 */
extern const uint8_t attestAwsRoot[ATTEST_FINGERPRINT_SIZE];

/*
 * The fingerprint of the one certificate in the @len bytes at @data, in PEM or DER form. Returns
 * 0, or -1 with @error set (ATTEST_ERROR_FORMAT).
 */
int attestRootFingerprint(const void *data, size_t len,
                          uint8_t fingerprint[ATTEST_FINGERPRINT_SIZE], GError **error);

/*
 * Verifies that the root of @document is the certificate with @fingerprint, that each certificate
 * of the chain has signed the next one and may do so, that all are in date at @when (seconds
 * since 1970), and that the key of the last has signed the document. Whether certificates have
 * been revoked is not looked at.
 *
 * Returns 0, or -1 with @error set (ATTEST_ERROR_FORMAT: a certificate is none; _UNTRUSTED).
 */
int attestDocumentVerify(const AttestDocument *document,
                         const uint8_t fingerprint[ATTEST_FINGERPRINT_SIZE], int64_t when,
                         GError **error);

/* The subject of the root of a @document that was verified, as in RFC 4514 (g_free) */
char *attestDocumentGetRootName(const AttestDocument *document);

/*
 * Checks that register @index, less than ATTEST_PCR_COUNT, is in @document with @value.
 * Returns 0, or -1 with @error set (ATTEST_ERROR_MISMATCH).
 */
int attestDocumentCheckPcr(const AttestDocument *document, unsigned int index,
                           const uint8_t value[ATTEST_PCR_SIZE], GError **error);

/* Checks that the nonce is @nonce. Returns 0, or -1 with @error set (ATTEST_ERROR_MISMATCH). */
int attestDocumentCheckNonce(const AttestDocument *document, GBytes *nonce, GError **error);

/* Whether the registers of the image are zero: those of an enclave in debug mode */
bool attestDocumentIsDebug(const AttestDocument *document);

/* @len bytes at @data in hexadecimal digits, in lower case (g_free) */
char *attestFormatHex(const uint8_t *data, size_t len);
