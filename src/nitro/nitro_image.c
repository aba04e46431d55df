/*
 * nitro_image.c: opens what <os> names: the enclave's image
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The daemon reads nothing of an image, which may be hostile: nitro_image_check.c has it looked
 * at by a process of its own, so that a wrong definition fails at once; the helper reads it all,
 * once, and checks it.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "nitro_domain_conf.h"
#include "nitro_image.h"
#include "virerror.h"
#include "virfile.h"
#include "virutil.h"

#define VIR_FROM_THIS VIR_FROM_NITRO


nitroImageRequest *
nitroImageRequestNew(const virDomainDef *def)
{
    nitroImageRequest *request = g_new0(nitroImageRequest, 1);

    request->kernel = g_strdup(def->os.kernel);
    request->initrd = g_strdup(def->os.initrd);
    request->cmdline = def->os.cmdline != NULL;
    request->arch = def->os.arch;
    request->memory = virDomainDefGetMemoryTotal(def) * 1024;
    request->pcr0 = g_strdup(nitroDomainDefGetMeasurement(def, 0));
    request->pcr8 = nitroDomainDefGetMeasurement(def, 8) != NULL;
    return request;
}


void
nitroImageRequestFree(nitroImageRequest *request)
{
    if (!request)
        return;

    g_free(request->kernel);
    g_free(request->initrd);
    g_free(request->pcr0);
    g_free(request);
}


void
nitroImageClose(nitroImage *image)
{
    VIR_FORCE_CLOSE(image->fd);
    VIR_FORCE_CLOSE(image->initrdFd);
}


/*
 * Opens the regular file @path. @what is the element that names it. A FIFO or a
 * device must not block the daemon.
 */
static int
nitroImageOpenFile(const char *path,
                   const char *what,
                   nitroFileId *id)
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

    *id = (nitroFileId) { sb.st_dev, sb.st_ino };
    ret = fd;
    fd = -1;
    return ret;
}


int
nitroImageOpen(const nitroImageRequest *request,
               nitroImage *image)
{
    if ((image->fd = nitroImageOpenFile(request->kernel, "kernel", &image->id)) < 0)
        return -1;
    if (request->initrd &&
        (image->initrdFd = nitroImageOpenFile(request->initrd, "initrd", &image->initrdId)) < 0)
        return -1;
    return 0;
}
