/*
 * broker_calls.h: the system calls of the heartbeat broker
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * sandbox/filter_rule.h says what this is.
 */

#pragma once

#include <sys/socket.h>

#include "sandbox/filter_rule.h"

static const FilterRule brokerCalls[] = {
    /* the heartbeat's port */
    {"socket", FILTER_ALWAYS, {FILTER_IS(0, AF_VSOCK), FILTER_STREAM(1)}},
    {"bind", FILTER_ALWAYS},
    {"listen", FILTER_ALWAYS},
    /* whose heartbeat it is */
    {"getpeername", FILTER_ALWAYS},

    /* as in device_calls.h: for tests */
    {"sendmsg", FILTER_ALWAYS, {FILTER_LACKS(2, MSG_OOB)}},
    {"getsockname", FILTER_ALWAYS},
};
