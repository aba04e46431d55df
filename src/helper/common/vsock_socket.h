/*
 * vsock_socket.h: stream sockets of the host's own vsock (AF_VSOCK)
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * All are non-blocking and close-on-exec.
 */

#pragma once

#include <stdint.h>

/* Listens on @port of all of the host's CIDs. Returns a descriptor, or -1 with errno set. */
int vsockSocketListen(uint32_t port);

/*
 * Begins to connect with @port of @cid, of which the end is when the descriptor can be written to:
 * see vsockSocketError(). It fails (ETIMEDOUT) after @timeout seconds, 0: when the kernel likes.
 * Returns the descriptor, or -1 with errno set.
 */
int vsockSocketConnect(uint32_t cid, uint32_t port, unsigned int timeout);

/* Returns 0 when @fd is connected, or the errno of why it is not. */
int vsockSocketError(int fd);

/* Finds out the @cid that is @fd's peer. Returns 0, or -1 with errno set. */
int vsockSocketPeer(int fd, uint32_t *cid);
