/*
 * nitro_console_reader.h: the one stream that reads a domain's console
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * In place of libvirt's virChrdevs, which waits for the stream of before with its own lock
 * held: when that stream closes at the same moment, the event loop waits for
 * the lock, and the daemon hangs.
 */

#pragma once

#include "datatypes.h"

typedef struct _nitroConsoleReader nitroConsoleReader;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(nitroConsoleReader, virObjectUnref);

/* Returns an object (virObjectUnref), or NULL with an error set. */
nitroConsoleReader *nitroConsoleReaderNew(void);

/* Whether no stream reads. */
bool nitroConsoleReaderIsFree(nitroConsoleReader *reader);

/*
 * Ends the stream that reads, and waits until the event loop has done that. Call it without
 * the lock of the domain, which the event loop may wait for: another stream may read when it
 * returns.
 *
 * Returns 0, or -1 with an error set (VIR_ERR_OPERATION_TIMEOUT).
 */
int nitroConsoleReaderEnd(nitroConsoleReader *reader);

/*
 * Has the stream @st read the terminal at @path. No other does, and the lock of the domain is
 * held since that was found out.
 *
 * Returns 0, or -1 with an error set.
 */
int nitroConsoleReaderOpen(nitroConsoleReader *reader,
                           const char *path,
                           virStreamPtr st);
