/*
 * proxy_allow.c: what the clients of a proxy may connect to
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "proxy_allow.h"

#include <string.h>

#include "common/options_values.h"
#include "proxy_request.h"

typedef enum {
    PROXY_ANY,     /* "*" */
    PROXY_NAME,
    PROXY_SUFFIX,  /* with the dot before it */
    PROXY_NETWORK,
} ProxyEntryType;

typedef struct {
    ProxyEntryType type;
    char *name; /* in lower case, without a dot at the end */
    Network network;
    uint16_t port; /* 0: any */
} ProxyEntry;

struct _ProxyAllow {
    GArray *entries; /* of ProxyEntry */
};

static void
proxyEntryClear(void *opaque)
{
    ProxyEntry *entry = opaque;

    g_free(entry->name);
}

ProxyAllow *
proxyAllowNew(void)
{
    ProxyAllow *allow = g_new0(ProxyAllow, 1);

    allow->entries = g_array_new(FALSE, FALSE, sizeof(ProxyEntry));
    g_array_set_clear_func(allow->entries, proxyEntryClear);
    return allow;
}

void
proxyAllowFree(ProxyAllow *allow)
{
    if (!allow)
        return;
    g_array_unref(allow->entries);
    g_free(allow);
}

/* As names are compared */
static char *
proxyNameFold(const char *name)
{
    char *folded = g_ascii_strdown(name, -1);
    size_t len = strlen(folded);

    if (len > 0 && folded[len - 1] == '.')
        folded[len - 1] = '\0';
    return folded;
}

static char *
proxyEntryParseHost(ProxyEntry *entry, const char *host, bool brackets)
{
    g_autofree char *name = proxyNameFold(host);

    if (brackets) {
        entry->type = PROXY_NETWORK;
        if (!strchr(host, ':') || !networkParse(host, &entry->network))
            return g_strdup("has no address or network of IPv6 in its brackets");
        return NULL;
    }
    if (g_str_equal(host, "*")) {
        entry->type = PROXY_ANY;
        return NULL;
    }
    if (!strchr(host, ':') && networkParse(host, &entry->network)) {
        entry->type = PROXY_NETWORK;
        return NULL;
    }

    entry->type = g_str_has_prefix(host, "*.") ? PROXY_SUFFIX : PROXY_NAME;
    if (!proxyHostIsName(entry->type == PROXY_SUFFIX ? host + 2 : host))
        return g_strdup("has no name, '*.NAME', address or network, or '*', before its port");
    entry->name = g_strdup(entry->type == PROXY_SUFFIX ? name + 1 : name);
    return NULL;
}

static char *
proxyEntryParse(ProxyEntry *entry, const char *text)
{
    const char *colon = strrchr(text, ':');
    g_autofree char *host = colon ? g_strndup(text, colon - text) : NULL;
    size_t len = host ? strlen(host) : 0;
    bool brackets = len >= 2 && host[0] == '[' && host[len - 1] == ']';
    uint64_t port = 0;

    if (!host || (!g_str_equal(colon + 1, "*") && !optionsParseNumber(colon + 1, 1, 65535, &port)))
        return g_strdup("does not end with ':' and a port, or '*'");
    entry->port = (uint16_t)port;
    if (brackets) {
        memmove(host, host + 1, len - 2);
        host[len - 2] = '\0';
    }
    return proxyEntryParseHost(entry, host, brackets);
}

char *
proxyAllowAdd(ProxyAllow *allow, const char *text)
{
    ProxyEntry entry = {0};
    char *error = proxyEntryParse(&entry, text);

    if (error)
        proxyEntryClear(&entry);
    else
        g_array_append_val(allow->entries, entry);
    return error;
}

static bool
proxyEntryHasName(const ProxyEntry *entry, const char *name)
{
    switch (entry->type) {
    case PROXY_ANY:
        return true;
    case PROXY_NAME:
        return g_str_equal(name, entry->name);
    case PROXY_SUFFIX:
        return strlen(name) > strlen(entry->name) && g_str_has_suffix(name, entry->name);
    case PROXY_NETWORK:
        break;
    }
    return false;
}

bool
proxyAllowsName(const ProxyAllow *allow, const char *host, uint16_t port)
{
    g_autofree char *name = proxyNameFold(host);
    guint i;

    for (i = 0; i < allow->entries->len; i++) {
        const ProxyEntry *entry = &g_array_index(allow->entries, ProxyEntry, i);

        if ((entry->port == 0 || entry->port == port) && proxyEntryHasName(entry, name))
            return true;
    }
    return false;
}

/* Who allows a network that only has @address among others need not know that it is in there. */
static bool
proxyEntryNames(const ProxyEntry *entry, const Address *address, uint16_t port)
{
    return entry->type == PROXY_NETWORK && networkIsSensitive(&entry->network) &&
           (entry->port == 0 || entry->port == port) && networkHas(&entry->network, address);
}

/* Whether an entry names @address, which is sensitive */
static bool
proxyAllowNames(const ProxyAllow *allow, const Address *address, uint16_t port)
{
    guint i;

    for (i = 0; i < allow->entries->len; i++) {
        if (proxyEntryNames(&g_array_index(allow->entries, ProxyEntry, i), address, port))
            return true;
    }
    return false;
}

bool
proxyAllowsAddress(const ProxyAllow *allow, const Address *address, uint16_t port)
{
    return !addressIsSensitive(address) || proxyAllowNames(allow, address, port);
}

bool
proxyAllowsLiteral(const ProxyAllow *allow, const Address *address, uint16_t port)
{
    guint i;

    if (addressIsSensitive(address))
        return proxyAllowNames(allow, address, port);
    for (i = 0; i < allow->entries->len; i++) {
        const ProxyEntry *entry = &g_array_index(allow->entries, ProxyEntry, i);

        if ((entry->port == 0 || entry->port == port) &&
            (entry->type == PROXY_ANY ||
             (entry->type == PROXY_NETWORK && networkHas(&entry->network, address))))
            return true;
    }
    return false;
}
