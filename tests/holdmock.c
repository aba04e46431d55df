/*
 * holdmock.c: holds a program right before it shuts a socket, for tests: preloaded
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The environment variable HOLDMOCK_SHUTDOWN names a UNIX socket, on which a test listens. The
 * program connects to it when it starts, as it may be in a sandbox later. shutdown() writes a
 * byte there and waits for one, or for the end of the connection. So a test can do what has to
 * happen between two calls of a program.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
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
