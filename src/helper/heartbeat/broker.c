/*
 * broker.c: the host's vsock broker, one process for all enclaves of a host
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: brokerOnClient() -> what the first line is, or that there is none for a moment, decides
 * whose connection it is. A helper's: "expect" -> its CID is noted; enclave -> heartbeat_port.c ->
 * brokerOnHeartbeat() -> the helpers that expect this CID. The heartbeat's port is opened with the
 * first helper and closed with the last one. A services process's ("serve"): vsock_ports.c.
 *
 * The end: brokerOnIdle(), when there has been no client for a while -> brokerRetire(), from
 * which on nobody can connect -> whoever was quicker is served -> brokerOnIdle() again. So no
 * connection that was made is ever closed unserved.
 */

#include "heartbeat/broker.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h>

#include "heartbeat/heartbeat_port.h"
#include "helper_protocol.h"
#include "common/json.h"
#include "common/json_stream.h"
#include "common/listener.h"
#include "common/log.h"
#include "common/signals.h"
#include "link/vsock_ports.h"
#include "sandbox/sandbox.h"
#include "nitro_limits.h"

/*
 * More than any host has enclaves; who comes later waits in the socket. A link that is one too many
 * is closed: it would wait for ever.
 */
#define BROKER_CLIENTS_MAX 64
#define BROKER_LINKS_MAX 64

/*
 * How long it may take until a client has said its first word, in milliseconds. Who says nothing
 * is a helper, and has the heartbeat's port opened, which must not be for a services process.
 */
#define BROKER_SETTLE_MS 50

/*
 * How long a helper may keep the heartbeat's port, in seconds: until it expects one, for an image
 * is loaded and the hypervisor asked meanwhile; and then for the time that it has told, or
 * would have at most, and a little more, as it leaves by itself. A helper that is stopped, or
 * hangs, would keep the port from all others on this host.
 */
#define BROKER_SETUP_SECONDS 3600
#define BROKER_EXTRA_SECONDS 10

typedef struct {
    GMainLoop *loop;
    int fd;
    Listener *listener;
    GPtrArray *clients; /* of BrokerClient */
    VsockPorts *vsockPorts;
    HeartbeatPort *port; /* NULL: there is no helper */
    int portError;       /* of the port; -1: not known yet */
    guint idle;          /* the timer until the end, without a client */
    bool retired;        /* nobody can connect any more */
    LogLimit logLimit;
} Broker;

typedef enum {
    BROKER_CLIENT_NEW,
    BROKER_CLIENT_HELPER,
    BROKER_CLIENT_LINK,
} BrokerClientKind;

typedef struct {
    Broker *broker;
    JsonStream *stream;
    BrokerClientKind kind;
    guint settle;         /* the timer of a new one */
    VsockPortsLink *link; /* of a link */
    bool expects;
    uint32_t cid; /* that it expects */
    guint timer;  /* the end of its time; 0: the port is not ours yet */
    bool timed;   /* its time does not begin anew with what it expects */
} BrokerClient;

static void
brokerClientFree(void *opaque)
{
    BrokerClient *client = opaque;

    g_clear_handle_id(&client->settle, g_source_remove);
    g_clear_handle_id(&client->timer, g_source_remove);
    vsockPortsLinkFree(client->link);
    jsonStreamFree(client->stream);
    g_free(client);
}

static guint
brokerCount(const Broker *broker, BrokerClientKind kind)
{
    guint count = 0;
    guint i;

    for (i = 0; i < broker->clients->len; i++)
        count += ((const BrokerClient *)g_ptr_array_index(broker->clients, i))->kind == kind;
    return count;
}

/* The file of the socket is the daemon's to remove: this process can reach none. */
static void
brokerRetire(Broker *broker)
{
    if (broker->retired)
        return;
    broker->retired = true;
    listenerShut(broker->listener);
}

static void brokerArmIdle(Broker *broker);

static gboolean
brokerOnIdle(gpointer opaque)
{
    Broker *broker = opaque;
    struct pollfd pfd = {.fd = broker->fd, .events = POLLIN};

    broker->idle = 0;
    /* Somebody is just coming, whom we would have to serve beside the next broker. */
    if (!broker->retired && poll(&pfd, 1, 0) != 0) {
        brokerArmIdle(broker);
        return G_SOURCE_REMOVE;
    }
    brokerRetire(broker);
    if (broker->clients->len > 0)
        return G_SOURCE_REMOVE;
    if (!listenerIsDrained(broker->listener)) {
        brokerArmIdle(broker);
        return G_SOURCE_REMOVE;
    }
    logInfo("No enclave has started for %d seconds: the broker ends", BROKER_GRACE_MS / 1000);
    g_main_loop_quit(broker->loop);
    return G_SOURCE_REMOVE;
}

static void
brokerArmIdle(Broker *broker)
{
    broker->idle = g_timeout_add(BROKER_GRACE_MS, brokerOnIdle, broker);
}

static void
brokerOnSignal(void *opaque)
{
    Broker *broker = opaque;

    logInfo("Ending on a signal");
    brokerRetire(broker);
    g_main_loop_quit(broker->loop);
}

static void
brokerSend(BrokerClient *client, JsonWriter *message)
{
    g_autofree char *line = jsonWriterEnd(message);

    jsonStreamSend(client->stream, line);
}

/* How it is with the port */
static void
brokerSendState(BrokerClient *client)
{
    int err = client->broker->portError;
    JsonWriter *event;

    if (err < 0)
        return;
    event = jsonWriterNew();
    jsonAddString(event, "event",
                  err == 0 ? NITRO_BROKER_EVENT_LISTENING : NITRO_BROKER_EVENT_PORT_BUSY);
    if (err != 0)
        jsonAddInteger(event, "errno", err);
    brokerSend(client, event);
}

static gboolean brokerOnTime(gpointer opaque);

/* @client has to be through with what it does now within @seconds. */
static void
brokerSetTime(BrokerClient *client, unsigned int seconds)
{
    g_clear_handle_id(&client->timer, g_source_remove);
    client->timer = g_timeout_add_seconds(seconds, brokerOnTime, client);
}

static void
brokerOnState(int err, void *opaque)
{
    Broker *broker = opaque;
    guint i;

    if (err == 0)
        logInfo("The heartbeat's port is ours");
    else
        logWarning("The heartbeat's port cannot be had, which is tried on: %s", g_strerror(err));
    broker->portError = err;
    for (i = 0; i < broker->clients->len; i++) {
        BrokerClient *client = g_ptr_array_index(broker->clients, i);

        if (client->kind != BROKER_CLIENT_HELPER)
            continue;
        brokerSendState(client);
        if (err == 0)
            brokerSetTime(client, BROKER_SETUP_SECONDS);
    }
}

static bool
brokerIsExpected(uint32_t cid, void *opaque)
{
    Broker *broker = opaque;
    guint i;

    for (i = 0; i < broker->clients->len; i++) {
        BrokerClient *client = g_ptr_array_index(broker->clients, i);

        if (client->expects && client->cid == cid)
            return true;
    }
    return false;
}

static void
brokerOnHeartbeat(uint32_t cid, const char *reason, void *opaque)
{
    Broker *broker = opaque;
    guint i;

    logInfo("Heartbeat of CID %u: %s", cid, reason ? reason : "good");
    for (i = 0; i < broker->clients->len; i++) {
        BrokerClient *client = g_ptr_array_index(broker->clients, i);
        JsonWriter *event;

        if (!client->expects || client->cid != cid)
            continue;
        client->expects = false;
        event = jsonWriterNew();
        jsonAddString(event, "event", NITRO_BROKER_EVENT_HEARTBEAT);
        jsonAddInteger(event, "cid", cid);
        jsonAddString(event, "reason", reason);
        brokerSend(client, event);
    }
    heartbeatPortUpdate(broker->port);
}

static const HeartbeatPortEvents brokerPortEvents = {
    .state = brokerOnState,
    .isExpected = brokerIsExpected,
    .heartbeat = brokerOnHeartbeat,
};

/* A helper has come or gone. */
static void
brokerUpdatePort(Broker *broker)
{
    bool wanted = brokerCount(broker, BROKER_CLIENT_HELPER) > 0;

    if (wanted && broker->port) {
        heartbeatPortUpdate(broker->port);
    } else if (wanted) {
        broker->port = heartbeatPortNew(&brokerPortEvents, broker);
    } else if (broker->port) {
        logInfo("No enclave starts any more: the heartbeat's port is left to others");
        g_clear_pointer(&broker->port, heartbeatPortFree);
        broker->portError = -1;
    }
}

static void
brokerOnClosed(JsonStream *stream G_GNUC_UNUSED, void *opaque)
{
    BrokerClient *client = opaque;
    Broker *broker = client->broker;

    g_ptr_array_remove_fast(broker->clients, client);
    listenerSetPaused(broker->listener, false);
    brokerUpdatePort(broker);
    if (broker->clients->len == 0)
        brokerArmIdle(broker);
}

/* Closes the connection of @client, which is freed, at once. */
static void
brokerDrop(BrokerClient *client, const char *reason)
{
    logLimited(&client->broker->logLimit, "A client is dropped: %s", reason);
    brokerOnClosed(client->stream, client);
}

static gboolean
brokerOnTime(gpointer opaque)
{
    BrokerClient *client = opaque;

    client->timer = 0;
    brokerDrop(client, "its time is over");
    return G_SOURCE_REMOVE;
}

/* @client is a helper, and told how it is with the port. */
static void
brokerSettle(BrokerClient *client)
{
    Broker *broker = client->broker;

    g_clear_handle_id(&client->settle, g_source_remove);
    client->kind = BROKER_CLIENT_HELPER;
    brokerSendState(client);
    if (broker->portError == 0)
        brokerSetTime(client, BROKER_SETUP_SECONDS);
    brokerUpdatePort(broker);
}

static gboolean
brokerOnSettle(gpointer opaque)
{
    BrokerClient *client = opaque;

    client->settle = 0;
    brokerSettle(client);
    return G_SOURCE_REMOVE;
}

/* @client is a link, from this line on. */
static void
brokerLink(BrokerClient *client)
{
    Broker *broker = client->broker;

    g_clear_handle_id(&client->settle, g_source_remove);
    client->kind = BROKER_CLIENT_LINK;
    client->link = vsockPortsLinkNew(broker->vsockPorts, client->stream);
    listenerSetPaused(broker->listener, false);
}

/* What the daemon has said before it got the connection, and what the services process says */
static void
brokerOnLinkLine(BrokerClient *client, JsonObject *request)
{
    const char *error = "there are too many links";

    if (brokerCount(client->broker, BROKER_CLIENT_LINK) > BROKER_LINKS_MAX ||
        vsockPortsLinkOnRequest(client->link, request, &error) < 0)
        brokerDrop(client, error);
}

/* The heartbeat of @cid is waited for as long as @request, or the longest wait, says. */
static void
brokerExpect(BrokerClient *client, uint32_t cid, JsonObject *request)
{
    int64_t seconds;

    client->expects = true;
    client->cid = cid;
    if (!client->timed) {
        if (!jsonGetInteger(request, "timeout", &seconds) || seconds < 1 ||
            seconds > NITRO_HEARTBEAT_TIMEOUT_MAX)
            seconds = NITRO_HEARTBEAT_TIMEOUT_MAX;
        brokerSetTime(client, (unsigned int)seconds + BROKER_EXTRA_SECONDS);
        client->timed = true;
    }
    heartbeatPortUpdate(client->broker->port);
}

static void
brokerOnHelperLine(BrokerClient *client, JsonObject *request)
{
    int64_t cid;

    if (linkIsServe(request)) {
        brokerDrop(client, "it is to serve ports, which it has not begun with");
        return;
    }
    if (g_strcmp0(jsonGetString(request, "command"), NITRO_BROKER_COMMAND_EXPECT) != 0)
        return;
    if (!jsonGetInteger(request, "cid", &cid) || cid < NITRO_CID_MIN || cid >= VMADDR_CID_ANY) {
        brokerDrop(client, "no enclave has the CID that it expects");
        return;
    }
    brokerExpect(client, (uint32_t)cid, request);
}

static void
brokerOnLine(JsonStream *stream G_GNUC_UNUSED, const char *line, size_t len, void *opaque)
{
    BrokerClient *client = opaque;
    g_autofree char *error = NULL;
    g_autoptr(GHashTable) request = jsonParse(line, len, &error);

    if (!request) {
        brokerDrop(client, error);
        return;
    }
    if (client->kind == BROKER_CLIENT_NEW && linkIsServe(request))
        brokerLink(client);
    else if (client->kind == BROKER_CLIENT_NEW)
        brokerSettle(client);

    if (client->kind == BROKER_CLIENT_LINK)
        brokerOnLinkLine(client, request);
    else
        brokerOnHelperLine(client, request);
}

static void
brokerOnTooLong(JsonStream *stream G_GNUC_UNUSED, void *opaque)
{
    brokerDrop(opaque, "its line is too long");
}

static const JsonStreamEvents brokerStreamEvents = {
    .line = brokerOnLine,
    .tooLong = brokerOnTooLong,
    .closed = brokerOnClosed,
};

static void
brokerGreet(BrokerClient *client)
{
    JsonWriter *greeting = jsonWriterNew();

    jsonBeginObject(greeting, NITRO_BROKER_GREETING);
    jsonAddInteger(greeting, "protocol", NITRO_BROKER_PROTOCOL_VERSION);
    jsonAddInteger(greeting, "services", NITRO_BROKER_SERVICES_VERSION);
    jsonEndObject(greeting);
    brokerSend(client, greeting);
}

static void
brokerOnClient(int fd, void *opaque)
{
    Broker *broker = opaque;
    BrokerClient *client;

    client = g_new0(BrokerClient, 1);
    client->broker = broker;
    client->stream = jsonStreamNew(fd, &brokerStreamEvents, client);
    client->settle = g_timeout_add(BROKER_SETTLE_MS, brokerOnSettle, client);
    brokerGreet(client);
    g_ptr_array_add(broker->clients, client);
    if (broker->clients->len - brokerCount(broker, BROKER_CLIENT_LINK) >= BROKER_CLIENTS_MAX) {
        logLimited(&broker->logLimit, "There are %d clients: others wait", BROKER_CLIENTS_MAX);
        listenerSetPaused(broker->listener, true);
    }
    g_clear_handle_id(&broker->idle, g_source_remove);
}

int
brokerRun(int listenFd, Failure *failure)
{
    Broker broker = {.fd = listenFd, .portError = -1};
    int rc;

    if (sandboxDropCapabilities(failure) < 0)
        return -1;
    broker.loop = g_main_loop_new(NULL, FALSE);
    broker.clients = g_ptr_array_new_with_free_func(brokerClientFree);
    broker.vsockPorts = vsockPortsNew();
    brokerArmIdle(&broker);
    broker.listener = listenerNew(listenFd, "A client", brokerOnClient, &broker);

    rc = signalsCatch(brokerOnSignal, &broker, failure);
    if (rc == 0)
        rc = sandboxEnter(SANDBOX_BROKER, failure);
    if (rc == 0)
        g_main_loop_run(broker.loop);

    listenerFree(broker.listener);
    heartbeatPortFree(broker.port);
    g_ptr_array_unref(broker.clients);
    vsockPortsFree(broker.vsockPorts);
    g_main_loop_unref(broker.loop);
    return rc;
}
