/*
 * image_linux.h: Linux kernels: which machine they are for, and whether they boot on it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A kernel for x86_64 is a bzImage, one for aarch64 an Image. That one may be compressed: as a whole
 * by gzip ("make Image.gz"), or in an EFI program that unpacks it ("EFI zboot"), as distributions do.
 * An EIF file holds such a kernel as it is, with the measurements of that.
 * Sources: Linux, Documentation/x86/boot.rst, Documentation/arm64/booting.rst and
 * drivers/firmware/efi/libstub/zboot-header.S.
 */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/failure.h"
#include "image.h"

/* Whether the file @fd is a Linux kernel of an architecture that enclaves have, and of which. */
bool imageLinuxProbe(int fd, EifArch *arch);

/*
 * Checks that the kernel in @parts is a Linux kernel that boots on a machine of @arch and that
 * it, its ramdisk and its command line fit in @memory bytes. What is compressed is unpacked to
 * parts->bootFd. Returns 0, or -1 with @failure set ("image", "config", "resource", "internal").
 */
int imageLinuxCheck(ImageParts *parts, EifArch arch, uint64_t memory, Failure *failure);
