/*
 * vsock_ports.h: the ports of the host's vsock that enclaves' services are promised
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * There is one space of port numbers for all enclaves of a host, which may name the same ones.
 * So the broker listens, and gives each connection to the services process of the enclave that it
 * is of, by its CID, which is the one thing about it that an enclave cannot choose.
 */

#pragma once

#include "link/link.h"

/* How long a connection with a CID that no link has been told is held, in milliseconds */
#define VSOCK_PORTS_HOLD_MS 5000

/* How long an enclave may take to accept a connection that is asked for, in seconds */
#define VSOCK_PORTS_CONNECT_TIMEOUT 10

typedef struct _VsockPorts VsockPorts;

/* Never NULL. */
VsockPorts *vsockPortsNew(void);

/* Closes all ports and connections; there must be no link any more. NULL is ignored. */
void vsockPortsFree(VsockPorts *ports);

/* A link, from its "serve" on */
typedef struct _VsockPortsLink VsockPortsLink;

/* @stream stays the caller's, who frees it after the link. Never NULL. */
VsockPortsLink *vsockPortsLinkNew(VsockPorts *ports, JsonStream *stream);

/* Leaves the ports of @link to others, unless another link has them too. NULL is ignored. */
void vsockPortsLinkFree(VsockPortsLink *link);

/* As linkOnRequest(). */
int vsockPortsLinkOnRequest(VsockPortsLink *link, JsonObject *request, const char **error);
