/*
 * nitro_domain_host.h: texts that name hosts, networks and ports
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * They go into the configuration of a process that must not read anything else in them than
 * what is meant, so that each has one form. No name is looked up. None of these reports an error,
 * and none takes a text that is NULL for good.
 */

#pragma once

#include "internal.h"

/*
 * Whether @text is a decimal number from 1 to @max without sign, spaces and leading zeros; then
 * it is in *@number, else that is 0.
 */
bool nitroDomainHostParseNumber(const char *text, unsigned int max, unsigned int *number);

/* An IPv4 address of four decimal numbers, or an IPv6 address without brackets and scope */
bool nitroDomainHostIsAddress(const char *text);

/* ADDRESS/PREFIX, where the address has no bits beyond the prefix */
bool nitroDomainHostIsNetwork(const char *text);

/*
 * A name of DNS (RFC 1123, and the underscore) of up to 253 bytes, without a dot at its end, that
 * nothing takes for an address
 */
bool nitroDomainHostIsName(const char *text);

/* What a proxy can be told to allow: a name, "*." and a name, an address, a network, or "*" */
bool nitroDomainHostIsPattern(const char *text);

/* A TCP port, or the name of a service (RFC 6335: "https") */
bool nitroDomainHostIsService(const char *text);
