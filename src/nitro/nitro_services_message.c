/*
 * nitro_services_message.c: what a services process says, checked
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "nitro_services_message.h"
#include "services_protocol.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

/* Members of a line, and its commas: a service has 11 now, and what newer ones add */
#define NITRO_SERVICES_MEMBERS_MAX (NITRO_SERVICES_MAX * 16)


void
nitroServicesStatusClear(nitroServicesStatus *status)
{
    g_clear_pointer(&status->services, g_free);
    status->n = 0;
}


void
nitroServicesMessageClear(nitroServicesMessage *message)
{
    g_clear_pointer(&message->reply, virJSONValueFree);
}


void
nitroServicesTalkInit(nitroServicesTalk *talk,
                      const nitroServiceDef *services,
                      size_t n)
{
    size_t i;

    memset(talk, 0, sizeof(*talk));
    talk->services = g_new0(nitroServiceStatus, n);
    talk->n = n;
    for (i = 0; i < n; i++) {
        talk->services[i].type = services[i].type;
        talk->services[i].port = services[i].port;
    }
}


void
nitroServicesTalkClear(nitroServicesTalk *talk)
{
    g_clear_pointer(&talk->services, g_free);
    talk->n = 0;
}


/* The member @key of @object. Returns 1, 0 when there is none, or -1 with @why set. */
static int
nitroServicesGetBool(virJSONValue *object,
                     const char *key,
                     bool *value,
                     char **why)
{
    virJSONValue *member = virJSONValueObjectGet(object, key);

    if (!member)
        return 0;
    if (virJSONValueGetBoolean(member, value) == 0)
        return 1;
    *why = g_strdup_printf(_("'%s' is neither true nor false"), key);
    return -1;
}


/* Reads "port" of an event, which is that of a service of @type. Returns 0, or -1 with @why set. */
static int
nitroServicesGetPort(const nitroServicesTalk *talk,
                     nitroServiceType type,
                     virJSONValue *data,
                     unsigned int *port,
                     char **why)
{
    long long number;
    int rc = nitroMonitorGetNumber(data, "port", 0, UINT_MAX, &number, why);
    size_t i;

    if (rc < 0)
        return -1;
    for (i = 0; rc > 0 && i < talk->n; i++) {
        if (talk->services[i].type == type && talk->services[i].port == number) {
            *port = number;
            return 0;
        }
    }
    *why = g_strdup_printf(_("the event '%s' names no port of such a service"),
                           nitroServiceTypeToString(type));
    return -1;
}


static int
nitroServicesHearHealth(const nitroServicesTalk *talk,
                        virJSONValue *data,
                        nitroServicesMessage *message,
                        char **why)
{
    int rc;

    message->type = NITRO_SERVICES_TOLD_HEALTH;
    if (nitroServicesGetPort(talk, NITRO_SERVICE_HEALTH, data, &message->port, why) < 0 ||
        (rc = nitroServicesGetBool(data, "healthy", &message->healthy, why)) < 0)
        return -1;
    if (rc > 0)
        return 0;
    *why = g_strdup_printf(_("the event '%s' does not say all that it must"),
                           NITRO_SERVICES_EVENT_HEALTH);
    return -1;
}


static int
nitroServicesHearExit(nitroServicesTalk *talk,
                      virJSONValue *data,
                      nitroServicesMessage *message,
                      char **why)
{
    long long code = 0;
    int rc;

    message->type = NITRO_SERVICES_TOLD_EXIT;
    if (nitroServicesGetPort(talk, NITRO_SERVICE_EXIT, data, &message->port, why) < 0 ||
        (rc = nitroMonitorGetNumber(data, "code", 0, 255, &code, why)) < 0)
        return -1;
    if (rc == 0 || talk->exited) {
        *why = g_strdup_printf(rc == 0 ? _("the event '%s' does not say all that it must") :
                                         _("it has sent the event '%s' twice"),
                               NITRO_SERVICES_EVENT_EXIT);
        return -1;
    }
    talk->exited = true;
    message->code = code;
    return 0;
}


/* Whether one more event may come at @now */
static bool
nitroServicesMayTell(nitroServicesTalk *talk,
                     gint64 now)
{
    if (talk->events == 0 || now - talk->since >= NITRO_SERVICES_EVENTS_TIME) {
        talk->since = now;
        talk->events = 0;
    }
    return ++talk->events <= NITRO_SERVICES_EVENTS_MAX;
}


static int
nitroServicesHearEvent(nitroServicesTalk *talk,
                       virJSONValue *object,
                       gint64 now,
                       nitroServicesMessage *message,
                       char **why)
{
    virJSONValue *data = virJSONValueObjectGetObject(object, "data");
    g_autofree char *name = NULL;

    if (nitroMonitorGetName(object, "event", &name, why) < 0)
        return -1;
    if (!nitroServicesMayTell(talk, now)) {
        *why = g_strdup_printf(_("it has sent more than %d events within %d seconds"),
                               NITRO_SERVICES_EVENTS_MAX,
                               (int) (NITRO_SERVICES_EVENTS_TIME / G_USEC_PER_SEC));
        return -1;
    }
    if (STREQ(name, NITRO_SERVICES_EVENT_LINK_LOST)) {
        message->type = NITRO_SERVICES_TOLD_LINK_LOST;
        return 0;
    }
    if (STRNEQ(name, NITRO_SERVICES_EVENT_HEALTH) && STRNEQ(name, NITRO_SERVICES_EVENT_EXIT))
        return 0;
    if (!data) {
        *why = g_strdup_printf(_("the event '%s' has no 'data'"), name);
        return -1;
    }
    if (STREQ(name, NITRO_SERVICES_EVENT_HEALTH))
        return nitroServicesHearHealth(talk, data, message, why);
    return nitroServicesHearExit(talk, data, message, why);
}


int
nitroServicesTalkHear(nitroServicesTalk *talk,
                      const char *line,
                      size_t len,
                      gint64 now,
                      int lastCommand,
                      nitroServicesMessage *message,
                      char **why)
{
    g_autoptr(virJSONValue) object = NULL;

    if (!(object = nitroMonitorHearLine(line, len, NITRO_SERVICES_MEMBERS_MAX,
                                        NITRO_SERVICES_MEMBERS_MAX, why)))
        return -1;
    if (talk->protocol == 0)
        return nitroMonitorHearGreeting(object, NITRO_SERVICES_GREETING,
                                        NITRO_SERVICES_PROTOCOL_VERSION, &talk->protocol, why);
    if (virJSONValueObjectHasKey(object, "event"))
        return nitroServicesHearEvent(talk, object, now, message, why);

    if (nitroMonitorHearReply(object, &talk->lastReply, lastCommand, why) < 0)
        return -1;
    message->type = NITRO_SERVICES_TOLD_REPLY;
    message->id = talk->lastReply;
    message->reply = g_steal_pointer(&object);
    return 0;
}


/* Reads the counters of the service @data. Returns 0, or -1 with @why set. */
static int
nitroServicesReadCounters(nitroServiceStatus *service,
                          virJSONValue *data,
                          char **why)
{
    const struct {
        const char *key;
        unsigned long long *value;
    } counters[] = {
        { "current", &service->current },
        { "total", &service->total },
        { "received", &service->received },
        { "sent", &service->sent },
        { "refused", &service->refused },
        { "failed", &service->failed },
        { "lost", &service->lost },
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(counters); i++) {
        long long number = 0;

        if (nitroMonitorGetNumber(data, counters[i].key, 0, LLONG_MAX, &number, why) < 0)
            return -1;
        *counters[i].value = number;
    }
    if (service->current <= service->total)
        return 0;
    *why = g_strdup_printf(_("service %u has more connections now than in all"), service->port);
    return -1;
}


/* Reads @data of the service @known. Returns 0, or -1 with @why set. */
static int
nitroServicesReadOne(nitroServiceStatus *service,
                     const nitroServiceStatus *known,
                     virJSONValue *data,
                     char **why)
{
    g_autofree char *type = NULL;
    long long port = -1;
    long long code = -1;
    bool healthy = false;
    int rc;

    *service = *known;
    service->healthy = service->code = -1;
    if (nitroMonitorGetName(data, "type", &type, why) < 0 ||
        nitroMonitorGetNumber(data, "port", 0, UINT_MAX, &port, why) < 0)
        return -1;
    if (STRNEQ_NULLABLE(type, nitroServiceTypeToString(known->type)) || port != known->port) {
        *why = g_strdup_printf(_("it has something else in the place of service %u"), known->port);
        return -1;
    }
    if (nitroServicesReadCounters(service, data, why) < 0 ||
        nitroMonitorGetNumber(data, "code", 0, 255, &code, why) < 0 ||
        (rc = nitroServicesGetBool(data, "healthy", &healthy, why)) < 0)
        return -1;
    if (known->type == NITRO_SERVICE_HEALTH && rc > 0)
        service->healthy = healthy;
    if (known->type == NITRO_SERVICE_EXIT)
        service->code = code;
    return 0;
}


int
nitroServicesStatusRead(nitroServicesStatus *status,
                        const nitroServicesTalk *talk,
                        virJSONValue *data,
                        char **why)
{
    virJSONValue *list = virJSONValueObjectGetArray(data, "services");
    size_t i;

    status->link = false;
    if (nitroServicesGetBool(data, "link", &status->link, why) < 0)
        return -1;
    if (!list || virJSONValueArraySize(list) != talk->n) {
        *why = g_strdup(_("'services' is not a list of the services that there are"));
        return -1;
    }

    nitroServicesStatusClear(status);
    status->services = g_new0(nitroServiceStatus, talk->n);
    status->n = talk->n;
    for (i = 0; i < talk->n; i++) {
        virJSONValue *service = virJSONValueArrayGet(list, i);

        if (!virJSONValueIsObject(service)) {
            *why = g_strdup_printf(_("'services' has an element %zu that is no object"), i);
            return -1;
        }
        if (nitroServicesReadOne(&status->services[i], &talk->services[i], service, why) < 0)
            return -1;
    }
    return 0;
}
