/*
 * nitro_events.h: what helpers tell of their enclaves
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_conf.h"
#include "nitro_monitor.h"

/* Takes an event of the helper of the domain @opaque: a nitroMonitorCallback. */
void nitroEventsFromMonitor(nitroMonitor *mon, const nitroMonitorEvent *event, void *opaque);
