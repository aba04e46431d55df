/*
 * fuzz_connect.c: fuzz target for the request of a proxy's client
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The input is an entry of an allow list, a line, and behind it a request. What is read of it must be
 * what it says, whichever pieces it comes in, and what is allowed must be an address or a name.
 */

#include <glib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy_allow.h"
#include "proxy_request.h"

/* More than there are only take time. */
#define PIECES_MAX 64

/* The verdict of a part is that of the whole, as long as it has one. */
static void
fuzzPieces(const char *buf, size_t len, ProxyVerdict whole, const ProxyRequest *request)
{
    size_t step = len / PIECES_MAX + 1;
    size_t n;

    for (n = 0; n < len; n += step) {
        ProxyRequest part = {.len = 0};
        ProxyVerdict verdict = proxyRequestParse(buf, n, &part);

        if (verdict == PROXY_REQUEST_MORE)
            continue;
        if (verdict != whole)
            abort();
        if (verdict == PROXY_REQUEST_DONE &&
            (part.len != request->len || part.port != request->port ||
             strcmp(part.host, request->host) != 0))
            abort();
    }
}

static void
fuzzCheck(const char *buf, size_t len, const ProxyRequest *request)
{
    size_t host = strlen(request->host);
    Address address;

    if (request->len < 4 || request->len > len || request->len > PROXY_REQUEST_MAX ||
        memcmp(buf + request->len - 4, "\r\n\r\n", 4) != 0 || memcmp(buf, "CONNECT ", 8) != 0)
        abort();
    if (request->port == 0 || host == 0 || host > PROXY_HOST_MAX)
        abort();
    if (strpbrk(request->host, " \t\r\n/@%[]"))
        abort();
    /* The host stands in the request as it is. */
    if (!memmem(buf, request->len, request->host, host))
        abort();
    if (request->isAddress != addressParse(request->host, &address) ||
        (!request->isAddress && !proxyHostIsName(request->host)))
        abort();
}

static void
fuzzAllow(const ProxyAllow *allow, const ProxyRequest *request)
{
    Address address;
    struct sockaddr_storage sockaddr;
    Address again;

    if (!request->isAddress) {
        proxyAllowsName(allow, request->host, request->port);
        return;
    }
    if (!addressParse(request->host, &address))
        abort();
    addressToSockaddr(&address, request->port, &sockaddr);
    if (!addressFromSockaddr((const struct sockaddr *)&sockaddr, &again) ||
        memcmp(&address, &again, sizeof(address)) != 0)
        abort();
    /* Who may ask for an address may connect to it as well. */
    if (proxyAllowsLiteral(allow, &address, request->port) &&
        !proxyAllowsAddress(allow, &address, request->port))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *newline = size > 0 ? memchr(text, '\n', size) : NULL;
    size_t skip = newline ? (size_t)(newline - text) + 1 : 0;
    g_autofree char *entry = g_strndup(text, newline ? skip - 1 : 0);
    g_autoptr(ProxyAllow) allow = proxyAllowNew();
    g_autofree char *error G_GNUC_UNUSED = proxyAllowAdd(allow, entry);
    ProxyRequest request = {.len = 0};
    ProxyVerdict verdict;

    /* A copy of its own length, so that nothing beyond is read */
    {
        g_autofree char *copy = g_memdup2(text + skip, size - skip);

        verdict = copy ? proxyRequestParse(copy, size - skip, &request) : PROXY_REQUEST_MORE;
    }
    if (verdict == PROXY_REQUEST_DONE) {
        fuzzCheck(text + skip, size - skip, &request);
        fuzzAllow(allow, &request);
    }
    fuzzPieces(text + skip, size - skip, verdict, &request);
    return 0;
}
