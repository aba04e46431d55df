/*
 * nitro_services_monitor.c: the daemon's side of the control socket of a services process
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * As nitro_monitor.c: lines (nitro_wire.c) -> messages (nitro_services_message.c) -> the callback, or
 * the thread that waits for a reply. With the first word that breaks the protocol the connection
 * is over, and the process is started anew.
 */

#include <config.h>

#include "helper_protocol.h"
#include "nitro_services_monitor.h"
#include "nitro_wire.h"
#include "services_protocol.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_services_monitor");

struct _nitroServicesMonitor {
    nitroWire parent;

    char *name; /* of the domain */
    nitroServicesTalk talk; /* the event loop's thread only, but for the list of services */

    nitroServicesMonitorCallback callback;
    void *opaque;
    virFreeCallback freecb;
};

static virClass *nitroServicesMonitorClass;

static void
nitroServicesMonitorDispose(void *obj)
{
    nitroServicesMonitor *mon = obj;

    g_free(mon->name);
    nitroServicesTalkClear(&mon->talk);
    if (mon->freecb)
        mon->freecb(mon->opaque);
}


static int
nitroServicesMonitorOnceInit(void)
{
    if (!VIR_CLASS_NEW(nitroServicesMonitor, virClassForNitroWire()))
        return -1;
    return 0;
}

VIR_ONCE_GLOBAL_INIT(nitroServicesMonitor);


static void
nitroServicesMonitorOnEnd(nitroWire *wire)
{
    nitroServicesMonitor *mon = (nitroServicesMonitor *) wire;
    const nitroServicesMessage gone = { .type = NITRO_SERVICES_TOLD_GONE };

    mon->callback(mon, &gone, mon->opaque);
}


static void
nitroServicesMonitorBreak(nitroServicesMonitor *mon,
                          const char *why)
{
    VIR_ERROR(_("domain '%s': the services process has broken the control protocol: %s"),
              mon->name, why);
}


static int
nitroServicesMonitorHear(nitroWire *wire,
                         const char *line,
                         size_t len,
                         int lastCommand,
                         int *id,
                         virJSONValue **reply)
{
    nitroServicesMonitor *mon = (nitroServicesMonitor *) wire;
    g_auto(nitroServicesMessage) message = { 0 };
    g_autofree char *why = NULL;

    if (nitroServicesTalkHear(&mon->talk, line, len, g_get_monotonic_time(), lastCommand,
                              &message, &why) < 0) {
        nitroServicesMonitorBreak(mon, why);
        return -1;
    }

    if (message.type == NITRO_SERVICES_TOLD_REPLY) {
        *id = message.id;
        *reply = g_steal_pointer(&message.reply);
    } else if (message.type != NITRO_SERVICES_TOLD_NOTHING) {
        mon->callback(mon, &message, mon->opaque);
    }
    return 0;
}


static void
nitroServicesMonitorOnTooLong(nitroWire *wire)
{
    g_autofree char *why = g_strdup_printf(_("it has sent a line of more than %d bytes"),
                                           NITRO_PROTOCOL_LINE_MAX);

    nitroServicesMonitorBreak((nitroServicesMonitor *) wire, why);
}


static void
nitroServicesMonitorOnPause(nitroWire *wire,
                            int err)
{
    VIR_WARN("Unable to read what the services process of domain '%s' says: %s",
             ((nitroServicesMonitor *) wire)->name, g_strerror(err));
}


static const nitroWireOps nitroServicesMonitorOps = {
    .hear = nitroServicesMonitorHear,
    .tooLong = nitroServicesMonitorOnTooLong,
    .pause = nitroServicesMonitorOnPause,
    .end = nitroServicesMonitorOnEnd,
};


nitroServicesMonitor *
nitroServicesMonitorOpen(int fd,
                         const char *name,
                         const nitroServiceDef *services,
                         size_t n,
                         nitroServicesMonitorCallback callback,
                         void *opaque,
                         virFreeCallback freecb)
{
    g_autoptr(nitroServicesMonitor) mon = NULL;

    if (nitroServicesMonitorInitialize() < 0 ||
        !(mon = virObjectLockableNew(nitroServicesMonitorClass))) {
        VIR_FORCE_CLOSE(fd);
        return NULL;
    }

    mon->name = g_strdup(name);
    nitroServicesTalkInit(&mon->talk, services, n);
    mon->callback = callback;
    mon->opaque = opaque;
    if (nitroWireOpen(&mon->parent, fd, &nitroServicesMonitorOps) < 0)
        return NULL;

    mon->freecb = freecb;
    return g_steal_pointer(&mon);
}


bool
nitroServicesMonitorIsGone(nitroServicesMonitor *mon)
{
    return nitroWireIsGone(&mon->parent);
}


void
nitroServicesMonitorClose(nitroServicesMonitor *mon)
{
    nitroWireClose(&mon->parent);
}


/* Returns the "return" of the reply (virJSONValueFree), or NULL with an error set. */
static virJSONValue *
nitroServicesMonitorCommand(nitroServicesMonitor *mon,
                            const char *name,
                            const int *fds,
                            size_t nfds,
                            unsigned int timeout)
{
    g_autoptr(virJSONValue) reply = NULL;
    virJSONValue *error;
    nitroWireResult result = nitroWireCommand(&mon->parent, name, fds, nfds, timeout, &reply);

    if (result == NITRO_WIRE_ERROR)
        return NULL;
    if (result != NITRO_WIRE_ANSWERED) {
        bool late = result == NITRO_WIRE_BUSY || result == NITRO_WIRE_SILENT;

        virReportError(late ? VIR_ERR_OPERATION_TIMEOUT : VIR_ERR_OPERATION_FAILED,
                       _("the services process of domain '%s' did not answer the command '%s'"),
                       mon->name, name);
        return NULL;
    }
    if ((error = virJSONValueObjectGetObject(reply, "error"))) {
        const char *text = virJSONValueObjectGetString(error, "text");
        g_autofree char *clean = nitroMonitorCleanText(NULLSTR(text));

        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("the services process of domain '%s' refused the command '%s': %s"),
                       mon->name, name, clean);
        return NULL;
    }
    return virJSONValueObjectStealObject(reply, "return");
}


int
nitroServicesMonitorLink(nitroServicesMonitor *mon,
                         int link,
                         int helper,
                         unsigned int timeout)
{
    const int fds[] = { link, helper };
    g_autoptr(virJSONValue) reply = NULL;

    reply = nitroServicesMonitorCommand(mon, NITRO_SERVICES_COMMAND_LINK, fds,
                                        helper < 0 ? 1 : 2, timeout);
    return reply ? 0 : -1;
}


/* Sends the command @name, which is answered with the @status. Returns 0, or -1 with an error set. */
static int
nitroServicesMonitorAsk(nitroServicesMonitor *mon,
                        const char *name,
                        unsigned int timeout,
                        nitroServicesStatus *status)
{
    g_autoptr(virJSONValue) reply = NULL;
    g_autofree char *why = NULL;

    if (!(reply = nitroServicesMonitorCommand(mon, name, NULL, 0, timeout)))
        return -1;
    if (nitroServicesStatusRead(status, &mon->talk, reply, &why) == 0)
        return 0;

    virReportError(VIR_ERR_INTERNAL_ERROR,
                   _("the status of the services process of domain '%s' makes no sense: %s"),
                   mon->name, why);
    return -1;
}


int
nitroServicesMonitorQuery(nitroServicesMonitor *mon,
                          unsigned int timeout,
                          nitroServicesStatus *status)
{
    return nitroServicesMonitorAsk(mon, NITRO_SERVICES_COMMAND_QUERY, timeout, status);
}


int
nitroServicesMonitorFinish(nitroServicesMonitor *mon,
                           unsigned int timeout,
                           nitroServicesStatus *status)
{
    return nitroServicesMonitorAsk(mon, NITRO_SERVICES_COMMAND_FINISH, timeout, status);
}
