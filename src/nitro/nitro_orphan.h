/*
 * nitro_orphan.h: enclaves of an earlier daemon whose status was lost
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_conf.h"

/*
 * Ends the helpers that no domain in the list belongs to, and removes their directories
 * and the status files that could not be read. Call it when the status files have been
 * loaded, and before anything else is.
 */
void nitroOrphanRemoveAll(nitroDriver *driver);
