/*
 * fuzz_broker.c: fuzz target for what clients send to the host's vsock broker
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The input is a row of steps, a byte each and what it needs behind it: clients come, send and
 * leave, the port changes, heartbeats and connections of enclaves come. The heartbeat's port and
 * the host's vsock are made up here; they call nothing that they must not. The broker's file is
 * included, for its main loop is its own.
 */

#include "heartbeat/broker.c" /* first: it is built as it is elsewhere */

#include <errno.h>
#include <string.h>
#include <sys/un.h>

#include "common/vsock_socket.h"
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

/* The host's vsock: UNIX sockets, of which the last one that listens gets the connections */
static struct sockaddr_un vsockAddress;
static socklen_t vsockAddressSize;
static uint32_t vsockCid;

int
vsockSocketListen(uint32_t number)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (number % 16 == 15) {
        errno = EADDRINUSE;
        return -1;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    vsockAddressSize = sizeof(vsockAddress);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) < 0 ||
        listen(fd, 16) < 0 ||
        getsockname(fd, (struct sockaddr *)&vsockAddress, &vsockAddressSize) < 0)
        abort();
    return fd;
}

int
vsockSocketConnect(uint32_t cid, uint32_t number, unsigned int timeout)
{
    int fds[2];

    if (cid < 4 || timeout == 0)
        abort();
    if (number % 16 == 15) {
        errno = ENODEV;
        return -1;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) < 0)
        abort();
    close(fds[1]);
    return fds[0];
}

int
vsockSocketError(int fd)
{
    return fd % 3 == 0 ? ECONNRESET : 0;
}

int
vsockSocketPeer(int fd, uint32_t *cid)
{
    *cid = vsockCid;
    return fd < 0 ? -1 : 0;
}

/* An enclave connects, if a port is there, and leaves. */
static void
fuzzDial(uint32_t cid)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        abort();
    vsockCid = cid;
    if (vsockAddressSize > 0)
        (void)!connect(fd, (struct sockaddr *)&vsockAddress, vsockAddressSize);
    fuzzRunLoop();
    close(fd);
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
                        !jsonGetString(object, "event") &&
                        !jsonHas(object, "return", JSON_OBJECT) &&
                        !jsonHas(object, "error", JSON_OBJECT)))
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
    vsockAddressSize = 0;
    broker.vsockPorts = vsockPortsNew();
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
        else if (what >= 0xf0)
            fuzzDial(4 + what % 16);
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
    vsockPortsFree(broker.vsockPorts);
    return 0;
}
