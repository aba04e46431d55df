/*
 * heartbeat_broker.c: the heartbeat of an enclave on the device, by way of the host's broker
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: broker -> lines -> heartbeatBrokerOnLine() -> events; heartbeatBrokerExpect() ->
 * broker. One timer runs: for the broker's answer and the port, then for the heartbeat.
 */

#include "heartbeat/heartbeat_broker.h"

#include <errno.h>
#include <glib-unix.h>

#include "heartbeat/heartbeat.h"
#include "helper_protocol.h"
#include "common/json.h"
#include "common/json_stream.h"
#include "common/log.h"
#include "vsock/vsock_host.h"

struct _HeartbeatBroker {
    JsonStream *stream; /* NULL: the last event has been told */
    unsigned int timeout; /* seconds */
    guint timer;
    const HeartbeatBrokerEvents *events;
    void *opaque;
    bool greeted;   /* the broker runs */
    bool listening; /* told */
    bool expecting;
    uint32_t cid; /* of the enclave, once it is expected */
};

/* Closes the connection: nothing more is told after what the caller tells. */
static void
heartbeatBrokerEnd(HeartbeatBroker *broker)
{
    g_clear_pointer(&broker->stream, jsonStreamFree);
    g_clear_handle_id(&broker->timer, g_source_remove);
}

/* @failure has been set, and is freed. */
static void
heartbeatBrokerFail(HeartbeatBroker *broker, Failure *failure)
{
    heartbeatBrokerEnd(broker);
    broker->events->failed(failure, broker->opaque);
    failureClear(failure);
}

static void
heartbeatBrokerFailProtocol(HeartbeatBroker *broker)
{
    Failure failure = {0};

    failureSet(&failure, NITRO_FAILURE_INTERNAL,
               "The heartbeat broker has sent what is not understood: start the domain again when "
               "no other one is starting, so that a new broker is started");
    heartbeatBrokerFail(broker, &failure);
}

static gboolean
heartbeatBrokerOnTimer(gpointer opaque)
{
    HeartbeatBroker *broker = opaque;
    Failure failure = {0};

    broker->timer = 0;
    if (broker->listening)
        heartbeatFailLate(&failure, broker->timeout);
    else if (!broker->greeted)
        heartbeatFailSilent(&failure, broker->timeout);
    else
        heartbeatFailBusy(&failure, broker->timeout);
    heartbeatBrokerFail(broker, &failure);
    return G_SOURCE_REMOVE;
}

/* The broker tries on as long as anybody waits; but only a port that is in use gets free. */
static void
heartbeatBrokerOnBusy(HeartbeatBroker *broker, JsonObject *message)
{
    Failure failure = {0};
    int64_t err = 0;

    jsonGetInteger(message, "errno", &err);
    if (err == EADDRINUSE) {
        logWarning("Port %d of the vsock is in use: the start waits for it", VSOCK_HEARTBEAT_PORT);
        return;
    }
    heartbeatFailPort(&failure, (int)err);
    heartbeatBrokerFail(broker, &failure);
}

static void
heartbeatBrokerOnHeartbeat(HeartbeatBroker *broker, JsonObject *message)
{
    const char *reason = jsonGetString(message, "reason");
    Failure failure = {0};
    int64_t cid;

    if (!broker->expecting || !jsonGetInteger(message, "cid", &cid) || cid != broker->cid)
        return;
    if (!reason) {
        heartbeatBrokerEnd(broker);
        broker->events->heartbeat(broker->opaque);
        return;
    }
    failureSet(&failure, NITRO_FAILURE_GUEST, "%s", reason);
    heartbeatBrokerFail(broker, &failure);
}

static void
heartbeatBrokerOnLine(JsonStream *stream G_GNUC_UNUSED, const char *line, size_t len, void *opaque)
{
    HeartbeatBroker *broker = opaque;
    g_autofree char *error = NULL;
    g_autoptr(GHashTable) message = jsonParse(line, len, &error);
    const char *event;
    int64_t protocol;

    if (!message) {
        heartbeatBrokerFailProtocol(broker);
        return;
    }
    if (jsonGetInteger(message, NITRO_BROKER_GREETING ".protocol", &protocol)) {
        broker->greeted = true;
        if (protocol != NITRO_BROKER_PROTOCOL_VERSION)
            heartbeatBrokerFailProtocol(broker);
        return;
    }

    event = jsonGetString(message, "event");
    if (g_strcmp0(event, NITRO_BROKER_EVENT_PORT_BUSY) == 0 && !broker->listening) {
        heartbeatBrokerOnBusy(broker, message);
    } else if (g_strcmp0(event, NITRO_BROKER_EVENT_LISTENING) == 0 && !broker->listening) {
        broker->listening = true;
        g_clear_handle_id(&broker->timer, g_source_remove);
        broker->events->listening(broker->opaque);
    } else if (g_strcmp0(event, NITRO_BROKER_EVENT_HEARTBEAT) == 0) {
        heartbeatBrokerOnHeartbeat(broker, message);
    }
}

static void
heartbeatBrokerOnTooLong(JsonStream *stream G_GNUC_UNUSED, void *opaque)
{
    heartbeatBrokerFailProtocol(opaque);
}

static void
heartbeatBrokerOnClosed(JsonStream *stream G_GNUC_UNUSED, void *opaque)
{
    HeartbeatBroker *broker = opaque;
    Failure failure = {0};

    if (broker->greeted)
        failureSet(&failure, NITRO_FAILURE_INTERNAL,
                   "The heartbeat broker (libvirt_nitro --broker) has ended before the enclave had "
                   "booted: look at its log, and start the domain again");
    else
        failureSet(&failure, NITRO_FAILURE_INTERNAL,
                   "The heartbeat broker (libvirt_nitro --broker) has ended before it had "
                   "answered: look at its log, and start the domain again");
    heartbeatBrokerFail(broker, &failure);
}

static const JsonStreamEvents heartbeatBrokerStreamEvents = {
    .line = heartbeatBrokerOnLine,
    .tooLong = heartbeatBrokerOnTooLong,
    .closed = heartbeatBrokerOnClosed,
};

HeartbeatBroker *
heartbeatBrokerNew(int fd, unsigned int timeout, const HeartbeatBrokerEvents *events,
                   void *opaque)
{
    HeartbeatBroker *broker = g_new0(HeartbeatBroker, 1);

    if (!g_unix_set_fd_nonblocking(fd, TRUE, NULL))
        logWarning("The connection with the heartbeat broker cannot be made non-blocking");
    broker->timeout = timeout;
    broker->events = events;
    broker->opaque = opaque;
    broker->stream = jsonStreamNew(fd, &heartbeatBrokerStreamEvents, broker);
    broker->timer = g_timeout_add(timeout * 1000, heartbeatBrokerOnTimer, broker);
    return broker;
}

void
heartbeatBrokerExpect(HeartbeatBroker *broker, uint32_t cid)
{
    JsonWriter *command;
    g_autofree char *line = NULL;

    if (!broker->stream || broker->expecting)
        return;

    command = jsonWriterNew();
    jsonAddString(command, "command", NITRO_BROKER_COMMAND_EXPECT);
    jsonAddInteger(command, "cid", cid);
    jsonAddInteger(command, "timeout", broker->timeout);
    line = jsonWriterEnd(command);
    jsonStreamSend(broker->stream, line);

    broker->cid = cid;
    broker->expecting = true;
    g_clear_handle_id(&broker->timer, g_source_remove);
    broker->timer = g_timeout_add(broker->timeout * 1000, heartbeatBrokerOnTimer, broker);
}

void
heartbeatBrokerFree(HeartbeatBroker *broker)
{
    if (!broker)
        return;
    heartbeatBrokerEnd(broker);
    g_free(broker);
}
