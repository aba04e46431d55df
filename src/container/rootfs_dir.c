/*
 * rootfs_dir.c: a root directory of this machine as the files of an image
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: rootfsReadDirectory() -> readDirectory(), for each directory again -> addFile() -> the
 * tree. Later rootfsOpenBelow(), for each regular file whose content is wanted.
 */

#include "rootfs_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

/* The kernel makes no longer link, in bytes */
#define TARGET_MAX 4096

/* Names of attributes that are looked at, in bytes; more than that is some that count, too */
#define XATTR_NAMES_MAX 4096

/* What the security module of the machine keeps on each file is none of the image's */
#define XATTR_LABEL "security.selinux"

typedef struct _Reader Reader;
struct _Reader {
    RootfsTree *tree;
    ContainerLimits *limits;
    GHashTable *links; /* of files with more names than one: "device:inode" -> path */
    GString *path;     /* of the present file, below the root directory */
    GError **error;
};

static void
note(uint64_t *count, char **first, const char *path)
{
    if ((*count)++ == 0)
        *first = containerPrintable(path);
}

static bool
hasXattrs(int fd)
{
    char names[XATTR_NAMES_MAX];
    ssize_t len = flistxattr(fd, names, sizeof(names));
    const char *name;

    if (len < 0)
        return errno == ERANGE;
    for (name = names; name < names + len; name += strlen(name) + 1) {
        if (strcmp(name, XATTR_LABEL) != 0)
            return true;
    }
    return false;
}

/* The attributes of a file or directory at @name of @dir, which may be of another user's */
static void
noteLost(Reader *reader, int dir, const char *name, const struct stat *sb)
{
    int fd;

    if (sb->st_uid != 0 && sb->st_uid != geteuid())
        note(&reader->tree->lostOwners, &reader->tree->firstOwner, reader->path->str);
    if (!S_ISREG(sb->st_mode))
        return;
    if ((fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)) < 0)
        return; /* reading its content will say so */
    if (hasXattrs(fd))
        note(&reader->tree->lostXattrs, &reader->tree->firstXattr, reader->path->str);
    close(fd);
}

static char *
readLink(int dir, const char *name)
{
    char target[TARGET_MAX];
    ssize_t len = readlinkat(dir, name, target, sizeof(target));

    return len < 0 ? NULL : g_strndup(target, len);
}

static int
failHere(Reader *reader, const char *what)
{
    return containerFail(reader->error, CONTAINER_ERROR_IO, "%s '%s': %s", what,
                         reader->path->str, g_strerror(errno));
}

/* Another name of a file that is there already? Then adds it. Returns 1 if so, 0, or -1. */
static int
addLink(Reader *reader, const struct stat *sb)
{
    g_autofree char *key = NULL;
    const char *first;

    if (sb->st_nlink < 2 || S_ISDIR(sb->st_mode))
        return 0;

    key = g_strdup_printf("%llx:%llx", (unsigned long long)sb->st_dev,
                          (unsigned long long)sb->st_ino);
    if ((first = g_hash_table_lookup(reader->links, key)))
        return rootfsTreeLink(reader->tree, reader->path->str, first, 0,
                              reader->error) < 0 ? -1 : 1;
    g_hash_table_insert(reader->links, g_steal_pointer(&key), g_strdup(reader->path->str));
    return 0;
}

static int
addFile(Reader *reader, int dir, const char *name, const struct stat *sb)
{
    g_autoptr(RootfsInode) inode = rootfsInodeNew(sb->st_mode & (S_IFMT | 07777), 0, 0);
    int linked = addLink(reader, sb);

    if (linked != 0)
        return MIN(linked, 0);

    if (S_ISLNK(sb->st_mode) && !(inode->target = readLink(dir, name)))
        return failHere(reader, _("cannot read the link"));
    if (S_ISREG(sb->st_mode)) {
        inode->content = ROOTFS_CONTENT_DIRECTORY;
        inode->size = (uint64_t)sb->st_size;
        if (containerCountContent(reader->limits, inode->size, reader->path->str,
                                  reader->error) < 0)
            return -1;
    }
    if (S_ISCHR(sb->st_mode) || S_ISBLK(sb->st_mode)) {
        inode->major = major(sb->st_rdev);
        inode->minor = minor(sb->st_rdev);
    }
    return rootfsTreeAdd(reader->tree, reader->path->str, g_steal_pointer(&inode), 0,
                         reader->error);
}

static int
readDirectory(Reader *reader, int dir);

/* The file @name of the directory @dir, and what is below it; its path is the reader's. */
static int
readFile(Reader *reader, int dir, const char *name)
{
    struct stat sb;
    int fd;
    int ret;

    if (containerCountEntry(reader->limits, reader->path->len, reader->path->str,
                            reader->error) < 0)
        return -1;
    if (fstatat(dir, name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return failHere(reader, _("cannot examine"));
    if (S_ISSOCK(sb.st_mode)) {
        note(&reader->tree->lostSockets, &reader->tree->firstSocket, reader->path->str);
        return 0;
    }

    noteLost(reader, dir, name, &sb);
    if (addFile(reader, dir, name, &sb) < 0)
        return -1;
    if (!S_ISDIR(sb.st_mode))
        return 0;
    if ((fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
        return failHere(reader, _("cannot open the directory"));
    ret = readDirectory(reader, fd);
    close(fd);
    return ret;
}

static int
readDirectory(Reader *reader, int dir)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    size_t len = reader->path->len;
    struct dirent *entry;
    int ret = 0;

    if (!stream) {
        if (fd >= 0)
            close(fd);
        return failHere(reader, _("cannot open the directory"));
    }

    while (ret == 0) {
        errno = 0;
        if (!(entry = readdir(stream))) {
            if (errno != 0)
                ret = failHere(reader, _("cannot read the directory"));
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        g_string_append_printf(reader->path, "%s%s", len > 0 ? "/" : "", entry->d_name);
        ret = readFile(reader, dir, entry->d_name);
        g_string_truncate(reader->path, len);
    }
    closedir(stream);
    return ret;
}

int
rootfsReadDirectory(RootfsTree *tree, int fd, ContainerLimits *limits, GError **error)
{
    Reader reader = {
        .tree = tree,
        .limits = limits,
        .links = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free),
        .path = g_string_new(NULL),
        .error = error,
    };
    int ret;

    tree->directory = fd;
    ret = readDirectory(&reader, fd);
    g_hash_table_unref(reader.links);
    g_string_free(reader.path, TRUE);
    return ret;
}

/* Opens the directory that @path is in. Returns a descriptor, or -1 with errno set. */
static int
openParent(int fd, char **names)
{
    int at = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    size_t i;

    for (i = 0; at >= 0 && names[i + 1]; i++) {
        int next = openat(at, names[i], O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int err = errno;

        close(at);
        errno = err;
        at = next;
    }
    return at;
}

int
rootfsOpenBelow(int fd, const char *path, const RootfsInode *inode, GError **error)
{
    g_auto(GStrv) names = g_strsplit(path, "/", -1);
    int parent = openParent(fd, names);
    int file = -1;
    struct stat sb;

    if (parent >= 0) {
        file = openat(parent, names[g_strv_length(names) - 1],
                      O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        close(parent);
    }
    if (file < 0)
        return containerFail(error, CONTAINER_ERROR_IO, _("cannot open '%s': %s"), path,
                             g_strerror(errno));

    if (fstat(file, &sb) == 0 && S_ISREG(sb.st_mode) && (uint64_t)sb.st_size == inode->size)
        return file;
    close(file);
    return containerFail(error, CONTAINER_ERROR_IO, _("'%s' has changed while it was read"), path);
}
