/*
 * vsock_host.h: the host's end of the guest's vsock connections
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * UNIX stream sockets in one directory, by the convention of Firecracker and of
 * vhost-device-vsock: the guest's connection with port N goes to the socket "vsock_N"; a
 * program that wants to reach port N of the guest connects to the socket "vsock" and
 * writes "CONNECT N\n", upon which "OK M\n" comes back, M being the port at the host's end.
 * If the guest refuses, or the line is not good, the connection is closed without a word.
 *
 * A port of the host that its services have goes to the services process (link/vsock_link.h), and
 * to nobody else. One that has no socket goes to the host's own vsock, so that programs that
 * listen on AF_VSOCK, as on the parent of an enclave, are reached unchanged.
 *
 * The port of the boot heartbeat is answered here.
 */

#pragma once

#include "common/poller.h"
#include "vsock/vsock.h"

/* An enclave sends this byte to this port of its parent once it has booted. */
#define VSOCK_HEARTBEAT_PORT 9000
#define VSOCK_HEARTBEAT_BYTE 0xb7

/* What came to the heartbeat's port */
typedef enum {
    VSOCK_HEARTBEAT_GOOD,   /* the right byte, which has been answered */
    VSOCK_HEARTBEAT_WRONG,  /* another byte */
    VSOCK_HEARTBEAT_CLOSED, /* a connection that the guest closed without a byte */
} VsockHeartbeat;

typedef struct _VsockHost VsockHost;

/*
 * With @dials the sockets for the guest's connections are in the working directory. @listenFd
 * is the socket "vsock", listening, @servicesFd that for vsockLinkNew(); -1: none. None is closed.
 * @heartbeat is called
 * from within the main loop, or from within vsockReceive(); @byte is the one that came.
 * Never NULL.
 */
VsockHost *vsockHostNew(Poller *poller, uint32_t cid, bool dials, int listenFd, int servicesFd,
                        void (*heartbeat)(VsockHeartbeat what, uint8_t byte, void *opaque),
                        void *opaque);
/* Closes all connections. */
void vsockHostFree(VsockHost *host);

/* The protocol engine that the sockets are connected with; owned by @host. */
Vsock *vsockHostEngine(VsockHost *host);

/* Whether the guest's driver is there: until then programs of the host are refused. */
void vsockHostSetReady(VsockHost *host, bool ready);

/*
 * The guest has ended, and so has the driver. Programs that have not read all get it into
 * the buffers of their sockets, where it outlives us, as far as the system lets these grow.
 */
void vsockHostFinish(VsockHost *host);
