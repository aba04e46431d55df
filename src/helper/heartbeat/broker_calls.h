/*
 * broker_calls.h: the system calls of the host's vsock broker
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * sandbox/filter_rule.h says what this is.
 */

#pragma once

#include <sys/socket.h>

#include <linux/vm_sockets.h>

#include "sandbox/filter_rule.h"

static const FilterRule brokerCalls[] = {
    /* the heartbeat's port, and those of services */
    {"socket", FILTER_ALWAYS, {FILTER_IS(0, AF_VSOCK), FILTER_STREAM(1)}},
    {"bind", FILTER_ALWAYS},
    {"listen", FILTER_ALWAYS},
    /* whose heartbeat or connection it is */
    {"getpeername", FILTER_ALWAYS},
    /* connections go to the services process of their enclave */
    {"sendmsg", FILTER_ALWAYS, {FILTER_LACKS(2, MSG_OOB)}},

    /* what services processes want to be connected with: a port of their enclave */
    {"connect", FILTER_ALWAYS},
    {"setsockopt", FILTER_ALWAYS, {FILTER_IS(1, AF_VSOCK),
                                   FILTER_IS(2, SO_VM_SOCKETS_CONNECT_TIMEOUT)}},
    {"getsockopt", FILTER_ALWAYS, {FILTER_IS(1, SOL_SOCKET), FILTER_IS(2, SO_ERROR)}},

    /* as in device_calls.h: for tests */
    {"getsockname", FILTER_ALWAYS},
};
