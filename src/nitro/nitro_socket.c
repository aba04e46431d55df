/*
 * nitro_socket.c: UNIX sockets in the state directory, and those of consoles
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "nitro_socket.h"
#include "virerror.h"
#include "virfile.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_NITRO


/*
 * A new socket, with @bits more in its type, and the address @path in @addr. Returns the
 * descriptor, or -errno.
 */
static int
nitroSocketNew(const char *path,
               int bits,
               struct sockaddr_un *addr)
{
    int fd;

    addr->sun_family = AF_UNIX;
    if (virStrcpyStatic(addr->sun_path, path) < 0)
        return -ENAMETOOLONG;
    if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | bits, 0)) < 0)
        return -errno;
    return fd;
}


int
nitroSocketBind(const char *path)
{
    struct sockaddr_un addr = { 0 };
    VIR_AUTOCLOSE fd = nitroSocketNew(path, 0, &addr);
    int ret = fd;

    if (fd < 0)
        return ret;
    /* The file gets the access of the socket. */
    if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return -errno;
    if (listen(fd, SOMAXCONN) < 0) {
        ret = -errno;
        unlink(path);
        return ret;
    }

    fd = -1;
    return ret;
}


int
nitroSocketListen(const char *path)
{
    int fd = nitroSocketBind(path);

    if (fd == -ENAMETOOLONG) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("the path '%s' of a socket is too long, at most %zu bytes can be used: give virtnitrod a shorter XDG_RUNTIME_DIR"),
                       path, NITRO_SOCKET_PATH_MAX);
        return -1;
    }
    if (fd < 0) {
        virReportSystemError(-fd, _("cannot create the socket '%s'"), path);
        return -1;
    }
    return fd;
}


int
nitroSocketConnect(const char *path)
{
    struct sockaddr_un addr = { 0 };
    VIR_AUTOCLOSE fd = nitroSocketNew(path, SOCK_NONBLOCK, &addr);
    int ret = fd;

    if (fd < 0)
        return ret;
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return -errno;

    fd = -1;
    return ret;
}
