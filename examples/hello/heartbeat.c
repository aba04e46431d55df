/*
 * heartbeat.c: telling the parent that the enclave has booted
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One exchange of a byte, before anything else: what the parent hears of an enclave that
 * cannot do it is that it has ended.
 */

#include "heartbeat.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define PARENT_CID 3
#define HEARTBEAT_PORT 9000
#define HEARTBEAT_BYTE 0xb7
#define WRONG_BYTE 0x48
#define LATE_SECONDS 5


static void
giveUp(const char *what)
{
    printf("hello: no heartbeat: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}


static int
dialParent(void)
{
    struct sockaddr_vm parent = {
        .svm_family = AF_VSOCK,
        .svm_cid = PARENT_CID,
        .svm_port = HEARTBEAT_PORT,
    };
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        giveUp("cannot make a vsock");
    if (connect(fd, (struct sockaddr *)&parent, sizeof(parent)) < 0)
        giveUp("cannot connect to the parent");
    return fd;
}


static void
exchange(int fd, uint8_t byte)
{
    uint8_t answer = 0;
    ssize_t n;

    if (write(fd, &byte, 1) != 1)
        giveUp("cannot write to the parent");
    if ((n = read(fd, &answer, 1)) < 0)
        giveUp("cannot read from the parent");
    if (n == 0) {
        printf("hello: no heartbeat: the parent has closed the connection\n");
        exit(EXIT_FAILURE);
    }
    if (answer != HEARTBEAT_BYTE) {
        printf("hello: no heartbeat: the parent has answered 0x%02x\n", answer);
        exit(EXIT_FAILURE);
    }
}


void
heartbeat(const char *how)
{
    int fd;

    if (strcmp(how, "no") == 0)
        return;
    if (strcmp(how, "late") == 0)
        sleep(LATE_SECONDS);

    fd = dialParent();
    if (strcmp(how, "silent") == 0) {
        /* the connection stays open until the end of the enclave */
        printf("hello: keeping the heartbeat back\n");
        return;
    }
    if (strcmp(how, "close") != 0)
        exchange(fd, strcmp(how, "wrong") == 0 ? WRONG_BYTE : HEARTBEAT_BYTE);
    close(fd);
}
