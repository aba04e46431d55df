/*
 * rootfs_content.c: the contents of the files of a tree
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: pieces of files out of archives -> the spool, at an offset that the inode knows -> pieces
 * for cpio_writer.c. Files of a root directory stay where they are, and are opened again then.
 */

#include "rootfs_dir.h"
#include "rootfs_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file without a name, for file systems that have no O_TMPFILE */
static int
openUnlinked(const char *directory)
{
    g_autofree char *path = g_build_filename(directory, ".virt-eif-XXXXXX", NULL);
    int fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0)
        unlink(path);
    return fd;
}

RootfsSpool *
rootfsSpoolOpen(const char *directory, GError **error)
{
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
    RootfsSpool *spool;

    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT))
        fd = openUnlinked(directory);
    if (fd < 0) {
        containerFail(error, CONTAINER_ERROR_IO, _("cannot make a temporary file in '%s': %s"),
                      directory, g_strerror(errno));
        return NULL;
    }

    spool = g_new0(RootfsSpool, 1);
    spool->fd = fd;
    return spool;
}

void
rootfsSpoolClose(RootfsSpool *spool)
{
    if (!spool)
        return;

    close(spool->fd);
    g_free(spool);
}

int
rootfsSpoolWrite(RootfsSpool *spool, uint64_t offset, const void *buf, size_t len, GError **error)
{
    const char *p = buf;
    size_t done = 0;

    while (done < len) {
        ssize_t put = pwrite(spool->fd, p + done, len - done, (off_t)(offset + done));

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return containerFail(error, CONTAINER_ERROR_IO,
                                 _("cannot write to the temporary file beside the image: %s"),
                                 g_strerror(put < 0 ? errno : ENOSPC));
        done += (size_t)put;
    }

    spool->size = MAX(spool->size, offset + len);
    return 0;
}

int
rootfsTreeReadContent(const RootfsTree *tree, const RootfsInode *inode, const char *path, int *fd,
                      uint64_t offset, void *buf, size_t len, GError **error)
{
    bool spooled = inode->content == ROOTFS_CONTENT_SPOOL;
    int file = spooled ? tree->spool->fd : tree->archive;
    size_t done = 0;

    if (inode->content == ROOTFS_CONTENT_DIRECTORY) {
        if (*fd < 0 && (*fd = rootfsOpenBelow(tree->directory, path, inode, error)) < 0)
            return -1;
        file = *fd;
    }

    while (done < len) {
        ssize_t got = pread(file, (char *)buf + done, len - done,
                            (off_t)(inode->offset + offset + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return containerFail(error, CONTAINER_ERROR_IO, _("cannot read '%s': %s"), path,
                                 g_strerror(errno));
        if (got == 0 && spooled) {
            /* a file that ends with a hole */
            memset((char *)buf + done, 0, len - done);
            return 0;
        }
        if (got == 0)
            return containerFail(error, CONTAINER_ERROR_IO,
                                 _("'%s' has become shorter while it was read"), path);
        done += (size_t)got;
    }
    return 0;
}

char *
rootfsTreeReadText(RootfsTree *tree, const char *path, size_t max, GError **error)
{
    g_autoptr(GError) local = NULL;
    RootfsNode *node = rootfsTreeFind(tree, path, &local);
    g_autofree char *text = NULL;
    RootfsNode *up;
    GString *real;
    int fd = -1;
    int ret;

    if (local) {
        g_propagate_error(error, g_steal_pointer(&local));
        return NULL;
    }
    if (!node || !S_ISREG(node->inode->mode))
        return NULL;
    if (node->inode->size > max) {
        containerFail(error, CONTAINER_ERROR_LIMIT,
                      _("'%s' in the image has more than the %zu bytes that are read"), path, max);
        return NULL;
    }

    /* links may have led elsewhere */
    real = g_string_new(node->name);
    for (up = node->parent; up && up != tree->root; up = up->parent) {
        g_string_prepend_c(real, '/');
        g_string_prepend(real, up->name);
    }
    text = g_malloc0(node->inode->size + 1);
    ret = rootfsTreeReadContent(tree, node->inode, real->str, &fd, 0, text, node->inode->size,
                                error);
    g_string_free(real, TRUE);
    if (fd >= 0)
        close(fd);
    return ret < 0 ? NULL : g_steal_pointer(&text);
}
