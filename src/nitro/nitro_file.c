/*
 * nitro_file.c: files and sockets where other users can write, too
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Path -> nitroFileFind(), one directory at a time, each held by a descriptor while the next is
 * looked at -> a name in a directory, which the other functions use.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "nitro_file.h"
#include "nitro_socket.h"
#include "virerror.h"
#include "virfile.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

/* The kernel has room for a path of so many bytes, with the NUL at its end. */
#define NITRO_FILE_LINK_SIZE 4096

/* As the kernel's own limit */
#define NITRO_FILE_LINKS_MAX 40

/* The name of a socket has to go behind the longest number of a descriptor. */
G_STATIC_ASSERT(sizeof("/proc/self/fd/2147483647/") + NITRO_FILE_SOCKET_NAME_MAX <=
                NITRO_SOCKET_PATH_MAX + 1);

/* A file that comes and goes all the time is nobody's log. */
#define NITRO_FILE_ATTEMPTS 10


static bool
nitroFileIsTrusted(uid_t uid)
{
    return uid == 0 || uid == geteuid();
}


/* Whether anybody can remove or exchange what others have in the directory */
static bool
nitroFileIsOpen(const struct stat *dir)
{
    return (dir->st_mode & S_IWOTH) && !(dir->st_mode & S_ISVTX);
}


/* Whether others than its group and trusted users can put anything into the directory */
static bool
nitroFileIsForeign(const struct stat *dir)
{
    return !nitroFileIsTrusted(dir->st_uid) || (dir->st_mode & S_IWOTH);
}


static int
nitroFileReportOpen(const char *path,
                    const char *name)
{
    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("'%s' cannot be used: anybody can exchange '%s' in its directory, which all can write to and which has no sticky bit"),
                   path, name);
    return -1;
}


/* What is in the directory @dir and called @name has the state @entry. */
static int
nitroFileCheckEntry(const char *path,
                    const struct stat *dir,
                    const char *name,
                    const struct stat *entry)
{
    if (nitroFileIsOpen(dir))
        return nitroFileReportOpen(path, name);
    if (!nitroFileIsTrusted(dir->st_uid) && entry->st_uid != dir->st_uid) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("'%s' cannot be used: '%s' belongs to user %u and is in a directory of user %u, who could have put it there"),
                       path, name, entry->st_uid, dir->st_uid);
        return -1;
    }
    return 0;
}


static int
nitroFileCheckLink(const char *path,
                   const struct stat *dir,
                   const char *name,
                   const struct stat *entry)
{
    if (!nitroFileIsForeign(dir) && nitroFileIsTrusted(entry->st_uid))
        return 0;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("'%s' cannot be used: '%s' is a symbolic link that another user could have made"),
                   path, name);
    return -1;
}


/* Reads the link @fd. Returns its target (g_free), or NULL with errno set. */
static char *
nitroFileReadLink(int fd)
{
    g_autofree char *target = g_new0(char, NITRO_FILE_LINK_SIZE);
    ssize_t len = readlinkat(fd, "", target, NITRO_FILE_LINK_SIZE);

    if (len == NITRO_FILE_LINK_SIZE)
        errno = ENAMETOOLONG;
    return len < 0 || len == NITRO_FILE_LINK_SIZE ? NULL : g_steal_pointer(&target);
}


/* A walk from directory to directory */
typedef struct _nitroFileWalk nitroFileWalk;
struct _nitroFileWalk {
    nitroFilePlace *place; /* where it has arrived */
    char *rest;            /* what is to go yet */
    unsigned int links;    /* followed so far */
};

static void
nitroFileWalkClear(nitroFileWalk *walk)
{
    g_free(walk->rest);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroFileWalk, nitroFileWalkClear);


static int
nitroFileReport(const char *path,
                int err)
{
    virReportSystemError(err, _("cannot open the directory of '%s'"), path);
    return -1;
}


/* Begins at the root directory again. */
static int
nitroFileGoToRoot(nitroFileWalk *walk)
{
    nitroFilePlace *place = walk->place;

    VIR_FORCE_CLOSE(place->dir);
    if ((place->dir = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0 ||
        fstat(place->dir, &place->sb) < 0)
        return nitroFileReport(place->path, errno);
    return 0;
}


/* The next name of what is to go (g_free), or NULL at the end */
static char *
nitroFileTakeName(nitroFileWalk *walk)
{
    const char *start = walk->rest + strspn(walk->rest, "/");
    size_t len = strcspn(start, "/");
    g_autofree char *rest = g_strdup(start + len);
    char *name = len > 0 ? g_strndup(start, len) : NULL;

    g_free(walk->rest);
    walk->rest = g_steal_pointer(&rest);
    return name;
}


/* Puts the target of the link @fd before what is to go. */
static int
nitroFileFollow(nitroFileWalk *walk,
                int fd)
{
    g_autofree char *target = nitroFileReadLink(fd);
    g_autofree char *rest = NULL;

    if (!target)
        return nitroFileReport(walk->place->path, errno);
    if (++walk->links > NITRO_FILE_LINKS_MAX)
        return nitroFileReport(walk->place->path, ELOOP);

    rest = g_strdup_printf("%s/%s", target, walk->rest);
    g_free(walk->rest);
    walk->rest = g_steal_pointer(&rest);
    return *target == '/' ? nitroFileGoToRoot(walk) : 0;
}


/* Enters the directory @name, or follows the link of this name. */
static int
nitroFileEnter(nitroFileWalk *walk,
               const char *name)
{
    nitroFilePlace *place = walk->place;
    VIR_AUTOCLOSE fd = openat(place->dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat sb;

    if (fd < 0 || fstat(fd, &sb) < 0)
        return nitroFileReport(place->path, errno);

    if (S_ISLNK(sb.st_mode)) {
        if (nitroFileCheckLink(place->path, &place->sb, name, &sb) < 0)
            return -1;
        return nitroFileFollow(walk, fd);
    }
    if (!S_ISDIR(sb.st_mode))
        return nitroFileReport(place->path, ENOTDIR);
    if (nitroFileCheckEntry(place->path, &place->sb, name, &sb) < 0)
        return -1;

    VIR_FORCE_CLOSE(place->dir);
    place->dir = fd;
    place->sb = sb;
    fd = -1;
    return 0;
}


int
nitroFileFind(const char *path,
              nitroFilePlace *place)
{
    g_autofree char *dir = g_path_get_dirname(path);
    g_auto(nitroFileWalk) walk = { .place = place, .rest = g_strdup(dir) };
    char *name;

    place->path = path;
    place->name = g_path_get_basename(path);
    if (!g_path_is_absolute(path) || g_str_has_suffix(path, "/") ||
        STREQ(place->name, ".") || STREQ(place->name, "..")) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("'%s' is not the absolute path of a file"), path);
        return -1;
    }

    if (nitroFileGoToRoot(&walk) < 0)
        return -1;
    while ((name = nitroFileTakeName(&walk))) {
        g_autofree char *next = name;

        if (nitroFileEnter(&walk, next) < 0)
            return -1;
    }
    return nitroFileIsOpen(&place->sb) ? nitroFileReportOpen(path, place->name) : 0;
}


void
nitroFilePlaceClear(nitroFilePlace *place)
{
    VIR_FORCE_CLOSE(place->dir);
    g_clear_pointer(&place->name, g_free);
}


/* Whether a file with the state @sb may be written to at @place */
static int
nitroFileCheckOutput(const nitroFilePlace *place,
                     const struct stat *sb)
{
    if (S_ISLNK(sb->st_mode)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("'%s' is a symbolic link, and is not followed: name the file itself"),
                       place->path);
        return -1;
    }
    if (!S_ISREG(sb->st_mode)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("'%s' is not a regular file"), place->path);
        return -1;
    }
    if (nitroFileCheckEntry(place->path, &place->sb, place->name, sb) < 0)
        return -1;
    if (!nitroFileIsTrusted(sb->st_uid) && sb->st_uid != place->sb.st_uid) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("'%s' belongs to user %u: it must belong to root, to the daemon's user or to the owner of its directory"),
                       place->path, sb->st_uid);
        return -1;
    }
    if (sb->st_nlink != 1 &&
        (nitroFileIsForeign(&place->sb) || (place->sb.st_mode & S_IWGRP))) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("'%s' has more names than this one (hard links), and others can write to its directory"),
                       place->path);
        return -1;
    }
    return 0;
}


/* Opens what is there. Returns the descriptor, -1 with an error set, or -2: nothing is there. */
static int
nitroFileOpenExisting(const nitroFilePlace *place)
{
    VIR_AUTOCLOSE found = openat(place->dir, place->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", found);
    struct stat sb;
    int fd;

    if (found < 0 && errno == ENOENT)
        return -2;
    if (found < 0 || fstat(found, &sb) < 0) {
        virReportSystemError(errno, _("cannot open the file '%s'"), place->path);
        return -1;
    }
    if (nitroFileCheckOutput(place, &sb) < 0)
        return -1;

    /* What was looked at, not what has the name now; other kinds of files may act when opened */
    if ((fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOCTTY)) < 0)
        virReportSystemError(errno, _("cannot open the file '%s'"), place->path);
    return fd;
}


/* Makes the file. Returns as nitroFileOpenExisting(); -2: something is there. */
static int
nitroFileCreate(const nitroFilePlace *place)
{
    int fd = openat(place->dir, place->name,
                    O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0 && errno == EEXIST)
        return -2;
    if (fd < 0) {
        virReportSystemError(errno, _("cannot open the file '%s'"), place->path);
        return -1;
    }

    /* He could exchange it anyhow, and it is found again only if it is his. */
    if (!nitroFileIsTrusted(place->sb.st_uid) &&
        fchown(fd, place->sb.st_uid, place->sb.st_gid) < 0) {
        virReportSystemError(errno, _("cannot give '%s' to the owner of its directory"),
                             place->path);
        VIR_FORCE_CLOSE(fd);
    }
    return fd;
}


int
nitroFileOpenOutput(const nitroFilePlace *place)
{
    size_t i;
    int fd;

    for (i = 0; i < NITRO_FILE_ATTEMPTS; i++) {
        if ((fd = nitroFileOpenExisting(place)) != -2 ||
            (fd = nitroFileCreate(place)) != -2)
            return fd;
    }
    virReportSystemError(EAGAIN, _("cannot open the file '%s'"), place->path);
    return -1;
}


/* A path to the name @name in @dir that no other process can change the meaning of (g_free) */
static char *
nitroFileFdPath(int dir,
                const char *name)
{
    return name ? g_strdup_printf("/proc/self/fd/%d/%s", dir, name) :
                  g_strdup_printf("/proc/self/fd/%d", dir);
}


/*
 * Removes a socket that nobody listens on. One that is in use stays, and one that
 * somebody else has made: bind() then fails with EADDRINUSE.
 */
static void
nitroFileRemoveStale(const nitroFilePlace *place)
{
    VIR_AUTOCLOSE found = openat(place->dir, place->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    g_autofree char *path = nitroFileFdPath(found, NULL);
    VIR_AUTOCLOSE sock = -1;
    struct stat sb;
    nitroFileId id;

    /* connect() refuses a file of any other kind with the same error. */
    if (found < 0 || fstat(found, &sb) < 0 || !S_ISSOCK(sb.st_mode) ||
        !nitroFileIsTrusted(sb.st_uid) || nitroFileGetId(found, &id) < 0)
        return;
    if ((sock = nitroSocketConnect(path)) == -ECONNREFUSED)
        ignore_value(nitroFileRemove(place, &id));
}


int
nitroFileListen(const nitroFilePlace *place,
                nitroFileId *id)
{
    g_autofree char *path = nitroFileFdPath(place->dir, place->name);
    VIR_AUTOCLOSE fd = -1;
    struct stat sb;
    int ret;

    if (strlen(place->name) > NITRO_FILE_SOCKET_NAME_MAX)
        return -ENAMETOOLONG;

    nitroFileRemoveStale(place);
    ret = fd = nitroSocketBind(path);
    if (fd < 0)
        return ret;
    /* In a directory of somebody else it may be gone already, or be another one. */
    if (fstatat(place->dir, place->name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (!S_ISSOCK(sb.st_mode) || sb.st_uid != geteuid())
        return -EACCES;
    id->device = sb.st_dev;
    id->inode = sb.st_ino;

    fd = -1;
    return ret;
}


int
nitroFileConnect(const nitroFilePlace *place)
{
    VIR_AUTOCLOSE found = openat(place->dir, place->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    g_autofree char *path = nitroFileFdPath(found, NULL);
    struct stat sb;

    if (found < 0 || fstat(found, &sb) < 0)
        return -errno;
    if (S_ISLNK(sb.st_mode))
        return -ELOOP;
    /* The socket of a privileged program must not get an enclave's output as its orders, nor
     * somebody else get the output by being the first. */
    if (sb.st_uid != place->sb.st_uid && nitroFileIsForeign(&place->sb) &&
        !(nitroFileIsTrusted(place->sb.st_uid) && sb.st_uid == geteuid()))
        return -EACCES;
    return nitroSocketConnect(path);
}


int
nitroFileRemove(const nitroFilePlace *place,
                const nitroFileId *id)
{
    struct stat sb;

    if (fstatat(place->dir, place->name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -1;
    if (sb.st_dev != id->device || sb.st_ino != id->inode)
        return 0;
    return unlinkat(place->dir, place->name, 0) < 0 && errno != ENOENT ? -1 : 0;
}


int
nitroFileGetId(int fd,
               nitroFileId *id)
{
    struct stat sb;

    if (fstat(fd, &sb) < 0)
        return -1;
    id->device = sb.st_dev;
    id->inode = sb.st_ino;
    return 0;
}


bool
nitroFileIdEqual(const nitroFileId *a,
                 const nitroFileId *b)
{
    return a->device == b->device && a->inode == b->inode;
}
