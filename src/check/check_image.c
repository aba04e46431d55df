/*
 * check_image.c: can an enclave be started with this image?
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The sentences are those of the daemon, which shows them as they are. The hypervisor boots a
 * signed image only while its signature is good, and says nothing when it is not. To measure the
 * image here would be to read all of it twice, and prove nothing about the bytes that the helper
 * loads: what was signed goes to the helper, which compares.
 */

#include "check_image.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "eif_certificate.h"
#include "helper_protocol.h"
#include "nitro_gettext.h"
#include "nitro_limits.h"

static int
checkSignature(const CheckOptions *options, const EifImage *image, char **signature,
               Failure *failure)
{
    g_auto(EifCertificate) certificate = {0};
    const EifSigned *summary = &certificate.summary;
    g_autofree char *pcr0 = NULL;
    g_autofree char *pcr8 = NULL;
    g_autofree char *section = NULL;
    g_autofree char *expected = NULL;
    g_autoptr(GError) error = NULL;

    if (eifCertificateRead(options->imageFd, image, &certificate, &error) < 0 ||
        eifCertificateCheck(&certificate, g_get_real_time() / G_USEC_PER_SEC, &error) < 0) {
        failureSet(failure, NITRO_FAILURE_IMAGE, "the enclave image '%s' cannot be used: %s",
                   options->imageName, error->message);
        return -1;
    }

    pcr0 = eifPcrToString(summary->pcr0);
    if (options->expectsPcr0 && memcmp(options->pcr0, summary->pcr0, EIF_PCR_SIZE) != 0) {
        expected = eifPcrToString(options->pcr0);
        failureSet(failure, NITRO_FAILURE_IMAGE,
                   "the enclave image '%s' is not the expected one: it is signed for the PCR0 %s, "
                   "but %s is expected", options->imageName, pcr0, expected);
        return -1;
    }
    pcr8 = eifPcrToString(summary->pcr8);
    section = eifPcrToString(summary->section);
    *signature = g_strdup_printf("%s,%s,%s", pcr0, pcr8, section);
    return 0;
}

static int
checkEif(const CheckOptions *options, char **signature, Failure *failure)
{
    g_autoptr(GError) error = NULL;
    EifImage image;

    if (eifImageRead(options->imageFd, &image, &error) < 0) {
        failureSet(failure, NITRO_FAILURE_IMAGE, "the enclave image '%s' cannot be used: %s",
                   options->imageName, error->message);
        return -1;
    }
    if (image.arch != options->arch) {
        failureSet(failure, NITRO_FAILURE_CONFIG,
                   "the enclave image '%s' is for %s, but the domain's arch is %s: change the arch "
                   "of <type>, or build the image for %s", options->imageName,
                   eifArchToString(image.arch), eifArchToString(options->arch),
                   eifArchToString(options->arch));
        return -1;
    }
    if (options->initrdFd >= 0 || options->cmdline) {
        failureSet(failure, NITRO_FAILURE_CONFIG,
                   "the enclave image '%s' has a ramdisk and a command line of its own: remove "
                   "<%s>", options->imageName, options->initrdFd >= 0 ? "initrd" : "cmdline");
        return -1;
    }

    if (eifImageFindSection(&image, EIF_SECTION_SIGNATURE))
        return checkSignature(options, &image, signature, failure);
    if (options->expectsPcr8) {
        failureSet(failure, NITRO_FAILURE_IMAGE,
                   "the enclave image '%s' is not the expected one: it is not signed, but a PCR8 "
                   "is expected", options->imageName);
        return -1;
    }
    return 0;
}

/* Adds the size of the file @fd, up to NITRO_IMAGE_SIZE_MAX, to @size. */
static int
addSize(int fd, const CheckOptions *options, uint64_t *size, Failure *failure)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        failureSet(failure, NITRO_FAILURE_INTERNAL,
                   "the size of the enclave image '%s' cannot be found out: %s",
                   options->imageName, g_strerror(errno));
        return -1;
    }
    *size += MIN((uint64_t)st.st_size, NITRO_IMAGE_SIZE_MAX / 2);
    return 0;
}

static int
checkMemory(const CheckOptions *options, Failure *failure)
{
    uint64_t size = 0;
    uint64_t least;

    if (addSize(options->imageFd, options, &size, failure) < 0 ||
        (options->initrdFd >= 0 && addSize(options->initrdFd, options, &size, failure) < 0))
        return -1;

    least = nitroLimitsMemoryFor(size);
    if (options->memory < least) {
        failureSet(failure, NITRO_FAILURE_CONFIG,
                   "<memory> of %llu KiB is too small for the image '%s' of %llu KiB: it must be "
                   "at least %d times as large, %llu KiB",
                   (unsigned long long)options->memory / 1024, options->imageName,
                   (unsigned long long)(size + 1023) / 1024, NITRO_IMAGE_MEMORY_FACTOR,
                   (unsigned long long)least / 1024);
        return -1;
    }
    return 0;
}

/* What cannot be read must not be taken for what is no EIF file. */
static int
checkReadable(const CheckOptions *options, Failure *failure)
{
    ssize_t got;
    char byte;

    do {
        got = pread(options->imageFd, &byte, 1, 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        failureSet(failure, NITRO_FAILURE_IMAGE, "the enclave image '%s' cannot be used: %s",
                   options->imageName, g_strerror(errno));
        return -1;
    }
    return 0;
}

int
checkImage(const CheckOptions *options, char **signature, Failure *failure)
{
    if (checkReadable(options, failure) < 0)
        return -1;
    if (eifProbe(options->imageFd) && checkEif(options, signature, failure) < 0)
        return -1;
    if (checkMemory(options, failure) < 0) {
        g_clear_pointer(signature, g_free);
        return -1;
    }
    return 0;
}
