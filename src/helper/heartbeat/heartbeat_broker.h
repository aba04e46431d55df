/*
 * heartbeat_broker.h: the heartbeat of an enclave on the device, by way of the host's broker
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A host has one port 9000 for the heartbeats of all its enclaves. One process has it, the
 * broker (broker.h), and tells each helper about the heartbeat of its own enclave. The
 * helper's side of that connection is here, with its time limits.
 */

#pragma once

#include <glib.h>
#include <stdint.h>

#include "common/failure.h"

typedef struct _HeartbeatBroker HeartbeatBroker;

/*
 * What comes of it, in the main loop and never from within a function below. After
 * heartbeat() or failed() nothing more is told; each may free the HeartbeatBroker.
 */
typedef struct _HeartbeatBrokerEvents HeartbeatBrokerEvents;
struct _HeartbeatBrokerEvents {
    /* The port is ours: the enclave may be started. Told once. */
    void (*listening)(void *opaque);
    /* The enclave has sent its heartbeat, and got it back. */
    void (*heartbeat)(void *opaque);
    /* There will be no heartbeat: the port is in use, the byte was wrong or late, the broker
     * does not answer or has gone. @failure may be taken over; what is left of it is freed. */
    void (*failed)(Failure *failure, void *opaque);
};

/*
 * @fd is connected with the broker, which may not run yet, and taken over: it is closed with
 * the last event, as the broker ends when nobody is left. @timeout in seconds
 * (heartbeatTimeout()) is how long the broker and the port are waited for and then, from
 * heartbeatBrokerExpect() on, how long the heartbeat is.
 * Never NULL.
 */
HeartbeatBroker *heartbeatBrokerNew(int fd, unsigned int timeout,
                                    const HeartbeatBrokerEvents *events, void *opaque);

/*
 * The enclave has been started and has this CID. To be called after listening(), once. A
 * heartbeat that has come before counts.
 */
void heartbeatBrokerExpect(HeartbeatBroker *broker, uint32_t cid);

/* Closes the connection, if it is still there. NULL is ignored. */
void heartbeatBrokerFree(HeartbeatBroker *broker);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HeartbeatBroker, heartbeatBrokerFree)
