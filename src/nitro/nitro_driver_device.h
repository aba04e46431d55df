/*
 * nitro_driver_device.h: entry points that change the devices of a stored definition
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "driver.h"

/* Each is described at libvirt's public function of that name. */
int nitroDomainAttachDevice(virDomainPtr dom, const char *xml);
int nitroDomainAttachDeviceFlags(virDomainPtr dom, const char *xml, unsigned int flags);
int nitroDomainDetachDevice(virDomainPtr dom, const char *xml);
int nitroDomainDetachDeviceFlags(virDomainPtr dom, const char *xml, unsigned int flags);
int nitroDomainUpdateDeviceFlags(virDomainPtr dom, const char *xml, unsigned int flags);
