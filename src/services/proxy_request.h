/*
 * proxy_request.h: the request of a proxy's client
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Pure. Source: RFC 9110, 9.3.6, and RFC 9112, 2 to 5. Of what these leave to the recipient's
 * leniency nothing is taken: proxies that read a request in different ways can be played against
 * each other.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of a request, with its empty line; and fields of it */
#define PROXY_REQUEST_MAX 8192
#define PROXY_FIELDS_MAX 64

/* bytes, without an end */
#define PROXY_HOST_MAX 255

typedef enum {
    PROXY_REQUEST_MORE,   /* it has not ended yet */
    PROXY_REQUEST_DONE,
    PROXY_REQUEST_BAD,    /* 400 */
    PROXY_REQUEST_METHOD, /* 405: another one than CONNECT */
} ProxyVerdict;

typedef struct _ProxyRequest ProxyRequest;
struct _ProxyRequest {
    char host[PROXY_HOST_MAX + 1]; /* a name, or an address as addressParse() reads it */
    uint16_t port;
    bool isAddress;
    size_t len; /* of the request; what follows is for the destination */
};

/* Reads the @len bytes that have come so far. @request is set with PROXY_REQUEST_DONE. */
ProxyVerdict proxyRequestParse(const char *buf, size_t len, ProxyRequest *request);

/*
 * Whether @host can be a name: labels of letters, digits, '-' and '_', of up to 63 bytes, with dots
 * between them. What ends in a number is none, as there are more ways to write an address than ours.
 */
bool proxyHostIsName(const char *host);
