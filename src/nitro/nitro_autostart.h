/*
 * nitro_autostart.h: domains that are started with the daemon
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_conf.h"

/*
 * Marks the persistent domain @vm as to be started with the daemon, by a link to its
 * definition, or takes the mark away. Returns 0, or -1 with an error set.
 */
int nitroAutostartSet(nitroDriver *driver, virDomainObj *vm, bool autostart);

/*
 * Starts all domains that are so marked, each in a thread of its own: one that waits
 * for its guest does not hold up the others. When the last one is done, a summary goes
 * to the log.
 */
void nitroAutostartAll(nitroDriver *driver);
