/*
 * vsock_console.h: the debug console of an enclave on the device
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The hypervisor listens at CID 0 for whoever wants to read the console of an enclave in
 * debug mode: port 10000 plus the enclave's CID. It sends output and takes no input.
 */

#pragma once

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

typedef struct _VsockConsole VsockConsole;

/*
 * Connects to the console of the started enclave @cid, again and again while the hypervisor
 * refuses, as it does for a while after the start. @output gets what comes, in the main loop
 * and from within vsockConsoleFree(). Never NULL.
 */
VsockConsole *vsockConsoleNew(uint32_t cid,
                              void (*output)(const void *buf, size_t len, void *opaque),
                              void *opaque);

/*
 * To be called once the enclave has ended: hands on the last output, for which it waits
 * VSOCK_CONSOLE_LAST_WORDS_MS at most, and closes. NULL is ignored.
 */
void vsockConsoleFree(VsockConsole *console);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VsockConsole, vsockConsoleFree)

#define VSOCK_CONSOLE_LAST_WORDS_MS 200
