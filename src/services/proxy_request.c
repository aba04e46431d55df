/*
 * proxy_request.c: the request of a proxy's client
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: bytes -> lines -> "CONNECT host:port HTTP/1.1" -> fields, none of which says anything to us
 * -> the empty line.
 */

#include "proxy_request.h"

#include <string.h>

#include "address_check.h"
#include "common/options_values.h"

#define PROXY_LABEL_MAX 63

/* A line without its end */
typedef struct {
    const char *text;
    size_t len;
} ProxyLine;

/* RFC 9110, 5.6.2: what methods and names of fields are made of */
static bool
proxyIsToken(const char *text, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        if (!g_ascii_isalnum(text[i]) && (!text[i] || !strchr("!#$%&'*+-.^_`|~", text[i])))
            return false;
    }
    return len > 0;
}

/*
 * Takes the next line off @buf, and checks its bytes: no NUL, and CR and LF together at its end
 * alone. Returns PROXY_REQUEST_DONE with @line set.
 */
static ProxyVerdict
proxyTakeLine(const char **buf, size_t *len, ProxyLine *line)
{
    const char *end = memchr(*buf, '\n', *len);
    size_t known = end ? (size_t)(end - *buf) : *len;
    const char *cr = memchr(*buf, '\r', known);

    if (memchr(*buf, '\0', known))
        return PROXY_REQUEST_BAD;
    /* The last byte that has come may be the CR before its LF. */
    if (cr && cr != *buf + known - 1)
        return PROXY_REQUEST_BAD;
    if (!end)
        return PROXY_REQUEST_MORE;
    if (!cr)
        return PROXY_REQUEST_BAD;

    *line = (ProxyLine){*buf, known - 1};
    *buf += known + 1;
    *len -= known + 1;
    return PROXY_REQUEST_DONE;
}

/* Whether @label, the last one of a name, would make it a number */
static bool
proxyIsNumber(const char *label)
{
    if (g_ascii_strncasecmp(label, "0x", 2) == 0)
        return true;
    return strspn(label, "0123456789") == strlen(label);
}

bool
proxyHostIsName(const char *host)
{
    size_t len = strlen(host);
    g_autofree char *name = NULL;
    g_auto(GStrv) labels = NULL;
    size_t i;

    if (len == 0 || len > PROXY_HOST_MAX)
        return false;
    name = g_strndup(host, host[len - 1] == '.' ? len - 1 : len);
    labels = g_strsplit(name, ".", -1);
    for (i = 0; labels[i]; i++) {
        size_t n = strlen(labels[i]);

        if (n == 0 || n > PROXY_LABEL_MAX || labels[i][0] == '-' || labels[i][n - 1] == '-')
            return false;
        for (; n > 0; n--) {
            char c = labels[i][n - 1];

            if (!g_ascii_isalnum(c) && c != '-' && c != '_')
                return false;
        }
    }
    return i > 0 && !proxyIsNumber(labels[i - 1]);
}

/* Reads "host:port", in which addresses of IPv6 are in brackets. */
static bool
proxyParseTarget(const char *target, ProxyRequest *request)
{
    const char *colon = strrchr(target, ':');
    size_t len = colon ? (size_t)(colon - target) : 0;
    bool brackets = len >= 2 && target[0] == '[' && target[len - 1] == ']';
    uint64_t port;
    Address address;

    if (!colon || strlen(colon + 1) > 5 || !optionsParseNumber(colon + 1, 1, 65535, &port))
        return false;
    request->port = (uint16_t)port;
    if (brackets) {
        target++;
        len -= 2;
    }
    if (len == 0 || len > PROXY_HOST_MAX)
        return false;
    memcpy(request->host, target, len);
    request->host[len] = '\0';

    request->isAddress = addressParse(request->host, &address);
    if (brackets || strchr(request->host, ':'))
        return brackets && request->isAddress && strchr(request->host, ':');
    return request->isAddress || proxyHostIsName(request->host);
}

/* "CONNECT host:port HTTP/1.1", with one space each */
static ProxyVerdict
proxyParseRequestLine(const ProxyLine *line, ProxyRequest *request)
{
    g_autofree char *text = g_strndup(line->text, line->len);
    g_auto(GStrv) words = g_strsplit(text, " ", 4);

    if (g_strv_length(words) != 3 || !proxyIsToken(words[0], strlen(words[0])))
        return PROXY_REQUEST_BAD;
    if (!g_str_equal(words[2], "HTTP/1.1") && !g_str_equal(words[2], "HTTP/1.0"))
        return PROXY_REQUEST_BAD;
    if (!g_str_equal(words[0], "CONNECT"))
        return PROXY_REQUEST_METHOD;
    return proxyParseTarget(words[1], request) ? PROXY_REQUEST_DONE : PROXY_REQUEST_BAD;
}

/*
 * "name: value"; no lines that go on, and no control characters. A request CONNECT has no content:
 * whoever says so means something else by what follows.
 */
static bool
proxyFieldIsGood(const ProxyLine *line)
{
    const char *colon = memchr(line->text, ':', line->len);
    size_t len = colon ? (size_t)(colon - line->text) : 0;
    size_t i;

    if (!colon || !proxyIsToken(line->text, len))
        return false;
    for (i = len + 1; i < line->len; i++) {
        if (g_ascii_iscntrl(line->text[i]) && line->text[i] != '\t')
            return false;
    }
    return !(len == strlen("Content-Length") &&
             g_ascii_strncasecmp(line->text, "Content-Length", len) == 0) &&
           !(len == strlen("Transfer-Encoding") &&
             g_ascii_strncasecmp(line->text, "Transfer-Encoding", len) == 0);
}

/* Of a request of any length */
static ProxyVerdict
proxyParseLines(const char *buf, size_t len, ProxyRequest *request)
{
    const char *start = buf;
    ProxyLine line;
    ProxyVerdict verdict = proxyTakeLine(&buf, &len, &line);
    size_t n;

    if (verdict == PROXY_REQUEST_DONE)
        verdict = proxyParseRequestLine(&line, request);
    for (n = 0; verdict == PROXY_REQUEST_DONE; n++) {
        verdict = proxyTakeLine(&buf, &len, &line);
        if (verdict != PROXY_REQUEST_DONE)
            break;
        if (line.len == 0) {
            request->len = buf - start;
            break;
        }
        if (n == PROXY_FIELDS_MAX || !proxyFieldIsGood(&line))
            verdict = PROXY_REQUEST_BAD;
    }
    return verdict;
}

ProxyVerdict
proxyRequestParse(const char *buf, size_t len, ProxyRequest *request)
{
    ProxyVerdict verdict = proxyParseLines(buf, MIN(len, PROXY_REQUEST_MAX), request);

    if (verdict == PROXY_REQUEST_MORE && len >= PROXY_REQUEST_MAX)
        return PROXY_REQUEST_BAD;
    return verdict;
}
