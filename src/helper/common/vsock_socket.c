/*
 * vsock_socket.c: stream sockets of the host's own vsock (AF_VSOCK)
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each function makes a few system calls, which the tables of the processes that call it have.
 */

#include "common/vsock_socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

static int
vsockSocketNew(void)
{
    return socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Closes @fd and keeps errno. Returns -1. */
static int
vsockSocketFail(int fd)
{
    int err = errno;

    close(fd);
    errno = err;
    return -1;
}

int
vsockSocketListen(uint32_t port)
{
    const struct sockaddr_vm address = {
        .svm_family = AF_VSOCK,
        .svm_cid = VMADDR_CID_ANY,
        .svm_port = port,
    };
    int fd = vsockSocketNew();

    if (fd < 0)
        return -1;
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, SOMAXCONN) < 0)
        return vsockSocketFail(fd);
    return fd;
}

int
vsockSocketConnect(uint32_t cid, uint32_t port, unsigned int timeout)
{
    const struct sockaddr_vm address = {
        .svm_family = AF_VSOCK,
        .svm_cid = cid,
        .svm_port = port,
    };
    const struct timeval limit = {.tv_sec = timeout};
    int fd = vsockSocketNew();

    if (fd < 0)
        return -1;
    if (timeout > 0 && setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit,
                                  sizeof(limit)) < 0)
        return vsockSocketFail(fd);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 &&
        errno != EINPROGRESS && errno != EINTR)
        return vsockSocketFail(fd);
    return fd;
}

int
vsockSocketError(int fd)
{
    int err = 0;
    socklen_t len = sizeof(err);

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? errno : err;
}

int
vsockSocketPeer(int fd, uint32_t *cid)
{
    struct sockaddr_vm address = {0};
    socklen_t len = sizeof(address);

    if (getpeername(fd, (struct sockaddr *)&address, &len) < 0)
        return -1;
    if (address.svm_family != AF_VSOCK) {
        errno = EPROTOTYPE;
        return -1;
    }
    *cid = address.svm_cid;
    return 0;
}
