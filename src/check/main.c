/*
 * main.c: libvirt_nitro_check, which looks at an image before an enclave is started with it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: argv -> optionsTableRead() -> prepare(): all that is ever read from files but the image
 * -> checkImage(), of hostile content -> one line of JSON for the daemon. From the last two on
 * nothing is opened, and no process or thread is started: only read, written, and allocated. The
 * filter of check_calls.h sees to that.
 */

#include <errno.h>
#include <gnutls/gnutls.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "check_image.h"
#include "check_options.h"
#include "eif.h"
#include "common/json.h"
#include "common/log.h"
#include "common/startup.h"
#include "helper_protocol.h"
#include "nitro_gettext.h"
#include "sandbox/sandbox.h"

/* Seconds of CPU time: a check needs milliseconds, and waits for slow disks take none. */
#define CPU_SECONDS 10

/* Exit status */
enum {
    EXIT_TOLD = STARTUP_EXIT_ENDED,    /* the verdict has been printed, whatever it is */
    EXIT_UNABLE = STARTUP_EXIT_FAILED, /* there is a verdict that cannot be printed: stderr says why */
};

/* Above all errors of the system, and below all of GnuTLS */
#define ERRNO_MAX 134
#define GNUTLS_ERROR_MIN (-512)

/*
 * Catalogues are read when the first text of theirs is asked for, and those of further languages
 * (LANGUAGE may be a list) when the first has no translation: so each text of others that can be
 * asked for is, and of ours one that is there and one that is not.
 */
static void
loadMessages(void)
{
    const char *volatile text; /* the compiler would leave out calls that nobody asks for */
    int i;

    if (g_strcmp0(setlocale(LC_MESSAGES, NULL), "C") == 0)
        return;
    text = nitroGettext("");
    text = nitroGettext("no such message");
    for (i = 1; i < ERRNO_MAX; i++)
        text = g_strerror(i);
    for (i = 0; i > GNUTLS_ERROR_MIN; i--)
        text = gnutls_strerror(i);
    (void)text;
}

/* Returns 0, or -1 with @failure set when the check cannot be done: "unsupported", "internal". */
static int
prepare(Failure *failure)
{
    const struct rlimit limit = {CPU_SECONDS, CPU_SECONDS};
    const struct rlimit none = {0, 0};
    int rc;

    loadMessages();
    /* GLib looks for aliases of encodings when it needs one first, as for dates. */
    g_get_charset(NULL);
    eifChooseChecksum();
    /* An image that has made this spin must not do so for ever. */
    if (setrlimit(RLIMIT_CPU, &limit) < 0 || setrlimit(RLIMIT_FSIZE, &none) < 0) {
        failureSet(failure, NITRO_FAILURE_INTERNAL, "the time of an image's check cannot be "
                   "limited: %s", g_strerror(errno));
        return -1;
    }
    if ((rc = gnutls_global_init()) < 0) {
        failureSet(failure, NITRO_FAILURE_INTERNAL, "GnuTLS, which checks signatures, cannot be "
                   "used: %s", gnutls_strerror(rc));
        return -1;
    }
    if (sandboxDropCapabilities(failure) < 0)
        return -1;
    return sandboxEnter(SANDBOX_CHECK, failure);
}

/* {"signature": "hex,hex,hex"}, {}, or {"failure": {"code": "image", "text": "..."}} */
static int
tell(const Failure *failure, const char *signature)
{
    JsonWriter *writer = jsonWriterNew();
    g_autofree char *line = NULL;

    jsonAddString(writer, "signature", signature);
    if (failure->code) {
        jsonBeginObject(writer, "failure");
        jsonAddString(writer, "code", failure->code);
        jsonAddString(writer, "text", failure->text);
        jsonEndObject(writer);
    }
    line = jsonWriterEnd(writer);
    if (fputs(line, stdout) < 0 || fflush(stdout) != 0) {
        fprintf(stderr, "libvirt_nitro_check: cannot tell the verdict: %s\n", g_strerror(errno));
        return EXIT_UNABLE;
    }
    return EXIT_TOLD;
}

int
main(int argc, char **argv)
{
    g_autoptr(CheckOptions) options = NULL;
    g_auto(Failure) failure = {0};
    g_autofree char *signature = NULL;
    int status;
    int rc;

    logCatchGlib();
    startupSetLocale();
    rc = sandboxBegin(&failure);
    options = checkOptionsNew();
    if ((status = optionsTableRead(&checkOptionsTable, argc, argv, options)) >= 0)
        return status;

    if (rc == 0 && prepare(&failure) == 0) {
        /* From here on nothing is opened any more, and what is read may be hostile. */
        checkImage(options, &signature, &failure);
    }
    return tell(&failure, signature);
}
