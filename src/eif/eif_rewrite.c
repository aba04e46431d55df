/*
 * eif_rewrite.c: an image with one section changed
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: the EifImage and its file -> the new table of contents -> header, gaps and sections piece
 * by piece, each kept, left out or replaced -> checksum. Each byte of the old image is read once,
 * those that are left out as well: its checksum says that all of them are good.
 */

#include "eif_internal.h"

#include <inttypes.h>
#include <libdeflate.h>
#include <string.h>

typedef struct _Rewrite Rewrite;
struct _Rewrite {
    const EifImage *image;
    const EifChange *change;
    int in;
    int out;
    uint8_t *piece;  /* EIF_PIECE_SIZE bytes */
    uint64_t read;   /* bytes of @in so far */
    uint64_t pos;    /* in @out */
    uint32_t oldCrc; /* of what was read and written, without the checksum fields */
    uint32_t newCrc;
    EifProgress progress;
    void *opaque;
};

static bool
isChanged(const Rewrite *rewrite, const EifSection *section)
{
    return section->type == rewrite->change->type;
}

static bool
isAdded(const Rewrite *rewrite)
{
    return rewrite->change->content &&
        !eifImageFindSection(rewrite->image, rewrite->change->type);
}

/* The table of the new image in place of the old one. Returns 0, or -1 with @error set. */
static int
planHeader(const Rewrite *rewrite, EifHeader *header, GError **error)
{
    const EifImage *image = rewrite->image;
    const EifChange *change = rewrite->change;
    uint64_t pos = EIF_HEADER_SIZE;
    size_t n = 0;
    size_t i;

    if (isAdded(rewrite) && image->nsections == EIF_MAX_SECTIONS) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT,
                    _("there is no room for a %s section: the image has %zu sections already, "
                      "and none has more"), eifSectionTypeToString(change->type),
                    image->nsections);
        return -1;
    }

    for (i = 0; i < image->nsections; i++) {
        const EifSection *section = &image->sections[i];
        bool changed = isChanged(rewrite, section);

        header->offsets[i] = 0;
        header->sizes[i] = 0;
        if (changed && !change->content)
            continue;
        pos += eifImageGetGap(image, section);
        header->offsets[n] = pos;
        header->sizes[n] = changed ? change->len : section->size;
        pos += EIF_SECTION_HEADER_SIZE + header->sizes[n];
        n++;
    }
    if (isAdded(rewrite)) {
        header->offsets[n] = pos;
        header->sizes[n] = change->len;
        n++;
    }

    header->nsections = n;
    header->version = change->version;
    return 0;
}

static int
writeBytes(Rewrite *rewrite, const void *data, size_t len, GError **error)
{
    if (eifWriteExact(rewrite->out, data, len, rewrite->pos, error) < 0)
        return -1;

    rewrite->newCrc = libdeflate_crc32(rewrite->newCrc, data, len);
    rewrite->pos += len;
    return 0;
}

/* Reads the next @len bytes of the old image; writes them, too, when they are to be @kept. */
static int
passBytes(Rewrite *rewrite, uint64_t len, bool kept, GError **error)
{
    while (len > 0) {
        size_t size = MIN(len, EIF_PIECE_SIZE);

        if (eifReadExact(rewrite->in, rewrite->piece, size, rewrite->read, _("the image"),
                         error) < 0)
            return -1;
        rewrite->oldCrc = libdeflate_crc32(rewrite->oldCrc, rewrite->piece, size);
        rewrite->read += size;
        len -= size;
        if (kept && writeBytes(rewrite, rewrite->piece, size, error) < 0)
            return -1;
        if (eifReportProgress(rewrite->progress, rewrite->read, rewrite->image->fileSize,
                              rewrite->opaque, error) < 0)
            return -1;
    }
    return 0;
}

static int
writeHeader(Rewrite *rewrite, GError **error)
{
    uint8_t raw[EIF_HEADER_SIZE];
    EifHeader header;

    if (eifReadExact(rewrite->in, raw, sizeof(raw), 0, _("the image"), error) < 0)
        return -1;
    rewrite->oldCrc = libdeflate_crc32(0, raw, EIF_HEADER_CRC_OFFSET);
    rewrite->read = EIF_HEADER_SIZE;

    eifHeaderDecode(raw, &header);
    if (planHeader(rewrite, &header, error) < 0)
        return -1;
    eifHeaderUpdate(&header, raw);
    if (writeBytes(rewrite, raw, EIF_HEADER_CRC_OFFSET, error) < 0)
        return -1;
    rewrite->pos = EIF_HEADER_SIZE;
    return 0;
}

/* The section of the change; its header has the @flags that it had before. */
static int
writeChanged(Rewrite *rewrite, uint16_t flags, GError **error)
{
    const EifChange *change = rewrite->change;
    EifSectionHeader header = { .type = change->type, .flags = flags, .size = change->len };
    uint8_t raw[EIF_SECTION_HEADER_SIZE];

    eifSectionHeaderEncode(&header, raw);
    if (writeBytes(rewrite, raw, sizeof(raw), error) < 0)
        return -1;
    return writeBytes(rewrite, change->content, change->len, error);
}

static int
writeSection(Rewrite *rewrite, const EifSection *section, GError **error)
{
    bool changed = isChanged(rewrite, section);
    bool replaced = changed && rewrite->change->content;

    if (passBytes(rewrite, eifImageGetGap(rewrite->image, section), !changed || replaced,
                  error) < 0 ||
        passBytes(rewrite, EIF_SECTION_HEADER_SIZE + section->size, !changed, error) < 0)
        return -1;
    return replaced ? writeChanged(rewrite, section->flags, error) : 0;
}

static int
writeChecksum(Rewrite *rewrite, GError **error)
{
    uint8_t raw[sizeof(uint32_t)];

    eifPutU32(raw, rewrite->newCrc);
    return eifWriteExact(rewrite->out, raw, sizeof(raw), EIF_HEADER_CRC_OFFSET, error);
}

int
eifImageRewrite(const EifImage *image, int fd, const EifChange *change, int out,
                EifProgress progress, void *opaque, GError **error)
{
    g_autofree uint8_t *piece = g_malloc(EIF_PIECE_SIZE);
    Rewrite rewrite = {
        .image = image,
        .change = change,
        .in = fd,
        .out = out,
        .piece = piece,
        .progress = progress,
        .opaque = opaque,
    };
    size_t i;

    if (writeHeader(&rewrite, error) < 0)
        return -1;
    for (i = 0; i < image->nsections; i++) {
        if (writeSection(&rewrite, &image->sections[i], error) < 0)
            return -1;
    }
    if (isAdded(&rewrite) && writeChanged(&rewrite, 0, error) < 0)
        return -1;

    if (rewrite.oldCrc != image->crc32) {
        eifSetChecksumError(image, rewrite.oldCrc, error);
        return -1;
    }
    return writeChecksum(&rewrite, error);
}
