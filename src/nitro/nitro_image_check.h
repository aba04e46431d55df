/*
 * nitro_image_check.h: has an image looked at by the program libvirt_nitro_check
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_conf.h"
#include "nitro_image.h"

/* Whether the check is not wanted any more; asked for now and then while it lasts */
typedef bool (*nitroImageCheckStop)(void *opaque);

/*
 * Runs the checker, as the user of helpers, over the open files of @image, and waits for its
 * verdict: is it a good image, that goes with @request, and that whoever has signed it may still
 * vouch for? This waits as long as its files do: call it without the lock of a domain. When
 * @stop says so, or it cannot be understood, the checker is killed; no process of it is left.
 *
 * @signature is that of the verdict (nitro_image_verdict.h; g_free), which the image has yet to
 * have; NULL when it is not signed.
 *
 * Returns 0, or -1 with an error set: what the checker has found (VIR_ERR_OPERATION_FAILED:
 * malformed, wrongly signed, not as expected; VIR_ERR_CONFIG_UNSUPPORTED: does not go with the
 * definition), VIR_ERR_INTERNAL_ERROR (it has no verdict), VIR_ERR_OPERATION_ABORTED (@stop).
 */
int nitroImageCheck(const nitroDriverConfig *config,
                    const nitroImageRequest *request,
                    const nitroImage *image,
                    nitroImageCheckStop stop,
                    void *opaque,
                    char **signature);
