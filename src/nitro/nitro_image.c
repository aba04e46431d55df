/*
 * nitro_image.c: opens and checks what <os> names: the enclave's image
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Only headers are read here, so that a wrong definition fails at once; the
 * helper reads the contents, once, and checks them.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "eif_certificate.h"
#include "nitro_domain_conf.h"
#include "nitro_image.h"
#include "virerror.h"
#include "virfile.h"
#include "virutil.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

/*
 * Opens the regular file @path. @what is the element that names it. A FIFO or a
 * device must not block the daemon.
 */
static int
nitroImageOpenFile(const char *path,
                   const char *what,
                   unsigned long long *size)
{
    VIR_AUTOCLOSE fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat sb;
    int ret;

    if (fd < 0 || fstat(fd, &sb) < 0) {
        virReportSystemError(errno, _("cannot open the file '%s' of <%s>"), path, what);
        return -1;
    }
    if (!S_ISREG(sb.st_mode)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("'%s' of <%s> is not a regular file"), path, what);
        return -1;
    }
    if (virSetBlocking(fd, true) < 0) {
        virReportSystemError(errno, _("cannot set up the descriptor of '%s'"), path);
        return -1;
    }

    *size = sb.st_size;
    ret = fd;
    fd = -1;
    return ret;
}


/*
 * The hypervisor boots a signed image only while its signature is good, and says nothing
 * when it is not. What was signed, the value of PCR0, goes to @pcr0 (g_free): the helper
 * compares it with the bytes that it loads, as it does with an expected measurement. To
 * measure the image here would be to read all of it twice, and prove nothing about
 * those bytes; what the definition expects and was not signed can be told at once.
 */
static int
nitroImageCheckSignature(const virDomainDef *def,
                         const EifImage *image,
                         int fd,
                         char **pcr0)
{
    const char *expected = nitroDomainDefGetMeasurement(def, 0);
    g_auto(EifCertificate) certificate = { 0 };
    g_autofree char *value = NULL;
    g_autoptr(GError) err = NULL;

    if (eifCertificateRead(fd, image, &certificate, &err) < 0 ||
        eifCertificateCheck(&certificate, g_get_real_time() / G_USEC_PER_SEC, &err) < 0) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("the enclave image '%s' cannot be used: %s"),
                       def->os.kernel, err->message);
        return -1;
    }

    value = eifPcrToString(certificate.pcr0);
    if (expected && STRNEQ(expected, value)) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("the enclave image '%s' is not the expected one: it is signed for the PCR0 %s, but %s is expected"),
                       def->os.kernel, value, expected);
        return -1;
    }
    *pcr0 = g_steal_pointer(&value);
    return 0;
}


static int
nitroImageCheckEIF(const virDomainDef *def,
                   int fd,
                   char **pcr0)
{
    g_autoptr(GError) err = NULL;
    EifImage image;
    const char *arch;

    if (eifImageRead(fd, &image, &err) < 0) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("the enclave image '%s' cannot be used: %s"),
                       def->os.kernel, err->message);
        return -1;
    }

    arch = eifArchToString(image.arch);
    if (STRNEQ(arch, virArchToString(def->os.arch))) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("the enclave image '%s' is for %s, but the domain's arch is %s"),
                       def->os.kernel, arch, virArchToString(def->os.arch));
        return -1;
    }
    if (def->os.initrd || def->os.cmdline) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("the enclave image '%s' has a ramdisk and a command line of its own: remove <%s>"),
                       def->os.kernel, def->os.initrd ? "initrd" : "cmdline");
        return -1;
    }
    if (eifImageFindSection(&image, EIF_SECTION_SIGNATURE))
        return nitroImageCheckSignature(def, &image, fd, pcr0);
    if (nitroDomainDefGetMeasurement(def, 8)) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("the enclave image '%s' is not the expected one: it is not signed, but a PCR8 is expected"),
                       def->os.kernel);
        return -1;
    }
    return 0;
}


static int
nitroImageCheckMemory(const virDomainDef *def,
                      unsigned long long size)
{
    unsigned long long memory = virDomainDefGetMemoryTotal(def); /* KiB */
    unsigned long long need = VIR_DIV_UP(size, 1024) * NITRO_IMAGE_MEMORY_FACTOR;

    if (memory < need) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<memory> of %llu KiB is too small for the image '%s' of %llu KiB: it must be at least %d times as large, %llu KiB"),
                       memory, def->os.kernel, VIR_DIV_UP(size, 1024),
                       NITRO_IMAGE_MEMORY_FACTOR, VIR_ROUND_UP(need, NITRO_MEMORY_STEP_KIB));
        return -1;
    }
    return 0;
}


int
nitroImageOpen(const virDomainDef *def,
               int *imageFd,
               int *initrdFd,
               char **pcr0)
{
    VIR_AUTOCLOSE image = -1;
    VIR_AUTOCLOSE initrd = -1;
    unsigned long long imageSize = 0;
    unsigned long long initrdSize = 0;

    if ((image = nitroImageOpenFile(def->os.kernel, "kernel", &imageSize)) < 0)
        return -1;
    if (eifProbe(image) && nitroImageCheckEIF(def, image, pcr0) < 0)
        return -1;
    if (def->os.initrd &&
        (initrd = nitroImageOpenFile(def->os.initrd, "initrd", &initrdSize)) < 0)
        return -1;
    if (nitroImageCheckMemory(def, imageSize + initrdSize) < 0)
        return -1;

    *imageFd = image;
    *initrdFd = initrd;
    image = initrd = -1;
    return 0;
}
