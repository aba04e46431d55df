/*
 * nitro_gone.c: removes the directories of runs that are over
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * domain-ID-NAME -> root's alone, and gone-ID -> each directory in it: root's alone, then emptied,
 * what is nested in it moves up -> nothing.
 */

#include <config.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nitro_gone.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_gone");

#define NITRO_GONE_PREFIX "gone-"

/* Entries that are removed while a domain's lock is held */
#define NITRO_GONE_AT_ONCE 64

/* What each of many directories gets of the budget at least */
#define NITRO_GONE_SHARE_MIN 64

/* ms: until the next try, ever longer while something is left */
#define NITRO_GONE_PAUSE_MIN 1000
#define NITRO_GONE_PAUSE_MAX 60000

/* How many mounts, one over the other, are detached from a name */
#define NITRO_GONE_MOUNTS_MAX 16

/* One try to empty a directory */
typedef struct _nitroGoneTry nitroGoneTry;
struct _nitroGoneTry {
    int top;                  /* descriptor of the directory, which is ours alone */
    size_t budget;            /* entries that may be looked at yet */
    bool quick;               /* leave what may take long: files, and what is nested */
    unsigned long long moves; /* the number in the next name for what moves up */
};


/*
 * Takes the directory @fd away from its owner, who may be making things in it at this very
 * moment: then nobody but root can. In a session all is the user's, or can be removed as it is, or
 * cannot. Returns 0, or -1 with errno set.
 */
static int
nitroGoneSeize(int fd)
{
    if (geteuid() == 0)
        return fchown(fd, 0, 0) < 0 || fchmod(fd, 0700) < 0 ? -1 : 0;
    ignore_value(fchmod(fd, 0700));
    return 0;
}


/*
 * Removes @name in the directory @fd, with the @flags of unlinkat(); what is mounted on it is
 * detached, and stays as it is. Returns 0, or -1 with errno set.
 */
static int
nitroGoneUnlink(int fd,
                const char *name,
                unsigned int flags)
{
    g_autofree char *path = NULL;
    size_t i;

    for (i = 0; unlinkat(fd, name, flags) < 0 && errno != ENOENT; i++) {
        if (errno != EBUSY || i == NITRO_GONE_MOUNTS_MAX)
            return -1;
        if (!path)
            path = g_strdup_printf("/proc/self/fd/%d/%s", fd, name);
        if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
            return -1;
    }
    return 0;
}


/*
 * Removes @name in the directory @fd. Returns 0 when it is gone, 1 when it is a directory that is
 * not empty, or -1 with errno set.
 */
static int
nitroGoneRemoveOne(int fd,
                   const char *name)
{
    if (nitroGoneUnlink(fd, name, 0) == 0)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -1;
    if (nitroGoneUnlink(fd, name, AT_REMOVEDIR) == 0)
        return 0;
    return errno == ENOTEMPTY || errno == EEXIST ? 1 : -1;
}


/* Removes @name in the directory @fd, or moves it to the top. Returns 0, or -1 with errno set. */
static int
nitroGoneRemoveOrMove(nitroGoneTry *try,
                      int fd,
                      const char *name)
{
    int rc = nitroGoneRemoveOne(fd, name);

    if (rc <= 0)
        return rc;
    do {
        g_autofree char *place = g_strdup_printf("removed-%llu", try->moves++);

        rc = renameat(fd, name, try->top, place);
    } while (rc < 0 && (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR));
    return rc;
}


static bool
nitroGoneIsSocket(int fd,
                  const char *name)
{
    struct stat sb;

    return fstatat(fd, name, &sb, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(sb.st_mode);
}


/* Whether something is mounted where the directory @fd was found: its content is not ours. */
static bool
nitroGoneIsMount(int fd)
{
    struct statx sx;

    return statx(fd, "", AT_EMPTY_PATH, 0, &sx) == 0 &&
           (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}


/*
 * Empties the directory @name at the top, and removes it; directories in it that are not empty
 * move to the top. So no path gets longer, and no depth needs a stack. Returns 0, 1 when
 * something is left, or -1 with errno set.
 */
static int
nitroGoneRemoveDir(nitroGoneTry *try,
                   const char *name)
{
    g_autoptr(DIR) dir = NULL;
    struct dirent *entry;
    int fd = openat(try->top, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int rc;

    if (fd < 0)
        return -1;
    if (!(dir = fdopendir(fd))) {
        VIR_FORCE_CLOSE(fd);
        return -1;
    }
    if (nitroGoneIsMount(fd)) {
        errno = EBUSY;
        return -1;
    }
    if (nitroGoneSeize(fd) < 0)
        return -1;

    while ((rc = virDirRead(dir, &entry, NULL)) > 0) {
        if (try->budget == 0 || (try->quick && !nitroGoneIsSocket(fd, entry->d_name)))
            return 1;
        try->budget--;
        if (nitroGoneRemoveOrMove(try, fd, entry->d_name) < 0)
            return -1;
    }
    if (rc < 0)
        return -1;
    return unlinkat(try->top, name, AT_REMOVEDIR);
}


/*
 * Removes what is in the directory @dir, whose descriptor is that of @try, until there is nothing,
 * or the budget is used up. virFileDeleteTree() goes by paths, of which each part may be exchanged
 * for a link while it does. Returns 0, 1 when something is left, or -1 with errno set.
 */
static int
nitroGoneEmptyDir(nitroGoneTry *try,
                  DIR *dir)
{
    struct dirent *entry;
    bool more = true;
    int rc = 0;

    while (more) {
        more = false;
        rewinddir(dir);
        while ((rc = virDirRead(dir, &entry, NULL)) > 0) {
            if (try->budget == 0)
                return 1;
            try->budget--;
            rc = nitroGoneRemoveOne(try->top, entry->d_name);
            if (rc > 0) {
                rc = nitroGoneRemoveDir(try, entry->d_name);
                more = true;
            }
            if (rc != 0)
                return rc;
        }
        if (rc < 0)
            return -1;
    }
    return 0;
}


/*
 * Opens the directory @path for a try with @budget, and takes it away from all others. Returns
 * the stream, or NULL with errno set.
 */
static DIR *
nitroGoneOpen(nitroGoneTry *try,
              const char *path,
              size_t budget)
{
    DIR *dir;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return NULL;
    if (nitroGoneSeize(fd) < 0 || !(dir = fdopendir(fd))) {
        VIR_FORCE_CLOSE(fd);
        return NULL;
    }
    try->top = fd;
    try->budget = budget;
    /* Not those of an earlier try */
    try->moves = g_get_real_time();
    return dir;
}


/*
 * Gives the directory @dir a name by which nothing finds it as that of a run: "gone-" and the
 * number in its name, and one more where an earlier one is there yet. Returns the new path
 * (g_free), or NULL with errno set.
 */
static char *
nitroGoneRename(const char *dir)
{
    g_autofree char *parent = g_path_get_dirname(dir);
    g_autofree char *name = g_path_get_basename(dir);
    const char *id = name + strcspn(name, "0123456789");
    int digits = strspn(id, "0123456789");
    unsigned int more = 0;
    char *path;

    while (true) {
        if (more == 0)
            path = g_strdup_printf("%s/" NITRO_GONE_PREFIX "%.*s", parent, digits, id);
        else
            path = g_strdup_printf("%s/" NITRO_GONE_PREFIX "%.*s-%u", parent, digits, id, more);
        /* An empty one may be replaced. */
        if (rename(dir, path) == 0)
            return path;
        g_free(path);
        if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR)
            return NULL;
        more++;
    }
}


int
nitroGoneTake(const char *dir)
{
    g_autoptr(DIR) stream = NULL;
    g_autofree char *path = NULL;
    nitroGoneTry try = { .quick = true };

    if (!(stream = nitroGoneOpen(&try, dir, NITRO_GONE_AT_ONCE)) && errno == ENOENT)
        return 0;
    if (!stream || !(path = nitroGoneRename(dir))) {
        virReportSystemError(errno, _("cannot remove the directory '%s'"), dir);
        return -1;
    }
    /* What fails is tried again, and said, by who removes the rest. */
    return nitroGoneEmptyDir(&try, stream) == 0 && rmdir(path) == 0 ? 0 : 1;
}


/* Removes of the directory @path what @budget allows. Returns as nitroGoneEmpty(). */
static int
nitroGoneEmptyOne(const char *path,
                  size_t budget)
{
    g_autoptr(DIR) stream = NULL;
    nitroGoneTry try = { .quick = false };
    int rc = -1;

    if ((stream = nitroGoneOpen(&try, path, budget)) &&
        (rc = nitroGoneEmptyDir(&try, stream)) == 0)
        rc = rmdir(path);
    if (rc < 0 && errno == ENOENT)
        rc = 0;
    if (rc < 0)
        virReportSystemError(errno, _("cannot remove the directory '%s'"), path);
    return rc;
}


int
nitroGoneEmpty(const char *stateDir)
{
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(DIR) dir = NULL;
    struct dirent *entry;
    int ret = 0;
    int rc;
    size_t i;

    if (virDirOpen(&dir, stateDir) < 0)
        return -1;
    while ((rc = virDirRead(dir, &entry, stateDir)) > 0) {
        if (STRPREFIX(entry->d_name, NITRO_GONE_PREFIX) &&
            !virStringHasSuffix(entry->d_name, ".xml"))
            g_ptr_array_add(paths, g_build_filename(stateDir, entry->d_name, NULL));
    }
    if (rc < 0)
        return -1;

    for (i = 0; i < paths->len; i++) {
        rc = nitroGoneEmptyOne(g_ptr_array_index(paths, i),
                               MAX(NITRO_GONE_BUDGET / paths->len, NITRO_GONE_SHARE_MIN));
        if (rc < 0 || (rc > 0 && ret == 0))
            ret = rc;
    }
    return ret;
}


/* In the background */

static void nitroGoneTask(nitroDriver *driver, virDomainObj *vm);

/* Of those who want a try one gets it. */
static void
nitroGoneSchedule(nitroDriver *driver,
                  unsigned int delay)
{
    if (g_atomic_int_compare_and_exchange(&driver->goneScheduled, 0, 1))
        nitroDriverRun(driver->takeovers, nitroGoneTask, NULL, delay);
}


/* Tells once, until all is gone, why something is left. */
static void
nitroGoneTell(nitroDriver *driver,
              bool failed)
{
    if (failed && !driver->goneFailed) {
        VIR_ERROR(_("what is left of a run stays for now: %s"), virGetLastErrorMessage());
        driver->goneFailed = true;
    } else if (!failed && driver->gonePause == 0) {
        VIR_WARN("There is more in '%s/" NITRO_GONE_PREFIX "*', the directories of runs that are "
                 "over, than is removed at once, or somebody still adds to it: the rest is removed "
                 "by and by", driver->config->stateDir);
    }
    virResetLastError();
}


/* A function for nitroDriverRun(); @vm is NULL */
static void
nitroGoneTask(nitroDriver *driver,
              virDomainObj *vm G_GNUC_UNUSED)
{
    static GMutex trying;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&trying);
    int rc;

    g_atomic_int_set(&driver->goneScheduled, 0);
    if ((rc = nitroGoneEmpty(driver->config->stateDir)) == 0) {
        driver->gonePause = 0;
        driver->goneFailed = false;
        return;
    }
    nitroGoneTell(driver, rc < 0);
    driver->gonePause = CLAMP(driver->gonePause * 2, NITRO_GONE_PAUSE_MIN, NITRO_GONE_PAUSE_MAX);
    nitroGoneSchedule(driver, driver->gonePause);
}


void
nitroGoneEmptyLater(nitroDriver *driver)
{
    nitroGoneSchedule(driver, 0);
}
