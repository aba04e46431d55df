/*
 * escapeservices.c: makes the process of an enclave's services try to get out of its sandbox
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Linked with all of its own sources, and with -Wl,--wrap for one function of theirs, so that nothing
 * of this is in the program that is installed. Its service "exit" takes the name of an act (escape.h)
 * in place of a code.
 */

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "escape.h"
#include "exit_service.h"

#define ACT_MAX 64

void __wrap_exitAccept(Service *service, int fd);

/* What the acts aim at must be read before the sandbox is there. */
__attribute__((constructor)) static void
escapeConstruct(void)
{
    escapeRead();
}

void
__wrap_exitAccept(Service *service G_GNUC_UNUSED, int fd)
{
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    char act[ACT_MAX] = "";

    if (poll(&pfd, 1, -1) == 1 && recv(fd, act, sizeof(act) - 1, MSG_DONTWAIT) > 0)
        escapeRun(act);
    close(fd);
}
