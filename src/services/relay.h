/*
 * relay.h: moves data between pairs of stream sockets, both ways
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A slow reader slows its writer down, and nobody else. The end of one way is handed on, and the
 * other way lives on; what breaks one socket breaks the other.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/poller.h"

/* All relays of a process */
typedef struct _Relays Relays;

/* Pipes at all: a relay whose reader is slow has one for each way, or else copies. */
#define RELAY_PIPES_MAX 512

/* With up to @maxPipes pipes, which are two descriptors each. Returns NULL when the system is out of
 * descriptors. */
Relays *relaysNew(unsigned int maxPipes);

/* Breaks all relays. NULL is ignored. */
void relaysFree(Relays *relays);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Relays, relaysFree)

/* The set of descriptors that others may use as well; it is waited for without pauses. */
Poller *relaysGetPoller(Relays *relays);

/* Whether any relay has data that can be moved on now, or that waits for a slow reader. */
bool relaysAreBusy(const Relays *relays);

/* One end of a relay */
typedef struct _RelayEnd RelayEnd;
struct _RelayEnd {
    int fd;             /* a stream socket, taken over */
    GByteArray *early;  /* what it is sent before all else, taken over; NULL: nothing */
    uint64_t *received; /* the bytes that come from it are added here */
};

/*
 * Joins two sockets; @ended is called once, in the main loop, when both have been closed, unless
 * relaysFree() closes them.
 */
void relayStart(Relays *relays, const RelayEnd ends[2], void (*ended)(void *opaque), void *opaque);
