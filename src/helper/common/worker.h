/*
 * worker.h: the thread that blocks in the main thread's place
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "common/failure.h"

/*
 * Makes the worker, one thread that stays: to make one for each thing to do takes longer than most
 * of them. To be called once, before sandboxEnter(), as glibc catches signals of its own when a
 * process makes its first thread. Returns 0, or -1 with @failure set.
 */
int workerBegin(Failure *failure);

/*
 * Has the worker call @func with @opaque, as soon as it has done what it was given before. It is
 * called @name meanwhile, static, at most 15 bytes. For the main thread only.
 */
void workerRun(const char *name, void (*func)(void *opaque), void *opaque);
