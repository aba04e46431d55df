/*
 * listener.c: takes the connections of a listening socket
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: socket -> listenerOnReady() -> listenerAccept() -> accepted(). listenerWatch() then
 * waits for what can happen next.
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

/* What a batch has left */
typedef enum {
    LISTENER_MORE,  /* perhaps more connections */
    LISTENER_EMPTY, /* none */
    LISTENER_LATER, /* connections that cannot be accepted now */
} ListenerRest;

struct _Listener {
    int fd;
    const char *what;
    guint watch; /* waits for a connection, or to try again; 0: for nothing, or within accepted() */
    bool paused;
    bool shut;
    bool drained; /* shut, and nobody waits any more */
    void (*accepted)(int fd, void *opaque);
    void *opaque;
};

static ListenerRest
listenerAccept(Listener *listener)
{
    size_t i;

    for (i = 0; i < LISTENER_BATCH && !listener->paused; i++) {
        int client = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (client >= 0) {
            listener->accepted(client, listener->opaque);
        } else if (errno == EAGAIN || (errno == EINVAL && listener->shut)) {
            return LISTENER_EMPTY;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            /* Most likely out of descriptors: the client keeps waiting, we do not spin. */
            logWarning("%s cannot be accepted: %s", listener->what, g_strerror(errno));
            return LISTENER_LATER;
        }
    }
    return LISTENER_MORE;
}

static gboolean listenerOnReady(gint fd, GIOCondition condition, gpointer opaque);
static gboolean listenerOnRetry(gpointer opaque);

static void
listenerWatch(Listener *listener, ListenerRest rest)
{
    if (listener->shut && rest == LISTENER_EMPTY)
        listener->drained = true;
    else if (listener->paused)
        return;
    else if (rest == LISTENER_LATER)
        listener->watch = g_timeout_add(LISTENER_RETRY_MS, listenerOnRetry, listener);
    else
        listener->watch = g_unix_fd_add(listener->fd, G_IO_IN, listenerOnReady, listener);
}

static gboolean
listenerOnRetry(gpointer opaque)
{
    Listener *listener = opaque;

    listener->watch = 0;
    listenerWatch(listener, listenerAccept(listener));
    return G_SOURCE_REMOVE;
}

static gboolean
listenerOnReady(gint fd G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED, gpointer opaque)
{
    return listenerOnRetry(opaque);
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
    listenerWatch(listener, listenerAccept(listener));
    return listener;
}

void
listenerSetPaused(Listener *listener, bool paused)
{
    if (listener->paused == paused)
        return;
    listener->paused = paused;
    if (paused)
        g_clear_handle_id(&listener->watch, g_source_remove);
    else if (!listener->drained)
        listenerWatch(listener, LISTENER_MORE);
}

void
listenerShut(Listener *listener)
{
    ListenerRest rest;

    /* Of a UNIX socket this refuses new connections, and keeps those that wait. */
    if (shutdown(listener->fd, SHUT_RD) < 0)
        logWarning("%s: the socket cannot be shut: %s", listener->what, g_strerror(errno));
    listener->shut = true;
    g_clear_handle_id(&listener->watch, g_source_remove);
    do {
        rest = listenerAccept(listener);
    } while (rest == LISTENER_MORE && !listener->paused);
    listenerWatch(listener, rest);
}

bool
listenerIsDrained(const Listener *listener)
{
    return listener->drained;
}

void
listenerFree(Listener *listener)
{
    if (!listener)
        return;
    g_clear_handle_id(&listener->watch, g_source_remove);
    g_free(listener);
}
