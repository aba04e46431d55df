/*
 * eif_read.c: the table of contents of an image
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: descriptor -> EifHeader -> checks of each field -> section headers ->
 * checks against the header -> EifImage, and from there the content of small
 * sections.
 *
 * Sections must follow each other without gaps, in the order of the header's
 * table, from the end of the header to the end of the file. Every known writer
 * (AWS's eif_build and nitro-cli, QEMU) does that, and the readers need it:
 * AWS's goes from section to section by their sizes and never looks at the
 * table, QEMU's follows the table and leaves gaps out of the checksum. An image
 * that they would take for two different ones is refused.
 */

#include "eif_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define IMAGE _("the image")

/* @format is translated here: xgettext knows the function. */
static void
setFormatError(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void
setFormatError(GError **error, const char *format, ...)
{
    va_list args;

    if (!error)
        return;

    va_start(args, format);
    *error = g_error_new_valist(EIF_ERROR, EIF_ERROR_FORMAT, _(format), args);
    va_end(args);
}

bool
eifProbe(int fd)
{
    char magic[4];
    ssize_t got;

    do {
        got = pread(fd, magic, sizeof(magic), 0);
    } while (got < 0 && errno == EINTR);

    return got == sizeof(magic) && memcmp(magic, EIF_MAGIC, sizeof(magic)) == 0;
}

static int
checkMagic(const uint8_t *raw, size_t len, GError **error)
{
    if (len == 0) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_MAGIC, _("not an EIF file: it is empty"));
        return -1;
    }
    if (len < 4) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_MAGIC,
                    _("not an EIF file: it has only %zu bytes"), len);
        return -1;
    }
    if (memcmp(raw, EIF_MAGIC, 4) != 0) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_MAGIC,
                    _("not an EIF file: the magic number is 0x%02x%02x%02x%02x, not 0x2e656966 "
                      "(\"%s\")"), raw[0], raw[1], raw[2], raw[3],
                    EIF_MAGIC);
        return -1;
    }
    return 0;
}

/* Reads the header and nothing else, as far as the file goes. */
static int
readHeader(int fd, uint64_t fileSize, EifHeader *header, GError **error)
{
    uint8_t raw[EIF_HEADER_SIZE] = { 0 };
    size_t len = MIN(fileSize, EIF_HEADER_SIZE);

    if (eifReadExact(fd, raw, len, 0, IMAGE, error) < 0 ||
        checkMagic(raw, len, error) < 0)
        return -1;

    if (len < EIF_HEADER_SIZE) {
        setFormatError(error, "the file has %zu bytes, fewer than the %d of an EIF header: "
                       "it is truncated", len, EIF_HEADER_SIZE);
        return -1;
    }

    eifHeaderDecode(raw, header);
    return 0;
}

static int
checkHeaderFields(const EifHeader *header, GError **error)
{
    if (header->version < EIF_VERSION_MIN || header->version > EIF_VERSION) {
        setFormatError(error, "EIF header: version is %u, only %d to %d are supported",
                       header->version, EIF_VERSION_MIN, EIF_VERSION);
        return -1;
    }
    if (header->flags & ~EIF_HEADER_FLAG_AARCH64) {
        setFormatError(error, "EIF header: flags is 0x%04x, only bit 0 (aarch64) is defined",
                       header->flags);
        return -1;
    }
    if (header->nsections < 1 || header->nsections > EIF_MAX_SECTIONS) {
        setFormatError(error, "EIF header: number of sections is %u, it must be 1 to %d",
                       header->nsections, EIF_MAX_SECTIONS);
        return -1;
    }
    return 0;
}

/* Whether section @i lies in the file, written so that no sum can overflow */
static int
checkSectionBounds(const EifHeader *header, size_t i, uint64_t fileSize, GError **error)
{
    uint64_t offset = header->offsets[i];
    uint64_t size = header->sizes[i];

    if (offset > fileSize || fileSize - offset < EIF_SECTION_HEADER_SIZE) {
        setFormatError(error, "EIF header: offset of section %zu is %" PRIu64 ", but the file "
                       "ends at %" PRIu64, i, offset, fileSize);
        return -1;
    }
    if (size > fileSize - offset - EIF_SECTION_HEADER_SIZE) {
        setFormatError(error, "EIF header: size of section %zu is %" PRIu64 ", but the file "
                       "has only %" PRIu64 " bytes left for it", i, size,
                       fileSize - offset - EIF_SECTION_HEADER_SIZE);
        return -1;
    }
    return 0;
}

/* Whether the sections fill the file from the header's end to the file's end */
static int
checkLayout(const EifHeader *header, uint64_t fileSize, GError **error)
{
    uint64_t expected = EIF_HEADER_SIZE;
    size_t i;

    for (i = 0; i < header->nsections; i++) {
        uint64_t offset = header->offsets[i];

        if (checkSectionBounds(header, i, fileSize, error) < 0)
            return -1;

        if (offset < expected) {
            setFormatError(error, "EIF header: offset of section %zu is %" PRIu64 ", which "
                           "overlaps %s that ends at %" PRIu64, i, offset,
                           i == 0 ? _("the header") : _("the section before"), expected);
            return -1;
        }
        if (offset > expected) {
            setFormatError(error, "EIF header: offset of section %zu is %" PRIu64 ", which "
                           "leaves a gap behind %s that ends at %" PRIu64, i, offset,
                           i == 0 ? _("the header") : _("the section before"), expected);
            return -1;
        }
        expected = offset + EIF_SECTION_HEADER_SIZE + header->sizes[i];
    }

    if (expected != fileSize) {
        setFormatError(error, "the last section ends at %" PRIu64 ", but the file goes on to "
                       "%" PRIu64, expected, fileSize);
        return -1;
    }
    return 0;
}

static int
checkSectionHeader(const EifSectionHeader *section, size_t i, uint64_t size, GError **error)
{
    if (section->type < EIF_SECTION_KERNEL || section->type > EIF_SECTION_METADATA) {
        setFormatError(error, "section %zu: type is %u, only %d to %d are defined",
                       i, section->type, EIF_SECTION_KERNEL, EIF_SECTION_METADATA);
        return -1;
    }
    if (section->flags != 0) {
        setFormatError(error, "section %zu (%s): flags is 0x%04x, none are defined", i,
                       eifSectionTypeToString(section->type), section->flags);
        return -1;
    }
    if (section->size != size) {
        setFormatError(error, "section %zu (%s): size is %" PRIu64 ", but the EIF header says "
                       "%" PRIu64, i, eifSectionTypeToString(section->type), section->size, size);
        return -1;
    }
    if (section->type == EIF_SECTION_KERNEL && size == 0) {
        setFormatError(error, "section %zu (kernel): size is 0, so there is no kernel to boot", i);
        return -1;
    }
    return 0;
}

static int
readSectionHeaders(int fd, const EifHeader *header, EifSection *sections, GError **error)
{
    size_t i;

    for (i = 0; i < header->nsections; i++) {
        uint8_t raw[EIF_SECTION_HEADER_SIZE];
        EifSectionHeader section;

        if (eifReadExact(fd, raw, sizeof(raw), header->offsets[i], IMAGE, error) < 0)
            return -1;

        eifSectionHeaderDecode(raw, &section);
        if (checkSectionHeader(&section, i, header->sizes[i], error) < 0)
            return -1;

        sections[i].type = section.type;
        sections[i].flags = section.flags;
        sections[i].offset = header->offsets[i] + EIF_SECTION_HEADER_SIZE;
        sections[i].size = section.size;
    }
    return 0;
}

/* Whether the image has @type at least @min times and, but for ramdisks, at most once */
static int
checkSectionCount(const EifImage *image, EifSectionType type, size_t min, GError **error)
{
    size_t count = 0;
    size_t i;

    for (i = 0; i < image->nsections; i++)
        count += image->sections[i].type == type;

    if (count < min) {
        setFormatError(error, "the image has no %s section, which EIF version %u needs",
                       eifSectionTypeToString(type), image->version);
        return -1;
    }
    if (count > 1) {
        setFormatError(error, "the image has %zu %s sections, only one is allowed",
                       count, eifSectionTypeToString(type));
        return -1;
    }
    return 0;
}

int
eifImageRead(int fd, EifImage *image, GError **error)
{
    EifHeader header = { 0 };
    EifImage result = { 0 };

    if (eifFileSize(fd, IMAGE, EIF_ERROR_IO, &result.fileSize, error) < 0 ||
        readHeader(fd, result.fileSize, &header, error) < 0 ||
        checkHeaderFields(&header, error) < 0 ||
        checkLayout(&header, result.fileSize, error) < 0 ||
        readSectionHeaders(fd, &header, result.sections, error) < 0)
        return -1;

    result.version = header.version;
    result.arch = header.flags & EIF_HEADER_FLAG_AARCH64 ? EIF_ARCH_AARCH64 : EIF_ARCH_X86_64;
    result.defaultMemory = header.defaultMemory;
    result.defaultCpus = header.defaultCpus;
    result.crc32 = header.crc32;
    result.nsections = header.nsections;

    if (checkSectionCount(&result, EIF_SECTION_KERNEL, 1, error) < 0 ||
        checkSectionCount(&result, EIF_SECTION_CMDLINE, 1, error) < 0 ||
        checkSectionCount(&result, EIF_SECTION_METADATA, result.version >= 4, error) < 0 ||
        checkSectionCount(&result, EIF_SECTION_SIGNATURE, 0, error) < 0)
        return -1;

    *image = result;
    return 0;
}

const EifSection *
eifImageFindSection(const EifImage *image, EifSectionType type)
{
    size_t i;

    for (i = 0; i < image->nsections; i++) {
        if (image->sections[i].type == type)
            return &image->sections[i];
    }
    return NULL;
}

char *
eifImageReadSection(int fd, const EifSection *section, size_t max, GError **error)
{
    g_autofree char *buf = NULL;

    /* One byte is for the NUL, so SIZE_MAX itself cannot be had. */
    if (section->size > max || section->size >= SIZE_MAX) {
        setFormatError(error, "the %s section has %" PRIu64 " bytes, more than the %zu that are "
                       "accepted", eifSectionTypeToString(section->type), section->size, max);
        return NULL;
    }

    if (!(buf = g_try_malloc(section->size + 1))) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_IO,
                    _("not enough memory for the %" PRIu64 " bytes of the %s section"),
                    section->size, eifSectionTypeToString(section->type));
        return NULL;
    }

    if (eifReadExact(fd, buf, section->size, section->offset, IMAGE, error) < 0 ||
        eifCheckNoNul(section, 0, buf, section->size, error) < 0)
        return NULL;

    buf[section->size] = '\0';
    return g_steal_pointer(&buf);
}
