/*
 * eif_build.c: assembling an image from its parts
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: parts (descriptors and texts) in section order -> header without its
 * checksum, sections piece by piece, checksum last -> a descriptor. Or, for a buffer:
 * everything but the files, then these in parallel (eif_fill.c), checksum last.
 * The sections follow each other without padding, in QEMU's order: kernel,
 * command line, ramdisks, metadata; a signature is the last one, as AWS's tools have it.
 */

#include "eif_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libdeflate.h>
#include <string.h>
#include <unistd.h>

/* Kernel, command line and metadata take a section each; a signature leaves room for one less. */
#define MAX_RAMDISKS (EIF_MAX_SECTIONS - 3)

#define DEFAULT_METADATA "{}"

/* What one section is made of: a file when @fd is not -1, else what @generate makes, or a text */
typedef struct _EifPart EifPart;
struct _EifPart {
    EifSectionType type;
    int fd;
    char *what; /* the file in messages */
    EifGenerate generate; /* NULL: none */
    void *opaque;         /* for @generate */
    const char *text;     /* the builder's */
    uint64_t size;
};

struct _EifBuilder {
    EifArch arch;
    EifPart kernel; /* without a kernel @fd is -1 */
    EifPart ramdisks[MAX_RAMDISKS];
    size_t nramdisks;
    bool requireRamdisk;
    char *cmdline;  /* may be NULL */
    char *metadata; /* may be NULL */
    GByteArray *signature; /* content of the section; may be NULL */
};

/*
 * Where the image goes: to @buf when that is not NULL, else to @fd from @start on. Or contents
 * alone, to @measurer
 */
typedef struct _EifOutput EifOutput;
struct _EifOutput {
    int fd;
    uint64_t start;
    uint8_t *piece; /* EIF_PIECE_SIZE bytes, not used for @buf */
    uint8_t *buf;
    EifMeasurer *measurer;
    EifFilePart files[EIF_MAX_SECTIONS]; /* that are still to be read into @buf */
    size_t nfiles;
    uint64_t pos;   /* in the image */
    uint64_t left;  /* of the part that is being generated */
    uint64_t total;
    uint32_t crc;
    EifProgress progress;
    void *opaque;
};

EifBuilder *
eifBuilderNew(EifArch arch)
{
    EifBuilder *builder = g_new0(EifBuilder, 1);

    builder->arch = arch;
    builder->kernel.type = EIF_SECTION_KERNEL;
    builder->kernel.fd = -1;
    return builder;
}

void
eifBuilderFree(EifBuilder *builder)
{
    size_t i;

    if (!builder)
        return;

    g_free(builder->kernel.what);
    for (i = 0; i < builder->nramdisks; i++)
        g_free(builder->ramdisks[i].what);
    g_free(builder->cmdline);
    g_free(builder->metadata);
    if (builder->signature)
        g_byte_array_unref(builder->signature);
    g_free(builder);
}

static EifPart
textPart(EifSectionType type, const char *text)
{
    return (EifPart){ .type = type, .fd = -1, .text = text, .size = strlen(text) };
}

/*
 * Lists the parts in section order; they stay the builder's. Returns their number.
 */
static size_t
builderGetParts(const EifBuilder *builder, EifPart parts[EIF_MAX_SECTIONS])
{
    size_t n = 0;
    size_t i;

    parts[n++] = builder->kernel;
    parts[n++] = textPart(EIF_SECTION_CMDLINE, builder->cmdline ? builder->cmdline : "");
    for (i = 0; i < builder->nramdisks; i++)
        parts[n++] = builder->ramdisks[i];
    if (builder->nramdisks == 0 && builder->requireRamdisk)
        parts[n++] = textPart(EIF_SECTION_RAMDISK, "");
    parts[n++] = textPart(EIF_SECTION_METADATA,
                          builder->metadata ? builder->metadata : DEFAULT_METADATA);
    if (builder->signature) {
        parts[n++] = (EifPart){
            .type = EIF_SECTION_SIGNATURE, .fd = -1,
            .text = (const char *)builder->signature->data, .size = builder->signature->len,
        };
    }

    return n;
}

uint64_t
eifBuilderGetSize(const EifBuilder *builder)
{
    EifPart parts[EIF_MAX_SECTIONS];
    size_t nparts = builderGetParts(builder, parts);
    uint64_t size = EIF_HEADER_SIZE;
    size_t i;

    /* Cannot overflow: initFilePart() keeps the sum of the files below 2^62. */
    for (i = 0; i < nparts; i++)
        size += EIF_SECTION_HEADER_SIZE + parts[i].size;

    return size;
}

void
eifBuilderGetImage(const EifBuilder *builder, EifImage *image)
{
    EifPart parts[EIF_MAX_SECTIONS];
    size_t nparts = builderGetParts(builder, parts);
    uint64_t offset = EIF_HEADER_SIZE;
    size_t i;

    *image = (EifImage){
        .version = EIF_VERSION,
        .flags = builder->arch == EIF_ARCH_AARCH64 ? EIF_HEADER_FLAG_AARCH64 : 0,
        .arch = builder->arch,
        .fileSize = eifBuilderGetSize(builder),
        .nsections = nparts,
    };

    for (i = 0; i < nparts; i++) {
        offset += EIF_SECTION_HEADER_SIZE;
        image->sections[i] = (EifSection){
            .type = parts[i].type, .offset = offset, .size = parts[i].size,
        };
        offset += parts[i].size;
    }
}

/* Whether @size bytes more fit into the image */
static int
checkFits(const EifBuilder *builder, const char *what, uint64_t size, GError **error)
{
    uint64_t max = (G_GUINT64_CONSTANT(1) << 62);

    if (size <= max && eifBuilderGetSize(builder) <= max - size)
        return 0;

    g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT,
                _("%s has %" PRIu64 " bytes, too many for an image"), what, size);
    return -1;
}

/* Fills in @part from the file @fd; the old @part's text stays the caller's. */
static int
initFilePart(const EifBuilder *builder, EifPart *part, EifSectionType type, int fd,
             const char *name, GError **error)
{
    g_autofree char *what = g_strdup_printf("%s '%s'", eifSectionTypeToString(type), name);
    uint64_t size;

    if (eifFileSize(fd, what, EIF_ERROR_ARGUMENT, &size, error) < 0 ||
        checkFits(builder, what, size, error) < 0)
        return -1;

    part->type = type;
    part->fd = fd;
    part->what = g_steal_pointer(&what);
    part->size = size;
    return 0;
}

int
eifBuilderSetKernel(EifBuilder *builder, int fd, const char *name, GError **error)
{
    EifPart part = { 0 };

    if (initFilePart(builder, &part, EIF_SECTION_KERNEL, fd, name, error) < 0)
        return -1;

    if (part.size == 0) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT, _("kernel '%s' is empty"), name);
        g_free(part.what);
        return -1;
    }

    g_free(builder->kernel.what);
    builder->kernel = part;
    return 0;
}

static int
checkRoom(const EifBuilder *builder, const char *name, GError **error)
{
    size_t max = builder->signature ? MAX_RAMDISKS - 1 : MAX_RAMDISKS;

    if (builder->nramdisks < max)
        return 0;

    g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT,
                _("ramdisk '%s' is one too many: an image holds at most %zu"), name, max);
    return -1;
}

int
eifBuilderAddRamdisk(EifBuilder *builder, int fd, const char *name, GError **error)
{
    if (checkRoom(builder, name, error) < 0)
        return -1;

    if (initFilePart(builder, &builder->ramdisks[builder->nramdisks], EIF_SECTION_RAMDISK,
                     fd, name, error) < 0)
        return -1;

    builder->nramdisks++;
    return 0;
}

int
eifBuilderAddGenerated(EifBuilder *builder, uint64_t size, const char *name, EifGenerate generate,
                       void *opaque, GError **error)
{
    g_autofree char *what = g_strdup_printf("ramdisk '%s'", name);

    if (checkRoom(builder, name, error) < 0 || checkFits(builder, what, size, error) < 0)
        return -1;

    builder->ramdisks[builder->nramdisks++] = (EifPart){
        .type = EIF_SECTION_RAMDISK, .fd = -1, .what = g_steal_pointer(&what),
        .generate = generate, .opaque = opaque, .size = size,
    };
    return 0;
}

void
eifBuilderSetCmdline(EifBuilder *builder, const char *cmdline)
{
    g_free(builder->cmdline);
    builder->cmdline = g_strdup(cmdline);
}

void
eifBuilderSetMetadata(EifBuilder *builder, const char *json)
{
    g_free(builder->metadata);
    builder->metadata = g_strdup(json);
}

void
eifBuilderRequireRamdisk(EifBuilder *builder)
{
    builder->requireRamdisk = true;
}

int
eifBuilderSetSignature(EifBuilder *builder, const void *content, size_t len, GError **error)
{
    EifPart parts[EIF_MAX_SECTIONS];

    if (!builder->signature && builderGetParts(builder, parts) == EIF_MAX_SECTIONS) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT,
                    _("with %zu ramdisks there is no room for a signature: a signed image holds "
                      "at most %d"), builder->nramdisks, MAX_RAMDISKS - 1);
        return -1;
    }

    if (builder->signature)
        g_byte_array_unref(builder->signature);
    builder->signature = g_byte_array_append(g_byte_array_new(), content, len);
    return 0;
}

static int
outputBytes(EifOutput *output, const void *data, size_t len, GError **error)
{
    if (output->measurer) {
        eifMeasurerUpdate(output->measurer, data, len);
    } else if (output->buf) {
        if (len > 0)
            memcpy(output->buf + output->pos, data, len);
    } else {
        if (eifWriteExact(output->fd, data, len, output->start + output->pos, error) < 0)
            return -1;
        output->crc = libdeflate_crc32(output->crc, data, len);
    }

    output->pos += len;
    return 0;
}

/* The file of @part must have the size that it had when it was added. */
static int
checkFileSize(const EifPart *part, GError **error)
{
    uint64_t size;

    if (eifFileSize(part->fd, part->what, EIF_ERROR_IO, &size, error) < 0)
        return -1;
    if (size == part->size)
        return 0;

    g_set_error(error, EIF_ERROR, EIF_ERROR_IO, _("%s has grown from %" PRIu64 " to %" PRIu64
                " bytes while it was read"), part->what, part->size, size);
    return -1;
}

/* Copies the file of @part, or notes that it is to be read into the buffer here. */
static int
outputFile(EifOutput *output, const EifPart *part, GError **error)
{
    uint64_t done = 0;

    if (output->buf) {
        output->files[output->nfiles++] = (EifFilePart){
            .fd = part->fd, .what = part->what, .pos = output->pos, .size = part->size,
        };
        output->pos += part->size;
        return 0;
    }

    while (done < part->size) {
        size_t len = MIN(part->size - done, EIF_PIECE_SIZE);

        if (eifReadExact(part->fd, output->piece, len, done, part->what, error) < 0 ||
            outputBytes(output, output->piece, len, error) < 0 ||
            eifReportProgress(output->progress, output->pos, output->total,
                              output->opaque, error) < 0)
            return -1;
        done += len;
    }
    return checkFileSize(part, error);
}

/* An EifWrite */
static int
outputGenerated(void *opaque, const void *buf, size_t len, GError **error)
{
    EifOutput *output = opaque;

    if (len > output->left) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT,
                    _("a ramdisk has more bytes than it was said to have"));
        return -1;
    }
    output->left -= len;
    if (outputBytes(output, buf, len, error) < 0)
        return -1;
    return eifReportProgress(output->progress, output->pos, output->total, output->opaque, error);
}

static int
outputGenerate(EifOutput *output, const EifPart *part, GError **error)
{
    output->left = part->size;
    if (part->generate(outputGenerated, output, part->opaque, error) < 0)
        return -1;
    if (output->left == 0)
        return 0;

    g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT,
                _("%s has %" PRIu64 " bytes less than it was said to have"), part->what,
                output->left);
    return -1;
}

/* What is before the content: the header of the section, or for a measurer its type */
static int
outputBegin(EifOutput *output, const EifPart *part, GError **error)
{
    EifSectionHeader header = { .type = part->type, .size = part->size };
    uint8_t raw[EIF_SECTION_HEADER_SIZE];

    if (output->measurer) {
        eifMeasurerBeginSection(output->measurer, part->type);
        return 0;
    }
    eifSectionHeaderEncode(&header, raw);
    return outputBytes(output, raw, sizeof(raw), error);
}

static int
outputPart(EifOutput *output, const EifPart *part, GError **error)
{
    if (outputBegin(output, part, error) < 0)
        return -1;

    if (part->fd >= 0)
        return outputFile(output, part, error);
    if (part->generate)
        return outputGenerate(output, part, error);
    return outputBytes(output, part->text, part->size, error);
}

/* The header of the image of @parts, all but its checksum, which stays out of the checksum */
static int
outputHeader(EifOutput *output, const EifBuilder *builder, size_t nparts, GError **error)
{
    EifHeader header = {
        .version = EIF_VERSION,
        .flags = builder->arch == EIF_ARCH_AARCH64 ? EIF_HEADER_FLAG_AARCH64 : 0,
        .nsections = nparts,
    };
    uint8_t raw[EIF_HEADER_SIZE];
    EifImage image;
    size_t i;

    eifBuilderGetImage(builder, &image);
    memcpy(header.magic, EIF_MAGIC, sizeof(header.magic));
    for (i = 0; i < nparts; i++) {
        header.offsets[i] = image.sections[i].offset - EIF_SECTION_HEADER_SIZE;
        header.sizes[i] = image.sections[i].size;
    }

    eifHeaderEncode(&header, raw);
    if (outputBytes(output, raw, EIF_HEADER_CRC_OFFSET, error) < 0)
        return -1;

    output->pos = EIF_HEADER_SIZE;
    return 0;
}

static int
outputChecksum(EifOutput *output, GError **error)
{
    uint8_t raw[sizeof(uint32_t)];

    eifPutU32(raw, output->crc);

    if (!output->buf)
        return eifWriteExact(output->fd, raw, sizeof(raw), output->start + EIF_HEADER_CRC_OFFSET,
                             error);

    memcpy(output->buf + EIF_HEADER_CRC_OFFSET, raw, sizeof(raw));
    return 0;
}

/* Reads the files into the buffer, where all else is. */
static int
outputFill(EifOutput *output, const EifPart *parts, size_t nparts, GError **error)
{
    size_t i;

    if (eifFill(output->buf, output->total, output->files, output->nfiles, output->progress,
                output->opaque, &output->crc, error) < 0)
        return -1;

    for (i = 0; i < nparts; i++) {
        if (parts[i].fd >= 0 && checkFileSize(&parts[i], error) < 0)
            return -1;
    }
    return 0;
}

static int
outputImage(EifOutput *output, const EifBuilder *builder, GError **error)
{
    EifPart parts[EIF_MAX_SECTIONS];
    size_t nparts = builderGetParts(builder, parts);
    size_t i;

    if (outputHeader(output, builder, nparts, error) < 0)
        return -1;

    for (i = 0; i < nparts; i++) {
        if (outputPart(output, &parts[i], error) < 0)
            return -1;
    }

    if (output->buf && outputFill(output, parts, nparts, error) < 0)
        return -1;
    return outputChecksum(output, error);
}

static int
checkHasKernel(const EifBuilder *builder, GError **error)
{
    if (builder->kernel.fd >= 0)
        return 0;

    g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT, _("an image needs a kernel"));
    return -1;
}

/* The offset of @fd in bytes, or -1 with @error set when it cannot be written at any offset. */
static off_t
getStart(int fd, GError **error)
{
    int flags = fcntl(fd, F_GETFL);
    off_t start = flags < 0 ? -1 : lseek(fd, 0, SEEK_CUR);

    if (start < 0) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_IO, _("cannot write the image: %s"),
                    g_strerror(errno));
        return -1;
    }

    /* Linux then writes all at the end, whatever the offset. */
    if (flags & O_APPEND) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_IO,
                    _("cannot write the image: the file is open for appending only"));
        return -1;
    }
    return start;
}

int
eifBuilderWrite(EifBuilder *builder, int fd, EifProgress progress, void *opaque, GError **error)
{
    g_autofree uint8_t *piece = NULL;
    EifOutput output = {
        .fd = fd,
        .total = eifBuilderGetSize(builder),
        .progress = progress,
        .opaque = opaque,
    };
    off_t start;

    if (checkHasKernel(builder, error) < 0 ||
        (start = getStart(fd, error)) < 0)
        return -1;

    if (output.total > INT64_MAX - (uint64_t)start) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_IO,
                    _("cannot write the image: no file can hold it"));
        return -1;
    }

    output.piece = piece = g_malloc(EIF_PIECE_SIZE);
    output.start = start;
    if (outputImage(&output, builder, error) < 0)
        return -1;

    if (lseek(fd, start + (off_t)output.total, SEEK_SET) < 0) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_IO, _("cannot write the image: %s"),
                    g_strerror(errno));
        return -1;
    }
    return 0;
}

int
eifBuilderWriteBuffer(EifBuilder *builder, void *buf, size_t len, EifProgress progress,
                      void *opaque, GError **error)
{
    EifOutput output = {
        .fd = -1,
        .buf = buf,
        .total = eifBuilderGetSize(builder),
        .progress = progress,
        .opaque = opaque,
    };

    if (checkHasKernel(builder, error) < 0)
        return -1;

    if (len < output.total) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_ARGUMENT,
                    _("the image has %" PRIu64 " bytes, more than the %zu there is room for"),
                    output.total, len);
        return -1;
    }
    return outputImage(&output, builder, error);
}

int
eifBuilderMeasure(EifBuilder *builder, EifMeasurements *measurements, EifProgress progress,
                  void *opaque, GError **error)
{
    g_autoptr(EifMeasurer) measurer = eifMeasurerNew();
    g_autofree uint8_t *piece = g_malloc(EIF_PIECE_SIZE);
    EifPart parts[EIF_MAX_SECTIONS];
    size_t nparts = builderGetParts(builder, parts);
    EifOutput output = {
        .fd = -1,
        .piece = piece,
        .measurer = measurer,
        .total = eifBuilderGetSize(builder),
        .progress = progress,
        .opaque = opaque,
    };
    size_t i;

    if (checkHasKernel(builder, error) < 0)
        return -1;

    for (i = 0; i < nparts; i++) {
        if (outputPart(&output, &parts[i], error) < 0)
            return -1;
    }
    eifMeasurerFinish(measurer, measurements);
    return 0;
}
