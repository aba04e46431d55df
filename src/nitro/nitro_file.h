/*
 * nitro_file.h: files and sockets where other users can write, too
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A definition names files for output anywhere. Whoever can exchange a part of such a
 * path must not get a file written, emptied or removed that he cannot write himself:
 *
 * - Trusted are root and the daemon's own user, and the group of a directory as far as its
 *   owner has given it the right to write there.
 * - In a directory of a trusted user anything can be entered, unless all the world
 *   can write there and no sticky bit protects what others have made.
 * - What is in a directory of any other user is his as well, or it is refused.
 * - A symbolic link is followed on the way when it, and the directory that it is in, belong to
 *   trusted users, and all the world cannot write there; the file itself is never one.
 */

#pragma once

#include <sys/stat.h>

#include "internal.h"

/* Which file it is, whatever its name */
typedef struct _nitroFileId nitroFileId;
struct _nitroFileId {
    unsigned long long device;
    unsigned long long inode;
};

/* A name in a directory that is held, so that nobody can exchange it any more */
typedef struct _nitroFilePlace nitroFilePlace;
struct _nitroFilePlace {
    const char *path; /* that was asked for; the caller's */
    int dir;          /* O_PATH */
    struct stat sb;   /* of the directory */
    char *name;       /* in it */
};

/* Bytes that the name of a socket can have in its directory, however long the path to that is */
#define NITRO_FILE_SOCKET_NAME_MAX 82

#define NITRO_FILE_PLACE_INIT { .dir = -1 }

/*
 * Finds the directory of the absolute path @path by the rules above. The file itself need not
 * be there. @path must live as long as @place.
 *
 * Returns 0, or -1 with an error set: VIR_ERR_CONFIG_UNSUPPORTED for what the rules refuse.
 */
int nitroFileFind(const char *path, nitroFilePlace *place);
void nitroFilePlaceClear(nitroFilePlace *place);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroFilePlace, nitroFilePlaceClear);

/*
 * Opens the regular file @place to read it and to append to it, or makes it, for its
 * owner alone. In a directory of somebody who is not trusted it is given to him. One that is
 * there must belong to a trusted user or to the directory's owner, and must have no other
 * name where others could have given it that. Nothing of its contents is changed.
 *
 * Returns the descriptor, or -1 with an error set: VIR_ERR_CONFIG_UNSUPPORTED for what
 * the rules refuse.
 */
int nitroFileOpenOutput(const nitroFilePlace *place);

/*
 * Listens on a new UNIX stream socket @place, which only this user may connect to, and stores in
 * @id which it is. A socket that nobody listens on, as a killed run has left it, makes way.
 * Returns the descriptor, or -errno, without an error set: -ENAMETOOLONG for a name of more
 * than NITRO_FILE_SOCKET_NAME_MAX bytes.
 */
int nitroFileListen(const nitroFilePlace *place, nitroFileId *id);

/*
 * Connects to the UNIX stream socket @place, without waiting when its queue is full. Returns
 * the non-blocking descriptor, or -errno, without an error set: -ELOOP for a symbolic
 * link, -EACCES for a socket that is not of its directory's owner where that matters.
 */
int nitroFileConnect(const nitroFilePlace *place);

/*
 * Removes @place if it still is the file @id. Returns 0, also when it is not, or -1 with
 * errno set.
 */
int nitroFileRemove(const nitroFilePlace *place, const nitroFileId *id);

/* Which file the descriptor @fd leads to. Returns 0, or -1 with errno set. */
int nitroFileGetId(int fd, nitroFileId *id);

bool nitroFileIdEqual(const nitroFileId *a, const nitroFileId *b);
