/*
 * nitro_console.h: the far end of an enclave's debug console
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "domain_conf.h"
#include "nitro_console_reader.h"

/*
 * Names the console of the live definition @def (alias), and opens what it is
 * connected to: a pty, whose path is noted in @def, or a UNIX socket, which is noted in the run
 * directory @rundir. Only an enclave in debug mode has a console to read, so otherwise, without a
 * console and for the types null and file (nitro_outputs.h) @fd becomes -1.
 *
 * Returns 0, or -1 with an error set. @fd is the caller's to close.
 */
int nitroConsoleOpen(virDomainDef *def, const char *rundir, int *fd);

/*
 * Keeps hold of the pty of the live definition @def, whose number belongs to another process's
 * terminal as soon as the helper has ended: returns a descriptor that leads to this pty, or
 * to none. It does not open the pty (O_PATH), which tells the helper that nobody reads. The
 * caller knows that the helper, or itself, has the other end open.
 *
 * Returns -1 without an error set when there is none to be had, and a warning in the log.
 */
int nitroConsoleHold(const virDomainDef *def);

/*
 * Connects the stream @st with the pty of the domain @def that nitroConsoleHold() has
 * returned @fd for. @console is from nitroConsoleFind(). @reader is free, see there.
 *
 * Returns 0, or -1 with an error set: VIR_ERR_OPERATION_INVALID when the helper has ended.
 */
int nitroConsoleOpenStream(const virDomainDef *def,
                           const virDomainChrDef *console,
                           int fd,
                           nitroConsoleReader *reader,
                           virStreamPtr st);

/*
 * Removes the socket that nitroConsoleOpen() has noted in @rundir, which still exists, unless
 * another file has taken its place. Does nothing when there is no note.
 */
void nitroConsoleClose(const virDomainDef *def, const char *rundir);

/*
 * The console that a client calls @alias; NULL means the only one. Returns it (owned by @def), or NULL with
 * VIR_ERR_INVALID_ARG set, or VIR_ERR_OPERATION_UNSUPPORTED when nothing can be
 * read from it, and why.
 */
virDomainChrDef *nitroConsoleFind(const virDomainDef *def, const char *alias);
