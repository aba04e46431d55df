/*
 * heartbeat.c: how long an enclave may take to boot, and what is wrong when it does not
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * No state: figures and sentences.
 */

#include "heartbeat/heartbeat.h"

#include "helper_protocol.h"
#include "vsock/vsock_host.h"

#define HEARTBEAT_SECONDS 90
#define HEARTBEAT_IMAGE_STEP (6ULL << 30)    /* bytes */
#define HEARTBEAT_MEMORY_STEP (100ULL << 30) /* bytes */

static uint64_t
heartbeatSteps(uint64_t size, uint64_t step)
{
    return size / step + (size % step != 0);
}

unsigned int
heartbeatTimeout(const Options *options, uint64_t imageSize)
{
    uint64_t steps;

    if (options->heartbeatTimeout > 0)
        return options->heartbeatTimeout;
    steps = heartbeatSteps(imageSize, HEARTBEAT_IMAGE_STEP) +
            heartbeatSteps(options->memory, HEARTBEAT_MEMORY_STEP);
    return (unsigned int)MIN(steps * HEARTBEAT_SECONDS, NITRO_HEARTBEAT_TIMEOUT_MAX);
}

void
heartbeatFailLate(Failure *failure, unsigned int seconds)
{
    failureSet(failure, NITRO_FAILURE_TIMEOUT,
               "The enclave has sent no heartbeat in %u seconds: if its image sends none, switch it "
               "off with <nitro:heartbeat enabled='no'/>", seconds);
}

void
heartbeatFailWrong(Failure *failure, uint8_t byte)
{
    failureSet(failure, NITRO_FAILURE_GUEST,
               "The enclave has sent the byte 0x%02x as its heartbeat, where 0x%02x is right: port "
               "%d is kept for the heartbeat", byte, VSOCK_HEARTBEAT_BYTE, VSOCK_HEARTBEAT_PORT);
}

void
heartbeatFailClosed(Failure *failure)
{
    failureSet(failure, NITRO_FAILURE_GUEST,
               "The enclave has closed the connection of its heartbeat, port %d, without sending a "
               "byte", VSOCK_HEARTBEAT_PORT);
}

void
heartbeatFailBusy(Failure *failure, unsigned int seconds)
{
    failureSet(failure, NITRO_FAILURE_RESOURCE,
               "Port %d of the host's vsock, where the heartbeat comes, has been in use by another "
               "program for %u seconds: start the domain once no nitro-cli, QEMU or virtnitrod of "
               "another user starts an enclave", VSOCK_HEARTBEAT_PORT, seconds);
}

void
heartbeatFailSilent(Failure *failure, unsigned int seconds)
{
    failureSet(failure, NITRO_FAILURE_TIMEOUT,
               "The heartbeat broker (libvirt_nitro --broker) has not answered in %u seconds: look "
               "at its log, or give the domain more time with <nitro:heartbeat timeout=>, as this "
               "host is very busy", seconds);
}

void
heartbeatFailPort(Failure *failure, int err)
{
    failureSet(failure, NITRO_FAILURE_RESOURCE,
               "Port %d of the host's vsock, where the heartbeat comes, cannot be listened on: %s; "
               "is the kernel module vsock loaded?", VSOCK_HEARTBEAT_PORT, g_strerror(err));
}
