/*
 * eiftest.c: unit tests of src/eif
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: parts in memfds -> eifBuilder -> image in a memfd or buffer -> reading,
 * streaming and measuring it, whole, changed and cut. That the images are right
 * byte for byte, and the messages about malformed ones, is virteiftest.py's
 * subject, which has a second implementation to compare with.
 */

#include "eif.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Larger than what is read at once, and no multiple of it */
#define LARGE (5 * 256 * 1024 + 3)

static int
newFile(const void *data, size_t len)
{
    int fd = memfd_create("eiftest", MFD_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pwrite(fd, data, len, 0), ==, (ssize_t)len);
    return fd;
}

static int
newTextFile(const char *text)
{
    return newFile(text, strlen(text));
}

static int
newLargeFile(void)
{
    g_autofree uint8_t *data = g_malloc(LARGE);
    size_t i;

    for (i = 0; i < LARGE; i++)
        data[i] = (uint8_t)(i * 7 + i / 251);
    return newFile(data, LARGE);
}

static uint8_t *
fileBytes(int fd, size_t *len)
{
    off_t size = lseek(fd, 0, SEEK_END);
    uint8_t *data = g_malloc(size + 1);

    g_assert_cmpint(pread(fd, data, size, 0), ==, size);
    *len = size;
    return data;
}

static void
poke(int fd, off_t offset, uint8_t byte)
{
    g_assert_cmpint(pwrite(fd, &byte, 1, offset), ==, 1);
}

static void
addRamdisk(EifBuilder *builder, int fd)
{
    g_autoptr(GError) error = NULL;

    eifBuilderAddRamdisk(builder, fd, "ramdisk", &error);
    g_assert_no_error(error);
}

/* The parts stay open until the test program ends: there are few. */
static EifBuilder *
newBuilder(int kernel)
{
    EifBuilder *builder = eifBuilderNew(EIF_ARCH_X86_64);
    g_autoptr(GError) error = NULL;

    eifBuilderSetKernel(builder, kernel, "kernel", &error);
    g_assert_no_error(error);
    eifBuilderSetCmdline(builder, "console=ttyS0");
    return builder;
}

static int
writeImage(EifBuilder *builder)
{
    g_autoptr(GError) error = NULL;
    int fd = memfd_create("eiftest-image", MFD_CLOEXEC);

    eifBuilderWrite(builder, fd, NULL, NULL, &error);
    g_assert_no_error(error);
    return fd;
}

/* Kernel, command line, empty ramdisk, ramdisk, metadata */
static int
newImage(void)
{
    g_autoptr(EifBuilder) builder = newBuilder(newTextFile("a kernel"));

    addRamdisk(builder, newTextFile(""));
    addRamdisk(builder, newTextFile("a ramdisk"));
    return writeImage(builder);
}

static EifImage
readImage(int fd)
{
    g_autoptr(GError) error = NULL;
    EifImage image;

    eifImageRead(fd, &image, &error);
    g_assert_no_error(error);
    return image;
}

static void
testNames(void)
{
    g_assert_cmpstr(eifArchToString(EIF_ARCH_X86_64), ==, "x86_64");
    g_assert_cmpstr(eifArchToString(EIF_ARCH_AARCH64), ==, "aarch64");
    g_assert_cmpstr(eifSectionTypeToString(EIF_SECTION_KERNEL), ==, "kernel");
    g_assert_cmpstr(eifSectionTypeToString(EIF_SECTION_CMDLINE), ==, "cmdline");
    g_assert_cmpstr(eifSectionTypeToString(EIF_SECTION_RAMDISK), ==, "ramdisk");
    g_assert_cmpstr(eifSectionTypeToString(EIF_SECTION_SIGNATURE), ==, "signature");
    g_assert_cmpstr(eifSectionTypeToString(EIF_SECTION_METADATA), ==, "metadata");
}

static void
testProbe(void)
{
    int fd = newTextFile(".eif");

    lseek(fd, 2, SEEK_SET);
    g_assert_true(eifProbe(fd));
    g_assert_cmpint(lseek(fd, 0, SEEK_CUR), ==, 2);

    g_assert_false(eifProbe(newTextFile(".ei")));
    g_assert_false(eifProbe(newTextFile("")));
    g_assert_false(eifProbe(newTextFile("\x7f" "ELF")));
    g_assert_false(eifProbe(-1));
    close(fd);
}

static void
testRead(void)
{
    int fd = newImage();
    EifImage image;
    const EifSection *section;

    lseek(fd, 17, SEEK_SET);
    image = readImage(fd);
    g_assert_cmpint(lseek(fd, 0, SEEK_CUR), ==, 17);

    g_assert_cmpuint(image.version, ==, 4);
    g_assert_cmpint(image.arch, ==, EIF_ARCH_X86_64);
    g_assert_cmpuint(image.defaultMemory, ==, 0);
    g_assert_cmpuint(image.defaultCpus, ==, 0);
    g_assert_cmpuint(image.nsections, ==, 5);
    g_assert_cmpuint(image.fileSize, ==, 548 + 5 * 12 + 8 + 13 + 0 + 9 + 2);

    section = eifImageFindSection(&image, EIF_SECTION_RAMDISK);
    g_assert_true(section == &image.sections[2]);
    g_assert_cmpuint(section->size, ==, 0);
    g_assert_cmpuint(section->offset, ==, 548 + 3 * 12 + 8 + 13);
    g_assert_null(eifImageFindSection(&image, EIF_SECTION_SIGNATURE));
    close(fd);
}

/* A failed read leaves the caller's image as it was. */
static void
testReadFailure(void)
{
    g_autoptr(GError) error = NULL;
    EifImage image;
    EifImage before;
    int fd = newImage();
    int ends[2];

    memset(&image, 0x55, sizeof(image));
    before = image;
    poke(fd, 27, 4);
    g_assert_cmpint(eifImageRead(fd, &image, &error), ==, -1);
    g_assert_error(error, EIF_ERROR, EIF_ERROR_FORMAT);
    g_assert_cmpmem(&image, sizeof(image), &before, sizeof(before));
    g_clear_error(&error);
    close(fd);

    g_assert_cmpint(eifImageRead(fd, &image, &error), ==, -1);
    g_assert_error(error, EIF_ERROR, EIF_ERROR_IO);
    g_clear_error(&error);

    g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
    g_assert_cmpint(eifImageRead(ends[0], &image, &error), ==, -1);
    g_assert_error(error, EIF_ERROR, EIF_ERROR_IO);
    g_clear_error(&error);
    close(ends[0]);
    close(ends[1]);

    fd = newTextFile("#!/bin/sh");
    g_assert_cmpint(eifImageRead(fd, &image, &error), ==, -1);
    g_assert_error(error, EIF_ERROR, EIF_ERROR_MAGIC);
    close(fd);

    /* An error that nobody wants */
    g_assert_cmpint(eifImageRead(-1, &image, NULL), ==, -1);
}

/*
 * The bytes that this process has read, by the kernel's count, which changes
 * by reading it, too: @cost is what one call costs.
 */
static int64_t
bytesRead(void)
{
    char text[512] = { 0 };
    int fd = open("/proc/self/io", O_RDONLY | O_CLOEXEC);
    int64_t value = -1;

    if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && g_str_has_prefix(text, "rchar: "))
        value = g_ascii_strtoll(text + strlen("rchar: "), NULL, 10);
    if (fd >= 0)
        close(fd);
    return value;
}

static int64_t
bytesReadByImageRead(int fd)
{
    EifImage image;
    int64_t start = bytesRead();
    int64_t cost = bytesRead() - start;

    start = bytesRead();
    eifImageRead(fd, &image, NULL);
    return bytesRead() - start - cost;
}

static void
testReadsOnlyHeaders(void)
{
    g_autoptr(EifBuilder) builder = newBuilder(newLargeFile());
    int fd = writeImage(builder);
    int64_t good;
    int64_t bad;

    if (bytesRead() < 0) {
        g_test_skip("/proc/self/io cannot be read");
        close(fd);
        return;
    }

    /* The count is in text: a new digit in it may cost some bytes. */
    good = bytesReadByImageRead(fd);
    g_assert_cmpint(good, >=, 548 + 3 * 12 - 20);
    g_assert_cmpint(good, <=, 548 + 3 * 12 + 20);

    /* Offset of the second section: a wrong layout is found without what is in the sections. */
    poke(fd, 28 + 8 + 7, 0xff);
    bad = bytesReadByImageRead(fd);
    g_assert_cmpint(bad, >=, 548 - 10);
    g_assert_cmpint(bad, <=, 548 + 3 * 12 + 20);

    /* Number of sections: refused by the header alone */
    poke(fd, 27, 33);
    bad = bytesReadByImageRead(fd);
    g_assert_cmpint(bad, >=, 548 - 10);
    g_assert_cmpint(bad, <=, 548 + 10);
    close(fd);
}

static void
testReadSection(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    int fd = newImage();
    EifImage image = readImage(fd);
    EifSection *cmdline = &image.sections[1];

    text = eifImageReadSection(fd, cmdline, 13, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(text, ==, "console=ttyS0");
    g_clear_pointer(&text, g_free);

    text = eifImageReadSection(fd, &image.sections[2], 0, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(text, ==, "");

    g_assert_null(eifImageReadSection(fd, cmdline, 12, &error));
    g_assert_error(error, EIF_ERROR, EIF_ERROR_FORMAT);
    g_clear_error(&error);

    poke(fd, (off_t)cmdline->offset + 7, '\0');
    g_assert_null(eifImageReadSection(fd, cmdline, 13, &error));
    g_assert_error(error, EIF_ERROR, EIF_ERROR_FORMAT);
    g_clear_error(&error);

    g_assert_cmpint(ftruncate(fd, 600), ==, 0);
    g_assert_null(eifImageReadSection(fd, &image.sections[3], 100, &error));
    g_assert_error(error, EIF_ERROR, EIF_ERROR_IO);
    g_clear_error(&error);

    cmdline->size = UINT64_MAX;
    g_assert_null(eifImageReadSection(fd, cmdline, SIZE_MAX, &error));
    g_assert_error(error, EIF_ERROR, EIF_ERROR_FORMAT);
    close(fd);
}

/* What a sink got, and what it does at a certain piece */
typedef struct _SinkData SinkData;
struct _SinkData {
    GByteArray *bytes;
    const EifSection *last;
    size_t nsections;
    size_t npieces;
    size_t failAt;      /* 0: never */
    uint64_t done;      /* of the last progress call */
    uint64_t cancelAt;  /* 0: never */
    int fd;             /* of the image, for those who change it meanwhile */
    off_t truncateTo;   /* 0: not */
    off_t pokeAt;       /* 0: not */
};

static int
testSink(const EifSection *section, const void *buf, size_t len, void *opaque, GError **error)
{
    SinkData *data = opaque;

    if (section != data->last)
        data->nsections++;
    data->last = section;
    data->npieces++;

    if (len > 0)
        g_byte_array_append(data->bytes, buf, len);
    if (data->truncateTo)
        g_assert_cmpint(ftruncate(data->fd, data->truncateTo), ==, 0);
    if (data->pokeAt)
        poke(data->fd, data->pokeAt, 0xee);

    if (data->npieces == data->failAt) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT, "the sink is full");
        return -1;
    }
    return 0;
}

static bool
testProgress(uint64_t done, uint64_t total, void *opaque)
{
    SinkData *data = opaque;

    g_assert_cmpuint(done, >=, data->done);
    g_assert_cmpuint(done, <=, total);
    data->done = done;
    return !data->cancelAt || done < data->cancelAt;
}

static void
testStream(void)
{
    g_autoptr(EifBuilder) builder = newBuilder(newLargeFile());
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *whole = NULL;
    SinkData data = { .bytes = bytes };
    EifImage image;
    size_t len;
    size_t at = 0;
    size_t i;
    int fd;

    addRamdisk(builder, newTextFile(""));
    addRamdisk(builder, newLargeFile());
    fd = writeImage(builder);
    image = readImage(fd);
    lseek(fd, 3, SEEK_SET);
    eifImageStream(&image, fd, testSink, testProgress, &data, &error);
    g_assert_no_error(error);
    g_assert_cmpint(lseek(fd, 0, SEEK_CUR), ==, 3);

    /* Empty sections come, too. */
    g_assert_cmpuint(data.nsections, ==, 5);
    g_assert_cmpuint(data.done, ==, image.fileSize);

    whole = fileBytes(fd, &len);
    g_assert_cmpuint(len, ==, image.fileSize);
    for (i = 0; i < image.nsections; i++) {
        g_assert_cmpmem(bytes->data + at, image.sections[i].size,
                        whole + image.sections[i].offset, image.sections[i].size);
        at += image.sections[i].size;
    }
    g_assert_cmpuint(at, ==, bytes->len);

    eifImageStream(&image, fd, NULL, NULL, NULL, &error);
    g_assert_no_error(error);
    close(fd);
}

/* Streams a fresh image of a large kernel, and expects the error. */
static void
expectStreamError(SinkData *data, EifError code)
{
    g_autoptr(EifBuilder) builder = newBuilder(newLargeFile());
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    EifImage image;

    data->fd = writeImage(builder);
    data->bytes = bytes;
    image = readImage(data->fd);
    g_assert_cmpint(eifImageStream(&image, data->fd, testSink, testProgress, data, &error), ==, -1);
    g_assert_error(error, EIF_ERROR, (int)code);
    close(data->fd);
}

static void
testStreamErrors(void)
{
    SinkData sink = { .failAt = 2 };
    SinkData cancel = { .cancelAt = 600000 };
    SinkData truncated = { .truncateTo = 700000 };
    SinkData nextHeader = { .pokeAt = 548 + 12 + LARGE + 1 };
    SinkData content = { .pokeAt = 548 + 12 + LARGE - 1 };

    expectStreamError(&sink, EIF_ERROR_ARGUMENT);
    g_assert_cmpuint(sink.npieces, ==, 2);
    expectStreamError(&cancel, EIF_ERROR_CANCELLED);
    g_assert_cmpuint(cancel.done, >=, 600000);
    g_assert_cmpuint(cancel.done, <, 600000 + 1024 * 1024);
    expectStreamError(&truncated, EIF_ERROR_IO);
    expectStreamError(&nextHeader, EIF_ERROR_FORMAT);
    expectStreamError(&content, EIF_ERROR_CHECKSUM);
}

/* Each field of the header that is changed between reading and streaming is noticed. */
static void
testStreamChangedHeader(void)
{
    static const off_t offsets[] = { 0, 5, 7, 15, 23, 27, 28 + 7, 284 + 7, 547, 548, 551, 559 };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(offsets); i++) {
        g_autoptr(GError) error = NULL;
        int fd = newImage();
        EifImage image = readImage(fd);

        poke(fd, offsets[i], 0xaa);
        g_assert_cmpint(eifImageStream(&image, fd, NULL, NULL, NULL, &error), ==, -1);
        g_assert_error(error, EIF_ERROR, EIF_ERROR_FORMAT);
        close(fd);
    }
}

/* No part of an image can be left out, and no bit of it be changed. */
static void
testEveryTruncation(void)
{
    g_autofree uint8_t *whole = NULL;
    size_t len;
    size_t i;
    int fd = newImage();

    whole = fileBytes(fd, &len);
    close(fd);
    for (i = 0; i < len; i++) {
        EifImage image;

        fd = newFile(whole, i);
        g_assert_cmpint(eifImageRead(fd, &image, NULL), ==, -1);
        close(fd);
    }
}

static void
testEveryBit(void)
{
    g_autofree uint8_t *whole = NULL;
    size_t len;
    size_t i;
    int fd = newImage();

    whole = fileBytes(fd, &len);
    for (i = 0; i < len * 8; i++) {
        EifMeasurements measurements;
        EifImage image;

        poke(fd, (off_t)(i / 8), whole[i / 8] ^ (uint8_t)(1u << i % 8));
        g_assert_true(eifImageRead(fd, &image, NULL) < 0 ||
                      eifImageMeasure(&image, fd, &measurements, NULL, NULL, NULL, NULL) < 0);
        poke(fd, (off_t)(i / 8), whole[i / 8]);
    }
    readImage(fd);
    close(fd);
}

static void
testMeasure(void)
{
    g_autoptr(EifBuilder) builder = newBuilder(newLargeFile());
    g_autoptr(GError) error = NULL;
    EifMeasurements measurements;
    EifMeasurements other;
    EifImage image;
    bool ok = false;
    int fd;

    addRamdisk(builder, newTextFile("first"));
    addRamdisk(builder, newLargeFile());
    fd = writeImage(builder);
    image = readImage(fd);

    eifImageMeasure(&image, fd, &measurements, &ok, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_true(ok);
    g_assert_true(measurements.valid[0] && measurements.valid[1] && measurements.valid[2]);
    g_assert_false(measurements.valid[3] || measurements.valid[8]);

    /* A wrong checksum: an error, or a verdict beside the same measurements */
    poke(fd, 25, 1);
    g_assert_cmpint(eifImageMeasure(&image, fd, &other, NULL, NULL, NULL, &error), ==, -1);
    g_assert_error(error, EIF_ERROR, EIF_ERROR_CHECKSUM);
    g_clear_error(&error);
    eifImageMeasure(&image, fd, &other, &ok, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_false(ok);
    g_assert_cmpmem(&other, sizeof(other), &measurements, sizeof(measurements));
    close(fd);
}

/* Threads measure the same: all kinds of pieces, and more of them than are under way at once. */
static void
testMeasureThreaded(void)
{
    size_t nramdisks;

    for (nramdisks = 1; nramdisks <= 5; nramdisks++) {
        g_autoptr(EifBuilder) builder = newBuilder(newLargeFile());
        g_autoptr(GError) error = NULL;
        EifMeasurements measurements;
        EifMeasurements other;
        EifImage image;
        bool ok;
        size_t i;
        int fd;

        for (i = 0; i < nramdisks; i++)
            addRamdisk(builder, i == 2 ? newTextFile("") : newLargeFile());
        fd = writeImage(builder);
        image = readImage(fd);

        /* The command line comes last, behind the ramdisks; the checksum is wrong then. */
        poke(fd, image.sections[1].offset - EIF_SECTION_HEADER_SIZE + 1, EIF_SECTION_METADATA);
        poke(fd, image.sections[image.nsections - 1].offset - EIF_SECTION_HEADER_SIZE + 1,
             EIF_SECTION_CMDLINE);
        image = readImage(fd);

        eifImageMeasure(&image, fd, &measurements, &ok, NULL, NULL, &error);
        g_assert_no_error(error);
        eifImageMeasureThreaded(&image, fd, &other, &ok, NULL, NULL, &error);
        g_assert_no_error(error);
        g_assert_cmpmem(&other, sizeof(other), &measurements, sizeof(measurements));
        close(fd);
    }
}

static bool
stopProgress(uint64_t done, uint64_t total, void *opaque)
{
    return false;
}

static void
testMeasureCancelled(void)
{
    g_autoptr(GError) error = NULL;
    EifMeasurements measurements;
    int fd = newImage();
    EifImage image = readImage(fd);

    g_assert_cmpint(eifImageMeasure(&image, fd, &measurements, NULL, stopProgress, NULL, &error),
                    ==, -1);
    g_assert_error(error, EIF_ERROR, EIF_ERROR_CANCELLED);
    g_clear_error(&error);
    g_assert_cmpint(eifImageMeasureThreaded(&image, fd, &measurements, NULL, stopProgress, NULL,
                                            &error), ==, -1);
    g_assert_error(error, EIF_ERROR, EIF_ERROR_CANCELLED);
    close(fd);
}

/* The size of the pieces does not matter. */
static void
testMeasurerPieces(void)
{
    static const char text[] = "the content of some section, in pieces of all sizes";
    static const EifSectionType types[] = {
        EIF_SECTION_RAMDISK, EIF_SECTION_KERNEL, EIF_SECTION_METADATA, EIF_SECTION_RAMDISK,
        EIF_SECTION_CMDLINE, EIF_SECTION_RAMDISK,
    };
    EifMeasurements first;
    size_t step;

    for (step = 1; step <= sizeof(text); step++) {
        g_autoptr(EifMeasurer) measurer = eifMeasurerNew();
        EifMeasurements measurements;
        size_t i;

        for (i = 0; i < G_N_ELEMENTS(types); i++) {
            size_t at;

            eifMeasurerBeginSection(measurer, types[i]);
            for (at = 0; at < sizeof(text); at += step)
                eifMeasurerUpdate(measurer, text + at, MIN(step, sizeof(text) - at));
        }
        eifMeasurerFinish(measurer, &measurements);
        if (step == 1)
            first = measurements;
        g_assert_cmpmem(&measurements, sizeof(measurements), &first, sizeof(first));
    }
}

/*
 * A signature section as AWS's tools write it, of a certificate that is the
 * shortest that passes for one: the DER form of a SEQUENCE of one INTEGER.
 */
static GByteArray *
newSignature(void)
{
    static const char pem[] =
        "-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n";
    static const uint8_t head[] = { 0x81, 0xa2, 0x73 };
    static const uint8_t tail[] = { 0x69, 's', 'i', 'g', 'n', 'a', 't', 'u', 'r', 'e', 0x81, 0x00 };
    const uint8_t arrayHead[] = { 0x98, sizeof(pem) - 1 };
    GByteArray *section = g_byte_array_new();
    size_t i;

    g_byte_array_append(section, head, sizeof(head));
    g_byte_array_append(section, (const uint8_t *)"signing_certificate", 19);
    g_byte_array_append(section, arrayHead, sizeof(arrayHead));
    for (i = 0; i < sizeof(pem) - 1; i++) {
        const uint8_t item[] = { 0x18, (uint8_t)pem[i] };
        bool small = item[1] < 24;

        g_byte_array_append(section, item + small, sizeof(item) - small);
    }
    g_byte_array_append(section, tail, sizeof(tail));
    return section;
}

static int
measureSignature(const uint8_t *data, size_t len, EifMeasurements *measurements, GError **error)
{
    const EifImage image = {
        .nsections = 1,
        .sections = { { .type = EIF_SECTION_SIGNATURE, .size = len } },
    };
    /* Read into a buffer of the very size, so that the sanitizer sees a byte too far */
    int fd = newFile(data, len);
    int rc;

    *measurements = (EifMeasurements){ 0 };
    rc = eifImageMeasureCertificate(&image, fd, measurements, error);
    close(fd);
    return rc;
}

static void
testSignature(void)
{
    g_autoptr(GByteArray) section = newSignature();
    g_autoptr(GError) error = NULL;
    EifMeasurements measurements;
    guint i;

    measureSignature(section->data, section->len, &measurements, &error);
    g_assert_no_error(error);
    g_assert_true(measurements.valid[8]);
    g_assert_false(measurements.valid[0]);

    /* printf '\60\3\2\1\5' | sha384sum, behind 48 zeros, again */
    g_assert_cmphex(measurements.pcr[8][0], ==, 0x3a);
    g_assert_cmphex(measurements.pcr[8][1], ==, 0x17);
    g_assert_cmphex(measurements.pcr[8][47], ==, 0x0a);

    for (i = 0; i < section->len; i++) {
        g_assert_cmpint(measureSignature(section->data, i, &measurements, &error), ==, -1);
        g_assert_error(error, EIF_ERROR, EIF_ERROR_FORMAT);
        g_clear_error(&error);
    }
}

/* Each byte with each value: no crash, and no reading too far (under the sanitizers) */
static void
testSignatureMutations(void)
{
    g_autoptr(GByteArray) section = newSignature();
    guint i;

    for (i = 0; i < section->len; i++) {
        uint8_t before = section->data[i];
        int value;

        for (value = 0; value < 256; value++) {
            g_autoptr(GError) error = NULL;
            EifMeasurements measurements;
            int rc;

            section->data[i] = (uint8_t)value;
            rc = measureSignature(section->data, section->len, &measurements, &error);
            /* It is refused with a reason, or accepted, as what was not changed is. */
            g_assert_true(rc == (error ? -1 : 0));
            if (value == before)
                g_assert_no_error(error);
        }
        section->data[i] = before;
    }
}

/* One core, two outputs: a descriptor, at any offset, and a buffer */
static void
testBuildBufferAndFile(void)
{
    g_autoptr(EifBuilder) builder = newBuilder(newLargeFile());
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *fromFile = NULL;
    g_autofree uint8_t *buf = NULL;
    SinkData data = { 0 };
    uint64_t size;
    size_t len;
    int fd = newTextFile("in front of it");

    addRamdisk(builder, newLargeFile());
    eifBuilderSetMetadata(builder, "{\"ImageName\": \"x\"}");
    size = eifBuilderGetSize(builder);

    lseek(fd, 14, SEEK_SET);
    eifBuilderWrite(builder, fd, testProgress, &data, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(data.done, >, 2 * LARGE);
    g_assert_cmpint(lseek(fd, 0, SEEK_CUR), ==, 14 + size);

    /* Filled, as memory that has been used before is: all must be written. */
    buf = g_malloc(size + 1);
    memset(buf, 0xa5, size + 1);
    eifBuilderWriteBuffer(builder, buf, size + 1, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmphex(buf[size], ==, 0xa5);

    fromFile = fileBytes(fd, &len);
    g_assert_cmpmem(fromFile, 14, "in front of it", 14);
    g_assert_cmpmem(fromFile + 14, len - 14, buf, size);
    close(fd);

    /* And what was written is an image. */
    fd = newFile(buf, size);
    readImage(fd);
    close(fd);
}

static void
testBuildSize(void)
{
    g_autoptr(EifBuilder) builder = eifBuilderNew(EIF_ARCH_AARCH64);
    g_autoptr(GError) error = NULL;
    EifImage image;
    int fd;

    g_assert_cmpuint(eifBuilderGetSize(builder), ==, 548 + 3 * 12 + 2);
    eifBuilderRequireRamdisk(builder);
    g_assert_cmpuint(eifBuilderGetSize(builder), ==, 548 + 4 * 12 + 2);
    eifBuilderSetKernel(builder, newTextFile("a kernel"), "kernel", &error);
    eifBuilderSetKernel(builder, newTextFile("another kernel"), "kernel", &error);
    g_assert_no_error(error);
    g_assert_cmpuint(eifBuilderGetSize(builder), ==, 548 + 4 * 12 + 2 + 14);
    eifBuilderSetCmdline(builder, "abc");
    eifBuilderSetCmdline(builder, NULL);
    eifBuilderSetMetadata(builder, "{ }");
    eifBuilderSetMetadata(builder, NULL);

    fd = writeImage(builder);
    image = readImage(fd);
    g_assert_cmpint(image.arch, ==, EIF_ARCH_AARCH64);
    g_assert_cmpuint(image.nsections, ==, 4);
    g_assert_cmpuint(image.fileSize, ==, eifBuilderGetSize(builder));
    close(fd);

    /* A real ramdisk takes the place of the empty one. */
    addRamdisk(builder, newTextFile("x"));
    g_assert_cmpuint(eifBuilderGetSize(builder), ==, image.fileSize + 1);
}

static void
expectBuildError(EifBuilder *builder, int fd, EifProgress progress, EifError code)
{
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(eifBuilderWrite(builder, fd, progress, NULL, &error), ==, -1);
    g_assert_error(error, EIF_ERROR, (int)code);
}

static void
testBuildPartErrors(void)
{
    g_autoptr(EifBuilder) builder = eifBuilderNew(EIF_ARCH_X86_64);
    g_autoptr(GError) error = NULL;
    int ramdisk = newTextFile("x");
    int huge = newTextFile("");
    int root = open("/", O_RDONLY | O_CLOEXEC);
    size_t i;

    expectBuildError(builder, ramdisk, NULL, EIF_ERROR_ARGUMENT);

    g_assert_cmpint(eifBuilderSetKernel(builder, root, "/", &error), ==, -1);
    g_assert_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT);
    g_clear_error(&error);
    g_assert_cmpint(eifBuilderSetKernel(builder, -1, "none", &error), ==, -1);
    g_assert_error(error, EIF_ERROR, EIF_ERROR_IO);
    g_clear_error(&error);
    g_assert_cmpint(eifBuilderSetKernel(builder, huge, "empty", &error), ==, -1);
    g_assert_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT);
    g_clear_error(&error);

    /* Sizes whose sum would overflow after a few files */
    g_assert_cmpint(ftruncate(huge, INT64_C(3) << 60), ==, 0);
    addRamdisk(builder, huge);
    g_assert_cmpint(eifBuilderAddRamdisk(builder, huge, "huge", &error), ==, -1);
    g_assert_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT);
    g_clear_error(&error);

    for (i = 1; i < 29; i++)
        addRamdisk(builder, ramdisk);
    g_assert_cmpint(eifBuilderAddRamdisk(builder, ramdisk, "the 30th", &error), ==, -1);
    g_assert_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT);
    close(root);
    close(huge);
    close(ramdisk);
}

/* What testGenerate() makes: @pieces of the text "piece" */
typedef struct _TestPieces TestPieces;
struct _TestPieces {
    size_t pieces;
    bool fail;
};

static int
testGenerate(EifWrite write, void *output, void *opaque, GError **error)
{
    TestPieces *data = opaque;
    size_t i;

    for (i = 0; i < data->pieces; i++) {
        if (write(output, "piece", 5, error) < 0)
            return -1;
    }
    if (data->fail)
        g_set_error(error, EIF_ERROR, EIF_ERROR_IO, "no more pieces");
    return data->fail ? -1 : 0;
}

/* A generated ramdisk is as one in a file, wherever it is written to. */
static void
testBuildGenerated(void)
{
    g_autoptr(EifBuilder) builder = newBuilder(newTextFile("a kernel"));
    g_autoptr(EifBuilder) other = newBuilder(newTextFile("a kernel"));
    g_autoptr(GError) error = NULL;
    TestPieces data = { .pieces = 3 };
    g_autofree uint8_t *generated = NULL;
    g_autofree uint8_t *read = NULL;
    g_autofree uint8_t *buf = NULL;
    EifMeasurements measured = { 0 };
    EifMeasurements expected = { 0 };
    size_t len;
    size_t otherLen;

    eifBuilderAddGenerated(builder, 15, "pieces", testGenerate, &data, &error);
    g_assert_no_error(error);
    addRamdisk(other, newTextFile("piecepiecepiece"));
    generated = fileBytes(writeImage(builder), &len);
    read = fileBytes(writeImage(other), &otherLen);
    g_assert_cmpmem(generated, len, read, otherLen);
    g_assert_cmpuint(len, ==, eifBuilderGetSize(builder));

    buf = g_malloc(len);
    eifBuilderWriteBuffer(builder, buf, len, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpmem(buf, len, read, otherLen);

    /* Who signs measures before it writes, so it is generated again. */
    eifBuilderMeasure(builder, &measured, NULL, NULL, &error);
    g_assert_no_error(error);
    eifBuilderMeasure(other, &expected, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpmem(&measured, sizeof(measured), &expected, sizeof(expected));
}

/* What does not keep its word is not written over what is behind it. */
static void
testBuildGeneratedErrors(void)
{
    static const struct {
        TestPieces data;
        EifError code;
    } cases[] = {
        { { .pieces = 2 }, EIF_ERROR_ARGUMENT },
        { { .pieces = 4 }, EIF_ERROR_ARGUMENT },
        { { .pieces = 3, .fail = true }, EIF_ERROR_IO },
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(EifBuilder) builder = newBuilder(newTextFile("a kernel"));
        g_autoptr(GError) error = NULL;
        TestPieces data = cases[i].data;
        EifMeasurements measured;

        eifBuilderAddGenerated(builder, 15, "pieces", testGenerate, &data, &error);
        g_assert_no_error(error);
        expectBuildError(builder, newTextFile(""), NULL, cases[i].code);
        g_assert_cmpint(eifBuilderMeasure(builder, &measured, NULL, NULL, &error), ==, -1);
        g_assert_error(error, EIF_ERROR, (int)cases[i].code);
    }
}

static void
testBuildWriteErrors(void)
{
    int kernel = newLargeFile();
    int out = memfd_create("eiftest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    g_autoptr(EifBuilder) builder = newBuilder(kernel);
    g_autoptr(GError) error = NULL;
    uint8_t buf[600];
    int ends[2];

    g_assert_cmpint(eifBuilderWriteBuffer(builder, buf, sizeof(buf), NULL, NULL, &error), ==, -1);
    g_assert_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT);

    g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
    expectBuildError(builder, ends[1], NULL, EIF_ERROR_IO);
    close(ends[0]);
    close(ends[1]);

    expectBuildError(builder, out, stopProgress, EIF_ERROR_CANCELLED);

    lseek(out, INT64_MAX - 1000, SEEK_SET);
    expectBuildError(builder, out, NULL, EIF_ERROR_IO);
    lseek(out, 0, SEEK_SET);

    g_assert_cmpint(fcntl(out, F_SETFL, O_APPEND), ==, 0);
    expectBuildError(builder, out, NULL, EIF_ERROR_IO);
    g_assert_cmpint(fcntl(out, F_SETFL, 0), ==, 0);

    g_assert_cmpint(fcntl(out, F_ADD_SEALS, F_SEAL_WRITE), ==, 0);
    expectBuildError(builder, out, NULL, EIF_ERROR_IO);
    close(out);
    close(kernel);
}

/* Parts that change their size after they were added */
static void
testBuildChangedPart(void)
{
    int kernel = newLargeFile();
    int out = newTextFile("");
    g_autoptr(EifBuilder) builder = newBuilder(kernel);
    g_autoptr(GError) error = NULL;
    size_t len = eifBuilderGetSize(builder);
    g_autofree uint8_t *buf = g_malloc(len);

    poke(kernel, LARGE, 1);
    expectBuildError(builder, out, NULL, EIF_ERROR_IO);
    g_assert_cmpint(eifBuilderWriteBuffer(builder, buf, len, NULL, NULL, &error), ==, -1);
    g_assert_error(error, EIF_ERROR, EIF_ERROR_IO);

    g_assert_cmpint(ftruncate(kernel, LARGE - 1), ==, 0);
    expectBuildError(builder, out, NULL, EIF_ERROR_IO);

    g_assert_cmpint(ftruncate(kernel, 0), ==, 0);
    expectBuildError(builder, out, NULL, EIF_ERROR_IO);
    close(out);
    close(kernel);
}

/* A copy of the image in @fd, as @change says */
static int
rewriteImage(int fd, const EifChange *change)
{
    g_autoptr(GError) error = NULL;
    int out = memfd_create("eiftest-copy", MFD_CLOEXEC);
    EifImage image;

    eifImageRead(fd, &image, &error);
    g_assert_no_error(error);
    eifImageRewrite(&image, fd, change, out, NULL, NULL, &error);
    g_assert_no_error(error);
    return out;
}

static void
assertSameBytes(int fd, int other)
{
    size_t len;
    size_t otherLen;
    g_autofree uint8_t *data = fileBytes(fd, &len);
    g_autofree uint8_t *otherData = fileBytes(other, &otherLen);

    g_assert_cmpmem(data, len, otherData, otherLen);
}

/* A section that is added, replaced and taken away again: the first image, and its measurements */
static void
testRewrite(void)
{
    g_autoptr(EifBuilder) builder = newBuilder(newLargeFile());
    EifChange change = { .version = EIF_VERSION, .type = EIF_SECTION_SIGNATURE };
    EifMeasurements expected;
    EifMeasurements found;
    g_autoptr(GError) error = NULL;
    EifImage image;
    int fds[4];

    addRamdisk(builder, newTextFile("a ramdisk"));
    fds[0] = writeImage(builder);
    change.content = "signature";
    change.len = 9;
    fds[1] = rewriteImage(fds[0], &change);
    change.content = "another";
    change.len = 7;
    fds[2] = rewriteImage(fds[1], &change);
    change.content = NULL;
    fds[3] = rewriteImage(fds[2], &change);
    assertSameBytes(fds[0], fds[3]);

    eifBuilderMeasure(builder, &expected, NULL, NULL, &error);
    g_assert_no_error(error);
    eifImageRead(fds[2], &image, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(image.sections[image.nsections - 1].size, ==, 7);
    eifImageMeasure(&image, fds[2], &found, NULL, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpmem(expected.pcr, 3 * EIF_PCR_SIZE, found.pcr, 3 * EIF_PCR_SIZE);

    /* What the builder makes at once is the same. */
    eifBuilderSetSignature(builder, "another", 7, &error);
    g_assert_no_error(error);
    assertSameBytes(fds[2], writeImage(builder));
}

/* An image that is damaged is not copied to a good one. */
static void
testRewriteDamaged(void)
{
    EifChange change = { .version = EIF_VERSION, .type = EIF_SECTION_SIGNATURE, .content = "x",
                         .len = 1 };
    g_autoptr(GError) error = NULL;
    int out = memfd_create("eiftest-copy", MFD_CLOEXEC);
    int fd = newImage();
    EifImage image;

    poke(fd, EIF_HEADER_SIZE + EIF_SECTION_HEADER_SIZE, 'A');
    eifImageRead(fd, &image, &error);
    g_assert_no_error(error);
    g_assert_cmpint(eifImageRewrite(&image, fd, &change, out, NULL, NULL, &error), ==, -1);
    g_assert_error(error, EIF_ERROR, EIF_ERROR_CHECKSUM);
    close(out);
    close(fd);
}

/* With a signature there is room for one ramdisk less, whichever comes first. */
static void
testBuildSignatureRoom(void)
{
    g_autoptr(EifBuilder) builder = newBuilder(newTextFile("a kernel"));
    g_autoptr(EifBuilder) full = newBuilder(newTextFile("a kernel"));
    TestPieces none = { 0 };
    g_autoptr(GError) error = NULL;
    int ramdisk = newTextFile("a ramdisk");
    size_t i;

    for (i = 0; i < 29; i++)
        addRamdisk(full, ramdisk);
    g_assert_cmpint(eifBuilderSetSignature(full, "x", 1, &error), ==, -1);
    g_assert_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT);
    g_clear_error(&error);

    g_assert_cmpint(eifBuilderSetSignature(builder, "x", 1, &error), ==, 0);
    for (i = 0; i < 28; i++)
        addRamdisk(builder, ramdisk);
    g_assert_cmpint(eifBuilderAddRamdisk(builder, ramdisk, "ramdisk", &error), ==, -1);
    g_assert_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT);
    g_clear_error(&error);
    g_assert_cmpint(eifBuilderAddGenerated(builder, 0, "ramdisk", testGenerate, &none, &error),
                    ==, -1);
    g_assert_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT);
    close(writeImage(builder));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/eif/names", testNames);
    g_test_add_func("/eif/probe", testProbe);
    g_test_add_func("/eif/read/good", testRead);
    g_test_add_func("/eif/read/failure", testReadFailure);
    g_test_add_func("/eif/read/only-headers", testReadsOnlyHeaders);
    g_test_add_func("/eif/read/section", testReadSection);
    g_test_add_func("/eif/read/every-truncation", testEveryTruncation);
    g_test_add_func("/eif/read/every-bit", testEveryBit);
    g_test_add_func("/eif/stream/good", testStream);
    g_test_add_func("/eif/stream/errors", testStreamErrors);
    g_test_add_func("/eif/stream/changed-header", testStreamChangedHeader);
    g_test_add_func("/eif/measure/good", testMeasure);
    g_test_add_func("/eif/measure/threaded", testMeasureThreaded);
    g_test_add_func("/eif/measure/cancelled", testMeasureCancelled);
    g_test_add_func("/eif/measure/pieces", testMeasurerPieces);
    g_test_add_func("/eif/measure/signature", testSignature);
    g_test_add_func("/eif/measure/signature-mutations", testSignatureMutations);
    g_test_add_func("/eif/build/buffer-and-file", testBuildBufferAndFile);
    g_test_add_func("/eif/build/size", testBuildSize);
    g_test_add_func("/eif/build/part-errors", testBuildPartErrors);
    g_test_add_func("/eif/build/generated", testBuildGenerated);
    g_test_add_func("/eif/build/generated-errors", testBuildGeneratedErrors);
    g_test_add_func("/eif/build/write-errors", testBuildWriteErrors);
    g_test_add_func("/eif/build/changed-part", testBuildChangedPart);
    g_test_add_func("/eif/build/signature-room", testBuildSignatureRoom);
    g_test_add_func("/eif/rewrite/good", testRewrite);
    g_test_add_func("/eif/rewrite/damaged", testRewriteDamaged);

    return g_test_run();
}
