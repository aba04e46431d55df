/*
 * vsock_link.h: the emulated machine's vsock device as the switch of its enclave's services
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The daemon connects to a socket of its own that this process listens on. The newest connection
 * is the link (link.h); the one before it is closed then. Which ports are served is remembered when
 * a link ends: they are nobody else's until the next one.
 */

#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct _VsockLink VsockLink;

/* Called in the main loop, never from within a function below but vsockLinkNew(). */
typedef struct _VsockLinkEvents VsockLinkEvents;
struct _VsockLinkEvents {
    /* A connection with the guest's @port is asked for: to be answered with vsockLinkReply() or
     * vsockLinkReplyError(), unless lost() comes before. */
    void (*connect)(int64_t id, uint32_t port, void *opaque);
    /* Who has asked for connections is gone. */
    void (*lost)(void *opaque);
};

/* @listenFd is a listening UNIX stream socket, and not closed. Never NULL. */
VsockLink *vsockLinkNew(int listenFd, const VsockLinkEvents *events, void *opaque);

/* Closes the link. NULL is ignored. */
void vsockLinkFree(VsockLink *link);

/* Whether @port of the host is the services', be there a link or not. */
bool vsockLinkServes(const VsockLink *link, uint32_t port);

/*
 * Makes a connection of which the services process gets the other end, as the guest's with @port.
 * Returns the descriptor of this end, non-blocking, or -1 with errno set: ENOTCONN when there is no
 * link, ENOBUFS when too many wait already.
 */
int vsockLinkDial(VsockLink *link, uint32_t port);

/* Answers connect() with the descriptor @fd, which is taken over, or with the errno @err. */
void vsockLinkReply(VsockLink *link, int64_t id, int fd);
void vsockLinkReplyError(VsockLink *link, int64_t id, int err);
