/*
 * services.c: the services of one enclave, and what they have in common
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: link -> servicesOnConnection() -> the service of the port -> its accept function, which has a
 * ServiceConn of its own -> mostly serviceConnRelay().
 */

#include "services.h"

#include <errno.h>
#include <unistd.h>

#include "exit_service.h"
#include "health_service.h"
#include "inbound.h"
#include "log_service.h"
#include "helper_protocol.h"
#include "outbound.h"
#include "proxy.h"
#include "services_link.h"
#include "services_protocol.h"
#include "time_service.h"

/* While it finishes: how often it looks, and how often nothing must have moved */
#define SERVICES_TICK_MS 50
#define SERVICES_QUIET_TICKS 4

struct _Services {
    ServicesConfig *config;
    Service *list;
    guint n;
    Relays *relays;
    ServicesLink *link; /* NULL: there is none */
    GQueue conns;       /* of ServiceConn */
    unsigned int open;  /* connections, with relays */
    unsigned int max;
    const ServicesEvents *events;
    void *opaque;
    guint finishing;    /* the timer */
    gint64 end;         /* of the finish; monotonic, us */
    uint64_t moved;     /* bytes, at the last tick */
    unsigned int quiet; /* ticks */
    bool finished;
};

static void
servicesOnConnection(uint32_t port, int fd, void *opaque)
{
    static void (*const accepts[])(Service *service, int fd) = {
        [SERVICE_OUTBOUND] = outboundAccept,
        [SERVICE_PROXY] = proxyAccept,
        [SERVICE_LOG] = logAccept,
        [SERVICE_SYSLOG] = logAccept,
        [SERVICE_TIME] = timeAccept,
        [SERVICE_EXIT] = exitAccept,
    };
    Services *services = opaque;
    guint i;

    for (i = 0; i < services->n && services->finishing == 0; i++) {
        Service *service = &services->list[i];

        if (service->config->port == port && serviceTypeListens(service->config->type)) {
            accepts[service->config->type](service, fd);
            return;
        }
    }
    close(fd);
}

static void
servicesOnLinkLost(void *opaque)
{
    Services *services = opaque;

    logWarning("The link is lost");
    g_clear_pointer(&services->link, servicesLinkFree);
    services->events->linkLost(services->opaque);
}

static const ServicesLinkEvents servicesLinkEvents = {
    .connection = servicesOnConnection,
    .lost = servicesOnLinkLost,
};

/* What each type makes before there is any connection. Returns 0, or -1 with @failure set. */
static int
serviceBegin(Service *service, Failure *failure)
{
    switch (service->config->type) {
    case SERVICE_INBOUND:
        inboundBegin(service);
        return 0;
    case SERVICE_LOG:
    case SERVICE_SYSLOG:
        return logBegin(service, failure);
    case SERVICE_HEALTH:
        healthBegin(service);
        return 0;
    case SERVICE_OUTBOUND:
    case SERVICE_PROXY:
    case SERVICE_TIME:
    case SERVICE_EXIT:
        break;
    }
    return 0;
}

/* Takes no new connections; what there is goes on. */
static void
serviceStop(Service *service)
{
    g_clear_pointer(&service->listener, listenerFree);
    if (service->config->type == SERVICE_HEALTH)
        healthEnd(service);
}

static void
serviceClear(Service *service)
{
    serviceStop(service);
    if (service->config->type == SERVICE_LOG || service->config->type == SERVICE_SYSLOG)
        logEnd(service);
}

Services *
servicesNew(ServicesConfig *config, unsigned int max, const ServicesEvents *events, void *opaque,
            Failure *failure)
{
    g_autoptr(Services) services = g_new0(Services, 1);
    guint i;

    services->config = config;
    services->max = max;
    services->events = events;
    services->opaque = opaque;
    g_queue_init(&services->conns);
    services->list = g_new0(Service, config->services->len);
    services->relays = relaysNew(max / 2);
    if (!services->relays) {
        failureSet(failure, NITRO_FAILURE_RESOURCE, "The services' sockets cannot be waited for: %s",
                   g_strerror(errno));
        return NULL;
    }
    for (i = 0; i < config->services->len; i++) {
        Service *service = &services->list[i];

        service->services = services;
        service->config = g_ptr_array_index(config->services, i);
        service->healthy = service->code = -1;
        services->n++;
        if (serviceBegin(service, failure) < 0)
            return NULL;
    }
    return g_steal_pointer(&services);
}

void
servicesFree(Services *services)
{
    guint i;

    if (!services)
        return;
    g_clear_handle_id(&services->finishing, g_source_remove);
    /* What waits for it is told, as long as it is there. */
    g_clear_pointer(&services->link, servicesLinkFree);
    while (services->conns.length > 0) {
        ServiceConn *conn = services->conns.head->data;

        serviceConnEnd(conn);
        conn->destroy(conn);
    }
    for (i = 0; i < services->n; i++)
        serviceClear(&services->list[i]);
    relaysFree(services->relays);
    servicesConfigFree(services->config);
    g_free(services->list);
    g_free(services);
}

void
servicesSetLink(Services *services, int fd)
{
    guint i;

    g_clear_pointer(&services->link, servicesLinkFree);
    services->link = servicesLinkNew(fd, &servicesLinkEvents, services);
    logInfo("There is a link: %u services are served", services->n);
    for (i = 0; i < services->n; i++) {
        if (services->list[i].config->type == SERVICE_HEALTH && services->finishing == 0)
            healthOnLink(&services->list[i]);
    }
}

bool
servicesHasLink(const Services *services)
{
    return services->link;
}

/* Whether anything is still on its way */
static bool
servicesAreBusy(const Services *services)
{
    const GList *node;

    for (node = services->conns.head; node; node = node->next) {
        if (((const ServiceConn *)node->data)->busy)
            return true;
    }
    return relaysAreBusy(services->relays);
}

static uint64_t
servicesCountMoved(const Services *services)
{
    uint64_t moved = 0;
    guint i;

    for (i = 0; i < services->n; i++)
        moved += services->list[i].received + services->list[i].sent + services->list[i].total;
    return moved;
}

static gboolean
servicesOnTick(gpointer opaque)
{
    Services *services = opaque;
    uint64_t moved = servicesCountMoved(services);

    if (moved == services->moved && !servicesAreBusy(services))
        services->quiet++;
    else
        services->quiet = 0;
    services->moved = moved;
    if (services->quiet < SERVICES_QUIET_TICKS && services->open > 0 &&
        g_get_monotonic_time() < services->end)
        return G_SOURCE_CONTINUE;
    if (!services->finished) {
        services->finished = true;
        services->events->finished(services->opaque);
    }
    return G_SOURCE_CONTINUE;
}

void
servicesFinish(Services *services)
{
    guint i;

    if (services->finishing > 0)
        return;
    logInfo("Finishing: %u connections are open", services->open);
    services->end = g_get_monotonic_time() + NITRO_SERVICES_FINISH_MS * (gint64)1000;
    services->finishing = g_timeout_add(SERVICES_TICK_MS, servicesOnTick, services);
    for (i = 0; i < services->n; i++)
        serviceStop(&services->list[i]);
}

static void
serviceDescribe(const Service *service, JsonWriter *reply)
{
    jsonBeginElement(reply);
    jsonAddString(reply, "type", serviceTypeToString(service->config->type));
    jsonAddInteger(reply, "port", service->config->port);
    jsonAddInteger(reply, "current", (int64_t)service->current);
    jsonAddInteger(reply, "total", (int64_t)service->total);
    jsonAddInteger(reply, "received", (int64_t)service->received);
    jsonAddInteger(reply, "sent", (int64_t)service->sent);
    jsonAddInteger(reply, "refused", (int64_t)service->refused);
    jsonAddInteger(reply, "failed", (int64_t)service->failed);
    jsonAddInteger(reply, "lost", (int64_t)service->lost);
    if (service->healthy >= 0)
        jsonAddBoolean(reply, "healthy", service->healthy);
    if (service->code >= 0)
        jsonAddInteger(reply, "code", service->code);
    jsonEndObject(reply);
}

void
servicesDescribe(const Services *services, JsonWriter *reply)
{
    guint i;

    jsonAddBoolean(reply, "link", services->link);
    jsonBeginArray(reply, "services");
    for (i = 0; i < services->n; i++)
        serviceDescribe(&services->list[i], reply);
    jsonEndArray(reply);
}

Poller *
serviceGetPoller(Service *service)
{
    return relaysGetPoller(service->services->relays);
}

/* Whoever can connect to an inbound service must not take all from the enclave, which logs, too. */
static unsigned int
serviceGetRoom(const Service *service)
{
    unsigned int max = service->services->max;

    return service->config->type == SERVICE_INBOUND ? MAX(max - max / 4, 1) : max;
}

bool
serviceConnBegin(ServiceConn *conn, Service *service, void (*destroy)(ServiceConn *conn))
{
    Services *services = service->services;

    if (services->open >= serviceGetRoom(service)) {
        service->refused++;
        logLimited(&service->logLimit, "A connection of %s %u is refused: there are %u",
                   serviceTypeToString(service->config->type), service->config->port,
                   services->open);
        return false;
    }
    conn->service = service;
    conn->destroy = destroy;
    conn->node.data = conn;
    g_queue_push_tail_link(&services->conns, &conn->node);
    services->open++;
    service->current++;
    service->total++;
    return true;
}

/* The end of a connection or of its relay */
static void
serviceOnRelayEnded(void *opaque)
{
    Service *service = opaque;

    service->services->open--;
    service->current--;
}

void
serviceConnEnd(ServiceConn *conn)
{
    g_queue_unlink(&conn->service->services->conns, &conn->node);
    serviceOnRelayEnded(conn->service);
}

void
serviceConnRelay(ServiceConn *conn, int enclaveFd, int hostFd, GByteArray *forEnclave,
                 GByteArray *forHost)
{
    Service *service = conn->service;
    const RelayEnd ends[2] = {
        {enclaveFd, forEnclave, &service->received},
        {hostFd, forHost, &service->sent},
    };

    g_queue_unlink(&service->services->conns, &conn->node);
    relayStart(service->services->relays, ends, serviceOnRelayEnded, service);
}

LinkRequest *
serviceConnect(Service *service, void (*done)(int fd, int err, void *opaque), void *opaque)
{
    if (!service->services->link)
        return NULL;
    /* What clients of the host ask for must not make an enclave look as if it did not answer. */
    return servicesLinkConnect(service->services->link, service->config->port,
                               service->config->type == SERVICE_HEALTH, done, opaque);
}

void
serviceTellHealth(Service *service)
{
    service->services->events->health(service, service->services->opaque);
}

void
serviceTellExit(Service *service)
{
    service->services->events->exited(service, service->services->opaque);
}
