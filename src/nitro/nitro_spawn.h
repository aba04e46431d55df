/*
 * nitro_spawn.h: runs the programs of an enclave as daemons that can be found again
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_conf.h"
#include "vircommand.h"

/*
 * Gets the process @pid, which waits to become the program: it is to be written down here where any
 * other daemon finds it. Returns 0, or -1 with an error set: then it ends.
 */
typedef int (*nitroSpawnReady)(pid_t pid, void *opaque);

/*
 * Runs @cmd as a daemon of its own, with what helpers may not have taken away, and waits until it is
 * executed. @what it is goes into errors, as in "the helper of domain 'x'".
 *
 * Returns 0, or -1 with an error set: then no process of it is left. @cmd is freed in any case.
 */
int nitroSpawn(nitroDriver *driver,
               virCommand *cmd,
               const char *what,
               nitroSpawnReady ready,
               void *opaque);
