/*
 * nitro_rundir.h: the names of run directories
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

/*
 * The name, in the state directory @stateDir, of the directory for the run @id of the domain
 * @name: "domain-ID-" and as much of @name as is good to read, up to 20 bytes, ends on a character
 * and leaves room for the longest socket in it, "vsock/vsock_4294967295". Without any room it is
 * "domain-ID". Returns the name, owned by the caller; never NULL.
 */
char *nitroRunDirName(const char *stateDir, int id, const char *name);

/*
 * The path of that directory. When there is none, but one with the name that earlier versions have
 * given it (up to 20 characters of @name, or 20 bytes in the locale "C"), it is the path of that:
 * their enclaves are found again. Returns the path, owned by the caller; never NULL.
 */
char *nitroRunDirPath(const char *stateDir, int id, const char *name);
