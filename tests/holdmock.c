/*
 * holdmock.c: holds a program right before it shuts a socket, for tests: preloaded
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The environment variable HOLDMOCK_SHUTDOWN names a FIFO. shutdown() waits until somebody has
 * opened it for writing, which succeeds without waiting from then on, and has closed it again.
 * So a test can do what has to happen between two calls of a program.
 */

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))


EXPORT int
shutdown(int fd, int how)
{
    const char *path = getenv("HOLDMOCK_SHUTDOWN");
    int fifo = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    char byte;

    if (fifo >= 0) {
        while (read(fifo, &byte, 1) > 0)
            continue;
        close(fifo);
    }
    return (int)syscall(SYS_shutdown, fd, how);
}
