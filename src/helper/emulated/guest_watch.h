/*
 * guest_watch.h: what the console output tells about the guest's end
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * QEMU reports a power-off and a reset, but not why a guest resets itself, and not
 * that one has stopped for good: a kernel that panicked with panic=0, that was halted,
 * or that hangs in its attempt to restart. Linux says so on its console.
 *
 * The console is the guest's: any program in it that may write there can write the
 * same lines. What is concluded from them is no proof, and harms nobody but the guest
 * that lies about itself.
 * Not seen: a guest that hangs without a word, that has no console on its serial port,
 * or whose kernel messages are switched off altogether.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct _GuestWatch GuestWatch;

/* Called once, when the guest has said that it ends and then stayed silent, but not ended. */
typedef void (*GuestWatchStopped)(const char *reason, void *opaque);

GuestWatch *guestWatchNew(GuestWatchStopped stopped, void *opaque);
void guestWatchFree(GuestWatch *watch);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GuestWatch, guestWatchFree)

/*
 * Whether the guest boots, which it does not at first: nobody waits then until a kernel that has
 * panicked restarts.
 */
void guestWatchSetBooting(GuestWatch *watch, bool booting);

/* Takes the next @len bytes of console output. */
void guestWatchOutput(GuestWatch *watch, const void *buf, size_t len);

/* Whether the kernel has announced a panic. */
bool guestWatchHasPanicked(const GuestWatch *watch);
