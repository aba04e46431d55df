/*
 * eif_internal.h: what the files of this directory share and no other sees
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: eif_io.c moves bytes; eif_header.c turns them into fields and back;
 * eif_read.c checks and streams; eif_measure.c, with eif_worker.c, and eif_signature.c measure;
 * eif_certificate.c checks who has signed; eif_remarks.c says what is unusual;
 * eif_build.c assembles; eif_fill.c reads into a buffer; eif_signature_write.c says what
 * to sign, and eif_rewrite.c copies an image with one section changed.
 */

#pragma once

#include "eif.h"
#include "eif_digest.h"
#include "nitro_gettext.h"


/* Where the fields that are written or left out by themselves are in the header */
#define EIF_HEADER_CRC_OFFSET 544

/* How much is read, hashed and written at once, in bytes: small enough for a CPU's cache */
#define EIF_PIECE_SIZE (256 * 1024)

/* The flag of the header that says aarch64; no other is defined. */
#define EIF_HEADER_FLAG_AARCH64 0x0001

/* A kernel and its command line */
#define EIF_MIN_SECTIONS 2

/*
 * The header as it is in the file, in host byte order, nothing checked. Source
 * of the layout: the comment in eif.h. The fields "reserved" (2 bytes) and
 * "unused" (4 bytes), and table entries from @nsections on, mean nothing: they
 * are written as zero and not looked at (the checksum covers them).
 */
typedef struct _EifHeader EifHeader;
struct _EifHeader {
    uint8_t magic[4];
    uint16_t version;
    uint16_t flags;
    uint64_t defaultMemory;
    uint64_t defaultCpus;
    uint16_t nsections;
    uint64_t offsets[EIF_MAX_SECTIONS]; /* of section headers, in bytes from the start */
    uint64_t sizes[EIF_MAX_SECTIONS];   /* of contents, without section headers */
    uint32_t crc32;
};

/* The header of one section as it is in the file, in host byte order, nothing checked. */
typedef struct _EifSectionHeader EifSectionHeader;
struct _EifSectionHeader {
    uint16_t type;
    uint16_t flags;
    uint64_t size;
};

void eifHeaderDecode(const uint8_t raw[EIF_HEADER_SIZE], EifHeader *header);
void eifHeaderEncode(const EifHeader *header, uint8_t raw[EIF_HEADER_SIZE]);

/* Stores the fields of @header, the whole table among them, in @raw; what has no meaning stays. */
void eifHeaderUpdate(const EifHeader *header, uint8_t raw[EIF_HEADER_SIZE]);
void eifSectionHeaderDecode(const uint8_t raw[EIF_SECTION_HEADER_SIZE], EifSectionHeader *header);
void eifSectionHeaderEncode(const EifSectionHeader *header, uint8_t raw[EIF_SECTION_HEADER_SIZE]);

/* Stores @value big endian at @raw. */
void eifPutU32(uint8_t *raw, uint32_t value);

/*
 * Reads exactly @len bytes from @offset of @fd on. @what names the file in the
 * error. Returns 0, or -1 with @error set (EIF_ERROR_IO, also at an early end).
 */
int eifReadExact(int fd, void *buf, size_t len, uint64_t offset,
                 const char *what, GError **error);

/* Writes exactly @len bytes at @offset of @fd. Returns 0, or -1 with @error set (EIF_ERROR_IO). */
int eifWriteExact(int fd, const void *buf, size_t len, uint64_t offset, GError **error);

/*
 * The size of the regular file or memfd @fd in bytes. @what names the file in
 * the error; @notRegular is the code when it is another kind of file.
 * Returns 0, or -1 with @error set.
 */
int eifFileSize(int fd, const char *what, EifError notRegular, uint64_t *size, GError **error);

/* A whole file of @size bytes that is to be at @pos of a buffer */
typedef struct _EifFilePart EifFilePart;
struct _EifFilePart {
    int fd;
    const char *what; /* names the file in errors */
    uint64_t pos;
    uint64_t size;
};

/*
 * Makes the image of @size bytes, at least EIF_HEADER_SIZE, in @buf complete: reads the
 * files @parts into it, which do not overlap, with a few threads at once. What no part
 * covers is there already. @progress is called by one thread at a time.
 *
 * Returns 0 with @crc set, the CRC-32 of all but the header's checksum field; or -1 with
 * @error set (EIF_ERROR_IO, _CANCELLED).
 */
int eifFill(void *buf, uint64_t size, const EifFilePart *parts, size_t nparts,
            EifProgress progress, void *opaque, uint32_t *crc, GError **error);

/* Calls @progress, if any. Returns 0, or -1 with @error set (EIF_ERROR_CANCELLED). */
int eifReportProgress(EifProgress progress, uint64_t done, uint64_t total,
                      void *opaque, GError **error);

/*
 * Checks that a piece of a text section (command line or metadata) has no NUL,
 * which would end the text early for readers of C strings. @pos is where the
 * piece starts in the section. AWS's tools never write one.
 * Returns 0, or -1 with @error set (EIF_ERROR_FORMAT).
 */
int eifCheckNoNul(const EifSection *section, uint64_t pos, const void *buf, size_t len,
                  GError **error);

/*
 * As eifImageStream(), but for the verdict: the checksum of what was read goes
 * to @crc and is not compared. All is read into the buffer *@piece of EIF_PIECE_SIZE
 * bytes; @sink may put another one in its place.
 */
int eifImageStreamCrc(const EifImage *image, int fd, uint8_t **piece, EifSink sink,
                      EifProgress progress, void *opaque, uint32_t *crc, GError **error);

/*
 * Threads, one for each of @digests, that add to these what eifWorkerUpdate() is given, in this
 * order. The digests are the worker's until eifWorkerFinish(). Returns NULL when there can be no
 * thread: then nothing has been added.
 */
#define EIF_WORKER_DIGESTS 2
typedef struct _EifWorker EifWorker;
EifWorker *eifWorkerNew(EifDigest *const digests[EIF_WORKER_DIGESTS]);

/*
 * Takes the buffer @data of EIF_PIECE_SIZE bytes (g_malloc), of which the first @len are added to the
 * first @ndigests digests, 1 or more. Returns another such buffer, which is the caller's; or @data
 * when @len is 0.
 */
uint8_t *eifWorkerUpdate(EifWorker *worker, size_t ndigests, uint8_t *data, size_t len);

/* Waits until all has been added, and frees @worker; NULL is nothing. */
void eifWorkerFinish(EifWorker *worker);

/* SHA-384 of the @len bytes at @buf */
void eifDigest(const void *buf, size_t len, uint8_t digest[EIF_PCR_SIZE]);

/* The register that the @len bytes at @buf alone are measured into */
void eifExtend(const void *buf, size_t len, uint8_t pcr[EIF_PCR_SIZE]);

/* Reports that the checksum of the content is @crc and not the stored one. */
void eifSetChecksumError(const EifImage *image, uint32_t crc, GError **error);

/*
 * The certificate that signed an image, in DER form, from the content of its
 * signature section. Source of the format: facts of AWS's tools: a CBOR array of
 * maps with the keys "signing_certificate" (PEM) and "signature" (COSE_Sign1),
 * of which the first signs PCR0. AWS's tools encode both values as arrays of
 * small integers; byte strings are understood, too. That the signature is good,
 * or the certificate in date, is not checked here.
 *
 * Returns a new buffer of @derLen bytes (g_free), or NULL with @error set
 * (EIF_ERROR_FORMAT).
 */
uint8_t *eifSignatureGetCertificate(const uint8_t *section, size_t len,
                                    size_t *derLen, GError **error);

/* The first signature of a signature section, taken apart; nothing of it is believed. */
typedef struct _EifSignature EifSignature;
struct _EifSignature {
    uint8_t *certificate; /* in DER form */
    size_t certificateLen;
    int64_t algorithm;       /* of COSE, e.g. -35: ECDSA with SHA-384 */
    GByteArray *signature;   /* r and s, each as long as the key's field */
    GByteArray *signedBytes; /* what it is a signature of */
    GByteArray *pcr0;        /* what it says: EIF_PCR_SIZE bytes */
};

/*
 * Takes the first signature in the content of a signature section apart; the format
 * as above, and RFC 9052. Returns 0, or -1 with @error set (EIF_ERROR_FORMAT); call
 * eifSignatureClear() in either case. @signature is zeroed by the caller.
 */
int eifSignatureRead(const uint8_t *section, size_t len, EifSignature *signature,
                     GError **error);
void eifSignatureClear(EifSignature *signature);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(EifSignature, eifSignatureClear)

/*
 * What has to be signed with @algorithm (COSE's number, which is negative) for an image that
 * measures to @pcr0: see coseSign1GetSignedBytes() (g_byte_array_unref).
 */
GByteArray *eifSignatureMakeToSign(int64_t algorithm, const uint8_t pcr0[EIF_PCR_SIZE]);

/*
 * The content of the signature section for that, with the certificate @pem and the @signature: r
 * and s, each as long as the key's field (g_byte_array_unref).
 */
GByteArray *eifSignatureMakeSection(int64_t algorithm, const uint8_t pcr0[EIF_PCR_SIZE],
                                    const GByteArray *pem, const GByteArray *signature);
