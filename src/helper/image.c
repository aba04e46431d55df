/*
 * image.c: the enclave image, from descriptors to checked parts in memory
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: descriptors -> imageOpen(): kind and headers -> imageUnpack(): contents into
 * memfds, checksum and measurements compared, seals -> the backend boots them.
 * Nothing of an image is used before it has been checked, and what has been checked
 * is the sealed copy, not the file.
 */

#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "helper_protocol.h"
#include "image_linux.h"
#include "nitro_gettext.h"
#include "nitro_limits.h"

#define MIB (1024 * 1024ULL)

#define IMAGE_MEMORY_MIN (NITRO_MEMORY_MIN_KIB * 1024ULL)
#define IMAGE_MEMORY_STEP (NITRO_MEMORY_STEP_KIB * 1024ULL)

#define IMAGE_PIECE_SIZE (64 * 1024)

/* bytes; no kernel takes a tenth of it */
#define IMAGE_CMDLINE_MAX (1024 * 1024)

/* Linux's initramfs code looks for the next archive at multiples of this. */
#define IMAGE_RAMDISK_ALIGN 4

#ifndef MFD_NOEXEC_SEAL
# define MFD_NOEXEC_SEAL 0x0008U
#endif

static int
imageCheckMemory(const Options *options, uint64_t imageSize, Failure *failure)
{
    uint64_t memory = options->memory;

    if (memory < IMAGE_MEMORY_MIN) {
        failureSet(failure, NITRO_FAILURE_CONFIG,
                   "Memory of %" PRIu64 " KiB is too small: an enclave needs at least 65536 KiB "
                   "(64 MiB)", memory / 1024);
        return -1;
    }
    if (memory % IMAGE_MEMORY_STEP != 0) {
        failureSet(failure, NITRO_FAILURE_CONFIG,
                   "Memory of %" PRIu64 " bytes is not a multiple of 2 MiB", memory);
        return -1;
    }
    if (options->pageSize > 0 && memory % options->pageSize != 0) {
        failureSet(failure, NITRO_FAILURE_CONFIG,
                   "Memory of %" PRIu64 " KiB is not a multiple of the page size, %" PRIu64 " KiB",
                   memory / 1024, options->pageSize / 1024);
        return -1;
    }

    if (imageSize > NITRO_IMAGE_SIZE_MAX) {
        failureSet(failure, NITRO_FAILURE_IMAGE, "The image of %" PRIu64 " KiB is too large",
                   imageSize / 1024);
        return -1;
    }
    if (memory / NITRO_IMAGE_MEMORY_FACTOR < imageSize) {
        failureSet(failure, NITRO_FAILURE_CONFIG,
                   "Memory of %" PRIu64 " KiB is too small for the image of %" PRIu64 " KiB: it "
                   "must be at least %d times as large, %" PRIu64 " KiB", memory / 1024,
                   imageSize / 1024, NITRO_IMAGE_MEMORY_FACTOR,
                   nitroLimitsMemoryFor(imageSize) / 1024);
        return -1;
    }
    return 0;
}

static int
imageCheckArch(EifArch arch, const Options *options, Failure *failure)
{
    if (arch == options->arch)
        return 0;
    failureSet(failure, NITRO_FAILURE_IMAGE,
               "The image is for %s, but the domain's arch is %s: change the arch of <type>, or build "
               "the image for %s", eifArchToString(arch), eifArchToString(options->arch),
               eifArchToString(options->arch));
    return -1;
}

/* Whether an enclave boots with these, the hypervisor decides. */
static void
imageLogRemarks(const EifImage *eif)
{
    g_auto(GStrv) remarks = eifImageGetRemarks(eif);
    size_t i;

    for (i = 0; remarks[i]; i++)
        logWarning("The image is unusual: %s; if no enclave boots from it, build it anew, as with "
                   "virt-eif", remarks[i]);
}

/* libvirt_nitro_check has read it before, and nothing of it is read here. */
static int
imageSetSignatureFailure(Failure *failure)
{
    failureSet(failure, NITRO_FAILURE_IMAGE,
               "The image cannot be used: its signature is not the one that was checked; start it "
               "again when nothing writes to its file any more");
    return -1;
}

static int
imageOpenEif(Image *image, const Options *options, Failure *failure)
{
    g_autoptr(GError) error = NULL;

    if (eifImageRead(image->fd, &image->eif, &error) < 0) {
        failureSet(failure, NITRO_FAILURE_IMAGE, "The image cannot be used: %s", error->message);
        return -1;
    }

    if (imageCheckArch(image->eif.arch, options, failure) < 0)
        return -1;
    if (image->initrdFd >= 0 || options->cmdline) {
        failureSet(failure, NITRO_FAILURE_CONFIG,
                   "The image is an EIF file, which holds its own ramdisks and command line: "
                   "remove <%s>", image->initrdFd >= 0 ? "initrd" : "cmdline");
        return -1;
    }

    if (!image->signature != !eifImageFindSection(&image->eif, EIF_SECTION_SIGNATURE))
        return imageSetSignatureFailure(failure);

    imageLogRemarks(&image->eif);
    image->isEif = true;
    image->size = image->eif.fileSize;
    return 0;
}

/* The builder of the EIF that a kernel stands for, or NULL with @error set */
static EifBuilder *
imageBuilderNew(const Image *image, GError **error)
{
    g_autoptr(EifBuilder) builder = eifBuilderNew(image->arch);

    if (eifBuilderSetKernel(builder, image->fd, "kernel", error) < 0 ||
        (image->initrdFd >= 0 &&
         eifBuilderAddRamdisk(builder, image->initrdFd, "initrd", error) < 0))
        return NULL;

    eifBuilderSetCmdline(builder, image->cmdline);
    eifBuilderRequireRamdisk(builder);
    return g_steal_pointer(&builder);
}

static int
imageOpenLinux(Image *image, Failure *failure)
{
    g_autoptr(EifBuilder) builder = NULL;
    g_autoptr(GError) error = NULL;

    if (image->signature)
        return imageSetSignatureFailure(failure);
    if (!(builder = imageBuilderNew(image, &error))) {
        failureSet(failure, NITRO_FAILURE_IMAGE, "The kernel or its initrd cannot be used: %s",
                   error->message);
        return -1;
    }
    image->size = eifBuilderGetSize(builder);
    image->kernelSize = image->stamps[0].size;
    image->initrdSize = image->initrdFd < 0 ? 0 : image->stamps[1].size;
    return 0;
}

static int
imageStamp(int fd, ImageStamp *stamp)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -1;
    *stamp = (ImageStamp){.size = st.st_size, .modified = st.st_mtim, .changed = st.st_ctim};
    return S_ISREG(st.st_mode) ? 0 : -1;
}

int
imageOpen(Image *image, const Options *options, Failure *failure)
{
    EifArch arch;

    *image = (Image){
        .arch = options->arch,
        .signature = options->signature,
        .fd = options->imageFd,
        .initrdFd = options->initrdFd,
        .cmdline = options->cmdline ? options->cmdline : "",
    };

    if (imageStamp(image->fd, &image->stamps[0]) < 0) {
        failureSet(failure, NITRO_FAILURE_IMAGE, "The image is not a regular file");
        return -1;
    }
    if (image->initrdFd >= 0 && imageStamp(image->initrdFd, &image->stamps[1]) < 0) {
        failureSet(failure, NITRO_FAILURE_IMAGE, "The initrd is not a regular file");
        return -1;
    }

    if (eifProbe(image->fd)) {
        if (imageOpenEif(image, options, failure) < 0)
            return -1;
    } else if (imageLinuxProbe(image->fd, &arch)) {
        if (imageCheckArch(arch, options, failure) < 0 || imageOpenLinux(image, failure) < 0)
            return -1;
    } else {
        failureSet(failure, NITRO_FAILURE_IMAGE,
                   "The image, a file of %" PRIu64 " bytes, is neither an EIF file nor a Linux "
                   "kernel", (uint64_t)image->stamps[0].size);
        return -1;
    }

    return imageCheckMemory(options, image->size, failure);
}

void
imageClose(Image *image)
{
    if (image->fd >= 0)
        close(image->fd);
    if (image->initrdFd >= 0)
        close(image->initrdFd);
    image->fd = image->initrdFd = -1;
}

void
imagePartsClose(ImageParts *parts)
{
    if (parts->kernelFd >= 0)
        close(parts->kernelFd);
    if (parts->bootFd >= 0)
        close(parts->bootFd);
    if (parts->ramdiskFd >= 0)
        close(parts->ramdiskFd);
    parts->kernelFd = parts->bootFd = parts->ramdiskFd = -1;
}

void
imagePartsFree(ImageParts *parts)
{
    if (!parts)
        return;
    imagePartsClose(parts);
    g_string_free(parts->cmdline, TRUE);
    g_free(parts);
}

static int
imageMemfd(const char *name, Failure *failure)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_NOEXEC_SEAL);

    /* Linux knows MFD_NOEXEC_SEAL, which allows sealing as well, from 6.3 on. */
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        failureSet(failure, NITRO_FAILURE_RESOURCE, "Memory for the %s cannot be had: %s", name,
                   g_strerror(errno));
    return fd;
}

static ImageParts *
imagePartsNew(Failure *failure)
{
    g_autoptr(ImageParts) parts = g_new0(ImageParts, 1);

    parts->kernelFd = parts->bootFd = parts->ramdiskFd = -1;
    parts->cmdline = g_string_new(NULL);

    parts->kernelFd = imageMemfd("kernel", failure);
    parts->ramdiskFd = imageMemfd("ramdisk", failure);
    if (parts->kernelFd < 0 || parts->ramdiskFd < 0)
        return NULL;
    return g_steal_pointer(&parts);
}

static int
imageSeal(int fd, Failure *failure)
{
    const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

    if (fcntl(fd, F_ADD_SEALS, seals) < 0) {
        failureSet(failure, NITRO_FAILURE_INTERNAL, "The image in memory cannot be sealed: %s",
                   g_strerror(errno));
        return -1;
    }
    return 0;
}

static int
imagePartsSeal(ImageParts *parts, Failure *failure)
{
    return imageSeal(parts->kernelFd, failure) < 0 ? -1 : imageSeal(parts->ramdiskFd, failure);
}

/* The state of imageUnpack() between two pieces */
typedef struct {
    ImageParts *parts;
    const EifSection *section; /* that the last piece was of */
    EifMeasurer *measurer;     /* NULL: nothing is compared */
    const int *cancel;
} ImageUnpacker;

static int
imageWrite(int fd, const void *buf, size_t len, GError **error)
{
    const char *pos = buf;

    while (len > 0) {
        ssize_t n = write(fd, pos, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            g_set_error(error, EIF_ERROR, EIF_ERROR_IO, _("cannot keep it in memory: %s"),
                        g_strerror(errno));
            return -1;
        }
        pos += n;
        len -= n;
    }
    return 0;
}

/* Starts the next section of @type; ramdisks are put where Linux will look for them. */
static int
imageBeginSection(ImageUnpacker *unpacker, EifSectionType type, GError **error)
{
    static const char zeros[IMAGE_RAMDISK_ALIGN];
    ImageParts *parts = unpacker->parts;
    ImageSection *section;
    size_t pad;

    if (unpacker->measurer)
        eifMeasurerBeginSection(unpacker->measurer, type);
    if (type == EIF_SECTION_METADATA || type == EIF_SECTION_SIGNATURE)
        return 0;

    section = &parts->sections[parts->nsections++];
    *section = (ImageSection){.type = type};
    if (type != EIF_SECTION_RAMDISK)
        return 0;

    pad = -parts->ramdiskSize % IMAGE_RAMDISK_ALIGN;
    if (imageWrite(parts->ramdiskFd, zeros, pad, error) < 0)
        return -1;
    parts->ramdiskSize += pad;
    section->offset = parts->ramdiskSize;
    return 0;
}

/* Adds a piece to the section begun last, which is of @type. */
static int
imageAddPiece(ImageUnpacker *unpacker, EifSectionType type, const void *buf, size_t len,
              GError **error)
{
    ImageParts *parts = unpacker->parts;

    if (unpacker->measurer)
        eifMeasurerUpdate(unpacker->measurer, buf, len);
    if (type == EIF_SECTION_METADATA || type == EIF_SECTION_SIGNATURE)
        return 0;

    parts->sections[parts->nsections - 1].size += len;
    switch (type) {
    case EIF_SECTION_KERNEL:
        parts->kernelSize += len;
        return imageWrite(parts->kernelFd, buf, len, error);
    case EIF_SECTION_RAMDISK:
        parts->ramdiskSize += len;
        return imageWrite(parts->ramdiskFd, buf, len, error);
    case EIF_SECTION_CMDLINE:
        g_string_append_len(parts->cmdline, buf, len);
        return 0;
    case EIF_SECTION_SIGNATURE:
    case EIF_SECTION_METADATA:
        break;
    }
    return 0;
}

static int
imageOnPiece(const EifSection *section, const void *buf, size_t len, void *opaque, GError **error)
{
    ImageUnpacker *unpacker = opaque;

    if (section != unpacker->section) {
        unpacker->section = section;
        if (imageBeginSection(unpacker, section->type, error) < 0)
            return -1;
    }
    return imageAddPiece(unpacker, section->type, buf, len, error);
}

static bool
imageOnProgress(uint64_t done G_GNUC_UNUSED, uint64_t total G_GNUC_UNUSED, void *opaque)
{
    return g_atomic_int_get(((ImageUnpacker *)opaque)->cancel) == 0;
}

/* What is kept outside of the memfds must be small whatever the table says. */
static int
imageUnpackEif(const Image *image, ImageUnpacker *unpacker, GError **error)
{
    size_t i;

    for (i = 0; i < image->eif.nsections; i++) {
        const EifSection *section = &image->eif.sections[i];

        if (section->type == EIF_SECTION_CMDLINE && section->size > IMAGE_CMDLINE_MAX) {
            g_set_error(error, EIF_ERROR, EIF_ERROR_FORMAT,
                        _("the %s section has %" PRIu64 " bytes, more than 1 MiB"),
                        eifSectionTypeToString(section->type), section->size);
            return -1;
        }
    }
    return eifImageStream(&image->eif, image->fd, imageOnPiece, imageOnProgress, unpacker, error);
}

/* Hands @size bytes from @offset of @fd on to @piece, and looks at @cancel between pieces. */
static int
imageReadRange(int fd, uint64_t offset, uint64_t size, const int *cancel,
               int (*piece)(void *opaque, const void *buf, size_t len, GError **error),
               void *opaque, GError **error)
{
    g_autofree char *buf = g_malloc(IMAGE_PIECE_SIZE);
    uint64_t end = offset + size;

    while (offset < end) {
        ssize_t n = pread(fd, buf, MIN(end - offset, IMAGE_PIECE_SIZE), offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            g_set_error(error, EIF_ERROR, EIF_ERROR_IO, _("cannot read it: %s"),
                        n < 0 ? g_strerror(errno) : "it has become shorter");
            return -1;
        }
        if (g_atomic_int_get(cancel) != 0) {
            g_set_error(error, EIF_ERROR, EIF_ERROR_CANCELLED, _("stopped"));
            return -1;
        }
        if (piece(opaque, buf, n, error) < 0)
            return -1;
        offset += n;
    }
    return 0;
}

static int
imageAddLinuxPiece(void *opaque, const void *buf, size_t len, GError **error)
{
    ImageUnpacker *unpacker = opaque;
    ImageParts *parts = unpacker->parts;

    return imageAddPiece(unpacker, parts->sections[parts->nsections - 1].type, buf, len, error);
}

/*
 * One section from the first @size bytes of @fd, or an empty one when @fd is -1: what
 * the file has become since its size was checked does not count.
 */
static int
imageUnpackFile(ImageUnpacker *unpacker, EifSectionType type, int fd, uint64_t size,
                GError **error)
{
    if (imageBeginSection(unpacker, type, error) < 0)
        return -1;
    if (fd < 0)
        return 0;
    return imageReadRange(fd, 0, size, unpacker->cancel, imageAddLinuxPiece, unpacker, error);
}

/* The sections of the EIF that QEMU would assemble, in its order; metadata is not measured. */
static int
imageUnpackLinux(const Image *image, ImageUnpacker *unpacker, GError **error)
{
    if (imageUnpackFile(unpacker, EIF_SECTION_KERNEL, image->fd, image->kernelSize, error) < 0 ||
        imageBeginSection(unpacker, EIF_SECTION_CMDLINE, error) < 0 ||
        imageAddPiece(unpacker, EIF_SECTION_CMDLINE, image->cmdline, strlen(image->cmdline),
                      error) < 0)
        return -1;
    return imageUnpackFile(unpacker, EIF_SECTION_RAMDISK, image->initrdFd, image->initrdSize,
                           error);
}

/*
 * The image that @found is of is the one that was signed, and has the signature that was checked:
 * so it has the certificate of that. Adds its register to @found.
 */
static int
imageCompareSignature(const EifSigned *signature, EifMeasurements *found, Failure *failure)
{
    g_autoptr(GError) error = NULL;

    if (eifMeasurementsCheckSigned(found, signature->pcr0, &error) < 0) {
        failureSet(failure, NITRO_FAILURE_IMAGE, "The image cannot be used: %s", error->message);
        return -1;
    }
    if (memcmp(found->signature, signature->section, EIF_PCR_SIZE) != 0)
        return imageSetSignatureFailure(failure);

    memcpy(found->pcr[8], signature->pcr8, EIF_PCR_SIZE);
    found->valid[8] = true;
    return 0;
}

static int
imageCompare(const Image *image, EifMeasurements *found, const EifMeasurements *expected,
             Failure *failure)
{
    size_t i;

    if (image->signature && imageCompareSignature(image->signature, found, failure) < 0)
        return -1;

    for (i = 0; i < EIF_PCR_COUNT; i++) {
        g_autofree char *want = NULL;
        g_autofree char *have = NULL;

        if (!expected->valid[i] || (found->valid[i] &&
                                    memcmp(expected->pcr[i], found->pcr[i], EIF_PCR_SIZE) == 0))
            continue;
        want = eifPcrToString(expected->pcr[i]);
        have = found->valid[i] ? eifPcrToString(found->pcr[i]) :
                                g_strdup(_("none, as it is not signed"));
        failureSet(failure, NITRO_FAILURE_IMAGE,
                   "The image is not the expected one: its PCR%zu is %s, but %s is expected", i,
                   have, want);
        return -1;
    }
    return 0;
}

static int
imagePartsCompare(const Image *image, ImageParts *parts, EifMeasurer *measurer,
                  const EifMeasurements *expected, Failure *failure)
{
    eifMeasurerFinish(measurer, &parts->measurements);
    parts->measured = true;
    return imageCompare(image, &parts->measurements, expected, failure);
}

ImageParts *
imageUnpack(const Image *image, const EifMeasurements *expected, const int *cancel,
            Failure *failure)
{
    g_autoptr(ImageParts) parts = imagePartsNew(failure);
    g_autoptr(EifMeasurer) measurer = expected ? eifMeasurerNew() : NULL;
    g_autoptr(GError) error = NULL;
    ImageUnpacker unpacker = {.parts = parts, .measurer = measurer, .cancel = cancel};
    int rc;

    if (!parts)
        return NULL;

    rc = image->isEif ? imageUnpackEif(image, &unpacker, &error) :
                        imageUnpackLinux(image, &unpacker, &error);
    if (rc < 0) {
        failureSet(failure, NITRO_FAILURE_IMAGE, "The image cannot be used: %s", error->message);
        return NULL;
    }

    if ((expected && imagePartsCompare(image, parts, measurer, expected, failure) < 0) ||
        imagePartsSeal(parts, failure) < 0)
        return NULL;
    return g_steal_pointer(&parts);
}

int
imagePartsSetBoot(ImageParts *parts, const void *buf, size_t len, Failure *failure)
{
    g_autoptr(GError) error = NULL;

    if ((parts->bootFd = imageMemfd("kernel", failure)) < 0)
        return -1;
    if (imageWrite(parts->bootFd, buf, len, &error) < 0) {
        failureSet(failure, NITRO_FAILURE_RESOURCE, "The image cannot be used: %s",
                   error->message);
        return -1;
    }
    return imageSeal(parts->bootFd, failure);
}

int
imagePartsGetBoot(const ImageParts *parts)
{
    return parts->bootFd >= 0 ? parts->bootFd : parts->kernelFd;
}

static int
imageMeasurePiece(void *opaque, const void *buf, size_t len, GError **error G_GNUC_UNUSED)
{
    eifMeasurerUpdate(opaque, buf, len);
    return 0;
}

int
imagePartsMeasure(const ImageParts *parts, const int *cancel, EifMeasurements *measurements,
                  GError **error)
{
    g_autoptr(EifMeasurer) measurer = NULL;
    size_t i;

    if (parts->measured) {
        *measurements = parts->measurements;
        return 0;
    }

    measurer = eifMeasurerNew();
    for (i = 0; i < parts->nsections; i++) {
        const ImageSection *section = &parts->sections[i];

        eifMeasurerBeginSection(measurer, section->type);
        if (section->type == EIF_SECTION_CMDLINE) {
            eifMeasurerUpdate(measurer, parts->cmdline->str, parts->cmdline->len);
        } else if (imageReadRange(section->type == EIF_SECTION_KERNEL ? parts->kernelFd :
                                                                        parts->ramdiskFd,
                                  section->offset, section->size, cancel, imageMeasurePiece,
                                  measurer, error) < 0) {
            return -1;
        }
    }
    eifMeasurerFinish(measurer, measurements);
    return 0;
}

static bool
imageOnLoading(uint64_t done G_GNUC_UNUSED, uint64_t total G_GNUC_UNUSED, void *opaque)
{
    return g_atomic_int_get((const int *)opaque) == 0;
}

/* The table of contents of what is in @buf then goes to @table. */
static int
imageFill(const Image *image, void *buf, EifImage *table, const int *cancel, GError **error)
{
    g_autoptr(EifBuilder) builder = NULL;

    if (image->isEif) {
        *table = image->eif;
        return eifImageLoad(table, image->fd, buf, imageOnLoading, (void *)cancel, error);
    }

    if (!(builder = imageBuilderNew(image, error)))
        return -1;
    eifBuilderGetImage(builder, table);
    return eifBuilderWriteBuffer(builder, buf, image->size, imageOnLoading, (void *)cancel,
                                 error);
}

int
imageLoad(const Image *image, void *buf, const EifMeasurements *expected,
          EifMeasurements *measurements, const int *cancel, Failure *failure)
{
    g_autoptr(GError) error = NULL;
    EifImage table;

    if (imageFill(image, buf, &table, cancel, &error) < 0) {
        failureSet(failure, NITRO_FAILURE_IMAGE, "The image cannot be used: %s", error->message);
        return -1;
    }
    if (!measurements)
        return 0;

    if (eifImageMeasureBuffer(&table, buf, measurements, imageOnLoading, (void *)cancel,
                              &error) < 0) {
        failureSet(failure, NITRO_FAILURE_IMAGE, "The image cannot be measured: %s",
                   error->message);
        return -1;
    }
    return imageCompare(image, measurements, expected, failure);
}

static int
imageMeasureLinux(const Image *image, const int *cancel, EifMeasurements *measurements,
                  GError **error)
{
    g_autoptr(EifMeasurer) measurer = eifMeasurerNew();

    eifMeasurerBeginSection(measurer, EIF_SECTION_KERNEL);
    if (imageReadRange(image->fd, 0, image->kernelSize, cancel, imageMeasurePiece, measurer,
                       error) < 0)
        return -1;
    eifMeasurerBeginSection(measurer, EIF_SECTION_CMDLINE);
    eifMeasurerUpdate(measurer, image->cmdline, strlen(image->cmdline));
    eifMeasurerBeginSection(measurer, EIF_SECTION_RAMDISK);
    if (image->initrdFd >= 0 &&
        imageReadRange(image->initrdFd, 0, image->initrdSize, cancel, imageMeasurePiece,
                       measurer, error) < 0)
        return -1;
    eifMeasurerFinish(measurer, measurements);
    return 0;
}

static int
imageCheckStamp(int fd, const ImageStamp *stamp, GError **error)
{
    ImageStamp now;

    if (imageStamp(fd, &now) == 0 && now.size == stamp->size &&
        now.modified.tv_sec == stamp->modified.tv_sec &&
        now.modified.tv_nsec == stamp->modified.tv_nsec &&
        now.changed.tv_sec == stamp->changed.tv_sec &&
        now.changed.tv_nsec == stamp->changed.tv_nsec)
        return 0;
    g_set_error(error, EIF_ERROR, EIF_ERROR_IO,
                _("its file has been changed since the enclave was loaded from it"));
    return -1;
}

int
imageMeasure(const Image *image, const int *cancel, EifMeasurements *measurements, GError **error)
{
    int rc = image->isEif ? eifImageMeasure(&image->eif, image->fd, measurements, NULL,
                                            imageOnLoading, (void *)cancel, error) :
                            imageMeasureLinux(image, cancel, measurements, error);

    if (rc < 0 || imageCheckStamp(image->fd, &image->stamps[0], error) < 0)
        return -1;
    return image->initrdFd < 0 ? 0 : imageCheckStamp(image->initrdFd, &image->stamps[1], error);
}
