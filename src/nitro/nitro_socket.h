/*
 * nitro_socket.h: UNIX sockets in the state directory
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

/*
 * Listens on a new UNIX stream socket @path, which must not exist.
 * Returns the descriptor, or -1 with an error set.
 */
int nitroSocketListen(const char *path);

/*
 * Connects to the UNIX stream socket @path, without waiting when its queue is full.
 * Returns the non-blocking descriptor, or -errno, without an error set.
 */
int nitroSocketConnect(const char *path);
