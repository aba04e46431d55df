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
    /* Of IPv6 the mapped addresses are a part in our way to write them alone. */
    return addressHasPrefix(address, network->address.bytes, network->bits) &&
           (network->bits >= ADDRESS_MAPPED_BITS ||
            !addressHasPrefix(address, addressMapped, ADDRESS_MAPPED_BITS));
}

bool
addressIsLoopback(const Address *address)
{
    if (addressHasPrefix(address, addressMapped, ADDRESS_MAPPED_BITS))
        return address->bytes[12] == 127;
    return memcmp(address->bytes, &in6addr_loopback, sizeof(address->bytes)) == 0;
}

typedef struct {
    uint8_t bytes[16];
    unsigned int bits;
} AddressRange;

/* Of IPv4 */
static const AddressRange addressRanges4[] = {
    {{0}, 8},         /* this host; "unspecified" */
    {{127}, 8},       /* loopback */
    {{169, 254}, 16}, /* link-local, the metadata service */
    {{224}, 3},       /* multicast, reserved, broadcast */
};

/* Where IPv6 has those of IPv4 */
static const AddressRange addressHomes4[] = {
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, ADDRESS_MAPPED_BITS},
    {{0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96}, /* translated (RFC 2765) */
    {{0x00, 0x64, 0xff, 0x9b}, 96},             /* NAT64 */
    {{0x20, 0x02}, 16},                         /* 6to4 */
};

static const AddressRange addressRanges6[] = {
    {{0}, 96},                                  /* ::, ::1, and IPv4 in the way IPv6 had first */
    {{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, 48}, /* NAT64: where in it IPv4 is depends on the network */
    {{0xff}, 8},                                /* multicast */
    {{0xfe, 0x80}, 10},                         /* link-local */
    /* The metadata service, the time and the names of an instance have no addresses but there. */
    {{0xfd, 0x00, 0x0e, 0xc2}, 32},
};

/* Whether all of @network, at and behind the byte @at of its addresses, is in @range */
static bool
networkIsIn(const Network *network, size_t at, const AddressRange *range)
{
    Address rest = {{0}};

    memcpy(rest.bytes, network->address.bytes + at, sizeof(rest.bytes) - at);
    return network->bits >= at * 8 + range->bits &&
           addressHasPrefix(&rest, range->bytes, range->bits);
}

bool
networkIsSensitive(const Network *network)
{
    size_t i;
    size_t k;

    for (i = 0; i < G_N_ELEMENTS(addressRanges6); i++) {
        if (networkIsIn(network, 0, &addressRanges6[i]))
            return true;
    }
    for (i = 0; i < G_N_ELEMENTS(addressHomes4); i++) {
        const AddressRange *home = &addressHomes4[i];

        for (k = 0; networkIsIn(network, 0, home) && k < G_N_ELEMENTS(addressRanges4); k++) {
            if (networkIsIn(network, home->bits / 8, &addressRanges4[k]))
                return true;
        }
    }
    return false;
}

bool
addressIsSensitive(const Address *address)
{
    const Network one = {*address, 128};

    return networkIsSensitive(&one);
}
