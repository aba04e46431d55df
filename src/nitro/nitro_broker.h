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
 * Connects to the broker of this daemon, or of the daemon before it, and starts one when there
 * is none. Whether the broker has come to answer is the helper's part, as all else on this
 * connection: the broker greets whoever has connected, unless somebody kills it. A start of it
 * forks: call it without the lock of a domain.
 *
 * @first is a line that is said at once: a broker that hears nothing takes us for a helper soon.
 *
 * Returns the descriptor, or -1 with an error set.
 */
int nitroBrokerConnect(nitroDriver *driver, const char *first);
