/*
 * image_linux.c: Linux kernels: which machine they are for, and whether they boot on it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: imageLinuxProbe() for a file that is no EIF file; imageLinuxCheck() for all: the kernel,
 * unpacked if it has to be -> its header -> what it needs, compared with what there is.
 */

#include "image_linux.h"

#include <errno.h>
#include <inttypes.h>
#include <libdeflate.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "helper_protocol.h"
#include "nitro_limits.h"

#define MIB (1024 * 1024ULL)

#define LINUX_MEMORY_STEP (NITRO_MEMORY_STEP_KIB * 1024ULL)

/* Linux takes an argument of 128 KiB at most, and kernels a command line of 2 KiB; bytes. */
#define LINUX_CMDLINE_MAX (64 * 1024)

/* How much of the memory besides kernel and ramdisk the start of Linux needs at least */
#define LINUX_SLACK (8 * MIB)

/* The setup header of a Linux/x86 kernel, offsets in the file (boot protocol 2.10) */
#define X86_MAGIC_OFFSET 0x202
#define X86_VERSION_OFFSET 0x206
#define X86_KERNEL_VERSION_OFFSET 0x20e
#define X86_CMDLINE_SIZE_OFFSET 0x238
#define X86_PREF_ADDRESS_OFFSET 0x258
#define X86_INIT_SIZE_OFFSET 0x260
#define X86_HEADER_END 0x264

/* The header points to the kernel's version, a text, in bytes from here on. */
#define X86_KERNEL_VERSION_BASE 0x200
#define X86_KERNEL_VERSION_MAX 32 /* of which so much is looked at */

/* The header of a Linux/arm64 kernel */
#define ARM64_TEXT_OFFSET_OFFSET 0x08
#define ARM64_IMAGE_SIZE_OFFSET 0x10
#define ARM64_MAGIC_OFFSET 0x38
#define ARM64_HEADER_END 0x40

/* COMMAND_LINE_SIZE of Linux/arm64, which no header tells, less its NUL */
#define ARM64_CMDLINE_MAX 2047

/* The header of an EFI zboot file */
#define ZBOOT_MAGIC_OFFSET 0x04
#define ZBOOT_PAYLOAD_OFFSET 0x08
#define ZBOOT_PAYLOAD_SIZE_OFFSET 0x0c
#define ZBOOT_COMPRESSION_OFFSET 0x18
#define ZBOOT_HEADER_END 0x38

#define GZIP_MAGIC "\x1f\x8b"
/* The size of what is packed stands at the end. */
#define GZIP_SIZE_SIZE 4
#define GZIP_MIN 18

static uint64_t
linuxLittleEndian(const uint8_t *buf, size_t len)
{
    uint64_t value = 0;

    while (len-- > 0)
        value = value << 8 | buf[len];
    return value;
}

static bool
linuxHasMagic(int fd, off_t offset, const char *magic)
{
    char buf[4];
    size_t len = strlen(magic);

    return pread(fd, buf, len, offset) == (ssize_t)len && memcmp(buf, magic, len) == 0;
}

bool
imageLinuxProbe(int fd, EifArch *arch)
{
    *arch = EIF_ARCH_AARCH64;
    if (linuxHasMagic(fd, ARM64_MAGIC_OFFSET, "ARM\x64") ||
        linuxHasMagic(fd, ZBOOT_MAGIC_OFFSET, "zimg") || linuxHasMagic(fd, 0, GZIP_MAGIC))
        return true;
    *arch = EIF_ARCH_X86_64;
    return linuxHasMagic(fd, X86_MAGIC_OFFSET, "HdrS");
}

/* Takes the digits of a number at *@pos. Returns whether there are any, and not too many. */
static bool
linuxParseNumber(const char **pos, unsigned int *number)
{
    const char *start = *pos;

    for (*number = 0; g_ascii_isdigit(**pos) && *pos - start < 4; (*pos)++)
        *number = *number * 10 + (**pos - '0');
    return *pos > start && !g_ascii_isdigit(**pos);
}

/* The version in the text that begins with it, such as "6.1.0-57-cloud-amd64 (...) #1 SMP ..." */
static void
linuxReadVersion(ImageParts *parts, uint64_t offset)
{
    char text[X86_KERNEL_VERSION_MAX + 1] = {0};
    const char *pos = text;

    parts->linuxMajor = parts->linuxMinor = 0;
    if (offset == 0 || pread(parts->kernelFd, text, X86_KERNEL_VERSION_MAX,
                             X86_KERNEL_VERSION_BASE + offset) < 0)
        return;
    if (!linuxParseNumber(&pos, &parts->linuxMajor) || *pos++ != '.' ||
        !linuxParseNumber(&pos, &parts->linuxMinor))
        parts->linuxMajor = parts->linuxMinor = 0;
}

static int
linuxFailKind(const ImageParts *parts, const char *kind, Failure *failure)
{
    failureSet(failure, NITRO_FAILURE_IMAGE,
               "The kernel in the image, %" PRIu64 " bytes, is not a Linux kernel (%s)",
               parts->kernelSize, kind);
    return -1;
}

static int
linuxCheckCmdline(const ImageParts *parts, Failure *failure)
{
    if (parts->cmdline->len <= parts->cmdlineMax)
        return 0;
    failureSet(failure, NITRO_FAILURE_IMAGE,
               "The command line has %zu bytes, but this kernel takes no more than %" PRIu64,
               parts->cmdline->len, parts->cmdlineMax);
    return -1;
}

/* @end: where the kernel has enough memory without ramdisks, from the beginning of all, in bytes */
static int
linuxCheckMemory(const ImageParts *parts, uint64_t end, uint64_t memory, Failure *failure)
{
    uint64_t least = end + parts->ramdiskSize + LINUX_SLACK;

    if (memory >= least)
        return 0;
    least = (least + LINUX_MEMORY_STEP - 1) / LINUX_MEMORY_STEP * LINUX_MEMORY_STEP;
    failureSet(failure, NITRO_FAILURE_CONFIG,
               "Memory of %" PRIu64 " KiB is too small: the kernel and the ramdisks of this "
               "image need at least %" PRIu64 " KiB", memory / 1024, least / 1024);
    return -1;
}

/*
 * The decompressor unpacks to the preferred address and works in the "init size" bytes
 * from there on; a kernel that finds too little hangs without a word.
 */
static int
linuxCheckX86(ImageParts *parts, uint64_t memory, Failure *failure)
{
    uint8_t header[X86_HEADER_END];
    uint64_t end;

    if (pread(parts->kernelFd, header, sizeof(header), 0) != sizeof(header) ||
        memcmp(header + X86_MAGIC_OFFSET, "HdrS", 4) != 0)
        return linuxFailKind(parts, "bzImage", failure);
    if (linuxLittleEndian(header + X86_VERSION_OFFSET, 2) < 0x20a) {
        failureSet(failure, NITRO_FAILURE_IMAGE,
                   "The kernel in the image is older than Linux %s: build the image with a newer "
                   "one", "2.6.31");
        return -1;
    }

    linuxReadVersion(parts, linuxLittleEndian(header + X86_KERNEL_VERSION_OFFSET, 2));

    /* A hostile header may say more than an argument of a program can hold. */
    parts->cmdlineMax = MIN(linuxLittleEndian(header + X86_CMDLINE_SIZE_OFFSET, 4),
                            LINUX_CMDLINE_MAX);
    if (linuxCheckCmdline(parts, failure) < 0)
        return -1;

    /* 64 bits of a hostile header: bounded before they are added. */
    end = MIN(linuxLittleEndian(header + X86_PREF_ADDRESS_OFFSET, 8), G_MAXINT64 / 4) +
          linuxLittleEndian(header + X86_INIT_SIZE_OFFSET, 4);
    return linuxCheckMemory(parts, end, memory, failure);
}

/* What is packed in the kernel of @parts: @size bytes from @offset on, 0: nothing */
static int
linuxFindPacked(const ImageParts *parts, uint64_t *offset, uint64_t *size, Failure *failure)
{
    uint8_t header[ZBOOT_HEADER_END];
    g_autofree char *compression = NULL;

    *offset = 0;
    *size = 0;
    if (pread(parts->kernelFd, header, sizeof(header), 0) != sizeof(header))
        return 0;
    if (memcmp(header, GZIP_MAGIC, strlen(GZIP_MAGIC)) == 0) {
        *size = parts->kernelSize;
        return 0;
    }
    if (memcmp(header + ZBOOT_MAGIC_OFFSET, "zimg", 4) != 0)
        return 0;

    *offset = linuxLittleEndian(header + ZBOOT_PAYLOAD_OFFSET, 4);
    *size = linuxLittleEndian(header + ZBOOT_PAYLOAD_SIZE_OFFSET, 4);
    compression = logSanitize((const char *)header + ZBOOT_COMPRESSION_OFFSET,
                              strnlen((const char *)header + ZBOOT_COMPRESSION_OFFSET,
                                      ZBOOT_HEADER_END - ZBOOT_COMPRESSION_OFFSET));
    if (!g_str_equal(compression, "gzip")) {
        failureSet(failure, NITRO_FAILURE_IMAGE,
                   "The kernel in the image is compressed with '%s' (EFI zboot): the emulated "
                   "machine needs one that is not compressed (Image), or with gzip", compression);
        return -1;
    }
    if (*size == 0 || *offset > parts->kernelSize || *size > parts->kernelSize - *offset)
        return linuxFailKind(parts, "EFI zboot", failure);
    return 0;
}

static int
linuxFailPacked(Failure *failure)
{
    failureSet(failure, NITRO_FAILURE_IMAGE,
               "The compressed kernel in the image cannot be unpacked: it is damaged");
    return -1;
}

static int
linuxFailMemory(Failure *failure)
{
    failureSet(failure, NITRO_FAILURE_RESOURCE, "The image cannot be used: %s",
               g_strerror(ENOMEM));
    return -1;
}

/* Has @size bytes from @offset on, which were made by gzip, booted. */
static int
linuxUnpack(ImageParts *parts, uint64_t offset, uint64_t size, uint64_t memory, Failure *failure)
{
    g_autofree uint8_t *packed = NULL;
    g_autofree uint8_t *kernel = NULL;
    struct libdeflate_decompressor *decompressor;
    enum libdeflate_result result;
    uint64_t length;
    size_t actual;

    if (size < GZIP_MIN)
        return linuxFailPacked(failure);
    if (!(packed = g_try_malloc(size)))
        return linuxFailMemory(failure);
    if (pread(parts->kernelFd, packed, size, offset) != (ssize_t)size)
        return linuxFailPacked(failure);
    length = linuxLittleEndian(packed + size - GZIP_SIZE_SIZE, GZIP_SIZE_SIZE);
    if (length == 0)
        return linuxFailPacked(failure);
    if (linuxCheckMemory(parts, length, memory, failure) < 0)
        return -1;

    if (!(kernel = g_try_malloc(length)) || !(decompressor = libdeflate_alloc_decompressor()))
        return linuxFailMemory(failure);
    result = libdeflate_gzip_decompress(decompressor, packed, size, kernel, length, &actual);
    libdeflate_free_decompressor(decompressor);
    if (result != LIBDEFLATE_SUCCESS || actual != length)
        return linuxFailPacked(failure);
    return imagePartsSetBoot(parts, kernel, length, failure);
}

/* Where QEMU and Linux put a kernel: at the "text offset", with "image size" bytes of its own. */
static int
linuxCheckArm64(ImageParts *parts, uint64_t memory, Failure *failure)
{
    uint8_t header[ARM64_HEADER_END];
    uint64_t offset;
    uint64_t size;

    if (linuxFindPacked(parts, &offset, &size, failure) < 0 ||
        (size > 0 && linuxUnpack(parts, offset, size, memory, failure) < 0))
        return -1;

    if (pread(imagePartsGetBoot(parts), header, sizeof(header), 0) != sizeof(header) ||
        memcmp(header + ARM64_MAGIC_OFFSET, "ARM\x64", 4) != 0)
        return linuxFailKind(parts, "Image", failure);
    size = linuxLittleEndian(header + ARM64_IMAGE_SIZE_OFFSET, 8);
    if (size == 0) {
        failureSet(failure, NITRO_FAILURE_IMAGE,
                   "The kernel in the image is older than Linux %s: build the image with a newer "
                   "one", "3.17");
        return -1;
    }

    parts->cmdlineMax = ARM64_CMDLINE_MAX;
    if (linuxCheckCmdline(parts, failure) < 0)
        return -1;
    return linuxCheckMemory(parts, MIN(size, G_MAXINT64 / 4) +
                            MIN(linuxLittleEndian(header + ARM64_TEXT_OFFSET_OFFSET, 8),
                                G_MAXINT64 / 4), memory, failure);
}

int
imageLinuxCheck(ImageParts *parts, EifArch arch, uint64_t memory, Failure *failure)
{
    return arch == EIF_ARCH_AARCH64 ? linuxCheckArm64(parts, memory, failure) :
                                      linuxCheckX86(parts, memory, failure);
}
