/*
 * heartbeat.h: how long an enclave may take to boot, and what is wrong when it does not
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An enclave that has booted connects to port 9000 of its parent, sends a byte and gets it
 * back (AWS's init for enclave images does). Whoever waits for that takes the sentences
 * for the user from here.
 */

#pragma once

#include <stdint.h>

#include "common/failure.h"
#include "options.h"

/*
 * Seconds to wait for the heartbeat of an enclave whose image has @imageSize bytes: those
 * of @options, or else 90 for every started 6 GiB of image and 90 for every started
 * 100 GiB of memory, as nitro-cli waits.
 */
unsigned int heartbeatTimeout(const Options *options, uint64_t imageSize);

/*
 * Why the start fails: no heartbeat in @seconds, another byte than the right one, no byte;
 * the port has been in use for @seconds, the broker has been silent for @seconds, or the port
 * cannot be had because of the errno @err.
 */
void heartbeatFailLate(Failure *failure, unsigned int seconds);
void heartbeatFailWrong(Failure *failure, uint8_t byte);
void heartbeatFailClosed(Failure *failure);
void heartbeatFailBusy(Failure *failure, unsigned int seconds);
void heartbeatFailSilent(Failure *failure, unsigned int seconds);
void heartbeatFailPort(Failure *failure, int err);
