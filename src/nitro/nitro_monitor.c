/*
 * nitro_monitor.c: the daemon's side of the control protocol
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The event loop's thread reads: bytes -> lines -> messages (nitro_monitor_message.c), of
 * which events go to the callback and replies to the thread that waits for them. Any other
 * thread writes commands. The helper is not trusted: it holds a guest at bay. With its first
 * word that breaks the protocol the connection is over.
 */

#include <config.h>

#include <sys/socket.h>
#include <unistd.h>

#include "helper_protocol.h"
#include "nitro_monitor.h"
#include "nitro_socket.h"
#include "nitro_wait.h"
#include "virerror.h"
#include "virevent.h"
#include "virfile.h"
#include "virjson.h"
#include "virlog.h"
#include "virthread.h"
#include "virutil.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_monitor");

/* ms: how long a helper may keep the connection after it has said that its enclave has ended */
#define NITRO_MONITOR_END_TIMEOUT 10000

/* Bytes that are read at a time, so that others get their turn */
#define NITRO_MONITOR_READ_MAX 4096

/* ms: how long a helper is left alone that has not measured its image yet */
#define NITRO_MONITOR_MEASURE_PAUSE 50

/* ms: until it is read again what could not be read */
#define NITRO_MONITOR_READ_PAUSE 100

struct _nitroMonitor {
    virObjectLockable parent;

    int fd;    /* -1 when closed */
    int watch; /* -1 when none */
    int timer; /* for the end of a connection that is over; -1 when none */
    virCond cond;

    char *name; /* of the domain */

    /* The event loop's thread only: */
    GString *input; /* received, not yet a whole line */
    nitroMonitorTalk talk;

    nitroMonitorCallback callback;
    void *opaque;
    virFreeCallback freecb;

    nitroMonitorEnclave enclave; /* as it was at the beginning */
    bool foreign; /* the helper speaks no version of the protocol that the daemon does */
    bool gone; /* the helper has closed the connection, or broken the protocol */
    int lastId;
    int waitId;          /* the command that a thread waits for; 0: none */
    virJSONValue *reply; /* to waitId */
};

static virClass *nitroMonitorClass;

static void
nitroMonitorDispose(void *obj)
{
    nitroMonitor *mon = obj;

    VIR_FORCE_CLOSE(mon->fd);
    virCondDestroy(&mon->cond);
    g_string_free(mon->input, TRUE);
    g_free(mon->name);
    virJSONValueFree(mon->reply);
    if (mon->freecb)
        mon->freecb(mon->opaque);
}


static int
nitroMonitorOnceInit(void)
{
    if (!VIR_CLASS_NEW(nitroMonitor, virClassForObjectLockable()))
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
nitroMonitorEnd(nitroMonitor *mon)
{
    const nitroMonitorEvent end = { .name = NULL };

    VIR_WITH_OBJECT_LOCK_GUARD(mon) {
        if (mon->gone)
            return;
        mon->gone = true;
        virCondBroadcast(&mon->cond);
    }
    nitroMonitorEmit(mon, &end);
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
    nitroMonitorEnd(mon);
    virObjectUnref(mon);
}


/* A helper whose enclave has ended closes the connection, or is taken for one that has. */
static void
nitroMonitorAwaitEnd(nitroMonitor *mon)
{
    VIR_LOCK_GUARD lock = virObjectLockGuard(mon);

    if (mon->watch < 0 || mon->timer >= 0)
        return;
    virObjectRef(mon);
    mon->timer = virEventAddTimeout(NITRO_MONITOR_END_TIMEOUT, nitroMonitorOnEndTimer,
                                    mon, virObjectUnref);
    if (mon->timer < 0)
        virObjectUnref(mon);
}


/* A reply that nobody waits for any more is dropped. */
static void
nitroMonitorHandleReply(nitroMonitor *mon,
                        nitroMonitorMessage *message)
{
    VIR_LOCK_GUARD lock = virObjectLockGuard(mon);

    if (mon->waitId == 0 || message->id != mon->waitId)
        return;
    mon->reply = g_steal_pointer(&message->reply);
    virCondBroadcast(&mon->cond);
}


/* Returns 0, or -1 when the helper does not keep to the protocol. */
static int
nitroMonitorHandleLine(nitroMonitor *mon,
                       const char *line,
                       size_t len)
{
    g_auto(nitroMonitorMessage) message = { 0 };
    g_autofree char *why = NULL;
    int lastCommand = 0;

    VIR_WITH_OBJECT_LOCK_GUARD(mon)
        lastCommand = mon->lastId;

    if (nitroMonitorTalkHear(&mon->talk, line, len, lastCommand, &message, &why) < 0) {
        VIR_WITH_OBJECT_LOCK_GUARD(mon)
            mon->foreign = mon->talk.foreign;
        nitroMonitorBreak(mon, why);
        return -1;
    }

    if (message.type == NITRO_MONITOR_MESSAGE_REPLY) {
        nitroMonitorHandleReply(mon, &message);
    } else if (message.type == NITRO_MONITOR_MESSAGE_EVENT) {
        nitroMonitorEmit(mon, &message.event);
        if (nitroMonitorTalkIsOver(&mon->talk))
            nitroMonitorAwaitEnd(mon);
    }
    return 0;
}


/* The time of a pause is over. */
static void
nitroMonitorResume(int timer,
                   void *opaque)
{
    nitroMonitor *mon = opaque;

    VIR_WITH_OBJECT_LOCK_GUARD(mon) {
        if (mon->watch >= 0 && !mon->gone)
            virEventUpdateHandle(mon->watch, VIR_EVENT_HANDLE_READABLE);
    }
    virEventRemoveTimeout(timer);
}


/* What cannot be read now, as the host is short of something, is read later. errno is set. */
static void
nitroMonitorPause(nitroMonitor *mon)
{
    VIR_WARN("Unable to read what the helper of domain '%s' says: %s", mon->name, g_strerror(errno));
    if (virEventAddTimeout(NITRO_MONITOR_READ_PAUSE, nitroMonitorResume,
                           virObjectRef(mon), virObjectUnref) < 0)
        virObjectUnref(mon);
    else
        virEventUpdateHandle(mon->watch, 0);
}


/* Returns 0, or -1 at the end of the connection. */
static int
nitroMonitorRead(nitroMonitor *mon,
                 int fd)
{
    char buf[NITRO_MONITOR_READ_MAX];
    ssize_t got;
    const char *line;
    const char *newline;

    if ((got = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) < 0) {
        if (errno == ECONNRESET)
            return -1;
        /* Any other error is one of this host, and says nothing of the helper. */
        if (errno != EAGAIN && errno != EINTR)
            nitroMonitorPause(mon);
        return 0;
    }
    if (got == 0)
        return -1;

    g_string_append_len(mon->input, buf, got);
    line = mon->input->str;

    while ((newline = memchr(line, '\n', mon->input->str + mon->input->len - line))) {
        if (nitroMonitorHandleLine(mon, line, newline - line) < 0)
            return -1;
        line = newline + 1;
    }
    g_string_erase(mon->input, 0, line - mon->input->str);

    if (mon->input->len >= NITRO_PROTOCOL_LINE_MAX) {
        g_autofree char *why = g_strdup_printf(_("it has sent a line of more than %d bytes"),
                                               NITRO_PROTOCOL_LINE_MAX);

        nitroMonitorBreak(mon, why);
        return -1;
    }
    return 0;
}


static void
nitroMonitorIO(int watch,
               int fd,
               int events,
               void *opaque)
{
    nitroMonitor *mon = opaque;
    int rc = -1;

    VIR_WITH_OBJECT_LOCK_GUARD(mon) {
        if (mon->watch != watch)
            return;
        virObjectRef(mon);
    }

    /* What was sent before the helper closed the connection is read first. */
    if (events & (VIR_EVENT_HANDLE_READABLE | VIR_EVENT_HANDLE_HANGUP))
        rc = nitroMonitorRead(mon, fd);

    if (rc < 0) {
        virEventUpdateHandle(watch, 0);
        nitroMonitorEnd(mon);
    }
    virObjectUnref(mon);
}


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

    mon->fd = fd;
    mon->watch = -1;
    mon->timer = -1;
    mon->name = g_strdup(name);
    mon->input = g_string_new(NULL);
    mon->enclave = mon->talk.enclave = *enclave;
    mon->callback = callback;
    mon->opaque = opaque;
    if (virCondInit(&mon->cond) < 0) {
        virReportSystemError(errno, "%s", _("cannot initialize a condition variable"));
        return NULL;
    }

    VIR_WITH_OBJECT_LOCK_GUARD(mon) {
        virObjectRef(mon);
        mon->watch = virEventAddHandle(fd, VIR_EVENT_HANDLE_READABLE, nitroMonitorIO,
                                       mon, virObjectUnref);
    }
    if (mon->watch < 0) {
        virObjectUnref(mon);
        virReportError(VIR_ERR_INTERNAL_ERROR, "%s", _("cannot watch the control socket"));
        return NULL;
    }

    mon->freecb = freecb;
    return g_steal_pointer(&mon);
}


bool
nitroMonitorIsGone(nitroMonitor *mon)
{
    VIR_LOCK_GUARD lock = virObjectLockGuard(mon);

    return mon->gone;
}


bool
nitroMonitorIsForeign(nitroMonitor *mon)
{
    VIR_LOCK_GUARD lock = virObjectLockGuard(mon);

    return mon->foreign;
}


void
nitroMonitorClose(nitroMonitor *mon)
{
    VIR_LOCK_GUARD lock = virObjectLockGuard(mon);

    if (mon->watch >= 0) {
        virEventRemoveHandle(mon->watch);
        mon->watch = -1;
    }
    if (mon->timer >= 0) {
        virEventRemoveTimeout(mon->timer);
        mon->timer = -1;
    }
    mon->gone = true;
    virCondBroadcast(&mon->cond);
    /* The descriptor is closed with the last reference: the event loop may be using it. */
    shutdown(mon->fd, SHUT_RDWR);
}


/*
 * Sends the command @name and returns its id, or -1 with an error set. The lock
 * of @mon is held. A command is far smaller than the socket's buffer: a helper
 * that lets it fill up does not answer any more.
 */
static int
nitroMonitorSend(nitroMonitor *mon,
                 const char *name)
{
    g_autoptr(virJSONValue) object = NULL;
    g_autofree char *text = NULL;
    g_autofree char *line = NULL;
    int id = ++mon->lastId;

    if (virJSONValueObjectAdd(&object, "s:command", name, "i:id", id, NULL) < 0 ||
        !(text = virJSONValueToString(object, false)))
        return -1;
    line = g_strdup_printf("%s\n", text);

    if (mon->gone ||
        send(mon->fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL) != strlen(line)) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("cannot send the command '%s' to the helper"), name);
        return -1;
    }
    return id;
}


/* What the object "error" of a reply is for the caller */
static virErrorNumber
nitroMonitorErrorNumber(virJSONValue *error)
{
    if (STREQ_NULLABLE(virJSONValueObjectGetString(error, "code"), NITRO_ERROR_NOT_READY))
        return VIR_ERR_RESOURCE_BUSY;
    return VIR_ERR_OPERATION_FAILED;
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
    VIR_LOCK_GUARD lock = virObjectLockGuard(mon);
    g_autoptr(virJSONValue) reply = NULL;
    virJSONValue *error;
    gint64 end = g_get_monotonic_time() + timeout * 1000LL;
    int id;

    /* One command at a time; queries come without a job of the domain. */
    while (mon->waitId != 0 && !mon->gone) {
        if (nitroCondWaitUntil(&mon->cond, &mon->parent.lock, end) < 0) {
            virReportError(VIR_ERR_OPERATION_TIMEOUT,
                           _("the helper does not answer, so the command '%s' was not sent"), name);
            return NULL;
        }
    }
    if ((id = nitroMonitorSend(mon, name)) < 0)
        return NULL;

    mon->waitId = id;
    while (!mon->reply && !mon->gone) {
        if (nitroCondWaitUntil(&mon->cond, &mon->parent.lock, end) < 0)
            break;
    }
    mon->waitId = 0;
    reply = g_steal_pointer(&mon->reply);
    virCondBroadcast(&mon->cond);

    if (!reply) {
        virReportError(mon->gone ? VIR_ERR_OPERATION_FAILED : VIR_ERR_OPERATION_TIMEOUT,
                       _("the helper did not answer the command '%s'"), name);
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
    VIR_LOCK_GUARD lock = virObjectLockGuard(mon);
    gint64 end = g_get_monotonic_time() + timeout * 1000LL;

    if (!mon->gone && nitroMonitorSend(mon, NITRO_COMMAND_TERMINATE) < 0) {
        virResetLastError();
        return false;
    }

    while (!mon->gone) {
        if (nitroCondWaitUntil(&mon->cond, &mon->parent.lock, end) < 0)
            return false;
    }
    return true;
}
