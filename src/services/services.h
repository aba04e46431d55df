/*
 * services.h: the services of one enclave, and what they have in common
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each connection of a service is counted from serviceConnBegin() on, until serviceConnEnd(), or,
 * when serviceConnRelay() has made a relay of it, until that has ended.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/failure.h"
#include "common/json.h"
#include "common/listener.h"
#include "common/log.h"
#include "relay.h"
#include "services_config.h"

/* Connections of all services together; those of inbound ones leave a quarter to the others */
#define SERVICES_CONNECTIONS_MAX 4096

typedef struct _Services Services;

typedef struct _Service Service;
struct _Service {
    Services *services;
    const ServiceConfig *config;
    uint64_t current; /* these are explained in services_protocol.h */
    uint64_t total;
    uint64_t received;
    uint64_t sent;
    uint64_t refused;
    uint64_t failed;
    uint64_t lost;
    void *state;      /* of its type */
    Listener *listener; /* inbound */
    int healthy;      /* health: -1: not known yet */
    int code;         /* exit: -1: not told yet */
    LogLimit logLimit;
};

/* A connection that is no relay yet; the first member of its service's own struct */
typedef struct _ServiceConn ServiceConn;
struct _ServiceConn {
    Service *service;
    bool busy; /* it is under way to becoming a relay */
    GList node;
    void (*destroy)(ServiceConn *conn); /* closes and frees it, after serviceConnEnd() */
};

/* What services tell, and need of others */
typedef struct _ServicesEvents ServicesEvents;
struct _ServicesEvents {
    void (*linkLost)(void *opaque);
    void (*health)(const Service *service, void *opaque);
    void (*exited)(const Service *service, void *opaque);
    void (*finished)(void *opaque); /* after servicesFinish() */
};

/*
 * Makes the services of @config, which they keep, with room for @max connections. To be called
 * before sandboxEnter(). Returns NULL with @failure set.
 */
Services *servicesNew(ServicesConfig *config, unsigned int max, const ServicesEvents *events,
                      void *opaque, Failure *failure);
void servicesFree(Services *services);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Services, servicesFree)

/* Takes the link @fd in place of the one there is, and begins to serve. */
void servicesSetLink(Services *services, int fd);

bool servicesHasLink(const Services *services);

/* Takes no new connections; finished() follows when nothing is under way any more, or after
 * NITRO_SERVICES_FINISH_MS. */
void servicesFinish(Services *services);

/* Adds what query-services returns. */
void servicesDescribe(const Services *services, JsonWriter *reply);

/* For the rooms of the services: */

Poller *serviceGetPoller(Service *service);

/*
 * Begins @conn of @service. Returns false when there are too many: it is counted as refused, and
 * nothing has begun.
 */
bool serviceConnBegin(ServiceConn *conn, Service *service, void (*destroy)(ServiceConn *conn));
void serviceConnEnd(ServiceConn *conn);

/*
 * Ends @conn, without a call of destroy(), and joins the enclave's socket @enclaveFd and @hostFd.
 * What @forHost (may be NULL) has of the enclave is sent first, as is @forEnclave. All are taken over.
 */
void serviceConnRelay(ServiceConn *conn, int enclaveFd, int hostFd, GByteArray *forEnclave,
                      GByteArray *forHost);

typedef struct _LinkRequest LinkRequest;

/*
 * Asks the switch for a connection with @service's port. @done is called once, in the main loop, with
 * a socket, the callee's, or with -1 and an errno; not from within this function. NULL: there is no
 * link.
 */
LinkRequest *serviceConnect(Service *service, void (*done)(int fd, int err, void *opaque),
                            void *opaque);

/* For the health check and exit codes */
void serviceTellHealth(Service *service);
void serviceTellExit(Service *service);
