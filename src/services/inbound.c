/*
 * inbound.c: connects programs of the host, or its network, to the enclave
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: listening socket -> inboundOnClient() -> the link -> inboundOnConnected() -> relay.
 */

#include "inbound.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services_link.h"

typedef struct {
    ServiceConn conn;
    int fd; /* of the host's side */
    LinkRequest *request;
} Inbound;

static void
inboundDestroy(ServiceConn *conn)
{
    Inbound *inbound = (Inbound *)conn;

    linkRequestCancel(inbound->request);
    close(inbound->fd);
    g_free(inbound);
}

static void
inboundFail(Inbound *inbound, int err)
{
    Service *service = inbound->conn.service;

    service->failed++;
    logLimited(&service->logLimit, "Port %u of the enclave cannot be reached: %s",
               service->config->port, g_strerror(err));
    serviceConnEnd(&inbound->conn);
    inboundDestroy(&inbound->conn);
}

static void
inboundOnConnected(int fd, int err, void *opaque)
{
    Inbound *inbound = opaque;

    inbound->request = NULL;
    if (fd < 0) {
        inboundFail(inbound, err);
        return;
    }
    serviceConnRelay(&inbound->conn, fd, inbound->fd, NULL, NULL);
    g_free(inbound);
}

/* As dial.c does; a UNIX socket knows nothing of it. */
static void
inboundSetOptions(int fd)
{
    const int on = 1;

    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)) < 0)
        errno = 0;
}

static void
inboundOnClient(int fd, void *opaque)
{
    Service *service = opaque;
    Inbound *inbound = g_new0(Inbound, 1);

    inbound->fd = fd;
    if (!serviceConnBegin(&inbound->conn, service, inboundDestroy)) {
        close(fd);
        g_free(inbound);
        return;
    }
    inbound->conn.busy = true;
    inboundSetOptions(fd);
    inbound->request = serviceConnect(service, inboundOnConnected, inbound);
    if (!inbound->request)
        inboundFail(inbound, ENOLINK);
}

void
inboundBegin(Service *service)
{
    service->listener = listenerNew(service->config->fd, "A connection to the enclave",
                                    inboundOnClient, service);
}
