/*
 * check_image.h: can an enclave be started with this image?
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "check_options.h"
#include "common/failure.h"

/*
 * Checks the image of @options as far as its headers and its signature tell: nothing else of it is
 * read, so that this takes milliseconds. Opens nothing. A file that is no EIF file has only its
 * size checked: what else it may be, the helper finds out.
 *
 * Returns 0 with @signature set to the three values of EifSigned in hex, with commas between them
 * (g_free; NULL: it is not signed), or -1 with @failure set: "image" (malformed, wrongly signed,
 * not as expected), "config" (does not go with the other options), "internal".
 */
int checkImage(const CheckOptions *options, char **signature, Failure *failure);
