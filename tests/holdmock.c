/*
 * holdmock.c: holds a program right before a call, for tests: preloaded
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The environment variable HOLDMOCK_SHUTDOWN names a UNIX socket, on which a test listens. The
 * program connects to it when it starts, as it may be in a sandbox later. shutdown() writes a
 * byte there and waits for one, or for the end of the connection. So a test can do what has to
 * happen between two calls of a program.
 *
 * HOLDMOCK_OPEN names a FIFO. open() waits until somebody has opened it for writing, which succeeds
 * without waiting from then on, and has closed it again, when it is to open the file
 * HOLDMOCK_OPEN_PATH: a file on a server that does not answer.
 */

/* With it, open() would be called open64() here. */
#undef _FILE_OFFSET_BITS

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static int test = -1;


static void __attribute__((constructor))
holdmockConnect(void)
{
    const char *path = getenv("HOLDMOCK_SHUTDOWN");
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (!path)
        return;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    test = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (test < 0 || connect(test, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        perror(path);
        abort();
    }
}


/* Waits as the FIFO says that the environment variable @variable names, if any. */
static void
hold(const char *variable)
{
    const char *path = getenv(variable);
    int fifo = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
    char byte;

    if (fifo < 0)
        return;
    while (read(fifo, &byte, 1) > 0)
        continue;
    close(fifo);
}


EXPORT int
shutdown(int fd, int how)
{
    int saved = errno;
    char byte = 0;

    if (test >= 0 && write(test, &byte, 1) == 1) {
        while (read(test, &byte, 1) < 0 && errno == EINTR)
            continue;
    }
    errno = saved;
    return (int)syscall(SYS_shutdown, fd, how);
}


EXPORT int
open(const char *path, int flags, ...)
{
    const char *held = getenv("HOLDMOCK_OPEN_PATH");
    va_list ap;
    int mode = 0;

    va_start(ap, flags);
    if (flags & (O_CREAT | __O_TMPFILE))
        mode = va_arg(ap, int);
    va_end(ap);
    if (held && strcmp(path, held) == 0)
        hold("HOLDMOCK_OPEN");
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...) __attribute__((alias("open")));
