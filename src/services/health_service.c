/*
 * health_service.c: can the enclave be reached?
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: the timer, or a link -> healthTry() -> the link -> healthOnConnected(), or healthOnTime() ->
 * healthConclude().
 */

#include "health_service.h"

#include <errno.h>
#include <unistd.h>

#include "deadline.h"
#include "services_link.h"

/* The longest that one connection may take, if the interval is no shorter */
#define HEALTH_WAIT_MS 5000

typedef struct {
    Deadline deadline; /* the first member; of @request */
    Service *service;
    guint timer;
    LinkRequest *request; /* NULL: none is under way */
    int failed; /* in a row; -1: the enclave has only just begun */
} Health;

static void
healthSet(Service *service, bool healthy)
{
    if (service->healthy == healthy)
        return;
    service->healthy = healthy;
    if (healthy)
        logInfo("The enclave is healthy: port %u can be reached", service->config->port);
    else
        logWarning("The enclave is not healthy: port %u could not be reached %u times",
                   service->config->port, service->config->failures);
    serviceTellHealth(service);
}

static void
healthConclude(Health *health, bool reached)
{
    Service *service = health->service;

    service->current--;
    if (reached) {
        health->failed = 0;
        healthSet(service, true);
        return;
    }
    service->failed++;
    if (health->failed < (int)service->config->failures)
        health->failed++;
    if (health->failed == (int)service->config->failures)
        healthSet(service, false);
}

static void
healthOnConnected(int fd, int err, void *opaque)
{
    Health *health = opaque;

    deadlineClear(&health->deadline);
    health->request = NULL;
    if (fd >= 0)
        close(fd);
    /* The end of the link is not the enclave's. */
    if (fd < 0 && err == ECONNRESET && !servicesHasLink(health->service->services)) {
        health->service->current--;
        return;
    }
    healthConclude(health, fd >= 0);
}

static void
healthOnTime(Deadline *deadline)
{
    Health *health = (Health *)deadline;

    g_clear_pointer(&health->request, linkRequestCancel);
    healthConclude(health, false);
}

static void
healthTry(Health *health)
{
    Service *service = health->service;

    if (health->request)
        return;
    health->request = serviceConnect(service, healthOnConnected, health);
    if (!health->request)
        return;
    service->current++;
    service->total++;
    deadlineSet(&health->deadline, MIN(service->config->interval * 1000, HEALTH_WAIT_MS),
                healthOnTime);
}

static gboolean
healthOnTimer(gpointer opaque)
{
    healthTry(opaque);
    return G_SOURCE_CONTINUE;
}

void
healthBegin(Service *service)
{
    Health *health = g_new0(Health, 1);

    health->service = service;
    health->failed = -1;
    service->state = health;
}

void
healthOnLink(Service *service)
{
    Health *health = service->state;

    g_clear_handle_id(&health->timer, g_source_remove);
    health->timer = g_timeout_add_seconds(service->config->interval, healthOnTimer, health);
    healthTry(health);
}

void
healthEnd(Service *service)
{
    Health *health = g_steal_pointer(&service->state);

    if (!health)
        return;
    g_clear_handle_id(&health->timer, g_source_remove);
    deadlineClear(&health->deadline);
    linkRequestCancel(health->request);
    g_free(health);
}
