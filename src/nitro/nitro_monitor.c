/*
 * nitro_monitor.c: the daemon's side of the control protocol
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The event loop's thread reads: lines (nitro_wire.c) -> messages (nitro_monitor_message.c), of
 * which events go to the callback and replies to the thread that waits for them. Any other
 * thread writes commands. The helper is not trusted: it holds a guest at bay. With its first
 * word that breaks the protocol the connection is over.
 */

#include <config.h>

#include "helper_protocol.h"
#include "nitro_monitor.h"
#include "nitro_socket.h"
#include "nitro_wait.h"
#include "nitro_wire.h"
#include "virerror.h"
#include "virevent.h"
#include "virfile.h"
#include "virjson.h"
#include "virlog.h"
#include "virthread.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_monitor");

/* ms: how long a helper may keep the connection after it has said that its enclave has ended */
#define NITRO_MONITOR_END_TIMEOUT 10000

/* ms: how long a helper is left alone that has not measured its image yet */
#define NITRO_MONITOR_MEASURE_PAUSE 50

struct _nitroMonitor {
    nitroWire parent;

    int timer; /* for the end of a connection that is over; -1 when none */

    char *name; /* of the domain */

    /* The event loop's thread only: */
    nitroMonitorTalk talk;

    nitroMonitorCallback callback;
    void *opaque;
    virFreeCallback freecb;

    nitroMonitorEnclave enclave; /* as it was at the beginning */
};

static virClass *nitroMonitorClass;

static void
nitroMonitorDispose(void *obj)
{
    nitroMonitor *mon = obj;

    g_free(mon->name);
    if (mon->freecb)
        mon->freecb(mon->opaque);
}


static int
nitroMonitorOnceInit(void)
{
    if (!VIR_CLASS_NEW(nitroMonitor, virClassForNitroWire()))
        return -1;
    return 0;
}

VIR_ONCE_GLOBAL_INIT(nitroMonitor);


int
nitroMonitorConnect(const char *path)
{
    int fd = nitroSocketConnect(path);

    if (fd < 0) {
        virReportSystemError(-fd, _("cannot connect to the control socket '%s'"), path);
        return -1;
    }
    return fd;
}


static void
nitroMonitorEmit(nitroMonitor *mon,
                 const nitroMonitorEvent *event)
{
    VIR_DEBUG("mon=%p event=%s", mon, NULLSTR(event->name));
    mon->callback(mon, event, mon->opaque);
}


/*
 * The connection is over, which is told once, and to nobody after nitroMonitorClose(). Before that
 * nitroMonitorIsGone() is true, for who was not ready to be told.
 */
static void
nitroMonitorOnEnd(nitroWire *wire)
{
    const nitroMonitorEvent end = { .name = NULL };

    nitroMonitorEmit((nitroMonitor *) wire, &end);
}


/*
 * The helper has broken the protocol, as @why says. A start fails with this; the log has it in
 * any case, once for each connection.
 */
static void
nitroMonitorBreak(nitroMonitor *mon,
                  const char *why)
{
    g_autofree char *text = g_strdup_printf(_("the helper has broken the control protocol: %s"),
                                            why);
    const nitroMonitorEvent failed = {
        .name = NITRO_EVENT_FAILED,
        .cid = -1,
        .code = (char *) NITRO_FAILURE_INTERNAL,
        .text = text,
    };

    VIR_ERROR(_("domain '%s': %s"), mon->name, text);
    if (!nitroMonitorTalkIsOver(&mon->talk))
        nitroMonitorEmit(mon, &failed);
}


static void
nitroMonitorOnEndTimer(int timer,
                       void *opaque)
{
    nitroMonitor *mon = opaque;

    VIR_WITH_OBJECT_LOCK_GUARD(mon) {
        if (mon->timer != timer)
            return;
        virEventRemoveTimeout(timer);
        mon->timer = -1;
        virObjectRef(mon);
    }
    VIR_WARN("The helper of domain '%s' has told its end, but keeps the connection", mon->name);
    nitroWireEnd(&mon->parent);
    virObjectUnref(mon);
}


/* A helper whose enclave has ended closes the connection, or is taken for one that has. */
static void
nitroMonitorAwaitEnd(nitroMonitor *mon)
{
    VIR_LOCK_GUARD lock = virObjectLockGuard(mon);

    if (mon->parent.watch < 0 || mon->timer >= 0)
        return;
    virObjectRef(mon);
    mon->timer = virEventAddTimeout(NITRO_MONITOR_END_TIMEOUT, nitroMonitorOnEndTimer,
                                    mon, virObjectUnref);
    if (mon->timer < 0)
        virObjectUnref(mon);
}


static int
nitroMonitorHear(nitroWire *wire,
                 const char *line,
                 size_t len,
                 int lastCommand,
                 int *id,
                 virJSONValue **reply)
{
    nitroMonitor *mon = (nitroMonitor *) wire;
    g_auto(nitroMonitorMessage) message = { 0 };
    g_autofree char *why = NULL;

    if (nitroMonitorTalkHear(&mon->talk, line, len, lastCommand, &message, &why) < 0) {
        nitroMonitorBreak(mon, why);
        return -1;
    }

    if (message.type == NITRO_MONITOR_MESSAGE_REPLY) {
        *id = message.id;
        *reply = g_steal_pointer(&message.reply);
    } else if (message.type == NITRO_MONITOR_MESSAGE_EVENT) {
        nitroMonitorEmit(mon, &message.event);
        if (nitroMonitorTalkIsOver(&mon->talk))
            nitroMonitorAwaitEnd(mon);
    }
    return 0;
}


static void
nitroMonitorOnTooLong(nitroWire *wire)
{
    g_autofree char *why = g_strdup_printf(_("it has sent a line of more than %d bytes"),
                                           NITRO_PROTOCOL_LINE_MAX);

    nitroMonitorBreak((nitroMonitor *) wire, why);
}


static void
nitroMonitorOnPause(nitroWire *wire,
                    int err)
{
    VIR_WARN("Unable to read what the helper of domain '%s' says: %s",
             ((nitroMonitor *) wire)->name, g_strerror(err));
}


static const nitroWireOps nitroMonitorOps = {
    .hear = nitroMonitorHear,
    .tooLong = nitroMonitorOnTooLong,
    .pause = nitroMonitorOnPause,
    .end = nitroMonitorOnEnd,
};


nitroMonitor *
nitroMonitorOpen(int fd,
                 const char *name,
                 const nitroMonitorEnclave *enclave,
                 nitroMonitorCallback callback,
                 void *opaque,
                 virFreeCallback freecb)
{
    g_autoptr(nitroMonitor) mon = NULL;

    if (nitroMonitorInitialize() < 0 ||
        !(mon = virObjectLockableNew(nitroMonitorClass))) {
        VIR_FORCE_CLOSE(fd);
        return NULL;
    }

    mon->timer = -1;
    mon->name = g_strdup(name);
    mon->enclave = mon->talk.enclave = *enclave;
    mon->callback = callback;
    mon->opaque = opaque;
    if (nitroWireOpen(&mon->parent, fd, &nitroMonitorOps) < 0)
        return NULL;

    mon->freecb = freecb;
    return g_steal_pointer(&mon);
}


bool
nitroMonitorIsGone(nitroMonitor *mon)
{
    return nitroWireIsGone(&mon->parent);
}


void
nitroMonitorClose(nitroMonitor *mon)
{
    VIR_WITH_OBJECT_LOCK_GUARD(mon) {
        if (mon->timer >= 0) {
            virEventRemoveTimeout(mon->timer);
            mon->timer = -1;
        }
    }
    nitroWireClose(&mon->parent);
}


/* What the object "error" of a reply is for the caller */
static virErrorNumber
nitroMonitorErrorNumber(virJSONValue *error)
{
    if (STREQ_NULLABLE(virJSONValueObjectGetString(error, "code"), NITRO_ERROR_NOT_READY))
        return VIR_ERR_RESOURCE_BUSY;
    return VIR_ERR_OPERATION_FAILED;
}


/* Reports that the command @name could not be sent. */
static void
nitroMonitorReportUnsent(const char *name)
{
    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("cannot send the command '%s' to the helper"), name);
}


/* Reports why there is no reply to the command @name. */
static void
nitroMonitorReportNoReply(nitroWireResult result,
                          const char *name)
{
    switch (result) {
    case NITRO_WIRE_BUSY:
        virReportError(VIR_ERR_OPERATION_TIMEOUT,
                       _("the helper does not answer, so the command '%s' was not sent"), name);
        break;
    case NITRO_WIRE_UNSENT:
        nitroMonitorReportUnsent(name);
        break;
    case NITRO_WIRE_SILENT:
    case NITRO_WIRE_GONE:
        virReportError(result == NITRO_WIRE_GONE ? VIR_ERR_OPERATION_FAILED :
                       VIR_ERR_OPERATION_TIMEOUT,
                       _("the helper did not answer the command '%s'"), name);
        break;
    case NITRO_WIRE_ANSWERED:
    case NITRO_WIRE_ERROR:
        break;
    }
}


/*
 * Sends a command and waits for its reply. Returns the object "return" of the
 * reply (virJSONValueFree), or NULL with an error set: VIR_ERR_RESOURCE_BUSY when
 * the answer is not known yet.
 */
static virJSONValue *
nitroMonitorCommand(nitroMonitor *mon,
                    const char *name,
                    unsigned int timeout)
{
    g_autoptr(virJSONValue) reply = NULL;
    virJSONValue *error;
    nitroWireResult result = nitroWireCommand(&mon->parent, name, NULL, 0, timeout, &reply);

    if (result != NITRO_WIRE_ANSWERED) {
        nitroMonitorReportNoReply(result, name);
        return NULL;
    }
    if ((error = virJSONValueObjectGetObject(reply, "error"))) {
        const char *text = virJSONValueObjectGetString(error, "text");
        g_autofree char *clean = nitroMonitorCleanText(NULLSTR(text));

        virReportError(nitroMonitorErrorNumber(error),
                       _("the helper refused the command '%s': %s"), name, clean);
        return NULL;
    }
    return virJSONValueObjectStealObject(reply, "return");
}


int
nitroMonitorQueryStatus(nitroMonitor *mon,
                        unsigned int timeout,
                        nitroMonitorStatus *status)
{
    g_autoptr(virJSONValue) reply = NULL;
    g_autofree char *why = NULL;

    if (!(reply = nitroMonitorCommand(mon, NITRO_COMMAND_QUERY_STATUS, timeout)))
        return -1;

    if (nitroMonitorStatusRead(status, &mon->enclave, reply, &why) < 0) {
        virReportError(VIR_ERR_INTERNAL_ERROR, _("the helper's status makes no sense: %s"), why);
        return -1;
    }
    return 0;
}


/* The reply when the image has been measured, within @timeout ms */
static virJSONValue *
nitroMonitorWaitMeasured(nitroMonitor *mon,
                         unsigned int timeout)
{
    virJSONValue *reply;
    gint64 end = g_get_monotonic_time() + timeout * 1000LL;

    while (!(reply = nitroMonitorCommand(mon, NITRO_COMMAND_QUERY_MEASUREMENTS, timeout)) &&
           virGetLastErrorCode() == VIR_ERR_RESOURCE_BUSY) {
        if (g_get_monotonic_time() >= end) {
            virReportError(VIR_ERR_OPERATION_TIMEOUT,
                           _("the image has not been measured within %u ms"), timeout);
            return NULL;
        }
        g_usleep(NITRO_MONITOR_MEASURE_PAUSE * 1000);
    }
    return reply;
}


int
nitroMonitorQueryMeasurements(nitroMonitor *mon,
                              unsigned int timeout,
                              nitroMonitorMeasurements *measurements)
{
    g_autoptr(virJSONValue) reply = NULL;
    g_autofree char *why = NULL;

    if (!(reply = nitroMonitorWaitMeasured(mon, timeout)))
        return -1;

    if (nitroMonitorMeasurementsRead(measurements, reply, &why) < 0) {
        virReportError(VIR_ERR_INTERNAL_ERROR,
                       _("the helper's measurements make no sense: %s"), why);
        return -1;
    }
    return 0;
}


bool
nitroMonitorTerminate(nitroMonitor *mon,
                      unsigned int timeout)
{
    nitroWire *wire = &mon->parent;
    VIR_LOCK_GUARD lock = virObjectLockGuard(wire);
    gint64 end = g_get_monotonic_time() + timeout * 1000LL;

    if (!wire->gone && nitroWireSend(wire, NITRO_COMMAND_TERMINATE, NULL, 0) < 0) {
        virResetLastError();
        return false;
    }

    while (!wire->gone) {
        if (nitroCondWaitUntil(&wire->cond, &wire->parent.lock, end) < 0)
            return false;
    }
    return true;
}
