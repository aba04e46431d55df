/*
 * cpio_writer.h: a tree of files as a ramdisk
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source of the format ("newc"): the kernel's
 * Documentation/driver-api/early-userspace/buffer-format.rst. libarchive's own writer orders and
 * numbers as it likes, and wants the contents of hard links twice; here the same tree is the same
 * bytes, and their number is known before they are written.
 */

#pragma once

#include "rootfs_tree.h"

/* Takes the next @len bytes of a ramdisk. Returns 0, or -1 with @error set. */
typedef int (*CpioSink)(const void *buf, size_t len, void *opaque, GError **error);

/*
 * Sets *@size to the bytes of the ramdisk that cpioWrite() makes of @tree.
 * Returns 0, or -1 with @error set (_LIMIT).
 */
int cpioGetSize(RootfsTree *tree, uint64_t *size, GError **error);

/*
 * Writes all files of @tree to @sink, with names in the order of their bytes and @mtime (seconds
 * since 1970) for the time of each. The content of a file with many names is at the first.
 * Returns 0, or -1 with @error set (_IO: a file of the tree's directory has changed; or what @sink
 * has set).
 */
int cpioWrite(RootfsTree *tree, uint32_t mtime, CpioSink sink, void *opaque, GError **error);
