/*
 * dial.h: connects to a destination of the host's side
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The addresses of a name are tried in their order, DIAL_ADDRESS_MS each; all of it, with the
 * lookup, takes DIAL_MS at most.
 */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "address_check.h"
#include "common/poller.h"

#define DIAL_ADDRESS_MS 5000
#define DIAL_MS 15000

typedef struct _Dial Dial;

/* Why there is no connection */
typedef enum {
    DIAL_CONNECTED,
    DIAL_FORBIDDEN, /* by allows(), all addresses */
    DIAL_FAILED,
    DIAL_TIMEOUT,
} DialResult;

/* What is connected to, and who is told */
typedef struct _DialTarget DialTarget;
struct _DialTarget {
    const char *host; /* a name, or an address; NULL: @path. Copied, as is @path */
    bool search;      /* the name may be one in the host's own domains, without these */
    uint16_t port;
    const char *path; /* of a UNIX socket */
    /* Asked for each address that was found; NULL: all may be connected to */
    bool (*allows)(const Address *address, void *opaque);
    /* Called once, in the main loop: @fd is a non-blocking socket, the callee's, or -1; @why is a text
     * for the log then. The dial is gone. */
    void (*done)(DialResult result, int fd, const char *why, void *opaque);
    void *opaque;
};

/* @poller outlives the dial. Never NULL. */
Dial *dialStart(Poller *poller, const DialTarget *target);

/* Ends it without a call; NULL is ignored. */
void dialCancel(Dial *dial);
