/*
 * fuzzloop.h: what the fuzz targets of the helper's connections share
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The code under test has one end of a socket, the target the other one, and the main loop
 * runs as long as there is something to do.
 */

#pragma once

#include <glib.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* No input makes the loop turn more often than this, or something spins. */
#define FUZZ_TURNS_MAX 100000

static inline void
fuzzRunLoop(void)
{
    unsigned int turns = 0;

    while (g_main_context_iteration(NULL, FALSE)) {
        if (++turns > FUZZ_TURNS_MAX)
            abort();
    }
}

/* A pair of connected, non-blocking sockets: one for the code under test, one for the target */
static inline void
fuzzSocketPair(int fds[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        abort();
}

/* A listening socket without a name in the file system, which serves all inputs */
static inline int
fuzzListen(void)
{
    static int fd = -1;
    struct sockaddr autobind = {.sa_family = AF_UNIX};

    if (fd < 0) {
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || bind(fd, &autobind, sizeof(autobind.sa_family)) < 0 || listen(fd, 8) < 0)
            abort();
    }
    return fd;
}

/* A new non-blocking connection to it */
static inline int
fuzzConnect(void)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || getsockname(fuzzListen(), (struct sockaddr *)&address, &len) < 0 ||
        connect(fd, (struct sockaddr *)&address, len) < 0)
        abort();
    return fd;
}

/* Sends what the other side takes; one that has closed its end takes nothing. */
static inline void
fuzzSend(int fd, const void *data, size_t size)
{
    const char *next = data;

    while (size > 0) {
        ssize_t n = send(fd, next, size, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0)
            return;
        next += n;
        size -= n;
        fuzzRunLoop();
    }
}

/* Reads all that has been sent by the other side until now; appends it to @output. */
static inline void
fuzzReceive(int fd, GString *output)
{
    char buf[4096];
    ssize_t n;

    while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
        g_string_append_len(output, buf, n);
        fuzzRunLoop();
    }
}
