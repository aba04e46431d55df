/*
 * nitro_takeover.h: takes over the enclaves of an earlier daemon
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_conf.h"

/*
 * Takes over the enclaves that an earlier daemon has left running, in threads
 * of their own.
 */
void nitroTakeoverAll(nitroDriver *driver);
