/*
 * landlock.h: what a process can open, where it can have no file system of its own
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source: the kernel's Documentation/userspace-api/landlock.rst.
 */

#pragma once

#include <stdbool.h>

/* Whether the kernel has Landlock, and it is switched on. */
bool landlockIsThere(void);

/*
 * From now on this process, and what it becomes or starts, can open for reading, or run, only what
 * is at or below one of the paths @read (NULL at the end), and also write to the one file @write
 * (NULL: none). Paths that do not exist are passed over. Where the kernel can, it is kept from TCP,
 * and from signals and abstract sockets to the outside, too. Returns 0, or -1 with errno set.
 */
int landlockRestrict(const char *const *read, const char *write);

/*
 * From now on this process, and the threads that it makes, can open only for reading, and only what
 * is at or below one of the paths @read (NULL at the end); paths that do not exist are passed over.
 * It can connect to others. Where the kernel can, it is kept from listening on TCP, and from signals
 * and abstract sockets to the outside. Returns 0, or -1 with errno set.
 */
int landlockRestrictFiles(const char *const *read);
