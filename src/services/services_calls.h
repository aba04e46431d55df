/*
 * services_calls.h: the system calls of the process of an enclave's services
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * sandbox/filter_rule.h says what this is. A filter does not see paths: which files can be read is
 * up to Landlock (servicesRestrict()). There is no call that makes or becomes another process, or
 * that others can connect to.
 */

#pragma once

#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "sandbox/filter_rule.h"

/* What is opened is opened for reading. Landlock lets through who opens nothing but a path. */
#define SERVICES_OPEN_LACKS (O_ACCMODE | O_CREAT | O_TRUNC | O_PATH)

static const FilterRule servicesCalls[] = {
    /* destinations, and servers of names */
    {"socket", FILTER_ALWAYS, {FILTER_IS(0, AF_INET), FILTER_STREAM(1)}},
    {"socket", FILTER_ALWAYS, {FILTER_IS(0, AF_INET6), FILTER_STREAM(1)}},
    {"socket", FILTER_ALWAYS, {FILTER_IS(0, AF_INET), FILTER_DATAGRAM(1)}},
    {"socket", FILTER_ALWAYS, {FILTER_IS(0, AF_INET6), FILTER_DATAGRAM(1)}},
    /* glibc asks which addresses this host has, to sort others; without an answer it has all kinds */
    {"socket", FILTER_ALWAYS, {FILTER_IS(0, AF_NETLINK)}, .error = EAFNOSUPPORT},
    {"connect", FILTER_ALWAYS},
    {"getsockname", FILTER_ALWAYS},
    {"getsockopt", FILTER_ALWAYS, {FILTER_IS(1, SOL_SOCKET), FILTER_IS(2, SO_ERROR)}},
    {"setsockopt", FILTER_ALWAYS, {FILTER_IS(1, SOL_SOCKET), FILTER_IS(2, SO_LINGER)}},
    {"setsockopt", FILTER_ALWAYS, {FILTER_IS(1, SOL_SOCKET), FILTER_IS(2, SO_KEEPALIVE)}},
    {"setsockopt", FILTER_ALWAYS, {FILTER_IS(1, IPPROTO_TCP), FILTER_IS(2, TCP_NODELAY)}},
    {"setsockopt", FILTER_ALWAYS, {FILTER_IS(1, IPPROTO_TCP), FILTER_IS(2, TCP_CONGESTION)}},
    /* errors of servers of names */
    {"setsockopt", FILTER_ALWAYS, {FILTER_IS(1, SOL_IP), FILTER_IS(2, IP_RECVERR)}},
    {"setsockopt", FILTER_ALWAYS, {FILTER_IS(1, SOL_IPV6), FILTER_IS(2, IPV6_RECVERR)}},
    {"sendmmsg", FILTER_ALWAYS, {FILTER_LACKS(3, MSG_OOB)}},
    {"sendmsg", FILTER_ALWAYS, {FILTER_LACKS(2, MSG_OOB)}},
    {"ioctl", FILTER_ALWAYS, {FILTER_IS(1, FIONREAD)}},

    /* data from socket to socket */
    {"splice", FILTER_ALWAYS},
    {"pipe2", FILTER_ALWAYS},
    {"fcntl", FILTER_ALWAYS, {FILTER_IS(1, F_SETPIPE_SZ)}},

    /* sockets, of which there can be thousands */
    {"epoll_ctl", FILTER_ALWAYS},
    {"epoll_wait", FILTER_ALWAYS},
    {"epoll_pwait", FILTER_ALWAYS},
    {"epoll_pwait2", FILTER_ALWAYS},

    /* the files that say how names are looked up, which may change */
    {"openat", FILTER_ALWAYS, {FILTER_LACKS(2, SERVICES_OPEN_LACKS)}},
    {"open", FILTER_ALWAYS, {FILTER_LACKS(1, SERVICES_OPEN_LACKS)}},
    {"newfstatat", FILTER_ALWAYS},
    {"stat", FILTER_ALWAYS},
    {"uname", FILTER_ALWAYS},
};

/* With destinations that are UNIX sockets */
static const FilterRule servicesUnixCalls[] = {
    {"socket", FILTER_ALWAYS, {FILTER_IS(0, AF_UNIX), FILTER_STREAM(1)}},
};
