/*
 * eif.h: the Enclave Image Format (EIF)
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An EIF file is a header of 548 bytes, followed by sections: a kernel, its
 * command line, ramdisks, metadata and perhaps a signature. Integers are big
 * endian. The header holds the offset of each section's own header of 12
 * bytes, the size of its content without that header, and a CRC-32 (IEEE, as
 * zlib's) of the whole file but for the checksum field itself.
 *
 * This directory is pure: it knows buffers and descriptors, no paths, no
 * processes, no host. Images are hostile input: every field is checked before
 * it is used. Errors are GErrors of the domain EIF_ERROR, one sentence each,
 * that name the field and its value.
 *
 * Flow: eifImageRead() -> EifImage (the table of contents; only headers are
 * read) -> eifImageStream(), eifImageMeasure(), eifImageReadSection().
 * In the other direction: eifBuilderNew() -> ...Add...() -> eifBuilderWrite().
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EIF_MAGIC ".eif"
#define EIF_HEADER_SIZE 548
#define EIF_SECTION_HEADER_SIZE 12
#define EIF_MAX_SECTIONS 32
#define EIF_VERSION_MIN 2
#define EIF_VERSION 4

/* SHA-384, the only digest that Nitro Enclaves measure with, in bytes */
#define EIF_PCR_SIZE 48

/*
 * The largest signature section that is looked into, in bytes. Those of AWS's
 * tools have a few KiB, at most two bytes for each of a certificate chain.
 */
#define EIF_SIGNATURE_MAX (1024 * 1024)

/* The largest that the format allows, in bytes */
#define EIF_SIGNATURE_FORMAT_MAX 32768

/* Registers above 8 are not derived from the image. */
#define EIF_PCR_COUNT 9

typedef enum {
    EIF_ERROR_IO,        /* the file cannot be read or written */
    EIF_ERROR_MAGIC,     /* the file is not an EIF file at all */
    EIF_ERROR_FORMAT,    /* an EIF file with a wrong field */
    EIF_ERROR_CHECKSUM,  /* the stored checksum is not that of the content */
    EIF_ERROR_ARGUMENT,  /* the parts to assemble cannot make an image */
    EIF_ERROR_SIGNATURE, /* who has signed the image is not shown, or not any more */
    EIF_ERROR_CANCELLED, /* the progress function asked to stop */
} EifError;

#define EIF_ERROR (eifErrorQuark())
GQuark eifErrorQuark(void);

typedef enum {
    EIF_SECTION_KERNEL = 1,
    EIF_SECTION_CMDLINE = 2,
    EIF_SECTION_RAMDISK = 3,
    EIF_SECTION_SIGNATURE = 4,
    EIF_SECTION_METADATA = 5,
} EifSectionType;

typedef enum {
    EIF_ARCH_X86_64 = 0,
    EIF_ARCH_AARCH64 = 1,
} EifArch;

/* That of the machine that this is built for, and so of enclaves that share its CPUs */
#if defined(__aarch64__)
# define EIF_ARCH_NATIVE EIF_ARCH_AARCH64
#else
# define EIF_ARCH_NATIVE EIF_ARCH_X86_64
#endif

typedef struct _EifSection EifSection;
struct _EifSection {
    EifSectionType type;
    uint16_t flags;
    uint64_t offset; /* of the content, behind the section header, in bytes */
    uint64_t size;   /* of the content, in bytes */
};

/* The table of contents of one image; plain data, owned by its holder. */
typedef struct _EifImage EifImage;
struct _EifImage {
    uint16_t version;
    uint16_t flags; /* as stored; only the bit that says @arch is defined */
    EifArch arch;
    uint64_t defaultMemory; /* bytes; 0 when the image names none */
    uint64_t defaultCpus;   /* 0 when the image names none */
    uint32_t crc32;         /* as stored */
    uint64_t fileSize;      /* bytes */
    size_t nsections;
    EifSection sections[EIF_MAX_SECTIONS]; /* in file order */
};

/* Platform configuration registers; those not in @valid are undefined. */
typedef struct _EifMeasurements EifMeasurements;
struct _EifMeasurements {
    bool valid[EIF_PCR_COUNT];
    uint8_t pcr[EIF_PCR_COUNT][EIF_PCR_SIZE];
    uint8_t signature[EIF_PCR_SIZE]; /* SHA-384 of the signature section; of none: zeros */
};

/* What a signature section says, for who does not read it */
typedef struct _EifSigned EifSigned;
struct _EifSigned {
    uint8_t pcr0[EIF_PCR_SIZE];    /* what was signed */
    uint8_t pcr8[EIF_PCR_SIZE];    /* of the certificate */
    uint8_t section[EIF_PCR_SIZE]; /* SHA-384 of the section's content */
};

/*
 * Called now and then during long operations with the bytes done so far and
 * the bytes in all. Returns false to stop: the operation then fails with
 * EIF_ERROR_CANCELLED.
 */
typedef bool (*EifProgress)(uint64_t done, uint64_t total, void *opaque);

/* Returns "x86_64" or "aarch64", libvirt's names; static. */
const char *eifArchToString(EifArch arch);

/* The reverse: whether @name is one of the two. */
bool eifArchFromString(const char *name, EifArch *arch);

/* Returns "kernel", "cmdline", "ramdisk", "signature" or "metadata"; static. */
const char *eifSectionTypeToString(EifSectionType type);

/* The hexadecimal form of a register's value, in lower case (g_free). */
char *eifPcrToString(const uint8_t pcr[EIF_PCR_SIZE]);

/*
 * Whether @fd starts with the magic number of an EIF file. Reads four bytes;
 * does not move the file offset.
 */
bool eifProbe(int fd);

/*
 * Reads and checks the header and the section headers of the image in @fd, a
 * regular file or memfd; does not move the file offset. Section contents are
 * not read. Checked: magic, version 2 to 4, number of sections (2 to 32), section
 * headers against the header's table, each offset and size against the file and against
 * overflow; that the sections follow each other without overlap, in the table's order,
 * behind the header, the last up to the end of the file; known types; one kernel that
 * is not empty, all ramdisks behind it, one command line, one metadata section (from
 * version 4 on; at most one before), at most one signature. What the format reserves or
 * leaves open is not refused: see eifImageGetRemarks().
 *
 * Returns 0, or -1 with @error set (EIF_ERROR_IO, _MAGIC, _FORMAT). @image is
 * written on success only.
 */
int eifImageRead(int fd, EifImage *image, GError **error);

/*
 * The bytes that belong to no section between the section before @section, or the header,
 * and @section, one of @image's.
 */
uint64_t eifImageGetGap(const EifImage *image, const EifSection *section);

/*
 * What is unusual in @image, one sentence each, of what a reader may ignore: bits of flags
 * and gaps between sections that the format gives no meaning, a signature section above
 * the format's limit. Whether an enclave boots with them, the hypervisor decides.
 * Returns a list that is empty for most images (g_strfreev).
 */
char **eifImageGetRemarks(const EifImage *image);

/*
 * Called with the next @len bytes of the content of @section, in file order. An
 * empty section is handed over, too, in one call with @len 0.
 * Returns 0, or -1 with @error set, which ends the reading.
 */
typedef int (*EifSink)(const EifSection *section, const void *buf, size_t len,
                       void *opaque, GError **error);

/*
 * For a process that is about to lose the right to open files, and will check images then: has
 * the checksum's code for this processor chosen. On ARM, libdeflate reads /proc/self/auxv for that,
 * when it computes one for the first time.
 */
void eifChooseChecksum(void);

/*
 * Reads the whole file once, front to back, hands the content of each section to
 * @sink piece by piece and compares the CRC-32 of all that was read, gaps between sections
 * among it, with the stored one. What @sink got is good only when this returns 0: a file that is
 * written to meanwhile is no danger to a caller that keeps what it was handed.
 * The header is compared with @image again on the way, and text sections
 * (command line, metadata) are checked to have no NUL.
 * @sink and @progress may be NULL; both are called with @opaque.
 *
 * Returns 0, or -1 with @error set (EIF_ERROR_IO, _FORMAT: the header has changed,
 * _CHECKSUM, _CANCELLED, or what @sink has set).
 */
int eifImageStream(const EifImage *image, int fd, EifSink sink,
                   EifProgress progress, void *opaque, GError **error);

/*
 * Reads the whole file once, straight into @buf, which has room for image->fileSize bytes,
 * with a few threads at once. Checked as by eifImageStream(), but afterwards: what is
 * in @buf is good only when this returns 0. @progress may be NULL; it is called by any of
 * the threads, one at a time.
 *
 * Returns 0, or -1 with @error set, as eifImageStream().
 */
int eifImageLoad(const EifImage *image, int fd, void *buf, EifProgress progress, void *opaque,
                 GError **error);

/*
 * Measures an image from the contents of its sections: PCR0 (kernel, command
 * line, all ramdisks), PCR1 (kernel, command line, first ramdisk), PCR2 (the
 * other ramdisks), each SHA-384(48 zero bytes || SHA-384(contents in file order)), and of a
 * signed image the digest of its signature section. PCR8, the same of the signing certificate,
 * is left out: for that the section has to be read (eifImageMeasureCertificate()).
 */
typedef struct _EifMeasurer EifMeasurer;

/* Returns a new measurer; never NULL. Free with eifMeasurerFree(). */
EifMeasurer *eifMeasurerNew(void);
void eifMeasurerFree(EifMeasurer *measurer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EifMeasurer, eifMeasurerFree)

/*
 * Announces the next section of the image, in file order, also when it is
 * empty; then its content comes in any number of pieces.
 */
void eifMeasurerBeginSection(EifMeasurer *measurer, EifSectionType type);
void eifMeasurerUpdate(EifMeasurer *measurer, const void *buf, size_t len);

/* Ends the measurement. */
void eifMeasurerFinish(EifMeasurer *measurer, EifMeasurements *measurements);

/*
 * Checks that @measurements are of the image that was signed: that PCR0 is @signedPcr0.
 * Returns 0, or -1 with @error set (EIF_ERROR_SIGNATURE).
 */
int eifMeasurementsCheckSigned(const EifMeasurements *measurements,
                               const uint8_t signedPcr0[EIF_PCR_SIZE], GError **error);

/*
 * Reads the image once for both: its measurements and the verdict on its
 * checksum. @progress may be NULL. @checksumOk may be NULL: then a wrong
 * checksum is the error EIF_ERROR_CHECKSUM.
 *
 * Returns 0, or -1 with @error set.
 */
int eifImageMeasure(const EifImage *image, int fd, EifMeasurements *measurements,
                    bool *checksumOk, EifProgress progress, void *opaque, GError **error);

/* As eifImageMeasure(), with two threads more, as most of an image is measured twice. */
int eifImageMeasureThreaded(const EifImage *image, int fd, EifMeasurements *measurements,
                            bool *checksumOk, EifProgress progress, void *opaque, GError **error);

/*
 * Measures the image that is complete in @buf (eifImageLoad(), eifBuilderWriteBuffer()).
 * @progress may be NULL. Returns 0, or -1 with @error set (EIF_ERROR_CANCELLED).
 */
int eifImageMeasureBuffer(const EifImage *image, const void *buf, EifMeasurements *measurements,
                          EifProgress progress, void *opaque, GError **error);

/*
 * Adds PCR8 to the @measurements of @image in @fd when it is signed. Returns 0, or -1 with @error
 * set (EIF_ERROR_IO, _FORMAT: the signature section cannot be read).
 */
int eifImageMeasureCertificate(const EifImage *image, int fd, EifMeasurements *measurements,
                               GError **error);

/*
 * The first section of @type in file order, or NULL. Owned by @image.
 */
const EifSection *eifImageFindSection(const EifImage *image, EifSectionType type);

/*
 * Reads the content of @section, at most @max bytes of it in all, into a new
 * buffer with a NUL behind it (not counted). For the small sections: command
 * line, metadata, signature. A command line or metadata with a NUL inside is
 * refused, so both can be used as strings.
 *
 * Returns the buffer (g_free), or NULL with @error set: EIF_ERROR_IO, or
 * EIF_ERROR_FORMAT when the section is larger than @max or has such a NUL.
 */
char *eifImageReadSection(int fd, const EifSection *section, size_t max, GError **error);

/*
 * Assembles an image of version 4 from its parts, in a streaming manner: memory
 * use does not grow with the image, and the checksum is computed on the way.
 * Sections come in this order: kernel, command line, ramdisks, metadata.
 */
typedef struct _EifBuilder EifBuilder;

/* Returns a new builder; never NULL. Free with eifBuilderFree(). */
EifBuilder *eifBuilderNew(EifArch arch);
void eifBuilderFree(EifBuilder *builder);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EifBuilder, eifBuilderFree)

/*
 * The kernel of the image: all of the regular file or memfd @fd, which must stay
 * open and unchanged until the image is written; not closed. @name is for
 * messages only. Returns 0, or -1 with @error set (EIF_ERROR_IO, _ARGUMENT:
 * not a regular file, empty).
 */
int eifBuilderSetKernel(EifBuilder *builder, int fd, const char *name, GError **error);

/* As eifBuilderSetKernel, for one more ramdisk. At most 29 fit. An empty file is accepted. */
int eifBuilderAddRamdisk(EifBuilder *builder, int fd, const char *name, GError **error);

/*
 * Where the bytes of a ramdisk come from that is no file: calls @write with @output for each piece,
 * in order, and passes on its failure. Returns 0, or -1 with @error set.
 */
typedef int (*EifWrite)(void *output, const void *buf, size_t len, GError **error);
typedef int (*EifGenerate)(EifWrite write, void *output, void *opaque, GError **error);

/*
 * As eifBuilderAddRamdisk, for a ramdisk of @size bytes that @generate, called with @opaque, makes
 * whenever the image is written or measured: the same bytes each time.
 */
int eifBuilderAddGenerated(EifBuilder *builder, uint64_t size, const char *name,
                           EifGenerate generate, void *opaque, GError **error);

/*
 * The kernel command line (copied; no NUL is stored). NULL, and not calling
 * this, make an empty section.
 */
void eifBuilderSetCmdline(EifBuilder *builder, const char *cmdline);

/* The metadata, a JSON text (copied, not parsed). The default is "{}". */
void eifBuilderSetMetadata(EifBuilder *builder, const char *json);

/*
 * The size of the image in bytes as things stand. Without a ramdisk an empty
 * one is counted when @builder was told so by eifBuilderRequireRamdisk().
 */
uint64_t eifBuilderGetSize(const EifBuilder *builder);

/*
 * An image without any ramdisk gets one empty ramdisk section, as QEMU makes it
 * when it assembles an image on the fly.
 */
void eifBuilderRequireRamdisk(EifBuilder *builder);

/*
 * Writes the image to @fd from its current offset on; @fd must be seekable, as
 * the checksum is written last. @progress may be NULL.
 *
 * Returns 0, or -1 with @error set (EIF_ERROR_ARGUMENT: no kernel;
 * EIF_ERROR_IO, also when a part has changed its size; _CANCELLED). What was
 * written until then stays in the file.
 */
int eifBuilderWrite(EifBuilder *builder, int fd,
                    EifProgress progress, void *opaque, GError **error);

/*
 * As eifBuilderWrite, into a buffer of @len bytes, at least eifBuilderGetSize().
 * The parts are read straight into it, by a few threads at once: no second copy is made.
 * @progress is called by any of the threads, one at a time.
 */
int eifBuilderWriteBuffer(EifBuilder *builder, void *buf, size_t len,
                          EifProgress progress, void *opaque, GError **error);

/* The table of contents of the image as things stand, but for its checksum. */
void eifBuilderGetImage(const EifBuilder *builder, EifImage *image);

/*
 * Adds a signature section with @len bytes of @content (copied) as the last one. There is then
 * room for one ramdisk less. Returns 0, or -1 with @error set (EIF_ERROR_ARGUMENT: too many
 * sections).
 */
int eifBuilderSetSignature(EifBuilder *builder, const void *content, size_t len, GError **error);

/*
 * Reads the parts and measures the image that eifBuilderWrite() makes of them if they stay
 * as they are. @progress may be NULL. Returns 0, or -1 with @error set (EIF_ERROR_ARGUMENT: no
 * kernel; EIF_ERROR_IO, _CANCELLED).
 */
int eifBuilderMeasure(EifBuilder *builder, EifMeasurements *measurements, EifProgress progress,
                      void *opaque, GError **error);

/* How an image is to differ from another: in its version, and in one section */
typedef struct _EifChange EifChange;
struct _EifChange {
    uint16_t version;
    EifSectionType type; /* not of ramdisks; 0: all sections stay */
    const void *content; /* of the section, which becomes the last if there is none; NULL: leave
                          * it out, with the gap before it */
    size_t len;          /* of @content, bytes */
};

/*
 * Copies @image from @fd to the empty regular file @out with @change. All other bytes stay as they
 * are, and in their order: gaps, and fields and bits without a meaning, as well. The table of the
 * header and the checksum are those of the new image. @progress may be NULL.
 *
 * Returns 0, or -1 with @error set (EIF_ERROR_ARGUMENT: there is no room for one more section;
 * EIF_ERROR_IO; EIF_ERROR_CHECKSUM: the old image is damaged; _CANCELLED). What was written until
 * then stays in the file.
 */
int eifImageRewrite(const EifImage *image, int fd, const EifChange *change, int out,
                    EifProgress progress, void *opaque, GError **error);
