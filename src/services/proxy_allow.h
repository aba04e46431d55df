/*
 * proxy_allow.h: what the clients of a proxy may connect to
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Pure. Entries are HOST:PORT: a name, "*.SUFFIX" (of names with at least one label more), an
 * address, a network, or "*"; and a number or "*". Addresses of IPv6 are in brackets, and so are
 * networks: "[2001:db8::/32]:443". Names are compared without case, and without a dot at the end.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "address_check.h"

typedef struct _ProxyAllow ProxyAllow;

/* Nothing is allowed. Never NULL. */
ProxyAllow *proxyAllowNew(void);
void proxyAllowFree(ProxyAllow *allow);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ProxyAllow, proxyAllowFree)

/* Allows @entry as well. Returns NULL, or what is wrong with it as the end of a sentence (g_free). */
char *proxyAllowAdd(ProxyAllow *allow, const char *entry);

/* Whether @host, a name, may be looked up to connect to @port; addresses are checked later. */
bool proxyAllowsName(const ProxyAllow *allow, const char *host, uint16_t port);

/* Whether the client may ask for @address itself. */
bool proxyAllowsLiteral(const ProxyAllow *allow, const Address *address, uint16_t port);

/*
 * Whether @address, which a name that is allowed has, may be connected to: it is not sensitive, or
 * an entry names it, or a network with nothing but sensitive addresses.
 */
bool proxyAllowsAddress(const ProxyAllow *allow, const Address *address, uint16_t port);
