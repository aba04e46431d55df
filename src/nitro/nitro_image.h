/*
 * nitro_image.h: opens and checks what <os> names: the enclave's image
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "domain_conf.h"

/*
 * Opens the image of @def, an EIF file or a Linux kernel, and its ramdisk if
 * there is one, and checks what can be seen without reading the contents: that
 * they are regular files, the image's headers, its architecture, that the
 * domain's memory is at least four times the size of the image, and that an EIF
 * file comes without <initrd> and <cmdline>. Of a signed image also: that the
 * certificate is in date, and its key has made the signature.
 *
 * @imageFd and @initrdFd are the caller's to close; @initrdFd is -1 without a
 * ramdisk. @pcr0 is the value of PCR0 that was signed, in hex (g_free), which the
 * image has yet to have; NULL when it is not signed.
 *
 * Returns 0, or -1 with an error set: VIR_ERR_SYSTEM_ERROR (cannot be opened),
 * VIR_ERR_OPERATION_FAILED (malformed, wrongly signed, not as expected),
 * VIR_ERR_CONFIG_UNSUPPORTED (does not go with the definition).
 */
int nitroImageOpen(const virDomainDef *def,
                   int *imageFd,
                   int *initrdFd,
                   char **pcr0);
