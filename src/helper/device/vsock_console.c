/*
 * vsock_console.c: the debug console of an enclave on the device
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: vsockConsoleDial() -> connect(), which goes on in the background ->
 * vsockConsoleOnConnected() -> vsockConsoleOnInput() -> output(). A connection that fails, or
 * ends before it has brought anything, is tried again after a pause.
 */

#include "device/vsock_console.h"

#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "common/log.h"

#define VSOCK_CONSOLE_PORT_BASE 10000

/* Pauses between two attempts, in milliseconds: each is twice as long as the one before. */
#define VSOCK_CONSOLE_PAUSE_MIN 25
#define VSOCK_CONSOLE_PAUSE_MAX 1000

/* What is waited for without a word in the log, in microseconds */
#define VSOCK_CONSOLE_PATIENCE (10 * G_USEC_PER_SEC)

/* Reads after the end: more than console.c keeps */
#define VSOCK_CONSOLE_DRAIN_MAX 128

struct _VsockConsole {
    uint32_t cid;
    void (*output)(const void *buf, size_t len, void *opaque);
    void *opaque;
    int fd;            /* -1: no attempt goes on */
    guint watch;       /* of the attempt, the connection, or the pause before the next attempt */
    unsigned int pause; /* milliseconds */
    gint64 begin;      /* of all the attempts */
    bool warned;       /* that they take long */
    bool seen;         /* there has been output */
};

static void vsockConsoleDial(VsockConsole *console);

static gboolean
vsockConsoleOnPause(gpointer opaque)
{
    VsockConsole *console = opaque;

    console->watch = 0;
    vsockConsoleDial(console);
    return G_SOURCE_REMOVE;
}

/* The attempt, or the connection, has ended because of the errno @err (0: end of file). */
static void
vsockConsoleRetry(VsockConsole *console, int err)
{
    if (console->fd >= 0)
        close(console->fd);
    console->fd = -1;
    if (console->seen) {
        logInfo("The debug console has ended");
        return;
    }

    if (!console->warned && g_get_monotonic_time() - console->begin > VSOCK_CONSOLE_PATIENCE) {
        console->warned = true;
        logWarning("The debug console (CID %u, port %u) cannot be reached, which is tried on: %s",
                   VMADDR_CID_HYPERVISOR, VSOCK_CONSOLE_PORT_BASE + console->cid,
                   err == 0 ? "it is closed at once" : g_strerror(err));
    }
    console->watch = g_timeout_add(console->pause, vsockConsoleOnPause, console);
    console->pause = MIN(console->pause * 2, VSOCK_CONSOLE_PAUSE_MAX);
}

/* Hands on what one read gives. Returns 1, 0 at the end of file, or -errno. */
static int
vsockConsoleRead(VsockConsole *console)
{
    char buf[4096];
    ssize_t n = recv(console->fd, buf, sizeof(buf), MSG_DONTWAIT);

    if (n < 0)
        return -errno;
    if (n == 0)
        return 0;
    console->seen = true;
    console->output(buf, n, console->opaque);
    return 1;
}

static gboolean
vsockConsoleOnInput(gint fd G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED, gpointer opaque)
{
    VsockConsole *console = opaque;
    int rc = vsockConsoleRead(console);

    if (rc > 0 || rc == -EAGAIN || rc == -EINTR)
        return G_SOURCE_CONTINUE;
    console->watch = 0;
    vsockConsoleRetry(console, -rc);
    return G_SOURCE_REMOVE;
}

static gboolean
vsockConsoleOnConnected(gint fd, GIOCondition condition G_GNUC_UNUSED, gpointer opaque)
{
    VsockConsole *console = opaque;
    int err = 0;
    socklen_t len = sizeof(err);

    console->watch = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        err = errno;
    if (err != 0) {
        vsockConsoleRetry(console, err);
        return G_SOURCE_REMOVE;
    }
    console->watch = g_unix_fd_add(fd, G_IO_IN, vsockConsoleOnInput, console);
    return G_SOURCE_REMOVE;
}

static void
vsockConsoleDial(VsockConsole *console)
{
    struct sockaddr_vm address = {
        .svm_family = AF_VSOCK,
        .svm_cid = VMADDR_CID_HYPERVISOR,
        .svm_port = VSOCK_CONSOLE_PORT_BASE + console->cid,
    };

    console->fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (console->fd < 0 ||
        (connect(console->fd, (const struct sockaddr *)&address, sizeof(address)) < 0 &&
         errno != EINPROGRESS && errno != EINTR)) {
        vsockConsoleRetry(console, errno);
        return;
    }
    console->watch = g_unix_fd_add(console->fd, G_IO_OUT, vsockConsoleOnConnected, console);
}

VsockConsole *
vsockConsoleNew(uint32_t cid, void (*output)(const void *buf, size_t len, void *opaque),
                void *opaque)
{
    VsockConsole *console = g_new0(VsockConsole, 1);

    console->cid = cid;
    console->output = output;
    console->opaque = opaque;
    console->pause = VSOCK_CONSOLE_PAUSE_MIN;
    console->begin = g_get_monotonic_time();
    vsockConsoleDial(console);
    return console;
}

/* The hypervisor closes the console of an enclave that has ended, behind its last output. */
static void
vsockConsoleDrain(VsockConsole *console)
{
    gint64 end = g_get_monotonic_time() + VSOCK_CONSOLE_LAST_WORDS_MS * 1000;
    struct pollfd pfd = {.fd = console->fd, .events = POLLIN};
    int i;

    for (i = 0; i < VSOCK_CONSOLE_DRAIN_MAX; i++) {
        gint64 left = MAX(end - g_get_monotonic_time(), 0);
        int rc;

        if (poll(&pfd, 1, (int)(left / 1000)) <= 0)
            return;
        rc = vsockConsoleRead(console);
        if (rc <= 0 && rc != -EAGAIN && rc != -EINTR)
            return;
    }
}

void
vsockConsoleFree(VsockConsole *console)
{
    if (!console)
        return;
    if (console->watch > 0)
        g_source_remove(console->watch);
    if (console->fd >= 0) {
        vsockConsoleDrain(console);
        close(console->fd);
    }
    g_free(console);
}
