/*
 * listener.c: takes the connections of a listening socket
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: socket -> listenerOnReady() -> accept4() -> accepted().
 */

#include "common/listener.h"

#include <errno.h>
#include <glib-unix.h>
#include <sys/socket.h>

#include "common/log.h"

/* Connections that are accepted at once */
#define LISTENER_BATCH 16

/* After a failing accept(), in milliseconds */
#define LISTENER_RETRY_MS 1000

struct _Listener {
    int fd;
    const char *what;
    guint watch;
    void (*accepted)(int fd, void *opaque);
    void *opaque;
};

static gboolean listenerOnReady(gint fd, GIOCondition condition, gpointer opaque);

static gboolean
listenerOnRetry(gpointer opaque)
{
    Listener *listener = opaque;

    listener->watch = g_unix_fd_add(listener->fd, G_IO_IN, listenerOnReady, listener);
    return G_SOURCE_REMOVE;
}

static gboolean
listenerOnReady(gint fd, GIOCondition condition G_GNUC_UNUSED, gpointer opaque)
{
    Listener *listener = opaque;
    size_t i;

    for (i = 0; i < LISTENER_BATCH; i++) {
        int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (client >= 0) {
            listener->accepted(client, listener->opaque);
        } else if (errno == EAGAIN) {
            return G_SOURCE_CONTINUE;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            /* Most likely out of descriptors: the client keeps waiting, we do not spin. */
            logWarning("%s cannot be accepted: %s", listener->what, g_strerror(errno));
            listener->watch = g_timeout_add(LISTENER_RETRY_MS, listenerOnRetry, listener);
            return G_SOURCE_REMOVE;
        }
    }
    return G_SOURCE_CONTINUE;
}

Listener *
listenerNew(int fd, const char *what, void (*accepted)(int fd, void *opaque), void *opaque)
{
    Listener *listener = g_new0(Listener, 1);

    listener->fd = fd;
    listener->what = what;
    listener->accepted = accepted;
    listener->opaque = opaque;

    /* The flag belongs to the socket, which its creator does not read from any more. */
    if (!g_unix_set_fd_nonblocking(fd, TRUE, NULL))
        logWarning("%s: the socket cannot be made non-blocking", what);
    if (listenerOnReady(fd, G_IO_IN, listener) == G_SOURCE_CONTINUE)
        listener->watch = g_unix_fd_add(fd, G_IO_IN, listenerOnReady, listener);
    return listener;
}

void
listenerFree(Listener *listener)
{
    if (!listener)
        return;
    g_source_remove(listener->watch);
    g_free(listener);
}
