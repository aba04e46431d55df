/*
 * image.h: the enclave image, from descriptors to checked parts in memory
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An image is an EIF file, or a Linux kernel which with a ramdisk and a command
 * line stands for the EIF that QEMU would assemble from them. imageOpen() looks
 * at headers only. imageUnpack() makes the parts that a machine without a
 * hypervisor of its own boots from; imageLoad() puts the EIF itself, made on the way if it
 * has to be, where a hypervisor wants it. All block and may run in any thread.
 */

#pragma once

#include <time.h>

#include "eif.h"
#include "common/failure.h"
#include "options.h"

/* By which a file is seen to have been written to */
typedef struct _ImageStamp ImageStamp;
struct _ImageStamp {
    int64_t size; /* bytes */
    struct timespec modified;
    struct timespec changed;
};

typedef struct _Image Image;
struct _Image {
    bool isEif;
    EifArch arch;
    const EifSigned *signature; /* as it was checked, not owned; NULL: it is not signed */
    int fd;              /* EIF file or kernel; -1: closed */
    int initrdFd;        /* -1: none, or closed */
    uint64_t kernelSize; /* of a Linux kernel when it was checked, in bytes */
    uint64_t initrdSize; /* of its ramdisk, likewise */
    const char *cmdline; /* of a kernel, not owned; never NULL */
    EifImage eif;        /* the table of an EIF file */
    uint64_t size;       /* bytes, of the EIF file or of what would be assembled */
    ImageStamp stamps[2]; /* of @fd and @initrdFd when they were opened */
};

/*
 * Finds out what the image of @options is, and checks everything that headers tell:
 * the kind, the architecture, that the memory is enough, and that it has a signature if one was
 * checked, and none else. What is unusual in an EIF file is logged.
 * Returns 0, or -1 with @failure set ("image", "config").
 */
int imageOpen(Image *image, const Options *options, Failure *failure);

/* Closes the descriptors, which came with the options: nothing of the files is needed any more. */
void imageClose(Image *image);

/*
 * Puts the EIF of @image, image->size bytes, at @buf: read straight there, once, its checksum
 * compared; or assembled there. With @measurements not NULL it is measured there, too, and a
 * register that differs from a valid one of @expected, or what image->signature is not of, is a
 * failure.
 * @cancel is looked at now and then: when it is not 0, that is a failure.
 *
 * Returns 0, or -1 with @failure set ("image").
 */
int imageLoad(const Image *image, void *buf, const EifMeasurements *expected,
              EifMeasurements *measurements, const int *cancel, Failure *failure);

/*
 * Measures the files of @image, which have been loaded before. Returns 0, or -1 with @error
 * set, also when one of the files has been written to since imageOpen(), or when @cancel is
 * not 0 any more.
 */
int imageMeasure(const Image *image, const int *cancel, EifMeasurements *measurements,
                 GError **error);

/* One section of the image as a range of a part, for measuring. */
typedef struct _ImageSection ImageSection;
struct _ImageSection {
    EifSectionType type;
    uint64_t offset; /* bytes in its part */
    uint64_t size;   /* bytes */
};

/* The parts in memory; descriptors are sealed memfds: nobody can change them any more. */
typedef struct _ImageParts ImageParts;
struct _ImageParts {
    int kernelFd;
    uint64_t kernelSize; /* bytes */
    int bootFd;          /* what kernelFd has been unpacked to; -1: it is no compressed one */
    int ramdiskFd;       /* all ramdisks, one behind the other as Linux wants them */
    uint64_t ramdiskSize; /* bytes; 0: there is nothing to load */
    GString *cmdline;
    size_t nsections;
    ImageSection sections[EIF_MAX_SECTIONS]; /* in file order, without metadata and signature */
    bool measured;                           /* whether @measurements are there already */
    EifMeasurements measurements;
    /* set by imageLinuxCheck() */
    uint64_t cmdlineMax;     /* bytes that the kernel takes */
    unsigned int linuxMajor; /* the kernel's version as its header tells it; 0: it does not */
    unsigned int linuxMinor;
};

void imagePartsFree(ImageParts *parts);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ImageParts, imagePartsFree)

/*
 * Reads the image once into parts; an EIF's checksum is compared on the way. With
 * @expected its measurements are, too: a register that differs from a valid one of it, or what
 * image->signature is not of, is a failure.
 * @cancel is looked at now and then: when it is not 0, reading ends with a failure.
 *
 * Returns the parts, or NULL with @failure set ("image", "resource").
 */
ImageParts *imageUnpack(const Image *image, const EifMeasurements *expected,
                        const int *cancel, Failure *failure);

/*
 * Has @len bytes at @buf booted instead of the kernel of @parts, of which they have been unpacked.
 * Returns 0, or -1 with @failure set ("resource", "internal").
 */
int imagePartsSetBoot(ImageParts *parts, const void *buf, size_t len, Failure *failure);

/* The descriptor of the kernel that is booted; owned by @parts. */
int imagePartsGetBoot(const ImageParts *parts);

/* Closes the kernel and the ramdisk: what has them open goes on having them. */
void imagePartsClose(ImageParts *parts);

/*
 * Measures what imageUnpack() has read, if that has not done so; an image with a signature it
 * has. Returns 0, or -1 with @error set, also when @cancel is not 0 any more.
 */
int imagePartsMeasure(const ImageParts *parts, const int *cancel,
                      EifMeasurements *measurements, GError **error);
