/*
 * holdmock.c: holds a program right before a call, for tests: preloaded
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The environment variable HOLDMOCK_SHUTDOWN names a FIFO. shutdown() waits until somebody has
 * opened it for writing, which succeeds without waiting from then on, and has closed it again.
 * So a test can do what has to happen between two calls of a program.
 *
 * HOLDMOCK_OPEN names another one, for which open() waits likewise when it is to open the file
 * HOLDMOCK_OPEN_PATH: a file on a server that does not answer.
 */

/* With it, open() would be called open64() here. */
#undef _FILE_OFFSET_BITS

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))


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
    hold("HOLDMOCK_SHUTDOWN");
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
