/*
 * proxy.c: an HTTP CONNECT proxy of the enclave
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: socket -> proxyOnReady() -> proxy_request.c -> proxy_allow.c -> dial.c, which asks again for
 * each address -> proxyOnDialed() -> "200" and a relay; or proxyAnswer() with another status, after
 * which what still comes is read and left, so that the answer is not lost.
 */

#include "proxy.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deadline.h"
#include "dial.h"
#include "proxy_request.h"

#define PROXY_REQUEST_MS 10000
#define PROXY_LINGER_MS 1000

typedef enum {
    PROXY_BAD_REQUEST = 400,
    PROXY_FORBIDDEN = 403,
    PROXY_NOT_ALLOWED = 405,
    PROXY_BAD_GATEWAY = 502,
    PROXY_TIMEOUT = 504,
} ProxyStatus;

typedef struct {
    ServiceConn conn;
    PollerWatch watch; /* for the request; fd is the enclave's */
    Deadline deadline;
    GByteArray *input; /* the request, and what has come early; NULL: it has been answered */
    ProxyRequest request;
    Dial *dial;
} Proxy;

static void
proxyDestroy(ServiceConn *conn)
{
    Proxy *proxy = (Proxy *)conn;

    deadlineClear(&proxy->deadline);
    dialCancel(proxy->dial);
    pollerRemove(serviceGetPoller(conn->service), &proxy->watch);
    close(proxy->watch.fd);
    g_clear_pointer(&proxy->input, g_byte_array_unref);
    g_free(proxy);
}

static void
proxyEnd(Proxy *proxy)
{
    serviceConnEnd(&proxy->conn);
    proxyDestroy(&proxy->conn);
}

static void
proxyOnTime(Deadline *deadline)
{
    Proxy *proxy = (Proxy *)((char *)deadline - G_STRUCT_OFFSET(Proxy, deadline));

    /* It was the request's time, not that of the rest. */
    if (proxy->input)
        proxy->conn.service->refused++;
    proxyEnd(proxy);
}

static const char *
proxyStatusToString(ProxyStatus status)
{
    switch (status) {
    case PROXY_BAD_REQUEST:
        return "Bad Request";
    case PROXY_FORBIDDEN:
        return "Forbidden";
    case PROXY_NOT_ALLOWED:
        return "Method Not Allowed";
    case PROXY_BAD_GATEWAY:
        return "Bad Gateway";
    case PROXY_TIMEOUT:
        return "Gateway Timeout";
    }
    g_assert_not_reached();
}

/* Answers a request that comes to nothing; @proxy may be gone after it. */
static void
proxyAnswer(Proxy *proxy, ProxyStatus status)
{
    Service *service = proxy->conn.service;
    g_autofree char *answer =
        g_strdup_printf("HTTP/1.1 %d %s\r\n%sContent-Length: 0\r\nConnection: close\r\n\r\n", status,
                        proxyStatusToString(status),
                        status == PROXY_NOT_ALLOWED ? "Allow: CONNECT\r\n" : "");
    ssize_t n = send(proxy->watch.fd, answer, strlen(answer), MSG_DONTWAIT | MSG_NOSIGNAL);

    if (status == PROXY_BAD_GATEWAY || status == PROXY_TIMEOUT)
        service->failed++;
    else
        service->refused++;
    proxy->conn.busy = false;
    g_clear_pointer(&proxy->input, g_byte_array_unref);
    if (n > 0)
        service->sent += n;
    if (n != (ssize_t)strlen(answer) || shutdown(proxy->watch.fd, SHUT_WR) < 0) {
        proxyEnd(proxy);
        return;
    }
    deadlineSet(&proxy->deadline, PROXY_LINGER_MS, proxyOnTime);
}

static void
proxyOnDialed(DialResult result, int fd, const char *why, void *opaque)
{
    static const char answer[] = "HTTP/1.1 200 Connection established\r\n\r\n";
    Proxy *proxy = opaque;
    Service *service = proxy->conn.service;
    GByteArray *established;

    proxy->dial = NULL;
    if (result != DIAL_CONNECTED) {
        logLimited(&service->logLimit, "The proxy of port %u cannot connect to '%s', port %u: %s",
                   service->config->port, proxy->request.host, proxy->request.port, why);
        if (pollerAdd(serviceGetPoller(service), &proxy->watch, EPOLLIN) < 0)
            proxyEnd(proxy);
        else
            proxyAnswer(proxy, result == DIAL_FORBIDDEN ? PROXY_FORBIDDEN :
                               result == DIAL_TIMEOUT ? PROXY_TIMEOUT : PROXY_BAD_GATEWAY);
        return;
    }

    established = g_byte_array_new();
    g_byte_array_append(established, (const guint8 *)answer, strlen(answer));
    service->sent += strlen(answer);
    if (proxy->input->len == 0)
        g_clear_pointer(&proxy->input, g_byte_array_unref);
    serviceConnRelay(&proxy->conn, proxy->watch.fd, fd, established,
                     g_steal_pointer(&proxy->input));
    g_free(proxy);
}

static bool
proxyOnAddress(const Address *address, void *opaque)
{
    const Proxy *proxy = opaque;

    return proxyAllowsAddress(proxy->conn.service->config->allow, address, proxy->request.port);
}

static bool
proxyAllows(const Proxy *proxy)
{
    const ProxyAllow *allow = proxy->conn.service->config->allow;
    const ProxyRequest *request = &proxy->request;
    Address address;

    if (!request->isAddress)
        return proxyAllowsName(allow, request->host, request->port);
    return addressParse(request->host, &address) &&
           proxyAllowsLiteral(allow, &address, request->port);
}

/* There is a request. */
static void
proxyServe(Proxy *proxy)
{
    Service *service = proxy->conn.service;
    const DialTarget target = {
        .host = proxy->request.host,
        /* What is allowed is a whole name, and no beginning of others. */
        .search = !strchr(proxy->request.host, '.'),
        .port = proxy->request.port,
        .allows = proxyOnAddress,
        .done = proxyOnDialed,
        .opaque = proxy,
    };

    deadlineClear(&proxy->deadline);
    g_byte_array_remove_range(proxy->input, 0, proxy->request.len);
    if (!proxyAllows(proxy)) {
        logLimited(&service->logLimit, "The proxy of port %u does not allow '%s', port %u",
                   service->config->port, proxy->request.host, proxy->request.port);
        proxyAnswer(proxy, PROXY_FORBIDDEN);
        return;
    }
    /* What comes meanwhile waits in the socket. */
    pollerRemove(serviceGetPoller(service), &proxy->watch);
    proxy->dial = dialStart(serviceGetPoller(service), &target);
}

static void
proxyParse(Proxy *proxy)
{
    ProxyVerdict verdict = proxyRequestParse((const char *)proxy->input->data, proxy->input->len,
                                             &proxy->request);

    switch (verdict) {
    case PROXY_REQUEST_MORE:
        break;
    case PROXY_REQUEST_DONE:
        proxyServe(proxy);
        break;
    case PROXY_REQUEST_BAD:
        proxyAnswer(proxy, PROXY_BAD_REQUEST);
        break;
    case PROXY_REQUEST_METHOD:
        proxyAnswer(proxy, PROXY_NOT_ALLOWED);
        break;
    }
}

static void
proxyOnReady(PollerWatch *watch, uint32_t events G_GNUC_UNUSED)
{
    Proxy *proxy = watch->opaque;
    guint8 buf[PROXY_REQUEST_MAX];
    size_t room = proxy->input ? PROXY_REQUEST_MAX - proxy->input->len : sizeof(buf);
    ssize_t n = recv(watch->fd, buf, room, MSG_DONTWAIT);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        proxyEnd(proxy);
        return;
    }
    proxy->conn.service->received += n;
    if (!proxy->input)
        return;
    g_byte_array_append(proxy->input, buf, n);
    /* Nothing but the end of a line, and what is in none, makes more of a request than it was. */
    if (memchr(buf, '\n', n) || memchr(buf, '\0', n) || proxy->input->len == PROXY_REQUEST_MAX)
        proxyParse(proxy);
}

void
proxyAccept(Service *service, int fd)
{
    Proxy *proxy = g_new0(Proxy, 1);

    proxy->watch = (PollerWatch){fd, proxy, proxyOnReady};
    if (!serviceConnBegin(&proxy->conn, service, proxyDestroy)) {
        close(fd);
        g_free(proxy);
        return;
    }
    proxy->conn.busy = true;
    proxy->input = g_byte_array_new();
    deadlineSet(&proxy->deadline, PROXY_REQUEST_MS, proxyOnTime);
    if (pollerAdd(serviceGetPoller(service), &proxy->watch, EPOLLIN) < 0)
        proxyEnd(proxy);
}
