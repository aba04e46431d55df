/*
 * heartbeat_port.h: port 9000 of the host's vsock, where enclaves send their heartbeat
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The broker's side to the enclaves. They are told apart by their CID, which is the one
 * thing about a connection that they cannot choose.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* How long a connection with a CID that nobody expects is held, in milliseconds */
#define HEARTBEAT_PORT_HOLD_MS 5000

typedef struct _HeartbeatPort HeartbeatPort;

/* Called in the main loop, but for state() never from within a function below. */
typedef struct _HeartbeatPortEvents HeartbeatPortEvents;
struct _HeartbeatPortEvents {
    /* The port is ours (0), or why it is not (errno), with every change; it is tried on.
     * Also called from within heartbeatPortNew(). */
    void (*state)(int err, void *opaque);
    /* Whether the heartbeat of @cid is waited for; called from anywhere. */
    bool (*isExpected)(uint32_t cid, void *opaque);
    /* It has come and been answered, or @reason, one sentence, says what is wrong with it. */
    void (*heartbeat)(uint32_t cid, const char *reason, void *opaque);
};

/* Begins to listen. Never NULL. */
HeartbeatPort *heartbeatPortNew(const HeartbeatPortEvents *events, void *opaque);

/* Closes the port, and all connections. NULL is ignored. */
void heartbeatPortFree(HeartbeatPort *port);

/* What isExpected() answers has changed. */
void heartbeatPortUpdate(HeartbeatPort *port);
