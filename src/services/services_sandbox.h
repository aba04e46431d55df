/*
 * services_sandbox.h: what the process of an enclave's services gives up
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "common/failure.h"
#include "services_config.h"

/*
 * Raises the limit of descriptors. Returns how many connections there can be with it, up to
 * SERVICES_CONNECTIONS_MAX.
 */
unsigned int servicesRaiseLimits(void);

/*
 * Keeps this process, while it has one thread, from all files but those that say how names are looked
 * up, as far as the kernel can. Returns 0, or -1 with @failure set ("unsupported").
 */
int servicesRestrict(const ServicesConfig *config, Failure *failure);
