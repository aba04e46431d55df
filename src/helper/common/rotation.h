/*
 * rotation.h: a file that does not grow beyond a size
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * When it is full, what it has is copied to the first of its backups, what that had to
 * the second and so on, and it begins anew. All of them have been opened by the daemon: the
 * helper can open and rename nothing, and goes on without a daemon. The path of the file is that
 * of the newest output always.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct _Rotation Rotation;

/*
 * @fd is a regular file, opened for reading and appending; @backups (of int, may be NULL) are
 * regular files, opened for reading and writing. None is closed by rotationFree(). @maxSize is in
 * bytes, not 0. Never NULL.
 */
Rotation *rotationNew(int fd, const GArray *backups, uint64_t maxSize);
void rotationFree(Rotation *rotation);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Rotation, rotationFree)

/*
 * As write(2): what it writes may be less than @len, so that a line ends in the file that it begins
 * in, if it can. The file never has more than its size. Old output that cannot be kept, as
 * the disk is full, is lost; *@lost (may be NULL) then is true.
 */
ssize_t rotationWrite(Rotation *rotation, const void *buf, size_t len, bool *lost);

/*
 * Rotates a file that has no room for @len more bytes, or is too large already.
 * Returns false when old output could not be kept.
 */
bool rotationMakeRoom(Rotation *rotation, size_t len);
