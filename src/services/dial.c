/*
 * dial.c: connects to a destination of the host's side
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: dialStart() -> resolve.c, for a name -> dialOnAddresses(), what may not be is left out ->
 * dialNext(): a socket connects -> dialOnReady(), or dialOnDeadline() -> the next one, or done().
 * What was checked is what is connected to: nothing is looked up twice.
 */

#include "dial.h"

#include <errno.h>
#include <glib.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "deadline.h"
#include "resolve.h"

/* Between two attempts to get into the queue of a UNIX socket that is full */
#define DIAL_RETRY_MS 100

typedef struct {
    struct sockaddr_storage address;
    socklen_t len;
} DialAddress;

struct _Dial {
    Poller *poller;
    DialTarget target; /* of which host and path are not kept */
    Resolve *resolve;
    Deadline deadline;
    gint64 end;        /* monotonic, us */
    GArray *addresses; /* of DialAddress */
    guint next;        /* of them */
    PollerWatch watch; /* fd -1: none */
    guint idle;        /* begins without a lookup */
    const char *why;   /* the last failure, static */
    bool timedOut;     /* it was that */
    bool again;        /* the same address is tried again */
};

static void dialNext(Dial *dial);

static void
dialCloseSocket(Dial *dial)
{
    if (dial->watch.fd < 0)
        return;
    pollerRemove(dial->poller, &dial->watch);
    close(dial->watch.fd);
    dial->watch.fd = -1;
}

void
dialCancel(Dial *dial)
{
    if (!dial)
        return;
    dialCloseSocket(dial);
    resolveCancel(dial->resolve);
    deadlineClear(&dial->deadline);
    g_clear_handle_id(&dial->idle, g_source_remove);
    g_array_unref(dial->addresses);
    g_free(dial);
}

static void
dialEnd(Dial *dial, DialResult result, int fd, const char *why)
{
    DialTarget target = dial->target;

    dialCancel(dial);
    target.done(result, fd, why, target.opaque);
}

static void
dialOnDeadline(Deadline *deadline)
{
    Dial *dial = (Dial *)((char *)deadline - G_STRUCT_OFFSET(Dial, deadline));

    dialCloseSocket(dial);
    if (dial->again)
        dial->next--;
    else
        dial->why = g_strerror(ETIMEDOUT);
    dial->timedOut = true;
    dialNext(dial);
}

static void
dialArm(Dial *dial, unsigned int ms)
{
    gint64 left = (dial->end - g_get_monotonic_time()) / 1000;

    deadlineSet(&dial->deadline, (unsigned int)CLAMP(left, 1, ms), dialOnDeadline);
}

/* There is a connection. */
static void
dialConnected(Dial *dial)
{
    const int on = 1;
    int fd = dial->watch.fd;

    pollerRemove(dial->poller, &dial->watch);
    dial->watch.fd = -1;
    /* A destination that is gone without a word is found out; what is small is sent at once. */
    if (dial->target.port > 0 &&
        (setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)) < 0 ||
         setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)) {
        int err = errno;

        close(fd);
        dialEnd(dial, DIAL_FAILED, -1, g_strerror(err));
        return;
    }
    dialEnd(dial, DIAL_CONNECTED, fd, NULL);
}

static void
dialOnReady(PollerWatch *watch, uint32_t events G_GNUC_UNUSED)
{
    Dial *dial = watch->opaque;
    int err = 0;
    socklen_t len = sizeof(err);

    if (getsockopt(watch->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        err = errno;
    if (err == 0) {
        dialConnected(dial);
        return;
    }
    dial->why = g_strerror(err);
    dial->timedOut = err == ETIMEDOUT;
    dialCloseSocket(dial);
    dialNext(dial);
}

/*
 * A host may have chosen BBR, which spaces out what is sent, by a timer for each 64 KiB. On the
 * loopback that is of no use, and costs more than the relay. A connection that has begun with it
 * keeps the timers. "reno" is always there; a host that does not let us have it keeps its own.
 */
static void
dialSetCongestionControl(int fd, const DialAddress *address)
{
    static const char reno[] = "reno";
    Address to;

    if (addressFromSockaddr((const struct sockaddr *)&address->address, &to) &&
        addressIsLoopback(&to) &&
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, reno, strlen(reno)) < 0)
        errno = 0;
}

/* Begins to connect to @address. Returns 0, or -1 with errno set. */
static int
dialConnect(Dial *dial, const DialAddress *address)
{
    int fd = socket(address->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int err;

    if (fd < 0)
        return -1;
    dial->watch.fd = fd;
    dialSetCongestionControl(fd, address);
    if ((connect(fd, (const struct sockaddr *)&address->address, address->len) == 0 ||
         errno == EINPROGRESS) &&
        pollerAdd(dial->poller, &dial->watch, EPOLLOUT) == 0)
        return 0;

    err = errno;
    close(fd);
    dial->watch.fd = -1;
    errno = err;
    return -1;
}

/* Tries the next address. */
static void
dialNext(Dial *dial)
{
    while (dial->next < dial->addresses->len && g_get_monotonic_time() < dial->end) {
        const DialAddress *address = &g_array_index(dial->addresses, DialAddress, dial->next);
        int err = dialConnect(dial, address) == 0 ? 0 : errno;

        dial->next++;
        /* The queue of a UNIX socket is full. */
        dial->again = err == EAGAIN;
        if (err == 0 || err == EAGAIN) {
            dialArm(dial, err == 0 ? DIAL_ADDRESS_MS : DIAL_RETRY_MS);
            return;
        }
        dial->why = g_strerror(err);
        dial->timedOut = false;
    }
    dialEnd(dial, dial->timedOut ? DIAL_TIMEOUT : DIAL_FAILED, -1,
            dial->why ? dial->why : g_strerror(ETIMEDOUT));
}

static void
dialAddAddress(Dial *dial, const Address *address)
{
    DialAddress one;

    if (dial->target.allows && !dial->target.allows(address, dial->target.opaque))
        return;
    one.len = addressToSockaddr(address, dial->target.port, &one.address);
    g_array_append_val(dial->addresses, one);
}

static void
dialOnAddresses(const GArray *addresses, const char *error, void *opaque)
{
    Dial *dial = opaque;
    guint i;

    dial->resolve = NULL;
    if (addresses->len == 0) {
        dialEnd(dial, DIAL_FAILED, -1, error);
        return;
    }
    for (i = 0; i < addresses->len; i++)
        dialAddAddress(dial, &g_array_index(addresses, Address, i));
    if (dial->addresses->len == 0)
        dialEnd(dial, DIAL_FORBIDDEN, -1, "it has no address that may be connected to");
    else
        dialNext(dial);
}

static gboolean
dialOnFirst(gpointer opaque)
{
    Dial *dial = opaque;

    dial->idle = 0;
    if (dial->addresses->len == 0)
        dialEnd(dial, DIAL_FORBIDDEN, -1, "its address may not be connected to");
    else
        dialNext(dial);
    return G_SOURCE_REMOVE;
}

static void
dialOnNoAddresses(Deadline *deadline)
{
    Dial *dial = (Dial *)((char *)deadline - G_STRUCT_OFFSET(Dial, deadline));

    dialEnd(dial, DIAL_TIMEOUT, -1, "its name is not found out in time");
}

static void
dialAddPath(Dial *dial, const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    DialAddress one = {.len = sizeof(un)};

    /* How long it is has been checked with the configuration. */
    g_strlcpy(un.sun_path, path, sizeof(un.sun_path));
    memcpy(&one.address, &un, sizeof(un));
    g_array_append_val(dial->addresses, one);
}

Dial *
dialStart(Poller *poller, const DialTarget *target)
{
    Dial *dial = g_new0(Dial, 1);
    Address address;

    dial->poller = poller;
    dial->target = *target;
    dial->target.host = dial->target.path = NULL;
    dial->addresses = g_array_new(FALSE, FALSE, sizeof(DialAddress));
    dial->watch = (PollerWatch){-1, dial, dialOnReady};
    dial->end = g_get_monotonic_time() + DIAL_MS * (gint64)1000;

    if (target->path) {
        dial->target.port = 0;
        dialAddPath(dial, target->path);
    } else if (addressParse(target->host, &address)) {
        dialAddAddress(dial, &address);
    } else {
        dial->resolve = resolveStart(target->host, target->search, dialOnAddresses, dial);
        deadlineSet(&dial->deadline, DIAL_MS, dialOnNoAddresses);
        return dial;
    }
    /* The caller gets the dial before it is told anything. */
    dial->idle = g_idle_add_full(G_PRIORITY_DEFAULT, dialOnFirst, dial, NULL);
    return dial;
}
