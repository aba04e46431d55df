/*
 * startup.h: what the programs that the daemon runs begin with
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

/*
 * For a process that serves an enclave for long, before anything else: keeps its memory small, opens
 * /dev/null for each standard descriptor that is closed, has GLib's messages logged, sets the locale
 * and reads its catalogues, and ignores SIGPIPE.
 */
void startupBegin(void);

/*
 * Sets the locale: for texts only, and in the encoding of JSON whatever that of the environment is.
 * Catalogues are read when the first message is asked for.
 */
void startupSetLocale(void);
