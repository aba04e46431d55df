/*
 * failure.c: why an enclave could not be started
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A plain value: set where the failure is known, sent by lifecycle.c. The text is in the
 * language of the daemon, whose locale this process has: users see it as the daemon's own.
 */

#include "common/failure.h"

#include <stdarg.h>

#include "nitro_gettext.h"

void
failureSet(Failure *failure, const char *code, const char *fmt, ...)
{
    va_list ap;

    if (failure->code)
        return;

    va_start(ap, fmt);
    failure->code = code;
    failure->text = g_strdup_vprintf(_(fmt), ap);
    va_end(ap);
}

void
failureAddHint(Failure *failure, const char *hint)
{
    g_autofree char *text = g_steal_pointer(&failure->text);

    failure->text = g_strdup_printf("%s; %s", text, hint);
}

void
failureClear(Failure *failure)
{
    g_free(failure->text);
    *failure = (Failure){0};
}
