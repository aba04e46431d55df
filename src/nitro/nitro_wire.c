/*
 * nitro_wire.c: a connection on which lines of JSON are exchanged with a process
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The event loop's thread reads: bytes -> lines -> the user's "hear", of which replies go to the
 * thread that waits for them. Any other thread writes commands.
 */

#include <config.h>

#include <sys/socket.h>
#include <unistd.h>

#include "helper_protocol.h"
#include "nitro_wire.h"
#include "nitro_wait.h"
#include "virerror.h"
#include "virevent.h"
#include "virfile.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

/* Bytes that are read at a time, so that others get their turn */
#define NITRO_WIRE_READ_MAX 4096

/* Descriptors that go with a command at most */
#define NITRO_WIRE_FDS_MAX 2

/* ms: until it is read again what could not be read */
#define NITRO_WIRE_READ_PAUSE 100

static virClass *nitroWireClass;

static void
nitroWireDispose(void *obj)
{
    nitroWire *wire = obj;

    VIR_FORCE_CLOSE(wire->fd);
    if (wire->condReady)
        virCondDestroy(&wire->cond);
    if (wire->input)
        g_string_free(wire->input, TRUE);
    virJSONValueFree(wire->reply);
}


static int
nitroWireOnceInit(void)
{
    if (!VIR_CLASS_NEW(nitroWire, virClassForObjectLockable()))
        return -1;
    return 0;
}

VIR_ONCE_GLOBAL_INIT(nitroWire);


virClass *
virClassForNitroWire(void)
{
    return nitroWireInitialize() < 0 ? NULL : nitroWireClass;
}


void
nitroWireEnd(nitroWire *wire)
{
    VIR_WITH_OBJECT_LOCK_GUARD(wire) {
        if (wire->gone)
            return;
        wire->gone = true;
        virCondBroadcast(&wire->cond);
    }
    wire->ops->end(wire);
}


/* Returns 0, or -1 when the other side does not keep to the protocol. */
static int
nitroWireHandleLine(nitroWire *wire,
                    const char *line,
                    size_t len)
{
    g_autoptr(virJSONValue) reply = NULL;
    int lastCommand = 0;
    int id = 0;

    VIR_WITH_OBJECT_LOCK_GUARD(wire)
        lastCommand = wire->lastId;

    if (wire->ops->hear(wire, line, len, lastCommand, &id, &reply) < 0)
        return -1;
    if (!reply)
        return 0;

    VIR_WITH_OBJECT_LOCK_GUARD(wire) {
        /* A reply that nobody waits for any more is dropped. */
        if (wire->waitId != 0 && id == wire->waitId) {
            wire->reply = g_steal_pointer(&reply);
            virCondBroadcast(&wire->cond);
        }
    }
    return 0;
}


/* The time of a pause is over. */
static void
nitroWireResume(int timer,
                void *opaque)
{
    nitroWire *wire = opaque;

    VIR_WITH_OBJECT_LOCK_GUARD(wire) {
        if (wire->watch >= 0 && !wire->gone)
            virEventUpdateHandle(wire->watch, VIR_EVENT_HANDLE_READABLE);
    }
    virEventRemoveTimeout(timer);
}


/* What cannot be read now, as the host is short of something, is read later. errno is set. */
static void
nitroWirePause(nitroWire *wire)
{
    wire->ops->pause(wire, errno);
    if (virEventAddTimeout(NITRO_WIRE_READ_PAUSE, nitroWireResume,
                           virObjectRef(wire), virObjectUnref) < 0)
        virObjectUnref(wire);
    else
        virEventUpdateHandle(wire->watch, 0);
}


/* Returns 0, or -1 at the end of the connection. */
static int
nitroWireRead(nitroWire *wire,
              int fd)
{
    char buf[NITRO_WIRE_READ_MAX];
    ssize_t got;
    const char *line;
    const char *newline;

    if ((got = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) < 0) {
        if (errno == ECONNRESET)
            return -1;
        /* Any other error is one of this host, and says nothing of the other side. */
        if (errno != EAGAIN && errno != EINTR)
            nitroWirePause(wire);
        return 0;
    }
    if (got == 0)
        return -1;

    g_string_append_len(wire->input, buf, got);
    line = wire->input->str;

    while ((newline = memchr(line, '\n', wire->input->str + wire->input->len - line))) {
        if (nitroWireHandleLine(wire, line, newline - line) < 0)
            return -1;
        line = newline + 1;
    }
    g_string_erase(wire->input, 0, line - wire->input->str);

    if (wire->input->len >= NITRO_PROTOCOL_LINE_MAX) {
        wire->ops->tooLong(wire);
        return -1;
    }
    return 0;
}


static void
nitroWireIO(int watch,
            int fd,
            int events,
            void *opaque)
{
    nitroWire *wire = opaque;
    int rc = -1;

    VIR_WITH_OBJECT_LOCK_GUARD(wire) {
        if (wire->watch != watch)
            return;
        virObjectRef(wire);
    }

    /* What was sent before the other side closed the connection is read first. */
    if (events & (VIR_EVENT_HANDLE_READABLE | VIR_EVENT_HANDLE_HANGUP))
        rc = nitroWireRead(wire, fd);

    if (rc < 0) {
        virEventUpdateHandle(watch, 0);
        nitroWireEnd(wire);
    }
    virObjectUnref(wire);
}


int
nitroWireOpen(nitroWire *wire,
              int fd,
              const nitroWireOps *ops)
{
    wire->fd = fd;
    wire->ops = ops;
    wire->watch = -1;
    wire->input = g_string_new(NULL);
    if (virCondInit(&wire->cond) < 0) {
        virReportSystemError(errno, "%s", _("cannot initialize a condition variable"));
        return -1;
    }
    wire->condReady = true;

    VIR_WITH_OBJECT_LOCK_GUARD(wire) {
        virObjectRef(wire);
        wire->watch = virEventAddHandle(fd, VIR_EVENT_HANDLE_READABLE, nitroWireIO,
                                        wire, virObjectUnref);
    }
    if (wire->watch < 0) {
        virObjectUnref(wire);
        virReportError(VIR_ERR_INTERNAL_ERROR, "%s", _("cannot watch the control socket"));
        return -1;
    }
    return 0;
}


bool
nitroWireIsGone(nitroWire *wire)
{
    VIR_LOCK_GUARD lock = virObjectLockGuard(wire);

    return wire->gone;
}


void
nitroWireClose(nitroWire *wire)
{
    VIR_LOCK_GUARD lock = virObjectLockGuard(wire);

    if (wire->watch >= 0) {
        virEventRemoveHandle(wire->watch);
        wire->watch = -1;
    }
    wire->gone = true;
    virCondBroadcast(&wire->cond);
    /* The descriptor is closed with the last reference: the event loop may be using it. */
    shutdown(wire->fd, SHUT_RDWR);
}


/* Sends @line with @fds, in one piece. Returns whether it could. */
static bool
nitroWireSendLine(nitroWire *wire,
                  const char *line,
                  const int *fds,
                  size_t nfds)
{
    union {
        char buf[CMSG_SPACE(NITRO_WIRE_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control = { 0 };
    struct iovec iov = { .iov_base = (char *) line, .iov_len = strlen(line) };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (nfds > NITRO_WIRE_FDS_MAX)
        return false;
    if (nfds > 0) {
        struct cmsghdr *cmsg;

        msg.msg_control = control.buf;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(cmsg), fds, nfds * sizeof(int));
    }
    return sendmsg(wire->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t) iov.iov_len;
}


/*
 * A command is far smaller than the socket's buffer: a process that lets it fill up does not answer
 * any more.
 */
int
nitroWireSend(nitroWire *wire,
              const char *name,
              const int *fds,
              size_t nfds)
{
    g_autoptr(virJSONValue) object = NULL;
    g_autofree char *text = NULL;
    g_autofree char *line = NULL;
    int id = ++wire->lastId;

    if (virJSONValueObjectAdd(&object, "s:command", name, "i:id", id, NULL) < 0 ||
        !(text = virJSONValueToString(object, false)))
        return -1;
    line = g_strdup_printf("%s\n", text);

    if (wire->gone || !nitroWireSendLine(wire, line, fds, nfds))
        return -2;
    return id;
}


nitroWireResult
nitroWireCommand(nitroWire *wire,
                 const char *name,
                 const int *fds,
                 size_t nfds,
                 unsigned int timeout,
                 virJSONValue **reply)
{
    VIR_LOCK_GUARD lock = virObjectLockGuard(wire);
    gint64 end = g_get_monotonic_time() + timeout * 1000LL;
    int id;

    /* One command at a time; queries come without a job of the domain. */
    while (wire->waitId != 0 && !wire->gone) {
        if (nitroCondWaitUntil(&wire->cond, &wire->parent.lock, end) < 0)
            return NITRO_WIRE_BUSY;
    }
    if ((id = nitroWireSend(wire, name, fds, nfds)) < 0)
        return id == -1 ? NITRO_WIRE_ERROR : NITRO_WIRE_UNSENT;

    wire->waitId = id;
    while (!wire->reply && !wire->gone) {
        if (nitroCondWaitUntil(&wire->cond, &wire->parent.lock, end) < 0)
            break;
    }
    wire->waitId = 0;
    *reply = g_steal_pointer(&wire->reply);
    virCondBroadcast(&wire->cond);
    if (*reply)
        return NITRO_WIRE_ANSWERED;
    return wire->gone ? NITRO_WIRE_GONE : NITRO_WIRE_SILENT;
}
