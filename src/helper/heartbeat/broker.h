/*
 * broker.h: the host's vsock broker, one process for all enclaves of a host
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * There is one port for heartbeats on a host, and several enclaves may start at once. The
 * broker has the port while any of them does, and tells their helpers; helper_protocol.h
 * has its protocol. Other programs can have the port at other times. It has the ports of the
 * enclaves' services, too, while these have links: see services/services_protocol.h.
 */

#pragma once

#include <stdbool.h>

#include "common/failure.h"

/*
 * Serves the helpers and services processes that connect to the listening UNIX stream socket
 * @listenFd until BROKER_GRACE_MS after the last one has left, or SIGTERM. Before it ends it shuts
 * the socket, whose file the daemon removes; who has connected before that is still served, but for
 * SIGTERM, which ends it at once. It makes only the system calls that it needs.
 *
 * Returns 0, or -1 with @failure set ("unsupported"), having served nobody.
 */
int brokerRun(int listenFd, Failure *failure);

#define BROKER_GRACE_MS 2000
