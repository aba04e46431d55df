/*
 * rootfs_tree.h: the files of a ramdisk, in memory but for their contents
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A tree of names. An image chooses them: no hash of theirs is used, as many names can have the
 * same. Names of one file (hard links) share a RootfsInode. All names of an
 * image are looked up here and never on this machine: a link leads to another node of the
 * tree, ".." of the root is the root, as in a chroot.
 *
 * The tree can hold the root directory of an image below a directory of its own: the
 * application ramdisk has the image in /rootfs, and other files beside it.
 */

#pragma once

#include "container.h"

/* The longest path in a ramdisk, as the kernel takes it, with what is in front and behind */
#define ROOTFS_PATH_MAX 4095
#define ROOTFS_NAME_MAX 255

/* The largest file that a ramdisk can hold, in bytes */
#define ROOTFS_FILE_MAX G_MAXUINT32

/* Where the contents of regular files are */
typedef enum {
    ROOTFS_CONTENT_SPOOL,     /* at @offset of the spool */
    ROOTFS_CONTENT_DIRECTORY, /* in the file of the same path in the tree's directory */
    ROOTFS_CONTENT_ARCHIVE,   /* at @offset of the tree's archive */
} RootfsContent;

typedef struct _RootfsInode RootfsInode;
struct _RootfsInode {
    uint32_t refs;   /* names */
    uint32_t mode;   /* S_IFMT and permissions */
    uint32_t uid;
    uint32_t gid;
    uint32_t major;  /* of device nodes */
    uint32_t minor;
    RootfsContent content;
    uint64_t size;   /* bytes; 0 unless it is a regular file */
    uint64_t offset;
    char *target;    /* of symbolic links, else NULL */
    uint32_t number; /* for cpio_writer.c */
    uint32_t pass;
};

/* For a new file with no name yet; never NULL. What takes it says so. */
RootfsInode *rootfsInodeNew(uint32_t mode, uint32_t uid, uint32_t gid);
void rootfsInodeUnref(RootfsInode *inode);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RootfsInode, rootfsInodeUnref)

typedef struct _RootfsNode RootfsNode;
struct _RootfsNode {
    char *name;
    RootfsInode *inode;
    RootfsNode *parent;   /* NULL: the top */
    GTree *children;      /* name -> node, by bytes; NULL while there are none */
    unsigned int layer;   /* that has made it or changed it last */
    unsigned int hidden;  /* the layer that has hidden what lower ones have in it; 0: none */
};

/* Contents of many files behind each other, in a file that has no name */
typedef struct _RootfsSpool RootfsSpool;
struct _RootfsSpool {
    int fd;
    uint64_t size;
};

typedef struct _RootfsTree RootfsTree;
struct _RootfsTree {
    RootfsNode *top;
    RootfsNode *root;      /* of the image */
    RootfsSpool *spool;    /* the caller's */
    ContainerLimits *limits; /* the caller's */
    int directory;         /* for ROOTFS_CONTENT_DIRECTORY, or -1 */
    int archive;           /* for ROOTFS_CONTENT_ARCHIVE, or -1: it keeps no contents */
    uint64_t lostXattrs;   /* files whose extended attributes a ramdisk cannot hold */
    uint64_t lostOwners;   /* files whose owner was not kept */
    uint64_t lostSockets;
    char *firstXattr;      /* the first of each, or NULL */
    char *firstOwner;
    char *firstSocket;
};

/*
 * Opens a spool: a file without a name in @directory. Returns it, to close with
 * rootfsSpoolClose(), or NULL with @error set (_IO).
 */
RootfsSpool *rootfsSpoolOpen(const char *directory, GError **error);
void rootfsSpoolClose(RootfsSpool *spool);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RootfsSpool, rootfsSpoolClose)

/* Writes @len bytes at @offset of @spool. Returns 0, or -1 with @error set (_IO). */
int rootfsSpoolWrite(RootfsSpool *spool, uint64_t offset, const void *buf, size_t len,
                     GError **error);

/*
 * Returns an empty tree; the image's root is the directory @base of it, or the top when that
 * is NULL. @spool and @limits must live as long; directories that are only on the way to others
 * count for @limits here, all else where it is read. Never NULL.
 */
RootfsTree *rootfsTreeNew(RootfsSpool *spool, const char *base, ContainerLimits *limits);
void rootfsTreeFree(RootfsTree *tree);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RootfsTree, rootfsTreeFree)

/*
 * The file at @path of the image, links followed, or NULL when there is none, or with @error set
 * too when links go round in a circle (_FORMAT).
 */
RootfsNode *rootfsTreeFind(RootfsTree *tree, const char *path, GError **error);

/*
 * Puts @inode, whose reference is taken in any case, at @path of the image. Directories that lead
 * there are made, links among them followed. A directory in place of a directory keeps what is in
 * it; anything else is replaced. Paths with ".." are refused.
 * Returns 0, or -1 with @error set (_FORMAT, _LIMIT).
 */
int rootfsTreeAdd(RootfsTree *tree, const char *path, RootfsInode *inode, unsigned int layer,
                  GError **error);

/* As that, for another name of the file at @target, which is not a directory. */
int rootfsTreeLink(RootfsTree *tree, const char *path, const char *target, unsigned int layer,
                   GError **error);

/*
 * Removes what layers before @layer have put at @path of the image, if anything; with @inside, what
 * they have put into the directory there. Returns 0, or -1 with @error set.
 */
int rootfsTreeHide(RootfsTree *tree, const char *path, bool inside, unsigned int layer,
                   GError **error);

/* Makes the directory @path of the image, and those that lead there, if there is nothing. */
int rootfsTreeEnsureDirectory(RootfsTree *tree, const char *path, GError **error);

/* Puts a file with the @len bytes of @data at @path below the top (not the image's root). */
int rootfsTreeAddData(RootfsTree *tree, const char *path, uint32_t mode, const void *data,
                      size_t len, GError **error);

/*
 * Reads up to @len bytes at @offset of the regular file @inode, whose path below the image's root
 * is @path. Returns 0, or -1 with @error set (_IO, also when it has become shorter). @fd is -1 at
 * first, and a descriptor to close behind the last call when it no longer is.
 */
int rootfsTreeReadContent(const RootfsTree *tree, const RootfsInode *inode, const char *path,
                          int *fd, uint64_t offset, void *buf, size_t len, GError **error);

/*
 * Reads the regular file at @path of the image, links followed, of at most @max bytes, as a string.
 * Returns it (g_free); NULL when there is none, and with @error set when it cannot be read.
 */
char *rootfsTreeReadText(RootfsTree *tree, const char *path, size_t max, GError **error);
