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

/*
 * Has the events noted that come on the connection @fd, which is taken over, with the helper of
 * @vm. @fromStart: that runs only from now on. Returns 0, or -1 with an error set.
 */
int nitroEventsWatch(virDomainObj *vm, int fd, bool fromStart);

/* The helper of @vm has ended: a worker makes the domain inactive. */
void nitroEventsNoteEnd(virDomainObj *vm);
