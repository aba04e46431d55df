/*
 * kernel_modules.h: modules of a kernel, and those that they need
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source of the format: a module is an ELF file of 64 bits, little endian on both architectures,
 * whose section ".modinfo" has strings, among them "depends=a,b" (Linux, scripts/mod/modpost.c).
 */

#pragma once

#include "container.h"

/*
 * The files of the modules @wanted, each behind those that it needs. An item with a slash or ".ko"
 * in it is a file and stays what it is; others are names of modules in @directory (NULL: there is
 * none), as /lib/modules/VERSION, or below it. Links are not followed. Returns a list of paths
 * (g_strfreev), or NULL with @error set.
 */
char **kernelModulesFind(const char *directory, char *const *wanted, GError **error);

/*
 * Reads all of the file @path, unpacked if it is compressed by gzip, zstd or xz. Returns it, not
 * empty, or NULL with @error set.
 */
GString *kernelModulesReadFile(const char *path, GError **error);
