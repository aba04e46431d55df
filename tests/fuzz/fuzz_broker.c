/*
 * fuzz_broker.c: fuzz target for what helpers send to the heartbeat broker
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The input is a row of steps, a byte each and what it needs behind it: clients come, send and
 * leave, the port changes, heartbeats come. The port is made up here; it calls nothing that it
 * must not. The broker's file is included, for its main loop is its own.
 */

#include "heartbeat/broker.c" /* first: it is built as it is elsewhere */

#include <string.h>

#include "fuzzloop.h"

/* A fuzzer needs what a sandbox takes away. */
int
sandboxDropCapabilities(Failure *failure G_GNUC_UNUSED)
{
    return 0;
}

int
sandboxEnter(SandboxProcess process G_GNUC_UNUSED, Failure *failure G_GNUC_UNUSED)
{
    return 0;
}

#define CLIENTS 4

struct _HeartbeatPort {
    const HeartbeatPortEvents *events;
    void *opaque;
};

static HeartbeatPort port;
static bool portOpen;

HeartbeatPort *
heartbeatPortNew(const HeartbeatPortEvents *events, void *opaque)
{
    if (portOpen)
        abort();
    portOpen = true;
    port = (HeartbeatPort){events, opaque};
    events->state(98, opaque);
    return &port;
}

void
heartbeatPortFree(HeartbeatPort *which)
{
    if (which)
        portOpen = false;
}

/* As the real one does, asks for several CIDs. */
void
heartbeatPortUpdate(HeartbeatPort *which)
{
    uint32_t cid;

    if (!portOpen || which != &port)
        abort();
    for (cid = 0; cid < 20; cid++)
        port.events->isExpected(cid, port.opaque);
}

/* All that a client has got must be lines of JSON. */
static void
fuzzCheckOutput(int fd)
{
    GString *output = g_string_new(NULL);
    char *line = output->str;
    char *newline;

    fuzzReceive(fd, output);
    for (line = output->str; (newline = strchr(line, '\n')); line = newline + 1) {
        g_autofree char *error = NULL;
        g_autoptr(GHashTable) object = jsonParse(line, newline - line, &error);

        if (!object || (!jsonHas(object, NITRO_BROKER_GREETING, JSON_OBJECT) &&
                        !jsonGetString(object, "event")))
            abort();
    }
    if (*line)
        abort();
    g_string_free(output, TRUE);
}

static void
fuzzLeave(int *fd)
{
    if (*fd < 0)
        return;
    fuzzCheckOutput(*fd);
    close(*fd);
    *fd = -1;
    fuzzRunLoop();
}

/* A client comes if it is not there, and sends the next line, or as much as a byte says of it. */
static void
fuzzSpeak(int *fd, const uint8_t **data, size_t *size, bool whole)
{
    const uint8_t *newline = memchr(*data, '\n', *size);
    size_t len = newline ? (size_t)(newline - *data) + 1 : *size;

    if (*fd < 0)
        *fd = fuzzConnect();
    fuzzRunLoop();
    if (!whole)
        len /= 2;
    fuzzSend(*fd, *data, len);
    *data += len;
    *size -= len;
    fuzzRunLoop();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Broker broker = {.fd = fuzzListen(), .portError = -1};
    int fds[CLIENTS] = {-1, -1, -1, -1};
    size_t i;

    portOpen = false;
    broker.clients = g_ptr_array_new_with_free_func(brokerClientFree);
    broker.listener = listenerNew(broker.fd, "A client", brokerOnClient, &broker);

    while (size > 0) {
        uint8_t what = *data++;
        int *fd = &fds[what % CLIENTS];

        size--;
        if (what < 0xa0)
            fuzzSpeak(fd, &data, &size, what < 0x80);
        else if (what < 0xc0)
            fuzzLeave(fd);
        else if (what < 0xd0 && portOpen)
            port.events->state(what & 8 ? 0 : 98, port.opaque);
        else if (portOpen)
            port.events->heartbeat(4 + what % 16, what & 16 ? "\xff odd\n" : NULL, port.opaque);
        fuzzRunLoop();
    }

    for (i = 0; i < CLIENTS; i++)
        fuzzLeave(&fds[i]);
    /* the port is left to others with the last client */
    if (portOpen || broker.clients->len > 0)
        abort();
    if (broker.idle > 0)
        g_source_remove(broker.idle);
    listenerFree(broker.listener);
    g_ptr_array_unref(broker.clients);
    return 0;
}
