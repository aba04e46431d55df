/*
 * console.h: the enclave's console output, kept and handed to who reads it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The last CONSOLE_RING_SIZE bytes are kept, so that who attaches late still sees
 * the boot. A reader that is slow loses the oldest output; the enclave never waits.
 * The console is output only: what a reader types is thrown away.
 */

#pragma once

#include <glib.h>
#include <stddef.h>

#include "common/rotation.h"
#include "options.h"

#define CONSOLE_RING_SIZE (256 * 1024) /* bytes */

typedef struct _Console Console;

/*
 * @fd belongs to @type: the master of a pseudo terminal, a file (or pipe) to write to,
 * or a UNIX stream socket, connected, or listening for one reader at a time; not closed
 * by consoleFree(), -1 for OPTIONS_CONSOLE_NONE. Never NULL.
 */
Console *consoleNew(OptionsConsole type, int fd);

/* Has the file of @console, of the type OPTIONS_CONSOLE_FILE, written by @rotation, which becomes its. */
void consoleSetRotation(Console *console, Rotation *rotation);

/* Writes what the reader takes at once, and ends. */
void consoleFree(Console *console);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Console, consoleFree)

/*
 * The last lines of output that are not empty, at most CONSOLE_LAST_LINES, each one cut after
 * CONSOLE_LAST_LINE_MAX bytes and with '?' for what is not printable: they are harmless in a
 * log and on a terminal. Returns a list, which is empty when there was no output (g_strfreev).
 */
char **consoleGetLastLines(const Console *console);

#define CONSOLE_LAST_LINES 20
#define CONSOLE_LAST_LINE_MAX 200

/* Takes @len bytes of output. Never blocks on a reader, but may on a regular file. */
void consoleWrite(Console *console, const void *buf, size_t len);
