/*
 * application.h: the command that the init of an image starts
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The files that say it are in the image's application ramdisk. /cmd and /env are those of AWS's
 * images: an item a line; where an item has a newline itself, a NUL is behind each item. /workdir
 * and /user are this project's: AWS's init does not know them. /workdir is a path; /user is a line
 * with numbers: uid, gid, and supplementary groups.
 */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct {
    char **argv;   /* ends with NULL; at least one word */
    char **env;    /* ends with NULL */
    char *workdir; /* "/" when the image names none */
    uid_t uid;     /* 0 when the image names none */
    gid_t gid;
    gid_t *groups;
    size_t ngroups;
} application;

/*
 * Reads the files, and removes them: the command has no use for them. Returns false after a line on
 * the console.
 */
bool
applicationRead(application *app);

/*
 * Starts the command as its user in its directory, with @log, unless that is negative, for its
 * output. Returns its PID, or -1 with errno set. What goes wrong in the new process is told on the
 * console, and ends it with 126 or 127, as in a shell.
 */
pid_t
applicationStart(const application *app, int log);
