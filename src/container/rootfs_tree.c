/*
 * rootfs_tree.c: the files of a ramdisk, in memory
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: a path -> splitPath() -> walk() to its directory, through links -> the node is put,
 * replaced or removed there.
 */

#include "rootfs_tree.h"

#include <string.h>
#include <sys/stat.h>

/* Links on the way to a file, as in the kernel */
#define LINKS_MAX 40

#define LINK_TARGET_MAX 4095

RootfsInode *
rootfsInodeNew(uint32_t mode, uint32_t uid, uint32_t gid)
{
    RootfsInode *inode = g_new0(RootfsInode, 1);

    *inode = (RootfsInode){ .refs = 1, .mode = mode, .uid = uid, .gid = gid };
    return inode;
}

void
rootfsInodeUnref(RootfsInode *inode)
{
    if (!inode || --inode->refs > 0)
        return;

    g_free(inode->target);
    g_free(inode);
}

static bool
isDirectory(const RootfsNode *node)
{
    return S_ISDIR(node->inode->mode);
}

static void
nodeFree(void *opaque)
{
    RootfsNode *node = opaque;

    if (node->children)
        g_tree_unref(node->children);
    rootfsInodeUnref(node->inode);
    g_free(node->name);
    g_free(node);
}

static int
compareNames(const void *a, const void *b, void *opaque)
{
    return strcmp(a, b);
}

/* Takes @inode. */
static RootfsNode *
nodeNew(RootfsNode *parent, const char *name, RootfsInode *inode, unsigned int layer)
{
    RootfsNode *node = g_new0(RootfsNode, 1);

    *node = (RootfsNode){
        .name = g_strdup(name), .inode = inode, .parent = parent, .layer = layer,
    };
    if (!parent)
        return node;

    if (!parent->children)
        parent->children = g_tree_new_full(compareNames, NULL, NULL, nodeFree);
    g_tree_replace(parent->children, node->name, node);
    return node;
}

static RootfsNode *
nodeFind(const RootfsNode *parent, const char *name)
{
    return parent->children ? g_tree_lookup(parent->children, name) : NULL;
}

RootfsTree *
rootfsTreeNew(RootfsSpool *spool, const char *base, ContainerLimits *limits)
{
    RootfsTree *tree = g_new0(RootfsTree, 1);

    tree->top = nodeNew(NULL, "", rootfsInodeNew(S_IFDIR | 0755, 0, 0), 0);
    tree->root = tree->top;
    if (base)
        tree->root = nodeNew(tree->top, base, rootfsInodeNew(S_IFDIR | 0755, 0, 0), 0);
    tree->spool = spool;
    tree->limits = limits;
    tree->directory = -1;
    tree->archive = -1;
    return tree;
}

void
rootfsTreeFree(RootfsTree *tree)
{
    if (!tree)
        return;

    nodeFree(tree->top);
    g_free(tree->firstXattr);
    g_free(tree->firstOwner);
    g_free(tree->firstSocket);
    g_free(tree);
}

/* @path is of the image; its length counts with that of the base. */
static int
checkPath(const RootfsTree *tree, const char *path, GError **error)
{
    g_autofree char *shown = containerPrintable(path);
    g_auto(GStrv) parts = NULL;
    size_t i;

    if (strlen(path) + strlen(tree->root->name) + 1 > ROOTFS_PATH_MAX)
        return containerFail(error, CONTAINER_ERROR_LIMIT, _("the path '%s' is longer than the %d "
                             "bytes that a ramdisk can hold"), shown, ROOTFS_PATH_MAX);

    parts = g_strsplit(path, "/", -1);
    for (i = 0; parts[i]; i++) {
        if (strcmp(parts[i], "..") == 0)
            return containerFail(error, CONTAINER_ERROR_FORMAT,
                                 _("the path '%s' leads out of its directory by '..'"), shown);
        if (strlen(parts[i]) > ROOTFS_NAME_MAX)
            return containerFail(error, CONTAINER_ERROR_LIMIT, _("a name in the path '%s' has more "
                                 "than %d bytes"), shown, ROOTFS_NAME_MAX);
    }
    return 0;
}

/* The rest of a path that is being walked */
typedef struct _Walk Walk;
struct _Walk {
    RootfsTree *tree;
    const char *path; /* as it was given, for messages */
    char *rest;
    size_t pos; /* in @rest */
    unsigned int links;
};

/* The next name of @walk, or NULL at the end; valid until the next call */
static const char *
nextName(Walk *walk)
{
    char *start;
    char *end;

    do {
        start = walk->rest + walk->pos;
        start += strspn(start, "/");
        if (!*start)
            return NULL;
        end = start + strcspn(start, "/");
        walk->pos = end - walk->rest + (*end ? 1 : 0);
        *end = '\0';
    } while (strcmp(start, ".") == 0);
    return start;
}

/* Goes on with the target of @link, which is in the directory @at. Returns where, or NULL. */
static RootfsNode *
followLink(Walk *walk, RootfsNode *at, const RootfsNode *link, GError **error)
{
    g_autofree char *shown = containerPrintable(walk->path);
    const char *target = link->inode->target;
    char *rest;

    /* what links lead to takes its time, and they can lead to others */
    if (containerCountName(walk->tree->limits, strlen(target), shown, error) < 0)
        return NULL;
    if (++walk->links > LINKS_MAX ||
        strlen(target) + strlen(walk->rest + walk->pos) > 2 * ROOTFS_PATH_MAX) {
        containerFail(error, CONTAINER_ERROR_FORMAT,
                      _("the path '%s' leads through more than %d symbolic links"),
                      shown, LINKS_MAX);
        return NULL;
    }

    rest = g_strdup_printf("%s/%s", target, walk->rest + walk->pos);
    g_free(walk->rest);
    walk->rest = rest;
    walk->pos = 0;
    return target[0] == '/' ? walk->tree->root : at;
}

/* The length of @node's path below the top, with a NUL, as it is in a ramdisk */
static size_t
pathLength(const RootfsNode *node)
{
    size_t len = 0;

    for (; node->parent; node = node->parent)
        len += strlen(node->name) + 1;
    return len;
}

/*
 * The directory @name of @at, which no archive has named: of one path, there can be two thousand.
 * Returns NULL with @error set when that is too much.
 */
static RootfsNode *
makeDirectory(Walk *walk, RootfsNode *at, const char *name, unsigned int layer, GError **error)
{
    g_autofree char *shown = containerPrintable(walk->path);
    size_t len = strlen(name);

    if (len > ROOTFS_NAME_MAX) {
        containerFail(error, CONTAINER_ERROR_LIMIT,
                      _("a symbolic link has a name of more than %d bytes"), ROOTFS_NAME_MAX);
        return NULL;
    }
    if (containerCountEntry(walk->tree->limits, pathLength(at) + len, shown, error) < 0)
        return NULL;
    return nodeNew(at, name, rootfsInodeNew(S_IFDIR | 0755, 0, 0), layer);
}

/* One name further from @at. Returns NULL, with @error set or not, when that does not exist. */
static RootfsNode *
step(Walk *walk, RootfsNode *at, const char *name, bool create, unsigned int layer,
     GError **error)
{
    RootfsNode *child;

    if (strcmp(name, "..") == 0)
        return at == walk->tree->root ? at : at->parent;
    if (!isDirectory(at)) {
        g_autofree char *shown = containerPrintable(walk->path);
        g_autofree char *file = containerPrintable(at->name);

        if (create)
            containerFail(error, CONTAINER_ERROR_FORMAT,
                          _("the path '%s' leads through '%s', which is not a directory"),
                          shown, file);
        return NULL;
    }

    child = nodeFind(at, name);
    if (child && child->inode->target)
        return followLink(walk, at, child, error);
    if (!child && create)
        return makeDirectory(walk, at, name, layer, error);
    return child;
}

/* What is at @path, all links followed; with @create, directories are made where nothing is. */
static RootfsNode *
walk(RootfsTree *tree, const char *path, bool create, unsigned int layer, GError **error)
{
    Walk state = { .tree = tree, .path = path, .rest = g_strdup(path) };
    RootfsNode *at = tree->root;
    const char *name;

    while (at && (name = nextName(&state)))
        at = step(&state, at, name, create, layer, error);
    g_free(state.rest);
    return at;
}

/* Whether a name of @len bytes in @directory has a path that a ramdisk can hold; @path led there. */
static int
checkLength(const RootfsNode *directory, size_t len, const char *path, GError **error)
{
    g_autofree char *shown = containerPrintable(path);

    if (pathLength(directory) + len <= ROOTFS_PATH_MAX)
        return 0;
    return containerFail(error, CONTAINER_ERROR_LIMIT, _("the path '%s' is longer than the %d bytes "
                         "that a ramdisk can hold"), shown, ROOTFS_PATH_MAX);
}

/*
 * Splits @path into the directory it is in, which is made when there is none, and its last
 * name (g_free), which is NULL when @path is the root.
 */
static RootfsNode *
splitPath(RootfsTree *tree, const char *path, unsigned int layer, char **name, GError **error)
{
    g_autofree char *copy = g_strdup(path);
    size_t len = strlen(copy);
    RootfsNode *parent;
    char *slash;

    *name = NULL;
    if (checkPath(tree, path, error) < 0)
        return NULL;

    /* "a/b/./" is a/b */
    while (len > 0 && (copy[len - 1] == '/' ||
                       (copy[len - 1] == '.' && (len == 1 || copy[len - 2] == '/'))))
        copy[--len] = '\0';
    if (len == 0)
        return tree->root;

    if ((slash = strrchr(copy, '/')))
        *slash++ = '\0';
    if (!(parent = walk(tree, slash ? copy : "", true, layer, error)))
        return NULL;
    if (!isDirectory(parent)) {
        g_autofree char *shown = containerPrintable(path);
        g_autofree char *file = containerPrintable(parent->name);

        containerFail(error, CONTAINER_ERROR_FORMAT,
                      _("the path '%s' leads through '%s', which is not a directory"), shown, file);
        return NULL;
    }
    if (checkLength(parent, strlen(slash ? slash : copy), path, error) < 0)
        return NULL;
    *name = g_strdup(slash ? slash : copy);
    return parent;
}

/* The directory @node gets the attributes of @inode, which is taken. */
static void
replaceInode(RootfsNode *node, RootfsInode *inode, unsigned int layer)
{
    rootfsInodeUnref(node->inode);
    node->inode = inode;
    node->layer = layer;
}

static int
checkInode(const RootfsInode *inode, const char *path, GError **error)
{
    g_autofree char *shown = containerPrintable(path);

    if (inode->target && (!*inode->target || strlen(inode->target) > LINK_TARGET_MAX))
        return containerFail(error, CONTAINER_ERROR_LIMIT, _("the symbolic link '%s' leads to a "
                             "path of %zu bytes, and a ramdisk can hold 1 to %d"), shown,
                             strlen(inode->target), LINK_TARGET_MAX);
    if (inode->size > ROOTFS_FILE_MAX)
        return containerFail(error, CONTAINER_ERROR_LIMIT,
                             _("the file '%s' is larger than the 4 GiB that a ramdisk can hold"),
                             shown);
    return 0;
}

int
rootfsTreeAdd(RootfsTree *tree, const char *path, RootfsInode *taken, unsigned int layer,
              GError **error)
{
    g_autoptr(RootfsInode) inode = taken;
    g_autofree char *name = NULL;
    RootfsNode *parent;
    RootfsNode *old;

    if (checkInode(inode, path, error) < 0 ||
        !(parent = splitPath(tree, path, layer, &name, error)))
        return -1;

    old = name ? nodeFind(parent, name) : tree->root;
    if (old && isDirectory(old) && S_ISDIR(inode->mode)) {
        replaceInode(old, g_steal_pointer(&inode), layer);
        return 0;
    }
    if (!name)
        return containerFail(error, CONTAINER_ERROR_FORMAT,
                             _("the root of the image is not a directory"));

    nodeNew(parent, name, g_steal_pointer(&inode), layer);
    return 0;
}

int
rootfsTreeLink(RootfsTree *tree, const char *path, const char *target, unsigned int layer,
               GError **error)
{
    g_autofree char *shown = containerPrintable(path);
    g_autofree char *shownTarget = containerPrintable(target);
    g_autofree char *name = NULL;
    RootfsNode *parent;
    RootfsNode *file;

    /* the last name of the target is not followed: a link can have two names itself */
    if (!(parent = splitPath(tree, target, layer, &name, error)))
        return -1;
    file = name ? nodeFind(parent, name) : tree->root;
    if (!file)
        return containerFail(error, CONTAINER_ERROR_FORMAT,
                             _("'%s' is a hard link to '%s', which does not exist"), shown,
                             shownTarget);
    if (isDirectory(file))
        return containerFail(error, CONTAINER_ERROR_FORMAT,
                             _("'%s' is a hard link to '%s', which is a directory"), shown,
                             shownTarget);
    if (file->inode->refs == G_MAXUINT32)
        return containerFail(error, CONTAINER_ERROR_LIMIT, _("'%s' has too many hard links"),
                             shownTarget);

    file->inode->refs++;
    return rootfsTreeAdd(tree, path, file->inode, layer, error);
}

static bool
hideBelow(RootfsNode *node, unsigned int layer);

/* What hides all that layers before @layer have put into a directory */
typedef struct _Hiding Hiding;
struct _Hiding {
    unsigned int layer;
    GPtrArray *gone; /* names of nodes that are to go */
};

/* A GTraverseFunc: a tree does not change while it is gone through. */
static gboolean
hideChild(void *name, void *child, void *opaque)
{
    Hiding *hiding = opaque;

    if (hideBelow(child, hiding->layer) && ((RootfsNode *)child)->layer < hiding->layer)
        g_ptr_array_add(hiding->gone, name);
    return FALSE;
}

/* Removes what is below @node of layers before @layer. Returns whether nothing is left. */
static bool
hideBelow(RootfsNode *node, unsigned int layer)
{
    Hiding hiding = { .layer = layer };
    size_t i;

    if (!node->children)
        return true;
    /* once is enough: nothing of a lower layer comes again */
    if (node->hidden == layer)
        return g_tree_nnodes(node->children) == 0;

    node->hidden = layer;
    hiding.gone = g_ptr_array_new();
    g_tree_foreach(node->children, hideChild, &hiding);
    for (i = 0; i < hiding.gone->len; i++)
        g_tree_remove(node->children, g_ptr_array_index(hiding.gone, i));
    g_ptr_array_unref(hiding.gone);
    return g_tree_nnodes(node->children) == 0;
}

int
rootfsTreeHide(RootfsTree *tree, const char *path, bool inside, unsigned int layer,
               GError **error)
{
    g_autofree char *name = NULL;
    RootfsNode *parent = splitPath(tree, path, layer, &name, error);
    RootfsNode *node;

    if (!parent)
        return -1;

    node = name ? nodeFind(parent, name) : tree->root;
    if (node && hideBelow(node, layer) && !inside && name && node->layer < layer)
        g_tree_remove(parent->children, name);
    return 0;
}

RootfsNode *
rootfsTreeFind(RootfsTree *tree, const char *path, GError **error)
{
    return walk(tree, path, false, 0, error);
}

int
rootfsTreeEnsureDirectory(RootfsTree *tree, const char *path, GError **error)
{
    RootfsNode *node;

    if (checkPath(tree, path, error) < 0 || !(node = walk(tree, path, true, 0, error)))
        return -1;
    if (isDirectory(node))
        return node->parent ? checkLength(node->parent, strlen(node->name), path, error) : 0;
    return containerFail(error, CONTAINER_ERROR_FORMAT, _("'%s' in the image is not a directory"),
                         path);
}

int
rootfsTreeAddData(RootfsTree *tree, const char *path, uint32_t mode, const void *data, size_t len,
                  GError **error)
{
    g_autoptr(RootfsInode) inode = rootfsInodeNew(S_IFREG | mode, 0, 0);
    RootfsNode *root = tree->root;
    int ret;

    inode->offset = tree->spool->size;
    inode->size = len;
    if (rootfsSpoolWrite(tree->spool, inode->offset, data, len, error) < 0)
        return -1;

    tree->root = tree->top;
    ret = rootfsTreeAdd(tree, path, g_steal_pointer(&inode), 0, error);
    tree->root = root;
    return ret;
}
