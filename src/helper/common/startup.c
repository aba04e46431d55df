/*
 * startup.c: what the programs that the daemon runs begin with
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "common/startup.h"

#include <fcntl.h>
#include <locale.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "common/log.h"
#include "nitro_gettext.h"
#include "sandbox/sandbox.h"

/* Whoever started us with standard descriptors closed must not get output in other files. */
static void
startupOpenStandardFds(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

/*
 * Numbers are the same everywhere. No other encoding, as its converter would be a library that is
 * loaded when it is needed first.
 */
void
startupSetLocale(void)
{
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        setlocale(LC_CTYPE, "");
    setlocale(LC_MESSAGES, "");
    nitroGettextInitialize("UTF-8");
}

int
startupBegin(const char *program)
{
    g_auto(Failure) failure = {0};

    /* Threads are few and allocate next to nothing: an arena for each would only use memory. */
    mallopt(M_ARENA_MAX, 1);
    startupOpenStandardFds();
    logCatchGlib();
    startupSetLocale();
    nitroGettextLoad();
    signal(SIGPIPE, SIG_IGN);
    if (sandboxBegin(&failure) == 0)
        return 0;
    fprintf(stderr, "%s: %s\n", program, failure.text);
    return -1;
}
