/*
 * nitro_wire.h: a connection on which lines of JSON are exchanged with a process
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the monitors of the helper and of the services process have in common: bytes -> lines, and
 * commands whose replies a thread waits for. What a line means is its user's part.
 */

#pragma once

#include "virjson.h"
#include "virobject.h"
#include "virthread.h"

typedef struct _nitroWire nitroWire;

/* All are called by the event loop's thread, without the lock of @wire. */
typedef struct _nitroWireOps nitroWireOps;
struct _nitroWireOps {
    /*
     * Takes the @len bytes of a line. @lastCommand is the id of the newest command that has been
     * sent. Returns 0, with *@reply, the answer to the command *@id, set if the line is one, or -1
     * when the other side has broken the protocol, which is then for this to tell.
     */
    int (*hear)(nitroWire *wire,
                const char *line,
                size_t len,
                int lastCommand,
                int *id,
                virJSONValue **reply);
    void (*tooLong)(nitroWire *wire);        /* a line had more than NITRO_PROTOCOL_LINE_MAX bytes */
    void (*pause)(nitroWire *wire, int err); /* for @err of this host it is read again later */
    void (*end)(nitroWire *wire);            /* the connection is over; called once */
};

/* A class to derive from. What is here is protected by the lock of the object. */
struct _nitroWire {
    virObjectLockable parent;

    const nitroWireOps *ops;
    int fd;    /* -1 when closed */
    int watch; /* -1 when none */
    virCond cond; /* for what of the object changes */
    bool condReady;
    GString *input; /* received, not yet a whole line; the event loop's thread only */
    bool gone;      /* the other side has closed the connection, or broken the protocol */
    int lastId;
    int waitId;          /* the command that a thread waits for; 0: none */
    virJSONValue *reply; /* to waitId */
};

virClass *virClassForNitroWire(void);

/*
 * Begins to use the connection @fd, which is taken over in any case, with an object that was just
 * made of a class that is derived from this one. Its other members must be set. Returns 0, or -1
 * with an error set.
 */
int nitroWireOpen(nitroWire *wire, int fd, const nitroWireOps *ops);

bool nitroWireIsGone(nitroWire *wire);

/* Ends the connection without a call of "end". May be called in any thread, also twice. */
void nitroWireClose(nitroWire *wire);

/* The connection is over: calls "end", unless it was before. In the event loop's thread only. */
void nitroWireEnd(nitroWire *wire);

/*
 * Sends the command @name with the @nfds descriptors of @fds, which stay the caller's. The lock of
 * @wire is held. Returns its id, or -1 with an error set when it is no command, or -2 without one when
 * it cannot be sent.
 */
int nitroWireSend(nitroWire *wire, const char *name, const int *fds, size_t nfds);

typedef enum {
    NITRO_WIRE_ANSWERED,
    NITRO_WIRE_ERROR,  /* an error is set */
    NITRO_WIRE_BUSY,   /* others had commands under way until the time was over */
    NITRO_WIRE_UNSENT,
    NITRO_WIRE_SILENT, /* no reply in time */
    NITRO_WIRE_GONE,   /* the connection has ended before the reply */
} nitroWireResult;

/*
 * Sends a command as above and waits for its reply, @timeout ms at most: an object with either "return"
 * or "error", in *@reply (virJSONValueFree), if it was answered. The lock of @wire is not held.
 */
nitroWireResult nitroWireCommand(nitroWire *wire,
                                 const char *name,
                                 const int *fds,
                                 size_t nfds,
                                 unsigned int timeout,
                                 virJSONValue **reply);
