/*
 * cpio_writer.c: a tree of files as a ramdisk
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: writeNode(), for each name in order -> writeHeader(), writeContent() -> a piece of
 * PIECE_SIZE bytes -> the sink. Without a sink, the bytes are counted only.
 */

#include "cpio_writer.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_SIZE (64 * 1024)

/* "070701" and 13 numbers of 8 digits */
#define HEADER_SIZE 110

#define TRAILER "TRAILER!!!"

/* The kernel wants 4, and cpio's writers end an archive so */
#define BLOCK_SIZE 512

typedef struct _Writer Writer;
struct _Writer {
    RootfsTree *tree;
    uint32_t mtime;
    CpioSink sink; /* NULL: only count */
    void *opaque;
    uint64_t pos;
    char *piece;
    size_t used;
    uint32_t inodes;
    uint32_t pass; /* inodes that have been written in it have this number */
    GString *path;
    int ret; /* negative, with *@error set, when something could not be written */
    GError **error;
};

static int
flush(Writer *writer, GError **error)
{
    size_t len = writer->used;

    writer->used = 0;
    return len == 0 ? 0 : writer->sink(writer->piece, len, writer->opaque, error);
}

static int
put(Writer *writer, const void *data, size_t len, GError **error)
{
    const char *p = data;

    writer->pos += len;
    while (writer->sink && len > 0) {
        size_t n = MIN(len, PIECE_SIZE - writer->used);

        memcpy(writer->piece + writer->used, p, n);
        writer->used += n;
        p += n;
        len -= n;
        if (writer->used == PIECE_SIZE && flush(writer, error) < 0)
            return -1;
    }
    return 0;
}

static int
pad(Writer *writer, size_t multiple, GError **error)
{
    static const char zeros[BLOCK_SIZE];

    return put(writer, zeros, (multiple - writer->pos % multiple) % multiple, error);
}

static int
writeHeader(Writer *writer, const RootfsInode *inode, const char *name, uint64_t size,
            GError **error)
{
    char header[HEADER_SIZE + 1];
    uint32_t links = S_ISDIR(inode->mode) ? 2 : inode->refs;

    snprintf(header, sizeof(header), "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
             inode->number, inode->mode, inode->uid, inode->gid, links, writer->mtime,
             (uint32_t)size, 0, 0, inode->major, inode->minor, (uint32_t)strlen(name) + 1, 0);
    if (put(writer, header, HEADER_SIZE, error) < 0 ||
        put(writer, name, strlen(name) + 1, error) < 0)
        return -1;
    return pad(writer, 4, error);
}

/* Straight into the piece: a file is copied once. */
static int
writeContent(Writer *writer, const RootfsInode *inode, GError **error)
{
    const char *path = writer->path->str;
    uint64_t done = 0;
    int fd = -1;
    int ret = 0;

    /* of the image's root, not of the top */
    if (writer->tree->root != writer->tree->top)
        path += strlen(writer->tree->root->name) + 1;

    while (ret == 0 && done < inode->size) {
        size_t len = MIN(inode->size - done, PIECE_SIZE - writer->used);

        ret = rootfsTreeReadContent(writer->tree, inode, path, &fd, done,
                                    writer->piece + writer->used, len, error);
        writer->used += len;
        writer->pos += len;
        done += len;
        if (ret == 0 && writer->used == PIECE_SIZE)
            ret = flush(writer, error);
    }
    if (fd >= 0)
        close(fd);
    return ret;
}

/* The name, and what is behind it: a link's target, or the content at a file's first name */
static int
writeFile(Writer *writer, RootfsInode *inode, GError **error)
{
    bool first = inode->pass != writer->pass;
    uint64_t size = 0;

    if (inode->target)
        size = strlen(inode->target);
    else if (first)
        size = inode->size;
    if (first)
        inode->number = ++writer->inodes;
    inode->pass = writer->pass;

    if (writeHeader(writer, inode, writer->path->str, size, error) < 0)
        return -1;
    if (inode->target) {
        if (put(writer, inode->target, size, error) < 0)
            return -1;
    } else if (!writer->sink) {
        writer->pos += size;
    } else if (size > 0 && writeContent(writer, inode, error) < 0) {
        return -1;
    }
    return pad(writer, 4, error);
}

static void
writeNode(Writer *writer, const RootfsNode *node);

/* A GTraverseFunc. Returns whether nothing more is to be written. */
static gboolean
writeChild(void *name, void *child, void *opaque)
{
    Writer *writer = opaque;
    const RootfsNode *node = child;
    size_t len = writer->path->len;

    g_string_append_printf(writer->path, "%s%s", len > 0 ? "/" : "", node->name);
    writer->ret = writeFile(writer, node->inode, writer->error);
    if (writer->ret == 0)
        writeNode(writer, node);
    g_string_truncate(writer->path, len);
    return writer->ret < 0;
}

/* All that is in the directory @node, by names */
static void
writeNode(Writer *writer, const RootfsNode *node)
{
    if (node->children)
        g_tree_foreach(node->children, writeChild, writer);
}

static int
writeTree(Writer *writer, GError **error)
{
    static uint32_t passes;
    const RootfsInode trailer = { .refs = 1 };

    writer->pass = ++passes;
    writer->path = g_string_new(NULL);
    writer->error = error;
    writeNode(writer, writer->tree->top);
    g_string_free(writer->path, TRUE);

    if (writer->ret < 0 || writeHeader(writer, &trailer, TRAILER, 0, error) < 0 ||
        pad(writer, BLOCK_SIZE, error) < 0)
        return -1;
    return flush(writer, error);
}

int
cpioGetSize(RootfsTree *tree, uint64_t *size, GError **error)
{
    Writer writer = { .tree = tree };

    if (writeTree(&writer, error) < 0)
        return -1;
    *size = writer.pos;
    return 0;
}

int
cpioWrite(RootfsTree *tree, uint32_t mtime, CpioSink sink, void *opaque, GError **error)
{
    g_autofree char *piece = g_malloc(PIECE_SIZE);
    Writer writer = {
        .tree = tree, .mtime = mtime, .sink = sink, .opaque = opaque, .piece = piece,
    };

    return writeTree(&writer, error);
}
