/*
 * vsock_calls.h: the system calls of the emulated machine's vsock device
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * sandbox/filter_rule.h says what this is.
 */

#pragma once

#include <fcntl.h>
#include <sys/socket.h>

#include "sandbox/filter_rule.h"

static const FilterRule vsockCalls[] = {
    /* programs of the host: their sockets are in the one directory that there is */
    {"socket", FILTER_ALWAYS, {FILTER_IS(0, AF_UNIX), FILTER_STREAM(1)}},
    {"connect", FILTER_ALWAYS},
    {"setsockopt", FILTER_ALWAYS, {FILTER_IS(1, SOL_SOCKET), FILTER_IS(2, SO_SNDBUF)}},

    /* the services process, which gets one end of each pair */
    {"socketpair", FILTER_ALWAYS, {FILTER_IS(0, AF_UNIX), FILTER_STREAM(1)}},

    /* the host's own vsock */
    {"socket", FILTER_ALWAYS, {FILTER_IS(0, AF_VSOCK), FILTER_STREAM(1)}},
    {"getsockopt", FILTER_ALWAYS, {FILTER_IS(1, SOL_SOCKET), FILTER_IS(2, SO_ERROR)}},
    /* as in device_calls.h: for tests */
    {"getsockname", FILTER_ALWAYS},
    {"getpeername", FILTER_ALWAYS},

    /* sockets, of which there can be thousands */
    {"epoll_create1", FILTER_ALWAYS},
    {"epoll_ctl", FILTER_ALWAYS},
    {"epoll_wait", FILTER_ALWAYS},
    {"epoll_pwait", FILTER_ALWAYS},
    {"epoll_pwait2", FILTER_ALWAYS},
    {"prlimit64", FILTER_SETUP, {FILTER_IS(0, 0)}},
    {"getrlimit", FILTER_SETUP},
    {"setrlimit", FILTER_SETUP},

    /* the guest's memory, whose size must not change */
    {"fcntl", FILTER_ALWAYS, {FILTER_IS(1, F_GET_SEALS)}},
};
