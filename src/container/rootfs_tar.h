/*
 * rootfs_tar.h: the files of a tar archive as those of an image
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source of the format of layers: the OCI Image Format Specification, layer.md.
 */

#pragma once

#include "byte_source.h"
#include "rootfs_tree.h"

/*
 * Puts the files of the tar archive @source (uncompressed; read to its end) into @tree, their
 * contents into its spool, unless @source reads @tree's archive as it is. @what names the archive
 * in errors. @layer counts the layers of an image from 1, whose ".wh." files hide those of layers
 * below; 0: there are none, and such files are files. Returns 0, or -1 with @error set.
 */
int rootfsReadTar(RootfsTree *tree, ByteSource *source, const char *what, unsigned int layer,
                  ContainerLimits *limits, GError **error);
