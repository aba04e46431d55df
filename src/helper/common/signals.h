/*
 * signals.h: the signals that end a process in its own good time
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "common/failure.h"

/*
 * Has the main loop call @func with @opaque for SIGTERM and SIGINT from now on. They are blocked in
 * this thread and in those that it makes, so it must be the only one, and in processes that it
 * forks. Returns 0, or -1 with @failure set.
 *
 * GLib's own sources for signals do the same by a thread, which each process would wait for.
 */
int signalsCatch(void (*func)(void *opaque), void *opaque, Failure *failure);
