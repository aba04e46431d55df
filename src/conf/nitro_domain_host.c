/*
 * nitro_domain_host.c: texts that name hosts, networks and ports
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A text in, whether it is of a kind out. libvirt's functions, which ask getaddrinfo(), take much
 * for an address: "127.1", "0x7f000001", "017700000001", and names of interfaces behind a '%'. A
 * list of what is allowed is no place for these.
 */

#include <config.h>

#include "nitro_domain_host.h"
#include "virsocketaddr.h"
#include "virstring.h"

#define NITRO_HOST_NAME_MAX 253    /* bytes, RFC 1035 */
#define NITRO_HOST_LABEL_MAX 63    /* bytes, RFC 1035 */
#define NITRO_HOST_SERVICE_MAX 15  /* bytes, RFC 6335 */
#define NITRO_HOST_PORT_MAX 65535


bool
nitroDomainHostParseNumber(const char *text,
                           unsigned int max,
                           unsigned int *number)
{
    *number = 0;

    if (!text || !g_ascii_isdigit(*text) || *text == '0' ||
        virStrToLong_uip(text, NULL, 10, number) < 0 || *number > max) {
        *number = 0;
        return false;
    }
    return true;
}


/* Reads @text, an address in the form that is the only one for it; IPv6 has several good ones. */
static bool
nitroDomainHostParseAddress(const char *text,
                            virSocketAddr *addr)
{
    g_autofree char *form = NULL;
    int family;

    memset(addr, 0, sizeof(*addr));
    if (!text || strspn(text, "0123456789abcdefABCDEF:.") != strlen(text) ||
        (family = virSocketAddrNumericFamily(text)) < 0 ||
        virSocketAddrParse(addr, text, family) < 0)
        return false;

    if (family != AF_INET)
        return family == AF_INET6;

    form = virSocketAddrFormat(addr);
    return STREQ_NULLABLE(form, text);
}


bool
nitroDomainHostIsAddress(const char *text)
{
    virSocketAddr addr;

    return nitroDomainHostParseAddress(text, &addr);
}


bool
nitroDomainHostIsNetwork(const char *text)
{
    g_auto(GStrv) parts = text ? g_strsplit(text, "/", 3) : NULL;
    unsigned int prefix;
    virSocketAddr addr;
    virSocketAddr network;

    if (!parts || g_strv_length(parts) != 2 || !nitroDomainHostParseAddress(parts[0], &addr))
        return false;

    if (STRNEQ(parts[1], "0") &&
        !nitroDomainHostParseNumber(parts[1], addr.data.stor.ss_family == AF_INET ? 32 : 128,
                                    &prefix))
        return false;

    if (STREQ(parts[1], "0"))
        return virSocketAddrIsWildcard(&addr);

    memset(&network, 0, sizeof(network));
    return virSocketAddrMaskByPrefix(&addr, prefix, &network) == 0 &&
           virSocketAddrEqual(&addr, &network);
}


static bool
nitroDomainHostIsLabel(const char *label)
{
    size_t len = strlen(label);
    size_t i;

    if (len < 1 || len > NITRO_HOST_LABEL_MAX || label[0] == '-' || label[len - 1] == '-')
        return false;

    for (i = 0; i < len; i++) {
        if (!g_ascii_isalnum(label[i]) && label[i] != '-' && label[i] != '_')
            return false;
    }
    return true;
}


bool
nitroDomainHostIsName(const char *text)
{
    g_auto(GStrv) labels = NULL;
    const char *last = NULL;
    size_t i;

    if (!text || strlen(text) > NITRO_HOST_NAME_MAX)
        return false;

    labels = g_strsplit(text, ".", 0);
    for (i = 0; labels[i]; i++) {
        if (!nitroDomainHostIsLabel(labels[i]))
            return false;
        last = labels[i];
    }

    /* no top-level domain is a number: this is an address with a mistake in it */
    return last && strspn(last, "0123456789") != strlen(last) &&
           virSocketAddrNumericFamily(text) < 0;
}


bool
nitroDomainHostIsPattern(const char *text)
{
    if (!text)
        return false;

    return STREQ(text, "*") ||
           (STRPREFIX(text, "*.") && nitroDomainHostIsName(text + 2)) ||
           nitroDomainHostIsName(text) ||
           nitroDomainHostIsAddress(text) ||
           nitroDomainHostIsNetwork(text);
}


bool
nitroDomainHostIsService(const char *text)
{
    unsigned int port;
    size_t i;

    if (nitroDomainHostParseNumber(text, NITRO_HOST_PORT_MAX, &port))
        return true;

    if (!text || !g_ascii_isalpha(*text) || strlen(text) > NITRO_HOST_SERVICE_MAX)
        return false;

    for (i = 0; text[i]; i++) {
        if (!g_ascii_isalnum(text[i]) && text[i] != '-')
            return false;
    }
    return true;
}
