/*
 * eif_read.c: the table of contents of an image
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: descriptor -> EifHeader -> checks of each field -> section headers ->
 * checks against the header -> EifImage, and from there the content of small sections.
 *
 * Source of the rules: the specification in the README of AWS's
 * aws-nitro-enclaves-image-format. Sections follow each other in the order of the
 * header's table, and ramdisks come behind the kernel. Gaps between sections are not in
 * the specification, and no known writer leaves any; the hypervisor goes by the table and
 * runs such images, as AWS's engineers say, while nitro-cli goes from section to section
 * by their sizes and finds others, and QEMU leaves gaps out of the checksum. So they are
 * remarked on (eif_remarks.c), not refused, and are part of the checksum, which is over the
 * whole file.
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
    if (header->nsections < EIF_MIN_SECTIONS || header->nsections > EIF_MAX_SECTIONS) {
        setFormatError(error, "EIF header: number of sections is %u, it must be %d to %d",
                       header->nsections, EIF_MIN_SECTIONS, EIF_MAX_SECTIONS);
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

/* Whether the sections are behind the header, one behind the other, up to the file's end */
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
        expected = offset + EIF_SECTION_HEADER_SIZE + header->sizes[i];
    }

    if (expected != fileSize) {
        setFormatError(error, "the last section ends at %" PRIu64 ", but the file goes on to "
                       "%" PRIu64, expected, fileSize);
        return -1;
    }
    return 0;
}

static bool
isKnownType(const EifSectionHeader *section)
{
    return section->type >= EIF_SECTION_KERNEL && section->type <= EIF_SECTION_METADATA;
}

/*
 * Reads the header of each section that the file has, before anything is said of the layout:
 * when the two sizes of a section differ, which is what is left of a signature that an old
 * tool has replaced, the layout is wrong as well, and says less.
 */
static int
readSectionHeaders(int fd, const EifHeader *header, uint64_t fileSize,
                   EifSectionHeader *sections, GError **error)
{
    size_t i;

    for (i = 0; i < header->nsections; i++) {
        EifSectionHeader *section = &sections[i];
        uint8_t raw[EIF_SECTION_HEADER_SIZE];

        /* Where there is none, checkLayout() says so. */
        if (header->offsets[i] > fileSize ||
            fileSize - header->offsets[i] < EIF_SECTION_HEADER_SIZE)
            continue;
        if (eifReadExact(fd, raw, sizeof(raw), header->offsets[i], IMAGE, error) < 0)
            return -1;

        eifSectionHeaderDecode(raw, section);
        if (isKnownType(section) && section->size != header->sizes[i]) {
            setFormatError(error, "section %zu (%s) has %" PRIu64 " bytes in the table and "
                           "%" PRIu64 " in its own header", i,
                           eifSectionTypeToString(section->type), header->sizes[i],
                           section->size);
            return -1;
        }
    }
    return 0;
}

/* Whether each section is of a known kind; puts it in the table. */
static int
takeSections(const EifHeader *header, const EifSectionHeader *headers, EifSection *sections,
             GError **error)
{
    size_t i;

    for (i = 0; i < header->nsections; i++) {
        if (!isKnownType(&headers[i])) {
            setFormatError(error, "section %zu: type is %u, only %d to %d are defined",
                           i, headers[i].type, EIF_SECTION_KERNEL, EIF_SECTION_METADATA);
            return -1;
        }
        if (headers[i].type == EIF_SECTION_KERNEL && headers[i].size == 0) {
            setFormatError(error, "section %zu (kernel): size is 0, so there is no kernel to "
                           "boot", i);
            return -1;
        }

        sections[i].type = headers[i].type;
        sections[i].flags = headers[i].flags;
        sections[i].offset = header->offsets[i] + EIF_SECTION_HEADER_SIZE;
        sections[i].size = headers[i].size;
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

/* The hypervisor puts ramdisks behind the kernel as it comes to them. */
static int
checkSectionOrder(const EifImage *image, GError **error)
{
    size_t kernel = eifImageFindSection(image, EIF_SECTION_KERNEL) - image->sections;
    size_t i;

    for (i = 0; i < kernel; i++) {
        if (image->sections[i].type == EIF_SECTION_RAMDISK) {
            setFormatError(error, "section %zu (ramdisk) is before the kernel, section %zu: all "
                           "ramdisks must be behind it", i, kernel);
            return -1;
        }
    }
    return 0;
}

int
eifImageRead(int fd, EifImage *image, GError **error)
{
    EifSectionHeader sections[EIF_MAX_SECTIONS] = { 0 };
    EifHeader header = { 0 };
    EifImage result = { 0 };

    if (eifFileSize(fd, IMAGE, EIF_ERROR_IO, &result.fileSize, error) < 0 ||
        readHeader(fd, result.fileSize, &header, error) < 0 ||
        checkHeaderFields(&header, error) < 0 ||
        readSectionHeaders(fd, &header, result.fileSize, sections, error) < 0 ||
        checkLayout(&header, result.fileSize, error) < 0 ||
        takeSections(&header, sections, result.sections, error) < 0)
        return -1;

    result.version = header.version;
    result.flags = header.flags;
    result.arch = header.flags & EIF_HEADER_FLAG_AARCH64 ? EIF_ARCH_AARCH64 : EIF_ARCH_X86_64;
    result.defaultMemory = header.defaultMemory;
    result.defaultCpus = header.defaultCpus;
    result.crc32 = header.crc32;
    result.nsections = header.nsections;

    if (checkSectionCount(&result, EIF_SECTION_KERNEL, 1, error) < 0 ||
        checkSectionCount(&result, EIF_SECTION_CMDLINE, 1, error) < 0 ||
        checkSectionCount(&result, EIF_SECTION_METADATA, result.version >= 4, error) < 0 ||
        checkSectionCount(&result, EIF_SECTION_SIGNATURE, 0, error) < 0 ||
        checkSectionOrder(&result, error) < 0)
        return -1;

    *image = result;
    return 0;
}

uint64_t
eifImageGetGap(const EifImage *image, const EifSection *section)
{
    const EifSection *before = section - 1;
    uint64_t end = section == image->sections ? EIF_HEADER_SIZE : before->offset + before->size;

    return section->offset - EIF_SECTION_HEADER_SIZE - end;
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
