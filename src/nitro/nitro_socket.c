/*
 * nitro_socket.c: UNIX sockets in the state directory
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <sys/socket.h>
#include <sys/un.h>

#include "nitro_socket.h"
#include "virerror.h"
#include "virfile.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_DOMAIN


int
nitroSocketListen(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    VIR_AUTOCLOSE fd = -1;
    int ret;

    if (virStrcpyStatic(addr.sun_path, path) < 0) {
        virReportError(VIR_ERR_INTERNAL_ERROR,
                       _("the path '%s' of a socket is too long, at most %zu bytes can be used: give virtnitrod a shorter XDG_RUNTIME_DIR"),
                       path, sizeof(addr.sun_path) - 1);
        return -1;
    }
    if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0 ||
        bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        listen(fd, SOMAXCONN) < 0) {
        virReportSystemError(errno, _("cannot create the socket '%s'"), path);
        return -1;
    }

    ret = fd;
    fd = -1;
    return ret;
}


int
nitroSocketConnect(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    VIR_AUTOCLOSE fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int ret;

    if (fd < 0)
        return -errno;
    if (virStrcpyStatic(addr.sun_path, path) < 0)
        return -ENAMETOOLONG;
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return -errno;

    ret = fd;
    fd = -1;
    return ret;
}
