/*
 * emulated_calls.h: the system calls of the emulated machine
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * sandbox/filter_rule.h says what this is. QEMU itself is under a filter of its own (-sandbox).
 */

#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "sandbox/filter_rule.h"

static const FilterRule emulatedCalls[] = {
    /* the image is unpacked and sealed */
    {"memfd_create", FILTER_SETUP},
    {"fcntl", FILTER_SETUP, {FILTER_IS(1, F_ADD_SEALS)}},

    /* and given to the launcher; later connections are, to the services process */
    {"sendmsg", FILTER_ALWAYS, {FILTER_LACKS(2, MSG_OOB)}},

    /*
     * QEMU's end: by its descriptor, so that it can be no other process's; no call that is allowed
     * makes a descriptor of another one
     */
    {"pidfd_send_signal", FILTER_ALWAYS, {FILTER_IS(1, SIGKILL), FILTER_IS(3, 0)}},
    {"wait4", FILTER_ALWAYS},
};
