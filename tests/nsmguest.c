/*
 * nsmguest.c: the program of an enclave that hands requests on to the NSM
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Usage: nsmguest PORT. Serves one connection of the host's after another on the vsock port, with
 * messages of a number, 32 bits of this machine's order, and so many bytes: a request as the host has
 * encoded it is answered with the reply of Linux' /dev/nsm, or with the negative errno in place of the
 * number. The number 0 ends the program. tests/e2e/test_nsm.py is the other side.
 *
 * Source of the ioctl: Linux' include/uapi/linux/nsm.h, which the headers of Debian 12 do not have.
 *
 * Flow: main -> serve -> answer, for each message.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define NSM_REQUEST_MAX 0x1000
#define NSM_RESPONSE_MAX 0x3000

struct nsm_iovec {
    uint64_t addr;
    uint64_t len;
};

struct nsm_raw {
    struct nsm_iovec request;
    struct nsm_iovec response;
};

#define NSM_IOCTL_RAW _IOWR(0x0A, 0x0, struct nsm_raw)


static void __attribute__((noreturn))
fail(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}


static bool
readAll(int conn, void *data, size_t len)
{
    return recv(conn, data, len, MSG_WAITALL) == (ssize_t)len;
}


static bool
writeAll(int conn, const void *data, size_t len)
{
    const char *next = data;

    while (len > 0) {
        ssize_t n = send(conn, next, len, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        next += n;
        len -= n;
    }
    return true;
}


/* Returns the length of the reply, or -errno. */
static int32_t
askNsm(int nsm, const uint8_t *request, size_t len, uint8_t *reply)
{
    struct nsm_raw raw = {
        .request = { (uintptr_t)request, len },
        .response = { (uintptr_t)reply, NSM_RESPONSE_MAX },
    };

    return ioctl(nsm, NSM_IOCTL_RAW, &raw) < 0 ? -errno : (int32_t)raw.response.len;
}


/* Returns whether more can come on this connection. */
static bool
answer(int conn, int nsm)
{
    static uint8_t request[NSM_REQUEST_MAX];
    static uint8_t reply[NSM_RESPONSE_MAX];
    uint32_t len;
    int32_t got;

    if (!readAll(conn, &len, sizeof(len)))
        return false;
    if (len == 0)
        exit(EXIT_SUCCESS);
    if (len > sizeof(request) || !readAll(conn, request, len))
        return false;
    got = askNsm(nsm, request, len, reply);
    return writeAll(conn, &got, sizeof(got)) && writeAll(conn, reply, got < 0 ? 0 : got);
}


static int
listenOn(unsigned int port)
{
    struct sockaddr_vm address = {
        .svm_family = AF_VSOCK,
        .svm_cid = VMADDR_CID_ANY,
        .svm_port = port,
    };
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0)
        fail("the vsock port");
    return fd;
}


static void __attribute__((noreturn))
serve(int listener, int nsm)
{
    for (;;) {
        int conn = accept(listener, NULL, NULL);

        if (conn < 0)
            fail("accept");
        while (answer(conn, nsm))
            continue;
        close(conn);
    }
}


int
main(int argc, char **argv)
{
    int nsm = open("/dev/nsm", O_RDWR | O_CLOEXEC);

    if (argc != 2) {
        fprintf(stderr, "Usage: %s PORT\n", argv[0]);
        return EXIT_FAILURE;
    }
    if (nsm < 0)
        fail("/dev/nsm");
    serve(listenOn(strtoul(argv[1], NULL, 10)), nsm);
}
