/*
 * nitro_failure.c: what a failure that the helper or the image checker tells is for a client
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "helper_protocol.h"
#include "nitro_failure.h"

static const struct {
    const char *code;
    virErrorNumber error;
} nitroFailures[] = {
    { NITRO_FAILURE_CONFIG, VIR_ERR_CONFIG_UNSUPPORTED },
    { NITRO_FAILURE_IMAGE, VIR_ERR_OPERATION_FAILED },
    { NITRO_FAILURE_RESOURCE, VIR_ERR_OPERATION_FAILED },
    { NITRO_FAILURE_DEVICE, VIR_ERR_OPERATION_FAILED },
    { NITRO_FAILURE_UNSUPPORTED, VIR_ERR_OPERATION_UNSUPPORTED },
    { NITRO_FAILURE_TIMEOUT, VIR_ERR_OPERATION_TIMEOUT },
    { NITRO_FAILURE_GUEST, VIR_ERR_OPERATION_FAILED },
    { NITRO_FAILURE_INTERNAL, VIR_ERR_INTERNAL_ERROR },
};


virErrorNumber
nitroFailureToError(const char *code)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(nitroFailures); i++) {
        if (STREQ_NULLABLE(code, nitroFailures[i].code))
            return nitroFailures[i].error;
    }
    return VIR_ERR_INTERNAL_ERROR;
}


bool
nitroFailureIsKnown(const char *code)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(nitroFailures); i++) {
        if (STREQ(code, nitroFailures[i].code))
            return true;
    }
    return false;
}
