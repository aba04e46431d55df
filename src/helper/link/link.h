/*
 * link.h: the link of an enclave's services process with what hands over connections
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The switch's side of part 2 of src/services/services_protocol.h, which the emulated machine's
 * vsock device and the host's broker have in common. The peer is not trusted: it is given only
 * what the daemon has said before it got the link, and what it does not read is bounded.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/json.h"
#include "common/json_stream.h"

/* Connections that wait here for a services process that does not read; more are refused. */
#define LINK_QUEUE_MAX 256

/* Connections with the enclave that are asked for and neither made nor failed; more are refused. */
#define LINK_CONNECTS_MAX 256

typedef struct _Link Link;

/* Called from within linkOnRequest(). They may call all functions below but linkFree(). */
typedef struct _LinkEvents LinkEvents;
struct _LinkEvents {
    /* Once: @n different ports. To be answered with one of the next two functions, at once. */
    void (*serve)(Link *link, const uint32_t *ports, size_t n, void *opaque);
    /* Once, and not before serve(); NULL: it does not matter. */
    void (*enclave)(Link *link, uint32_t cid, void *opaque);
    /* To be answered with linkReply() or linkReplyError(), in any order. */
    void (*connect)(Link *link, int64_t id, uint32_t port, void *opaque);
};

/* @stream stays the caller's, who frees it after the link. Never NULL. */
Link *linkNew(JsonStream *stream, const LinkEvents *events, void *opaque);

/* NULL is ignored. */
void linkFree(Link *link);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Link, linkFree)

/* The first one, which makes a connection a link */
bool linkIsServe(JsonObject *request);

/*
 * Handles a line of the peer. Returns 0, or -1 with *@error set to why the link is to be ended,
 * static.
 */
int linkOnRequest(Link *link, JsonObject *request, const char **error);

/* The ports are served; or @port cannot be had, because of the errno @err: the link then ends. */
void linkSendServing(Link *link);
void linkSendBusy(Link *link, uint32_t port, int err);

/*
 * Hands over the enclave's connection @fd with @port, which is taken over. Returns 0, or -1 when it
 * has been closed, as too many wait already.
 */
int linkSendConnection(Link *link, uint32_t port, int fd);

/* Answers connect() with the connection @fd, which is taken over, or with the errno @err. */
void linkReply(Link *link, int64_t id, int fd);
void linkReplyError(Link *link, int64_t id, int err);
