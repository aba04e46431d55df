/*
 * nsm_calls.h: the system calls of libvirt_nitro_nsm
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * sandbox/filter_rule.h says what this is. All else that it does every process of ours does:
 * common_calls.h.
 */

#pragma once

#include <fcntl.h>

#include "sandbox/filter_rule.h"

static const FilterRule nsmCalls[] = {
    /* the connection with QEMU, and the ring */
    {"epoll_ctl", FILTER_ALWAYS},
    {"epoll_wait", FILTER_ALWAYS},
    {"epoll_pwait", FILTER_ALWAYS},
    {"epoll_pwait2", FILTER_ALWAYS},

    /* the guest's memory, whose size must not change */
    {"fcntl", FILTER_ALWAYS, {FILTER_IS(1, F_GET_SEALS)}},
};
