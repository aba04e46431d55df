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

#include "boot.h"
#include "heartbeat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRONG_BYTE 0x48
#define LATE_SECONDS 5


void
heartbeat(const char *how)
{
    int fd;

    if (strcmp(how, "no") == 0)
        return;
    if (strcmp(how, "late") == 0)
        sleep(LATE_SECONDS);

    if ((fd = bootDialParent(BOOT_HEARTBEAT_PORT)) < 0) {
        printf("hello: no heartbeat: cannot connect to the parent: %s\n", strerror(errno));
        exit(EXIT_FAILURE);
    }
    if (strcmp(how, "silent") == 0) {
        /* the connection stays open until the end of the enclave */
        printf("hello: keeping the heartbeat back\n");
        return;
    }
    if (strcmp(how, "close") != 0 &&
        !bootBeat(fd, strcmp(how, "wrong") == 0 ? WRONG_BYTE : BOOT_HEARTBEAT))
        exit(EXIT_FAILURE);
    close(fd);
}
