/*
 * fuzz_eif.c: fuzz target for enclave images and their signatures
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The first byte of the input says what the rest is: the content of a signature section
 * (odd), or a whole image. An image goes the way that every image goes: its table of
 * contents, its small sections, its certificate, its measurements, read as a file and
 * loaded into memory, and copied with one section changed, as for signing it. The checksum, which
 * no mutation would keep, is not insisted on.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "eif_certificate.h"
#include "eif_internal.h"

#define SECTION_MAX 65536

static void
fuzzSignature(const uint8_t *data, size_t size)
{
    /* Of the exact size, so that one byte too far is seen */
    g_autofree uint8_t *section = g_memdup2(data, size);
    g_auto(EifSignature) signature = {0};
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) other = NULL;
    g_autofree uint8_t *der = NULL;
    size_t len = 0;

    if (eifSignatureRead(section, size, &signature, &error) == 0) {
        if (!signature.certificate || !signature.signature || !signature.signedBytes ||
            !signature.pcr0 || signature.pcr0->len != EIF_PCR_SIZE)
            abort();
    } else if (!error) {
        abort();
    }
    der = eifSignatureGetCertificate(section, size, &len, &other);
    if (!der && !other)
        abort();
}

static void
fuzzSections(int fd, const EifImage *image)
{
    size_t i;

    for (i = 0; i < image->nsections; i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *text = NULL;

        if (image->sections[i].offset + image->sections[i].size > image->fileSize)
            abort();
        text = eifImageReadSection(fd, &image->sections[i], SECTION_MAX, &error);
        if (!text && !error)
            abort();
    }
}

/* Sections, their headers and gaps are all of the file. */
static void
fuzzRemarks(const EifImage *image)
{
    g_auto(GStrv) remarks = eifImageGetRemarks(image);
    uint64_t size = EIF_HEADER_SIZE;
    size_t i;

    for (i = 0; i < image->nsections; i++)
        size += eifImageGetGap(image, &image->sections[i]) + EIF_SECTION_HEADER_SIZE +
                image->sections[i].size;
    if (size != image->fileSize)
        abort();
    for (i = 0; remarks[i]; i++) {
        if (!g_utf8_validate(remarks[i], -1, NULL))
            abort();
    }
}

static void
fuzzCertificate(int fd, const EifImage *image)
{
    g_auto(EifCertificate) certificate = {0};
    g_autoptr(GError) error = NULL;

    if (eifImageFindSection(image, EIF_SECTION_SIGNATURE) &&
        eifCertificateRead(fd, image, &certificate, &error) == 0)
        eifCertificateCheck(&certificate, 0, NULL);
}

/* A copy with another section is an image, and measures to the same but for what has changed. */
static void
fuzzRewrite(int fd, const EifImage *image, const EifMeasurements *before, bool checksumOk,
            EifSectionType type, const char *content)
{
    EifChange change = {
        /* only of the oldest an image needs no metadata */
        .version = EIF_VERSION_MIN, .type = type, .content = content, .len = content ? strlen(content) : 0,
    };
    bool full = content && image->nsections == EIF_MAX_SECTIONS && !eifImageFindSection(image, type);
    EifMeasurements after;
    EifImage copy;
    g_autoptr(GError) error = NULL;
    int out = memfd_create("copy", MFD_CLOEXEC);
    int rc = eifImageRewrite(image, fd, &change, out, NULL, NULL, &error);
    bool ok;

    if (out < 0 || (rc == 0) != (checksumOk && !full) || (rc < 0) != !!error)
        abort();
    if (!full) {
        /* All is written before the checksum is known to be wrong. */
        if (eifImageRead(out, &copy, NULL) < 0 ||
            eifImageMeasure(&copy, out, &after, &ok, NULL, NULL, NULL) < 0 ||
            memcmp(before->pcr, after.pcr, 3 * EIF_PCR_SIZE) != 0 || (rc == 0 && !ok) ||
            !eifImageFindSection(&copy, type) != !content)
            abort();
    }
    close(out);
}

static void
fuzzImage(const uint8_t *data, size_t size)
{
    static int fd = -1;
    EifImage image;
    EifMeasurements fromFile;
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *loaded = NULL;
    bool checksumOk;

    if (fd < 0 && (fd = memfd_create("image", MFD_CLOEXEC)) < 0)
        abort();
    if (ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    if (eifImageRead(fd, &image, &error) < 0) {
        if (!error)
            abort();
        return;
    }
    if (image.fileSize != size || image.nsections > EIF_MAX_SECTIONS)
        abort();

    fuzzSections(fd, &image);
    fuzzRemarks(&image);
    fuzzCertificate(fd, &image);
    if (eifImageMeasure(&image, fd, &fromFile, &checksumOk, NULL, NULL, NULL) < 0 ||
        eifImageMeasureCertificate(&image, fd, &fromFile, NULL) < 0)
        return;
    fuzzRewrite(fd, &image, &fromFile, checksumOk, EIF_SECTION_SIGNATURE, "another");
    fuzzRewrite(fd, &image, &fromFile, checksumOk, EIF_SECTION_METADATA, NULL);
    loaded = g_malloc(size);
    if ((eifImageLoad(&image, fd, loaded, NULL, NULL, NULL) == 0) != checksumOk)
        abort();
    if (checksumOk) {
        EifMeasurements fromBuffer;

        if (eifImageMeasureBuffer(&image, loaded, &fromBuffer, NULL, NULL, NULL) < 0 ||
            memcmp(fromFile.pcr[0], fromBuffer.pcr[0], EIF_PCR_SIZE) != 0 ||
            memcmp(fromFile.signature, fromBuffer.signature, EIF_PCR_SIZE) != 0)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] & 1)
        fuzzSignature(data + 1, size - 1);
    else
        fuzzImage(data + 1, size - 1);
    return 0;
}
