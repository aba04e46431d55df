/*
 * rootfs_tar.c: the files of a tar archive as those of an image
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: libarchive's entries, one by one -> applyEntry(): a whiteout, a hard link or a file -> the
 * tree; contents piece by piece -> the spool, unless they are in a file as they are.
 */

#include "rootfs_tar.h"

#include <string.h>
#include <sys/stat.h>

/* Bytes that are copied at once */
#define COPY_SIZE (16 * 1024)

/* What tar pads contents to */
#define TAR_RECORD_SIZE 512

#define WHITEOUT ".wh."
#define WHITEOUT_META ".wh..wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"

typedef struct _Reader Reader;
struct _Reader {
    RootfsTree *tree;
    SourceArchive sa;
    const char *what;
    unsigned int layer;
    ContainerLimits *limits;
};

/* Sets @error to what @path of the archive is. Returns -1. */
static int
failEntry(Reader *reader, const char *path, const char *problem, GError **error)
{
    g_autofree char *shown = containerPrintable(path);

    return containerFail(error, CONTAINER_ERROR_FORMAT, _("'%s' in %s %s"), shown, reader->what,
                         problem);
}

/* Says where @error is from, if it is of a path. Returns -1. */
static int
prefixError(Reader *reader, GError **error)
{
    g_prefix_error(error, "%s: ", reader->what);
    return -1;
}

/* Returns 1 when @path is a whiteout and has been applied, 0 when it is none, or -1. */
static int
applyWhiteout(Reader *reader, const char *path, GError **error)
{
    g_autofree char *base = NULL;
    g_autofree char *directory = NULL;
    g_autofree char *hidden = NULL;
    bool opaque;

    if (reader->layer == 0)
        return 0;
    base = g_path_get_basename(path);
    if (!g_str_has_prefix(base, WHITEOUT))
        return 0;

    directory = g_path_get_dirname(path);
    opaque = strcmp(base, WHITEOUT_OPAQUE) == 0;
    /* other files of this name are aufs's own */
    if (!opaque && g_str_has_prefix(base, WHITEOUT_META))
        return 1;

    base[0] = opaque ? '\0' : base[0];
    hidden = g_build_filename(directory, opaque ? "." : base + strlen(WHITEOUT), NULL);
    if (!opaque && (base[strlen(WHITEOUT)] == '\0' || strcmp(base, WHITEOUT ".") == 0 ||
                    strcmp(base, WHITEOUT "..") == 0))
        return failEntry(reader, path, _("hides no file"), error);
    if (rootfsTreeHide(reader->tree, hidden, opaque, reader->layer, error) < 0)
        return prefixError(reader, error);
    return 1;
}

/*
 * The content of @inode, of which @len bytes have been found in the archive, is to be in the spool
 * after all: copies these.
 */
static int
moveToSpool(Reader *reader, RootfsInode *inode, uint64_t len, GError **error)
{
    RootfsSpool *spool = reader->tree->spool;
    RootfsInode kept = *inode;
    char piece[COPY_SIZE];
    uint64_t done = 0;

    inode->content = ROOTFS_CONTENT_SPOOL;
    inode->offset = spool->size;
    spool->size += inode->size;
    while (done < len) {
        size_t n = MIN(len - done, sizeof(piece));

        if (rootfsTreeReadContent(reader->tree, &kept, reader->what, NULL, done, piece, n,
                                  error) < 0 ||
            rootfsSpoolWrite(spool, inode->offset + done, piece, n, error) < 0)
            return -1;
        done += n;
    }
    return 0;
}

/*
 * Whether the bytes at @data, which are at @offset of the content of @inode, are in the archive
 * behind those before; the first ones say where it is.
 */
static bool
isInArchive(Reader *reader, RootfsInode *inode, const void *data, uint64_t offset)
{
    int64_t at = byteSourceLocate(reader->sa.source, data);

    if (at >= 0 && offset == 0)
        inode->offset = (uint64_t)at;
    return at >= 0 && (uint64_t)at == inode->offset + offset;
}

/*
 * Passes over the content of the present entry, for @inode, whose first bytes have been found in the
 * archive and which has no holes: the others are behind them.
 */
static int
skipContent(Reader *reader, RootfsInode *inode, const char *path, GError **error)
{
    struct archive *archive = reader->sa.archive;
    la_int64_t start = archive_filter_bytes(archive, 0);
    uint64_t len;

    if (archive_read_data_skip(archive) != ARCHIVE_OK)
        return sourceArchiveFail(&reader->sa, reader->what, error);
    len = (uint64_t)(archive_filter_bytes(archive, 0) - start);

    /* up to the end of a record, unless the archive says two sizes */
    if (len >= inode->size + TAR_RECORD_SIZE)
        return failEntry(reader, path, _("has more bytes than its size"), error);
    return len < inode->size ? moveToSpool(reader, inode, len, error) : 0;
}

/*
 * Finds the content of the present entry, for @inode: it stays in the archive if that is kept and
 * it is there as it is, else it is copied to the spool.
 */
static int
readContent(Reader *reader, struct archive_entry *entry, RootfsInode *inode, const char *path,
            GError **error)
{
    RootfsSpool *spool = reader->tree->spool;
    uint64_t found = 0;
    const void *data;
    la_int64_t offset;
    size_t len;
    int ret;

    inode->content = ROOTFS_CONTENT_ARCHIVE;
    if (reader->tree->archive < 0 && moveToSpool(reader, inode, 0, error) < 0)
        return -1;
    while ((ret = archive_read_data_block(reader->sa.archive, &data, &len,
                                          &offset)) == ARCHIVE_OK) {
        if (offset < 0 || (uint64_t)offset > inode->size || len > inode->size - (uint64_t)offset)
            return failEntry(reader, path, _("has more bytes than its size"), error);
        if (inode->content == ROOTFS_CONTENT_ARCHIVE) {
            if ((uint64_t)offset == found && isInArchive(reader, inode, data, found)) {
                if (archive_entry_sparse_count(entry) == 0)
                    return skipContent(reader, inode, path, error);
                found += len;
                continue;
            }
            if (moveToSpool(reader, inode, found, error) < 0)
                return -1;
        }
        if (rootfsSpoolWrite(spool, inode->offset + (uint64_t)offset, data, len, error) < 0)
            return -1;
    }
    if (ret != ARCHIVE_EOF)
        return sourceArchiveFail(&reader->sa, reader->what, error);
    /* the last part can be a hole */
    if (inode->content == ROOTFS_CONTENT_ARCHIVE && found < inode->size)
        return moveToSpool(reader, inode, found, error);
    return 0;
}

static int
checkNumbers(Reader *reader, struct archive_entry *entry, const char *path, GError **error)
{
    if (archive_entry_uid(entry) < 0 || archive_entry_uid(entry) > G_MAXUINT32 ||
        archive_entry_gid(entry) < 0 || archive_entry_gid(entry) > G_MAXUINT32)
        return failEntry(reader, path, _("has an owner that is no number of 32 bits"), error);
    if (archive_entry_size(entry) < 0)
        return failEntry(reader, path, _("has a negative size"), error);
    return 0;
}

/* The inode that @entry says, without content; NULL with @error set */
static RootfsInode *
makeInode(Reader *reader, struct archive_entry *entry, const char *path, GError **error)
{
    uint32_t type = archive_entry_filetype(entry);
    g_autoptr(RootfsInode) inode = NULL;

    if (checkNumbers(reader, entry, path, error) < 0)
        return NULL;

    inode = rootfsInodeNew(type | (archive_entry_perm(entry) & 07777),
                           (uint32_t)archive_entry_uid(entry), (uint32_t)archive_entry_gid(entry));
    switch (type) {
    case AE_IFREG:
        inode->size = (uint64_t)archive_entry_size(entry);
        break;
    case AE_IFLNK:
        /* the permissions of a link mean nothing, and tools differ in them */
        inode->mode = type | 0777;
        inode->target = g_strdup(archive_entry_symlink(entry) ? archive_entry_symlink(entry) : "");
        break;
    case AE_IFCHR:
    case AE_IFBLK:
        inode->major = (uint32_t)archive_entry_rdevmajor(entry);
        inode->minor = (uint32_t)archive_entry_rdevminor(entry);
        break;
    case AE_IFDIR:
    case AE_IFIFO:
        break;
    default:
        failEntry(reader, path, _("is of no type that a ramdisk can hold"), error);
        return NULL;
    }
    return g_steal_pointer(&inode);
}

static int
applyFile(Reader *reader, struct archive_entry *entry, const char *path, GError **error)
{
    g_autoptr(RootfsInode) inode = makeInode(reader, entry, path, error);
    g_autofree char *shown = containerPrintable(path);
    RootfsTree *tree = reader->tree;

    if (!inode)
        return -1;
    if (inode->size > ROOTFS_FILE_MAX)
        return failEntry(reader, path, _("is larger than the 4 GiB that a ramdisk can hold"),
                         error);
    if (containerCountContent(reader->limits, inode->size, shown, error) < 0)
        return prefixError(reader, error);
    if (archive_entry_xattr_count(entry) > 0 && tree->lostXattrs++ == 0)
        tree->firstXattr = g_strdup(shown);
    if (S_ISREG(inode->mode) && readContent(reader, entry, inode, path, error) < 0)
        return -1;
    if (rootfsTreeAdd(tree, path, g_steal_pointer(&inode), reader->layer, error) < 0)
        return prefixError(reader, error);
    return 0;
}

/* The bytes of memory that the names of @entry need */
static size_t
nameSize(struct archive_entry *entry)
{
    const char *path = archive_entry_pathname(entry);
    const char *target = archive_entry_symlink(entry);

    return (path ? strlen(path) : 0) + (target ? strlen(target) : 0);
}

static int
applyEntry(Reader *reader, struct archive_entry *entry, GError **error)
{
    const char *path = archive_entry_pathname(entry);
    const char *link = archive_entry_hardlink(entry);
    int whiteout;

    if (containerCountEntry(reader->limits, nameSize(entry), reader->what, error) < 0)
        return -1;
    if (!path || !*path)
        return containerFail(error, CONTAINER_ERROR_FORMAT, _("a file in %s has no name"),
                             reader->what);
    if ((whiteout = applyWhiteout(reader, path, error)) != 0)
        return MIN(whiteout, 0);
    if (!link)
        return applyFile(reader, entry, path, error);
    if (rootfsTreeLink(reader->tree, path, link, reader->layer, error) < 0)
        return prefixError(reader, error);
    return 0;
}

static int
readEntries(Reader *reader, GError **error)
{
    struct archive_entry *entry;
    int ret;

    if (sourceArchiveOpen(&reader->sa, reader->what, error) < 0)
        return -1;

    while ((ret = archiveNextEntry(reader->sa.archive, &entry)) == ARCHIVE_OK) {
        if (applyEntry(reader, entry, error) < 0)
            return -1;
    }
    if (ret != ARCHIVE_EOF)
        return sourceArchiveFail(&reader->sa, reader->what, error);
    /* libarchive takes an end in the middle of nothing for the end */
    if (reader->sa.error)
        return sourceArchiveFail(&reader->sa, reader->what, error);
    return byteSourceDrain(reader->sa.source, error);
}

int
rootfsReadTar(RootfsTree *tree, ByteSource *source, const char *what, unsigned int layer,
              ContainerLimits *limits, GError **error)
{
    Reader reader = {
        .tree = tree,
        .sa = { .archive = archive_read_new(), .source = source },
        .what = what,
        .layer = layer,
        .limits = limits,
    };
    int ret;

    archive_read_support_format_tar(reader.sa.archive);
    archive_read_support_format_empty(reader.sa.archive);
    ret = readEntries(&reader, error);
    archive_read_free(reader.sa.archive);
    g_clear_error(&reader.sa.error);
    return ret;
}
