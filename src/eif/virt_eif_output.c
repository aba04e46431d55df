/*
 * virt_eif_output.c: a file that is there as a whole, or as it was
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: path -> its directory, held open, and the name in it -> a temporary file beside that ->
 * rename. Whatever goes wrong, or a signal that ends the program, removes the temporary file.
 */

#include "virt_eif_output.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How many names are tried for the temporary file; there are 2^32 */
#define TRIES 100

/* The signal that asked to stop, or 0 */
static volatile sig_atomic_t caught;

static void
onSignal(int sig)
{
    caught = sig;
}

static const int stopSignals[] = { SIGHUP, SIGINT, SIGTERM };

void
virtEifOutputCatchSignals(void)
{
    struct sigaction action = { .sa_handler = onSignal };
    struct sigaction old;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(stopSignals); i++) {
        sigaction(stopSignals[i], NULL, &old);
        /* Whoever started this may have wanted it ignored, as nohup does. */
        if (old.sa_handler != SIG_IGN)
            sigaction(stopSignals[i], &action, NULL);
    }
}

void
virtEifOutputReleaseSignals(void)
{
    if (!caught)
        return;
    signal(caught, SIG_DFL);
    raise(caught);
}

bool
virtEifOutputProgress(uint64_t done, uint64_t total, void *opaque)
{
    return !caught && virtEifProgressShow(done, total, opaque);
}

static int
cannotWrite(const VirtEifOutput *output, int err)
{
    virtEifError("cannot write '%s': %s", output->path, g_strerror(err));
    return -1;
}

/* Opens the directory of @path, and looks whether it has a file of that name, or a link. */
static int
openDirectory(VirtEifOutput *output, const char *path)
{
    g_autofree char *parent = g_path_get_dirname(path);

    g_free(output->name);
    output->name = g_path_get_basename(path);
    /* The base name of "x/" is x, which is not what is meant. */
    if (g_str_has_suffix(path, "/"))
        return cannotWrite(output, EISDIR);

    if ((output->dir = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0) {
        virtEifError("cannot create a file beside '%s': %s", output->path, g_strerror(errno));
        return -1;
    }
    output->exists = fstatat(output->dir, output->name, &output->old, AT_SYMLINK_NOFOLLOW) == 0;
    return output->exists || errno == ENOENT ? 0 : cannotWrite(output, errno);
}

static bool
isOurs(uid_t uid)
{
    return uid == 0 || uid == geteuid();
}

/* Whether nobody else could have put the link there, or could do so now */
static bool
mayFollow(const VirtEifOutput *output)
{
    struct stat dir;

    if (fstat(output->dir, &dir) < 0 || !isOurs(dir.st_uid))
        return false;
    if (!(dir.st_mode & S_IWOTH))
        return true;
    return (dir.st_mode & S_ISVTX) && isOurs(output->old.st_uid);
}

static int
followLink(VirtEifOutput *output)
{
    g_autofree char *target = NULL;

    if (!mayFollow(output)) {
        virtEifError("cannot write '%s': it is a symbolic link in a directory where others can put "
                     "one: name the file that it points to", output->path);
        return -1;
    }
    if (!(target = realpath(output->path, NULL)))
        return cannotWrite(output, errno);

    close(output->dir);
    return openDirectory(output, target);
}

/* The directory, and what is in it by that name now: nothing, or a regular file */
static int
locate(VirtEifOutput *output, int replaced)
{
    struct stat sb;

    if (openDirectory(output, output->path) < 0 ||
        (output->exists && S_ISLNK(output->old.st_mode) && followLink(output) < 0))
        return -1;

    /* The rename would replace a device node, for one, by a file. */
    if (output->exists && !S_ISREG(output->old.st_mode)) {
        virtEifError("cannot write '%s': it exists and is not a regular file", output->path);
        return -1;
    }
    if (replaced >= 0 &&
        (!output->exists || fstat(replaced, &sb) < 0 || sb.st_dev != output->old.st_dev ||
         sb.st_ino != output->old.st_ino)) {
        virtEifError("cannot write '%s': it is not the file any more that was read", output->path);
        return -1;
    }
    return 0;
}

static int
createTemporary(VirtEifOutput *output)
{
    size_t i;

    for (i = 0; i < TRIES; i++) {
        g_free(output->temporary);
        output->temporary = g_strdup_printf("%s.%08x", output->name, g_random_int());
        output->fd = openat(output->dir, output->temporary,
                            O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (output->fd >= 0)
            return 0;
        if (errno != EEXIST)
            break;
    }

    virtEifError("cannot create a file beside '%s': %s", output->path, g_strerror(errno));
    return -1;
}

static void
closeOutput(VirtEifOutput *output)
{
    if (output->fd >= 0)
        close(output->fd);
    if (output->dir >= 0)
        close(output->dir);
    g_free(output->name);
    g_free(output->temporary);
}

int
virtEifOutputBegin(VirtEifOutput *output, const char *path, int replaced)
{
    *output = (VirtEifOutput){ .path = path, .fd = -1, .dir = -1 };

    if (locate(output, replaced) == 0) {
        virtEifOutputCatchSignals();
        if (createTemporary(output) == 0)
            return 0;
    }
    closeOutput(output);
    return -1;
}

/* The mode that open() would have given a new file */
static mode_t
defaultMode(void)
{
    mode_t mask = umask(0);

    umask(mask);
    return 0666 & ~mask;
}

/*
 * Owner and group of the file that is replaced, if this user may give them. Returns its mode; where
 * the group is another, that has no more rights than everybody.
 */
static mode_t
keepOwner(const VirtEifOutput *output)
{
    const struct stat *old = &output->old;
    mode_t mode = old->st_mode & 0777;

    if (fchown(output->fd, old->st_uid, old->st_gid) == 0)
        return mode;

    if (old->st_uid != geteuid())
        virtEifWarning(_("%s: its owner was the user %u, and is now the user %u, who may not give "
                         "it away"), output->path, old->st_uid, geteuid());
    if (fchown(output->fd, -1, old->st_gid) < 0)
        mode = (mode & ~S_IRWXG) | (mode & S_IRWXO) << 3;
    return mode;
}

/* Safely on disk, with its rights, and then by its name. Returns 0, or -1. */
static int
commit(VirtEifOutput *output, bool keep)
{
    mode_t mode = keep && output->exists ? keepOwner(output) : defaultMode();

    if (fchmod(output->fd, mode) < 0 || fsync(output->fd) < 0)
        return cannotWrite(output, errno);
    if (caught)
        return -1;
    if (renameat(output->dir, output->temporary, output->dir, output->name) < 0) {
        virtEifError("cannot rename '%s' to '%s': %s", output->temporary, output->path,
                     g_strerror(errno));
        return -1;
    }
    return 0;
}

int
virtEifOutputEnd(VirtEifOutput *output, int ret, bool keep)
{
    if (ret == 0 && !caught)
        ret = commit(output, keep);
    else
        ret = -1;

    if (ret < 0)
        unlinkat(output->dir, output->temporary, 0);
    closeOutput(output);

    virtEifOutputReleaseSignals();
    return ret;
}
