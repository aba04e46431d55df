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
    {"socket", FILTER_ALWAYS, {FILTER_IS(0, AF_VSOCK)}},
    {"bind", FILTER_ALWAYS},
    {"listen", FILTER_ALWAYS},
};
