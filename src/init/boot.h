/*
 * boot.h: what the first process of an enclave does first
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Of the init that "virt-eif build" puts into images, and of the sample enclave's. All failures
 * are told on the console, which is all that the parent of an enclave sees.
 */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What lines on the console start with; each program has its own. */
extern const char bootName[];

typedef struct {
    const char *type; /* of the file system */
    const char *target;
    const char *options; /* or NULL */
} bootMountPoint;

/* Prints that @what cannot be done with @name, with errno. */
void
bootComplain(const char *what, const char *name);

/* Mounts @count file systems, whose directories are made where they are missing. */
void
bootMount(const bootMountPoint *mounts, size_t count);

/* Loads the kernel's module in the file @path. */
void
bootLoadModule(const char *path);

/*
 * Loads the modules that /lib/modules/load-order names, in its order. A ramdisk without that list
 * is for a kernel that has all it needs built in.
 */
void
bootLoadModules(void);

/* Connects to @port of the parent (CID 3). Returns a vsock, or -1 with errno set. */
int
bootDialParent(uint32_t port);

/*
 * The heartbeat, as the init of AWS's images sends it: writes @byte (BOOT_HEARTBEAT) to @fd, a
 * connection to port BOOT_HEARTBEAT_PORT of the parent, and reads the same byte. Returns whether it
 * has come back.
 */
#define BOOT_HEARTBEAT_PORT 9000
#define BOOT_HEARTBEAT 0xb7

bool
bootBeat(int fd, uint8_t byte);
