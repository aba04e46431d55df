/*
 * nitro_failure.h: what a failure that the helper or the image checker tells is for a client
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"
#include "virerror.h"

/*
 * The error of libvirt for @code, NITRO_FAILURE_* of helper_protocol.h. VIR_ERR_INTERNAL_ERROR
 * for NULL and codes that are not known.
 */
virErrorNumber nitroFailureToError(const char *code);

/* Whether @code is one of NITRO_FAILURE_* */
bool nitroFailureIsKnown(const char *code);
