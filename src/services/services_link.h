/*
 * services_link.h: the connection with the switch, which hands connections over
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * services_protocol.h describes what is said there. The daemon has said first what the switch may do.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct _ServicesLink ServicesLink;
typedef struct _LinkRequest LinkRequest;

/* A request is answered in this time, with that in which it waits for others, or has failed (ms). */
#define LINK_REQUEST_MS 15000

typedef struct _ServicesLinkEvents ServicesLinkEvents;
struct _ServicesLinkEvents {
    /* @fd, a non-blocking socket, is a connection of the enclave with @port; it is the callee's. */
    void (*connection)(uint32_t port, int fd, void *opaque);
    /* The link has ended, and is to be freed. */
    void (*lost)(void *opaque);
};

/* @fd is taken over. Never NULL. */
ServicesLink *servicesLinkNew(int fd, const ServicesLinkEvents *events, void *opaque);

/* Requests that have not been answered fail. NULL is ignored. */
void servicesLinkFree(ServicesLink *link);

/* Asks for a connection with @port; @urgent: it does not wait for others, so there must be few such.
 * services.h says the rest of serviceConnect(). */
LinkRequest *servicesLinkConnect(ServicesLink *link, uint32_t port, bool urgent,
                                 void (*done)(int fd, int err, void *opaque), void *opaque);

/* Nobody waits any more; not after done() has been called. NULL is ignored. */
void linkRequestCancel(LinkRequest *request);
