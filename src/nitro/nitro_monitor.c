/*
 * nitro_monitor.c: the daemon's side of the control protocol
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The event loop's thread reads: bytes -> lines -> JSON objects, of which events
 * go to the callback and replies to the thread that waits for them. Any other
 * thread writes commands. The helper is not trusted: it holds a guest at bay.
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
#include "virstring.h"
#include "virthread.h"
#include "virutil.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_monitor");

/* ms: how long a helper is left alone that has not measured its image yet */
#define NITRO_MONITOR_MEASURE_PAUSE 50

struct _nitroMonitor {
    virObjectLockable parent;

    int fd;    /* -1 when closed */
    int watch; /* -1 when none */
    virCond cond;

    GString *input; /* received, not yet a whole line; the event loop's thread only */

    nitroMonitorCallback callback;
    void *opaque;
    virFreeCallback freecb;

    bool greeted;
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
 * The CPU ids in the array "cpus" of @data. Returns a new array (g_free), or NULL when there
 * is none, or when it is not one of numbers.
 */
static unsigned int *
nitroMonitorGetCpus(virJSONValue *data,
                    size_t *ncpus)
{
    virJSONValue *array = virJSONValueObjectGetArray(data, "cpus");
    size_t n = array ? virJSONValueArraySize(array) : 0;
    g_autofree unsigned int *cpus = NULL;
    size_t i;

    *ncpus = 0;
    if (n == 0)
        return NULL;

    /* no longer than the line that it was in */
    cpus = g_new0(unsigned int, n);
    for (i = 0; i < n; i++) {
        if (virJSONValueGetNumberUint(virJSONValueArrayGet(array, i), &cpus[i]) < 0 ||
            cpus[i] >= VIR_DOMAIN_CPUMASK_LEN)
            return NULL;
    }
    *ncpus = n;
    return g_steal_pointer(&cpus);
}


static int
nitroMonitorHandleEvent(nitroMonitor *mon,
                        virJSONValue *object)
{
    nitroMonitorEvent event = { .cid = -1 };
    virJSONValue *data = virJSONValueObjectGetObject(object, "data");
    g_autofree unsigned int *cpus = NULL;
    unsigned int cid;

    if (!(event.name = virJSONValueObjectGetString(object, "event"))) {
        VIR_ERROR(_("the helper sent an event whose name is no string"));
        return -1;
    }
    if (data) {
        if (virJSONValueObjectGetNumberUint(data, "cid", &cid) == 0)
            event.cid = cid;
        event.cpus = cpus = nitroMonitorGetCpus(data, &event.ncpus);
        event.reason = virJSONValueObjectGetString(data, "reason");
        event.code = virJSONValueObjectGetString(data, "code");
        event.text = virJSONValueObjectGetString(data, "text");
    }
    nitroMonitorEmit(mon, &event);
    return 0;
}


static int
nitroMonitorHandleGreeting(nitroMonitor *mon,
                           virJSONValue *object)
{
    virJSONValue *greeting = virJSONValueObjectGetObject(object, NITRO_PROTOCOL_GREETING);
    int protocol;

    if (!greeting ||
        virJSONValueObjectGetNumberInt(greeting, "protocol", &protocol) < 0 ||
        protocol < NITRO_PROTOCOL_VERSION) {
        VIR_ERROR(_("the helper's greeting is not that of protocol version %d"),
                  NITRO_PROTOCOL_VERSION);
        return -1;
    }
    mon->greeted = true;
    return 0;
}


/* Returns 0, or -1 when the helper does not keep to the protocol. */
static int
nitroMonitorHandleLine(nitroMonitor *mon,
                       const char *line)
{
    g_autoptr(virJSONValue) object = virJSONValueFromString(line);
    int id;

    if (!object || !virJSONValueIsObject(object)) {
        virResetLastError();
        VIR_ERROR(_("the helper sent what is no JSON object: '%.200s'"), line);
        return -1;
    }

    if (!mon->greeted)
        return nitroMonitorHandleGreeting(mon, object);

    if (virJSONValueObjectHasKey(object, "event"))
        return nitroMonitorHandleEvent(mon, object);

    VIR_WITH_OBJECT_LOCK_GUARD(mon) {
        if (mon->waitId != 0 &&
            virJSONValueObjectGetNumberInt(object, "id", &id) == 0 &&
            id == mon->waitId && !mon->reply) {
            mon->reply = g_steal_pointer(&object);
            virCondBroadcast(&mon->cond);
        }
    }
    return 0;
}


/* Returns 0, or -1 at the end of the connection. */
static int
nitroMonitorRead(nitroMonitor *mon,
                 int fd)
{
    char buf[4096];
    ssize_t got;
    char *newline;

    if ((got = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (got == 0)
        return -1;

    g_string_append_len(mon->input, buf, got);

    while ((newline = memchr(mon->input->str, '\n', mon->input->len))) {
        g_autofree char *line = g_strndup(mon->input->str, newline - mon->input->str);

        g_string_erase(mon->input, 0, newline - mon->input->str + 1);
        if (nitroMonitorHandleLine(mon, line) < 0)
            return -1;
    }

    if (mon->input->len > NITRO_PROTOCOL_LINE_MAX) {
        VIR_ERROR(_("the helper sent a line of more than %d bytes"), NITRO_PROTOCOL_LINE_MAX);
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
    nitroMonitorEvent end = { .name = NULL };
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
        VIR_WITH_OBJECT_LOCK_GUARD(mon) {
            mon->gone = true;
            virCondBroadcast(&mon->cond);
        }
        nitroMonitorEmit(mon, &end);
    }
    virObjectUnref(mon);
}


nitroMonitor *
nitroMonitorOpen(int fd,
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
    mon->input = g_string_new(NULL);
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


void
nitroMonitorClose(nitroMonitor *mon)
{
    VIR_LOCK_GUARD lock = virObjectLockGuard(mon);

    if (mon->watch >= 0) {
        virEventRemoveHandle(mon->watch);
        mon->watch = -1;
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
    virJSONValue *ret;
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
        virReportError(nitroMonitorErrorNumber(error),
                       _("the helper refused the command '%s': %s"), name,
                       NULLSTR(virJSONValueObjectGetString(error, "text")));
        return NULL;
    }
    if (!(ret = virJSONValueObjectStealObject(reply, "return"))) {
        virReportError(VIR_ERR_INTERNAL_ERROR,
                       _("the helper's reply to '%s' has no 'return'"), name);
    }
    return ret;
}


void
nitroMonitorStatusClear(nitroMonitorStatus *status)
{
    g_clear_pointer(&status->phase, g_free);
    g_clear_pointer(&status->cpus, g_free);
}


int
nitroMonitorQueryStatus(nitroMonitor *mon,
                        unsigned int timeout,
                        nitroMonitorStatus *status)
{
    g_autoptr(virJSONValue) reply = NULL;
    const char *phase;
    unsigned int cid;

    if (!(reply = nitroMonitorCommand(mon, NITRO_COMMAND_QUERY_STATUS, timeout)))
        return -1;

    if (!(phase = virJSONValueObjectGetString(reply, "phase"))) {
        virReportError(VIR_ERR_INTERNAL_ERROR, "%s", _("the helper's status has no phase"));
        return -1;
    }
    status->phase = g_strdup(phase);
    status->cid = -1;
    if (virJSONValueObjectGetNumberUint(reply, "cid", &cid) == 0)
        status->cid = cid;
    status->cpus = nitroMonitorGetCpus(reply, &status->ncpus);
    return 0;
}


void
nitroMonitorMeasurementsClear(nitroMonitorMeasurements *measurements)
{
    size_t i;

    g_clear_pointer(&measurements->hash, g_free);
    for (i = 0; i < NITRO_PCR_COUNT; i++)
        g_clear_pointer(&measurements->pcr[i], g_free);
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
    size_t i;

    if (!(reply = nitroMonitorWaitMeasured(mon, timeout)))
        return -1;

    measurements->hash = g_strdup(virJSONValueObjectGetString(reply, "hash"));
    for (i = 0; i < NITRO_PCR_COUNT; i++) {
        g_autofree char *name = g_strdup_printf("pcr%zu", i);

        measurements->pcr[i] = g_strdup(virJSONValueObjectGetString(reply, name));
    }
    if (!measurements->hash || !measurements->pcr[0]) {
        virReportError(VIR_ERR_INTERNAL_ERROR, "%s",
                       _("the helper's measurements have no hash, or no PCR0"));
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
