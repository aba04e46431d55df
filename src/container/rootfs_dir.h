/*
 * rootfs_dir.h: a root directory of this machine as the files of an image
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "rootfs_tree.h"

/*
 * Puts all that is below the directory @fd, which stays the caller's and open as long as @tree
 * lives, into the empty @tree. Links are not followed. All files get the owner root; sockets are
 * left out. Contents stay where they are. Returns 0, or -1 with @error set (_IO, _LIMIT).
 */
int rootfsReadDirectory(RootfsTree *tree, int fd, ContainerLimits *limits, GError **error);

/*
 * Opens the regular file @path below the directory @fd, which has to be as @inode says, no links
 * followed. Returns a descriptor, or -1 with @error set (_IO).
 */
int rootfsOpenBelow(int fd, const char *path, const RootfsInode *inode, GError **error);
