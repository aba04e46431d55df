/*
 * eif_stream.c: the contents of an image, once, front to back
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: descriptor -> header and section headers, compared with the EifImage
 * that was read from them before -> pieces of content -> checksum and sink.
 * Each byte is read once, so what is checked is what the sink gets, even when
 * somebody writes to the file meanwhile. eifImageLoad() does the same with a buffer
 * for the whole image in place of a sink.
 */

#include "eif_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <libdeflate.h>
#include <string.h>

#define IMAGE "the image"

typedef struct _EifStream EifStream;
struct _EifStream {
    const EifImage *image;
    int fd;
    EifSink sink;
    EifProgress progress;
    void *opaque;
    uint8_t **piece; /* EIF_PIECE_SIZE bytes */
    uint32_t crc;    /* of all bytes so far, without the checksum field */
};

void
eifChooseChecksum(void)
{
    libdeflate_crc32(0, "", 0);
}

int
eifCheckNoNul(const EifSection *section, uint64_t pos, const void *buf, size_t len,
              GError **error)
{
    const char *nul;

    if (section->type != EIF_SECTION_CMDLINE && section->type != EIF_SECTION_METADATA)
        return 0;
    if (!(nul = memchr(buf, '\0', len)))
        return 0;

    g_set_error(error, EIF_ERROR, EIF_ERROR_FORMAT,
                _("the %s section has a NUL byte at %" PRIu64 ", where a reader of text would "
                  "stop"),
                eifSectionTypeToString(section->type),
                pos + (uint64_t)(nul - (const char *)buf));
    return -1;
}

static bool
headerIsSame(const EifImage *image, const EifHeader *header)
{
    size_t i;

    if (memcmp(header->magic, EIF_MAGIC, sizeof(header->magic)) != 0 ||
        header->version != image->version ||
        header->flags != image->flags ||
        header->defaultMemory != image->defaultMemory ||
        header->defaultCpus != image->defaultCpus ||
        header->nsections != image->nsections ||
        header->crc32 != image->crc32)
        return false;

    for (i = 0; i < image->nsections; i++) {
        if (header->offsets[i] != image->sections[i].offset - EIF_SECTION_HEADER_SIZE ||
            header->sizes[i] != image->sections[i].size)
            return false;
    }
    return true;
}

static int
checkHeader(const EifImage *image, const uint8_t raw[EIF_HEADER_SIZE], GError **error)
{
    EifHeader header;

    eifHeaderDecode(raw, &header);
    if (headerIsSame(image, &header))
        return 0;

    g_set_error(error, EIF_ERROR, EIF_ERROR_FORMAT,
                _("the EIF header has changed since it was read first"));
    return -1;
}

static int
checkSectionHeader(const EifSection *section, const uint8_t raw[EIF_SECTION_HEADER_SIZE],
                   GError **error)
{
    EifSectionHeader header;

    eifSectionHeaderDecode(raw, &header);
    if (header.type == section->type &&
        header.flags == section->flags &&
        header.size == section->size)
        return 0;

    g_set_error(error, EIF_ERROR, EIF_ERROR_FORMAT,
                _("the header of the %s section at %" PRIu64 " has changed since it was read "
                "first"), eifSectionTypeToString(section->type),
                section->offset - EIF_SECTION_HEADER_SIZE);
    return -1;
}

static int
streamHeader(EifStream *stream, GError **error)
{
    uint8_t raw[EIF_HEADER_SIZE];

    if (eifReadExact(stream->fd, raw, sizeof(raw), 0, IMAGE, error) < 0 ||
        checkHeader(stream->image, raw, error) < 0)
        return -1;

    stream->crc = libdeflate_crc32(stream->crc, raw, EIF_HEADER_CRC_OFFSET);
    return 0;
}

/* What is between sections is no section's, but the checksum is over the whole file. */
static int
streamGap(EifStream *stream, const EifSection *section, GError **error)
{
    uint64_t left = eifImageGetGap(stream->image, section);
    uint64_t end = section->offset - EIF_SECTION_HEADER_SIZE;

    while (left > 0) {
        size_t len = MIN(left, EIF_PIECE_SIZE);

        if (eifReadExact(stream->fd, *stream->piece, len, end - left, IMAGE, error) < 0)
            return -1;
        stream->crc = libdeflate_crc32(stream->crc, *stream->piece, len);
        left -= len;
        if (eifReportProgress(stream->progress, end - left, stream->image->fileSize,
                              stream->opaque, error) < 0)
            return -1;
    }
    return 0;
}

static int
streamSectionHeader(EifStream *stream, const EifSection *section, GError **error)
{
    uint8_t raw[EIF_SECTION_HEADER_SIZE];

    if (eifReadExact(stream->fd, raw, sizeof(raw), section->offset - EIF_SECTION_HEADER_SIZE,
                     IMAGE, error) < 0 ||
        checkSectionHeader(section, raw, error) < 0)
        return -1;

    stream->crc = libdeflate_crc32(stream->crc, raw, sizeof(raw));
    return 0;
}

/* An empty section is handed over, too, as one empty piece: measurements depend on it. */
static int
streamSectionContent(EifStream *stream, const EifSection *section, GError **error)
{
    uint64_t done = 0;

    do {
        size_t len = MIN(section->size - done, EIF_PIECE_SIZE);

        if (eifReadExact(stream->fd, *stream->piece, len, section->offset + done,
                         IMAGE, error) < 0 ||
            eifCheckNoNul(section, done, *stream->piece, len, error) < 0)
            return -1;

        stream->crc = libdeflate_crc32(stream->crc, *stream->piece, len);
        if (stream->sink && stream->sink(section, *stream->piece, len, stream->opaque, error) < 0)
            return -1;

        done += len;
        if (eifReportProgress(stream->progress, section->offset + done, stream->image->fileSize,
                              stream->opaque, error) < 0)
            return -1;
    } while (done < section->size);

    return 0;
}

int
eifImageStreamCrc(const EifImage *image, int fd, uint8_t **piece, EifSink sink,
                  EifProgress progress, void *opaque, uint32_t *crc, GError **error)
{
    EifStream stream = {
        .image = image,
        .fd = fd,
        .sink = sink,
        .progress = progress,
        .opaque = opaque,
        .piece = piece,
    };
    size_t i;

    /* Advice only: nothing depends on its success. */
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);

    if (streamHeader(&stream, error) < 0)
        return -1;

    for (i = 0; i < image->nsections; i++) {
        if (streamGap(&stream, &image->sections[i], error) < 0 ||
            streamSectionHeader(&stream, &image->sections[i], error) < 0 ||
            streamSectionContent(&stream, &image->sections[i], error) < 0)
            return -1;
    }

    *crc = stream.crc;
    return 0;
}

void
eifSetChecksumError(const EifImage *image, uint32_t crc, GError **error)
{
    g_set_error(error, EIF_ERROR, EIF_ERROR_CHECKSUM,
                _("EIF header: checksum is 0x%08x, but that of the content is 0x%08x: "
                "the image is damaged"), image->crc32, crc);
}

int
eifImageStream(const EifImage *image, int fd, EifSink sink, EifProgress progress, void *opaque,
               GError **error)
{
    g_autofree uint8_t *piece = g_malloc(EIF_PIECE_SIZE);
    uint32_t crc;

    if (eifImageStreamCrc(image, fd, &piece, sink, progress, opaque, &crc, error) < 0)
        return -1;

    if (crc != image->crc32) {
        eifSetChecksumError(image, crc, error);
        return -1;
    }
    return 0;
}

int
eifImageLoad(const EifImage *image, int fd, void *buf, EifProgress progress, void *opaque,
             GError **error)
{
    const EifFilePart part = { .fd = fd, .what = IMAGE, .size = image->fileSize };
    const uint8_t *bytes = buf;
    uint32_t crc;
    size_t i;

    if (eifFill(buf, image->fileSize, &part, 1, progress, opaque, &crc, error) < 0 ||
        checkHeader(image, bytes, error) < 0)
        return -1;

    for (i = 0; i < image->nsections; i++) {
        const EifSection *section = &image->sections[i];

        if (checkSectionHeader(section, bytes + section->offset - EIF_SECTION_HEADER_SIZE,
                               error) < 0 ||
            eifCheckNoNul(section, 0, bytes + section->offset, section->size, error) < 0)
            return -1;
    }

    if (crc != image->crc32) {
        eifSetChecksumError(image, crc, error);
        return -1;
    }
    return 0;
}
