/*
 * failure.h: why an enclave could not be started
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the event "failed" of the control protocol carries, as a value that the
 * functions of the start fill in.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>

typedef struct _Failure Failure;
struct _Failure {
    const char *code;  /* NITRO_FAILURE_..., static; NULL: nothing has failed */
    char *text;        /* one sentence for the user, owned */
    const char *ioctl; /* the name of the device call that failed, static, or NULL */
    int err;           /* its errno, or that of the call that could not confine this process */
};

/*
 * Fills @failure in; the first failure stays when there is one already. @fmt is translated
 * here: xgettext knows the function.
 */
void failureSet(Failure *failure, const char *code, const char *fmt, ...) G_GNUC_PRINTF(3, 4);

/* Adds the words @hint to the text of @failure, which has failed. */
void failureAddHint(Failure *failure, const char *hint);

/* Frees what @failure owns and makes it empty again. */
void failureClear(Failure *failure);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Failure, failureClear)
