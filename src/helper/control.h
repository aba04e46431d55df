/*
 * control.h: the helper's side of the control socket
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A server for a few clients at once; helper_protocol.h has the protocol. No client
 * blocks the helper or makes it use more than a fixed amount of memory: while a
 * client's unread output is long, its commands wait in its socket.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>

#include "common/json.h"

typedef struct _Control Control;

/*
 * Answers @command by filling in the members of "return" through @reply. Returns NULL, or
 * the code of an error (NITRO_ERROR_...) with *@text set to a new sentence.
 */
typedef const char *(*ControlHandler)(const char *command, JsonWriter *reply, char **text,
                                      void *opaque);

/*
 * Serves the listening socket @fd (not closed by controlFree). Clients that are already
 * waiting are accepted before this returns. Never NULL.
 */
Control *controlNew(int fd, ControlHandler handler, void *opaque);

/* Has @abandoned called, with the opaque of controlNew(), when there is no client any more. */
void controlSetAbandoned(Control *control, void (*abandoned)(void *opaque));

/* Closes all connections. */
void controlFree(Control *control);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Control, controlFree)

/* Starts the event @name; members of its "data" may be added to the result. */
JsonWriter *controlEventNew(const char *name);

/* Sends the event to every client; frees @event. Not to be called by a ControlHandler. */
void controlEventSend(Control *control, JsonWriter *event);

/* Whether some client has not been sent all of its output yet. */
bool controlIsPending(const Control *control);
