/*
 * nitro_socket.h: UNIX sockets in the state directory, and those of consoles
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <sys/un.h>

#include "internal.h"

/* Bytes that the path of a UNIX socket can have at most */
#define NITRO_SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *) NULL)->sun_path) - 1)

/*
 * Listens on a new UNIX stream socket @path of the state directory, which must not exist.
 * Returns the descriptor, or -1 with an error set.
 */
int nitroSocketListen(const char *path);

/*
 * Listens on a new UNIX stream socket @path, which only this user may connect to; on failure
 * there is none. Returns the descriptor, or -errno, without an error set: -ENAMETOOLONG above
 * NITRO_SOCKET_PATH_MAX.
 */
int nitroSocketBind(const char *path);

/*
 * Connects to the UNIX stream socket @path, without waiting when its queue is full.
 * Returns the non-blocking descriptor, or -errno, without an error set: -ENAMETOOLONG as above.
 */
int nitroSocketConnect(const char *path);
