/*
 * qmp.c: what the emulated machine needs of QEMU's monitor protocol
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: two commands are sent at once; QEMU, started with its vCPUs stopped, reads them
 * when its machine is ready. So the guest runs only when we are sure to get its events.
 * From then on only events come: socket -> lines -> qmpOnLine() -> callbacks.
 */

#include "emulated/qmp.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/json.h"
#include "common/log.h"

/* No message that we ask for comes near it. */
#define QMP_LINE_MAX 65536

/* Reads at the end; what QEMU has left is a few events. */
#define QMP_DRAIN_MAX 64

#define QMP_COMMANDS \
    "{\"execute\": \"qmp_capabilities\"}\n" \
    "{\"execute\": \"cont\", \"id\": 1}\n"

struct _Qmp {
    int fd;
    guint watch;
    GByteArray *input;
    const QmpCallbacks *callbacks;
    void *opaque;
};

/* Returns false when there is nothing more to be had from QEMU. */
static bool
qmpOnLine(Qmp *qmp, const char *line, size_t len)
{
    g_autofree char *error = NULL;
    g_autoptr(GHashTable) message = jsonParse(line, len, &error);
    const char *event;
    const char *text;
    int64_t id;

    if (!message) {
        qmp->callbacks->broken("its monitor has sent what is not JSON", qmp->opaque);
        return false;
    }

    event = jsonGetString(message, "event");
    if (event && g_str_equal(event, "SHUTDOWN")) {
        text = jsonGetString(message, "data.reason");
        qmp->callbacks->shutdown(text ? text : "unknown", qmp->opaque);
    } else if (event && g_str_equal(event, "STOP")) {
        /* We never stop a guest: QEMU does so when it cannot go on with it. */
        qmp->callbacks->broken("it has stopped the guest after an internal error", qmp->opaque);
    } else if (jsonHas(message, "error", JSON_OBJECT)) {
        text = jsonGetString(message, "error.desc");
        qmp->callbacks->broken(text ? text : "its monitor has refused a command", qmp->opaque);
    } else if (jsonGetInteger(message, "id", &id) && jsonHas(message, "return", JSON_OBJECT)) {
        qmp->callbacks->running(qmp->opaque);
    }
    return true;
}

typedef enum {
    QMP_MORE,  /* something was read */
    QMP_EMPTY, /* there is nothing to read now */
    QMP_END,   /* nor will there be */
} QmpResult;

/* Reads once, so that others get their turn whatever QEMU sends. */
static QmpResult
qmpRead(Qmp *qmp)
{
    guint8 buf[4096];
    const guint8 *end;
    ssize_t n = recv(qmp->fd, buf, sizeof(buf), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return QMP_EMPTY;
    if (n <= 0)
        return QMP_END;

    g_byte_array_append(qmp->input, buf, n);
    while (qmp->input->len > 0 &&
           (end = memchr(qmp->input->data, '\n', qmp->input->len))) {
        size_t len = end - qmp->input->data;
        g_autofree char *line = g_strndup((const char *)qmp->input->data, len);

        g_byte_array_remove_range(qmp->input, 0, len + 1);
        if (!qmpOnLine(qmp, line, strlen(line)))
            return QMP_END;
    }
    if (qmp->input->len > QMP_LINE_MAX) {
        qmp->callbacks->broken("its monitor has sent an endless line", qmp->opaque);
        return QMP_END;
    }
    return QMP_MORE;
}

static gboolean
qmpOnInput(gint fd G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED, gpointer opaque)
{
    Qmp *qmp = opaque;

    if (qmpRead(qmp) != QMP_END)
        return G_SOURCE_CONTINUE;
    qmp->watch = 0;
    return G_SOURCE_REMOVE;
}

Qmp *
qmpNew(int fd, const QmpCallbacks *callbacks, void *opaque)
{
    Qmp *qmp = g_new0(Qmp, 1);

    qmp->fd = fd;
    qmp->input = g_byte_array_new();
    qmp->callbacks = callbacks;
    qmp->opaque = opaque;
    qmp->watch = g_unix_fd_add(fd, G_IO_IN | G_IO_HUP, qmpOnInput, qmp);

    /* An empty socket takes this much; QEMU reads it when it is ready. */
    if (send(fd, QMP_COMMANDS, strlen(QMP_COMMANDS), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        logWarning("QEMU's monitor does not take commands: %s", g_strerror(errno));
    return qmp;
}

void
qmpFree(Qmp *qmp)
{
    if (!qmp)
        return;
    if (qmp->watch > 0)
        g_source_remove(qmp->watch);
    close(qmp->fd);
    g_byte_array_unref(qmp->input);
    g_free(qmp);
}

void
qmpDrain(Qmp *qmp)
{
    int i;

    for (i = 0; i < QMP_DRAIN_MAX && qmp->watch > 0 && qmpRead(qmp) == QMP_MORE; i++)
        ;
}
