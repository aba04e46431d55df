/*
 * address_check.c: networks, and addresses that a proxy's client has no business with
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "address_check.h"

#include <arpa/inet.h>
#include <glib.h>
#include <string.h>

#include "common/options_values.h"

#define ADDRESS_MAPPED_BITS 96

static const uint8_t addressMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static void
addressFromIpv4(const void *bytes, Address *address)
{
    memcpy(address->bytes, addressMapped, sizeof(addressMapped));
    memcpy(address->bytes + sizeof(addressMapped), bytes, 4);
}

bool
addressParse(const char *text, Address *address)
{
    uint8_t bytes[4];

    if (inet_pton(AF_INET6, text, address->bytes) == 1)
        return true;
    if (inet_pton(AF_INET, text, bytes) != 1)
        return false;
    addressFromIpv4(bytes, address);
    return true;
}

bool
addressFromSockaddr(const struct sockaddr *sockaddr, Address *address)
{
    struct sockaddr_in in;
    struct sockaddr_in6 in6;

    switch (sockaddr->sa_family) {
    case AF_INET:
        memcpy(&in, sockaddr, sizeof(in));
        addressFromIpv4(&in.sin_addr, address);
        return true;
    case AF_INET6:
        memcpy(&in6, sockaddr, sizeof(in6));
        memcpy(address->bytes, &in6.sin6_addr, sizeof(address->bytes));
        return true;
    }
    return false;
}

socklen_t
addressToSockaddr(const Address *address, uint16_t port, struct sockaddr_storage *sockaddr)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

    memset(sockaddr, 0, sizeof(*sockaddr));
    if (memcmp(address->bytes, addressMapped, sizeof(addressMapped)) == 0) {
        memcpy(&in.sin_addr, address->bytes + sizeof(addressMapped), 4);
        memcpy(sockaddr, &in, sizeof(in));
        return sizeof(in);
    }
    memcpy(&in6.sin6_addr, address->bytes, sizeof(address->bytes));
    memcpy(sockaddr, &in6, sizeof(in6));
    return sizeof(in6);
}

static bool
addressHasPrefix(const Address *address, const uint8_t *prefix, unsigned int bits)
{
    unsigned int rest = bits % 8;

    if (memcmp(address->bytes, prefix, bits / 8) != 0)
        return false;
    return rest == 0 || (address->bytes[bits / 8] ^ prefix[bits / 8]) >> (8 - rest) == 0;
}

bool
networkParse(const char *text, Network *network)
{
    const char *slash = strchr(text, '/');
    g_autofree char *address = slash ? g_strndup(text, slash - text) : g_strdup(text);
    unsigned int least = strchr(address, ':') ? 0 : ADDRESS_MAPPED_BITS;
    uint64_t bits = 128 - least;
    unsigned int i;

    if (!addressParse(address, &network->address) ||
        (slash && !optionsParseNumber(slash + 1, 0, 128 - least, &bits)))
        return false;
    network->bits = least + (unsigned int)bits;
    for (i = network->bits; i < 128; i++) {
        if (network->address.bytes[i / 8] & (0x80 >> i % 8))
            return false;
    }
    return true;
}

bool
networkHas(const Network *network, const Address *address)
{
    return addressHasPrefix(address, network->address.bytes, network->bits);
}

/* Of IPv4, as the first bytes of an address */
static bool
addressIsSensitiveIpv4(const uint8_t *bytes)
{
    return bytes[0] == 0 ||                            /* this host; "unspecified" */
           bytes[0] == 127 ||                          /* loopback */
           (bytes[0] == 169 && bytes[1] == 254) ||     /* link-local, the metadata service */
           bytes[0] >= 224;                            /* multicast, reserved, broadcast */
}

bool
addressIsSensitive(const Address *address)
{
    static const uint8_t zero[12];
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    static const uint8_t nat64Local[6] = {0x00, 0x64, 0xff, 0x9b, 0x00, 0x01};
    static const uint8_t linkLocal[2] = {0xfe, 0x80};
    /* The metadata service, the time and the names of an instance have no addresses but there. */
    static const uint8_t amazon[6] = {0xfd, 0x00, 0x0e, 0xc2};
    const uint8_t *bytes = address->bytes;

    /* ::, ::1, and addresses of IPv4 in the way that IPv6 had first */
    if (addressHasPrefix(address, zero, 96))
        return true;
    if (addressHasPrefix(address, addressMapped, 96) || addressHasPrefix(address, nat64, 96))
        return addressIsSensitiveIpv4(bytes + 12);
    /* Where in it the address of IPv4 is depends on the network. */
    if (addressHasPrefix(address, nat64Local, 48))
        return true;
    if (bytes[0] == 0x20 && bytes[1] == 0x02) /* 6to4 */
        return addressIsSensitiveIpv4(bytes + 2);
    return bytes[0] == 0xff || /* multicast */
           addressHasPrefix(address, linkLocal, 10) ||
           addressHasPrefix(address, amazon, 32);
}
