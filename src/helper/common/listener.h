/*
 * listener.h: takes the connections of a listening socket
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A few at a time, so that others get their turn, and without spinning while the process is
 * out of descriptors.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>

typedef struct _Listener Listener;

/*
 * @fd is a listening stream socket, not closed by listenerFree(). @accepted gets each
 * connection, a non-blocking descriptor that is its own; it must not free the listener. Of
 * those who wait already up to 16 are accepted before this returns. @what is for the log,
 * static. Never NULL.
 */
Listener *listenerNew(int fd, const char *what, void (*accepted)(int fd, void *opaque),
                      void *opaque);

/* While it is @paused nobody is accepted: who connects waits in the socket. */
void listenerSetPaused(Listener *listener, bool paused);

/*
 * Who connects from now on to the UNIX socket is refused (ECONNREFUSED). Who has connected
 * before is still accepted, and before this returns, if that is possible now: it is when
 * listenerIsDrained(). To be called once.
 */
void listenerShut(Listener *listener);

/* Whether it has been shut and nobody waits any more. */
bool listenerIsDrained(const Listener *listener);

/* NULL is ignored. */
void listenerFree(Listener *listener);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Listener, listenerFree)
