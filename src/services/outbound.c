/*
 * outbound.c: connects the enclave to one destination
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: outboundAccept() -> dial.c -> outboundOnDialed() -> relay. What the enclave sends meanwhile
 * waits in its socket.
 */

#include "outbound.h"

#include <unistd.h>

#include "dial.h"

typedef struct {
    ServiceConn conn;
    int fd; /* of the enclave */
    Dial *dial;
} Outbound;

static void
outboundDestroy(ServiceConn *conn)
{
    Outbound *outbound = (Outbound *)conn;

    dialCancel(outbound->dial);
    close(outbound->fd);
    g_free(outbound);
}

static void
outboundOnDialed(DialResult result, int fd, const char *why, void *opaque)
{
    Outbound *outbound = opaque;
    Service *service = outbound->conn.service;
    const ServiceConfig *config = service->config;

    outbound->dial = NULL;
    if (result == DIAL_CONNECTED) {
        serviceConnRelay(&outbound->conn, outbound->fd, fd, NULL, NULL);
        g_free(outbound);
        return;
    }
    service->failed++;
    logLimited(&service->logLimit, "The destination '%s' of port %u cannot be reached: %s",
               config->path ? config->path : config->host, config->port, why);
    serviceConnEnd(&outbound->conn);
    outboundDestroy(&outbound->conn);
}

void
outboundAccept(Service *service, int fd)
{
    Outbound *outbound = g_new0(Outbound, 1);
    const DialTarget target = {
        .host = service->config->host,
        .search = true,
        .port = service->config->hostPort,
        .path = service->config->path,
        .done = outboundOnDialed,
        .opaque = outbound,
    };

    outbound->fd = fd;
    if (!serviceConnBegin(&outbound->conn, service, outboundDestroy)) {
        close(fd);
        g_free(outbound);
        return;
    }
    outbound->conn.busy = true;
    outbound->dial = dialStart(serviceGetPoller(service), &target);
}
