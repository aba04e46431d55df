/*
 * device_calls.h: the system calls of an enclave of the Nitro Hypervisor
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * sandbox/filter_rule.h says what this is.
 */

#pragma once

#include <linux/nitro_enclaves.h>
#include <linux/vm_sockets.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "sandbox/filter_rule.h"

static const FilterRule deviceCalls[] = {
    /* the enclave is made and started once */
    {"ioctl", FILTER_SETUP, {FILTER_IS(1, NE_CREATE_VM)}},
    {"ioctl", FILTER_SETUP, {FILTER_IS(1, NE_GET_IMAGE_LOAD_INFO)}},
    {"ioctl", FILTER_SETUP, {FILTER_IS(1, NE_SET_USER_MEMORY_REGION)}},
    {"ioctl", FILTER_SETUP, {FILTER_IS(1, NE_ADD_VCPU)}},
    {"ioctl", FILTER_SETUP, {FILTER_IS(1, NE_START_ENCLAVE)}},

    /* its memory: huge pages of a NUMA node */
    {"memfd_create", FILTER_SETUP},
    {"mbind", FILTER_SETUP},

    /* its console: the one kind of socket there is, which reaches no host service by a path */
    {"socket", FILTER_ALWAYS, {FILTER_IS(0, AF_VSOCK), FILTER_STREAM(1)}},
    {"connect", FILTER_ALWAYS},
    {"getsockopt", FILTER_ALWAYS, {FILTER_IS(1, SOL_SOCKET), FILTER_IS(2, SO_ERROR)}},

    /*
     * nothing of ours: a device for tests, which is preloaded and speaks with its server over a
     * socket from before main(). There is no directory that could be sent.
     */
    {"sendmsg", FILTER_ALWAYS, {FILTER_LACKS(2, MSG_OOB)}},
    {"getsockname", FILTER_ALWAYS},
    {"getpeername", FILTER_ALWAYS},
};
