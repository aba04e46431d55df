/*
 * nitro_image_verdict.h: what the image checker says, checked
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The checker has read a hostile image, so it is not trusted either: what comes out of here has
 * its form, is bounded, and can be shown. Pure: no process, no lock.
 *
 * It prints one line of JSON:
 *
 *   {}                                               the image can be used
 *   {"signature": "PCR0,PCR8,SHA384"}                likewise; it is signed: the PCR0 that was, the
 *                                                    PCR8 of the certificate, and the digest of
 *                                                    the signature section, each in hex
 *   {"failure": {"code": "image", "text": "..."}}    it cannot; NITRO_FAILURE_* of
 *                                                    helper_protocol.h, and one sentence
 */

#pragma once

#include "internal.h"

/* Bytes with the newline: a path of 4096 in a sentence, however JSON has to write it */
#define NITRO_IMAGE_VERDICT_MAX 32768

typedef struct _nitroImageVerdict nitroImageVerdict;
struct _nitroImageVerdict {
    char *signature; /* NULL: it is not signed */
    char *code; /* NITRO_FAILURE_*, or NULL: the image can be used */
    char *text; /* with it: one sentence, printable */
};

void nitroImageVerdictClear(nitroImageVerdict *verdict);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroImageVerdict, nitroImageVerdictClear);

/*
 * Reads the @len bytes at @output, all that the checker has printed. Returns 0 with @verdict, which
 * was all zeros, set, or -1 with @why set to a new text that says what is wrong with them.
 */
int nitroImageVerdictRead(const char *output,
                          size_t len,
                          nitroImageVerdict *verdict,
                          char **why);
