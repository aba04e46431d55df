/*
 * startup.h: what the programs that the daemon runs begin with
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

/* Exit status, of all of them: see their manual pages */
enum {
    STARTUP_EXIT_ENDED = 0,
    STARTUP_EXIT_USAGE = 1, /* the command line or what it names is wrong */
    STARTUP_EXIT_FAILED = 2,
};

/*
 * For a process that serves an enclave for long, before anything else: keeps its memory small,
 * opens /dev/null for each standard descriptor that is closed, has GLib's messages logged, sets the
 * locale and reads its catalogues, ignores SIGPIPE, and does sandboxBegin(). Returns 0, or -1 when
 * that cannot be done, and stderr has why, as of @program.
 */
int startupBegin(const char *program);

/*
 * Sets the locale: for texts only, and in the encoding of JSON whatever that of the environment is.
 * Catalogues are read when the first message is asked for.
 */
void startupSetLocale(void);
