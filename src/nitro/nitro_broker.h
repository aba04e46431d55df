/*
 * nitro_broker.h: finds or starts the heartbeat broker of the host
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_conf.h"

/*
 * Connects to the broker of this daemon, or of the daemon before it, and starts one
 * when there is none. The broker has greeted: it will be there for as long as the
 * descriptor is open somewhere. The greeting has not been read: that is the helper's
 * part, as all else on this connection. It may take seconds: call it without the lock of a
 * domain.
 *
 * Returns the descriptor, or -1 with an error set.
 */
int nitroBrokerConnect(nitroDriver *driver);
