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

/*
 * Has @callback told of the events that come on the connection @fd, which is taken over, with the
 * helper of @vm, which is its opaque data. @fromStart: that runs only from now on. Returns 0,
 * or -1 with an error set.
 */
int nitroEventsWatch(virDomainObj *vm, int fd, bool fromStart, nitroMonitorCallback callback);
