/*
 * nitro_image.h: opens what <os> names: the enclave's image
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "domain_conf.h"
#include "nitro_file.h"

/* What opening and checking an image needs of a definition, so that neither needs its lock */
typedef struct _nitroImageRequest nitroImageRequest;
struct _nitroImageRequest {
    char *kernel;
    char *initrd;              /* NULL: none */
    bool cmdline;              /* there is one */
    virArch arch;
    unsigned long long memory; /* bytes */
    char *pcr0;                /* expected, in hex, or NULL */
    bool pcr8;                 /* one is expected */
};

nitroImageRequest *nitroImageRequestNew(const virDomainDef *def);
void nitroImageRequestFree(nitroImageRequest *request);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(nitroImageRequest, nitroImageRequestFree);

/* The files of an image; what is not there has the descriptor -1 */
typedef struct _nitroImage nitroImage;
struct _nitroImage {
    int fd;
    nitroFileId id;
    int initrdFd;
    nitroFileId initrdId;
};

#define NITRO_IMAGE_INIT { -1, { 0, 0 }, -1, { 0, 0 } }

void nitroImageClose(nitroImage *image);

/*
 * Opens the image of @request, an EIF file or a Linux kernel, and its ramdisk if there is one,
 * as @image, which was NITRO_IMAGE_INIT: nitroImageClose() is due in any case. They are regular
 * files; nothing of their content is read. This waits as long as the file system does: call it
 * without the lock of a domain.
 *
 * Returns 0, or -1 with an error set: VIR_ERR_SYSTEM_ERROR (cannot be opened),
 * VIR_ERR_CONFIG_UNSUPPORTED (no regular file).
 */
int nitroImageOpen(const nitroImageRequest *request, nitroImage *image);
