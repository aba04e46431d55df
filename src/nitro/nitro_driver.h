/*
 * nitro_driver.h: the entry points of the driver
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_conf.h"

/* The one driver of the daemon; NULL before and after its life. */
extern nitroDriver *nitro_driver;

/*
 * Registers the connection and the state driver: the function that libvirt's
 * daemon looks up in the plugin. Returns 0, or -1 with an error set.
 */
int nitroRegister(void);
