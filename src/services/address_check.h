/*
 * address_check.h: networks, and addresses that a proxy's client has no business with
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Pure. Sources: RFC 4291 (IPv6), RFC 6052 (NAT64), RFC 3056 (6to4), and Amazon's documentation of
 * the instance metadata service.
 */

#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/* Of either family: IPv4 addresses are the last four bytes, as IPv6 maps them (::ffff:a.b.c.d) */
typedef struct _Address Address;
struct _Address {
    uint8_t bytes[16];
};

typedef struct _Network Network;
struct _Network {
    Address address;   /* the bits that are not @prefix are 0 */
    unsigned int bits; /* of the prefix, up to 128; those of IPv4 count from 96 on */
};

/*
 * Reads an address as inet_pton(3) does: IPv4 with four decimal numbers, or IPv6 without brackets
 * and zone. Returns false when @text is none.
 */
bool addressParse(const char *text, Address *address);

/* That of @sockaddr, of the family AF_INET or AF_INET6; false for another one. */
bool addressFromSockaddr(const struct sockaddr *sockaddr, Address *address);

/* Fills @sockaddr in, and returns how long it is. */
socklen_t addressToSockaddr(const Address *address, uint16_t port, struct sockaddr_storage *sockaddr);

/* Reads "10.0.0.0/8", "2001:db8::/32", or an address, which is a network of one. Returns false when
 * @text is none, or has bits behind its prefix. */
bool networkParse(const char *text, Network *network);

/* A network of IPv6 has no addresses of IPv4, however large it is. */
bool networkHas(const Network *network, const Address *address);

/* Whether @address is one of the loopback, which data do not leave. */
bool addressIsLoopback(const Address *address);

/*
 * Whether @address leads to this host, to those on its link, to many, or nowhere, as do loopback,
 * link-local (with the metadata service), multicast and unspecified addresses, also within IPv6.
 */
bool addressIsSensitive(const Address *address);

/* Whether @network has nothing but such addresses, and of one kind. */
bool networkIsSensitive(const Network *network);
