/*
 * nitro_services_channel.h: streams of clients to the vsock ports of an enclave
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "domain_conf.h"

/*
 * The channel of the live definition @def that a client calls @name: its target's name or its alias;
 * NULL is the only inbound one that can be opened. Returns it (owned by @def), or NULL with
 * VIR_ERR_INVALID_ARG set, or VIR_ERR_OPERATION_UNSUPPORTED when it cannot be opened, and why.
 */
virDomainChrDef *nitroServicesFindChannel(const virDomainDef *def, const char *name);

/* Connects the stream @st with @channel from above. Returns 0, or -1 with an error set. */
int nitroServicesOpenChannel(const virDomainChrDef *channel, virStreamPtr st);
