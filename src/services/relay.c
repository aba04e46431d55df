/*
 * relay.c: moves data between pairs of stream sockets, both ways
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: epoll, edge-triggered -> relayOnReady() notes what can be done -> the queue ->
 * relaysOnDispatched() -> relayMove() of each, RELAY_TURN bytes each way -> again, or relayEnd().
 *
 * Data go from the socket to a pipe and from there to the other socket (splice(2)), so they are
 * never in this process. A pipe is filled when it is empty and the other socket has room only, and
 * given back once it is empty again: a relay that waits has none, unless its reader took a part.
 * Where that cannot be done, data are looked at, written, and only then taken off the socket: no
 * relay has a buffer of its own.
 */

#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Bytes that one way may move before others get their turn */
#define RELAY_TURN (1024 * 1024)

/* Bytes of a pipe, if the system's limit for all of a user's allows it; and of a copy */
#define RELAY_PIPE_SIZE (256 * 1024)
#define RELAY_COPY_SIZE (64 * 1024)

/* Pipes that are kept for the next ones */
#define RELAY_PIPES_KEPT 8

typedef struct {
    int fds[2];
} RelayPipe;

/* The way from one end to the other one */
typedef struct {
    RelayPipe *pipe;     /* NULL: nothing is under way */
    size_t left;         /* bytes in it */
    GByteArray *early;   /* to be written first; NULL: nothing is left */
    uint64_t *received;
    bool copies;         /* splice() cannot read from here, or write to there */
    bool eof;            /* there is no more to read */
    bool done;           /* and that has been handed on, or nobody can have it */
} RelayWay;

typedef struct {
    Relays *relays;
    PollerWatch ends[2];
    bool readable[2];
    bool writable[2];
    bool gone[2];     /* nobody is at this end any more; there may be something to read still */
    RelayWay ways[2]; /* from the end of this number */
    bool queued;
    GList queue; /* in the queue */
    GList all;   /* among all relays */
    void (*ended)(void *opaque);
    void *opaque;
} Relay;

struct _Relays {
    Poller *poller;
    GQueue queue; /* of Relay, which can move something */
    GQueue all;   /* of Relay */
    GPtrArray *kept; /* of RelayPipe, empty ones */
    unsigned int npipes; /* with those that are kept, */
    unsigned int maxPipes; /* and at most */
    uint8_t copy[RELAY_COPY_SIZE];
};

/* What a way is up to after its turn */
typedef enum {
    RELAY_WAITS,
    RELAY_GOES_ON,
    RELAY_BREAKS, /* and the other way with it */
} RelayNext;

static void
relayPipeClose(Relays *relays, RelayPipe *held)
{
    close(held->fds[0]);
    close(held->fds[1]);
    g_free(held);
    relays->npipes--;
}

/* Returns NULL when there is none to be had. */
static RelayPipe *
relayPipeTake(Relays *relays)
{
    RelayPipe *taken;
    int fds[2];

    if (relays->kept->len > 0)
        return g_ptr_array_remove_index_fast(relays->kept, relays->kept->len - 1);
    if (relays->npipes >= relays->maxPipes || pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return NULL;
    /* Without it the pipe is smaller, which is good enough. */
    if (fcntl(fds[1], F_SETPIPE_SZ, RELAY_PIPE_SIZE) < 0)
        errno = 0;
    taken = g_new(RelayPipe, 1);
    *taken = (RelayPipe){{fds[0], fds[1]}};
    relays->npipes++;
    return taken;
}

/* Gives the pipe of @way back, and loses what is in it. */
static void
relayPipeDrop(Relays *relays, RelayWay *way)
{
    RelayPipe *held = g_steal_pointer(&way->pipe);

    if (!held)
        return;
    if (way->left == 0 && relays->kept->len < RELAY_PIPES_KEPT)
        g_ptr_array_add(relays->kept, held);
    else
        relayPipeClose(relays, held);
    way->left = 0;
}

static void
relayEnqueue(Relay *relay)
{
    if (relay->queued)
        return;
    relay->queued = true;
    relay->queue.data = relay;
    g_queue_push_tail_link(&relay->relays->queue, &relay->queue);
}

static void
relayClearWay(Relay *relay, RelayWay *way)
{
    relayPipeDrop(relay->relays, way);
    g_clear_pointer(&way->early, g_byte_array_unref);
}

/* Closes both sockets; with @reset their peers are told that something is missing. */
static void
relayFree(Relay *relay, bool reset)
{
    const struct linger none = {.l_onoff = 1, .l_linger = 0};
    Relays *relays = relay->relays;
    size_t i;

    for (i = 0; i < 2; i++) {
        relayClearWay(relay, &relay->ways[i]);
        pollerRemove(relays->poller, &relay->ends[i]);
        /* TCP alone knows it; of other sockets what has not been read tells the same. */
        if (reset && setsockopt(relay->ends[i].fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none)) < 0)
            errno = 0;
        close(relay->ends[i].fd);
    }
    if (relay->queued)
        g_queue_unlink(&relays->queue, &relay->queue);
    g_queue_unlink(&relays->all, &relay->all);
    g_free(relay);
}

static void
relayEnd(Relay *relay, bool reset)
{
    void (*ended)(void *opaque) = relay->ended;
    void *opaque = relay->opaque;

    relayFree(relay, reset);
    ended(opaque);
}

/* Nobody reads any more what @way leads to. What comes the other way does come. */
static RelayNext
relayLose(Relay *relay, unsigned int from)
{
    RelayWay *way = &relay->ways[from];

    relayClearWay(relay, way);
    way->done = true;
    shutdown(relay->ends[from].fd, SHUT_RD);
    return RELAY_WAITS;
}

/* The result of a write: goes on, or waits for room. */
static RelayNext
relayAfterWrite(Relay *relay, unsigned int from, ssize_t n)
{
    if (n >= 0 || errno == EINTR)
        return RELAY_GOES_ON;
    if (errno != EAGAIN)
        return relayLose(relay, from);
    relay->writable[!from] = false;
    return RELAY_WAITS;
}

/* The result of a read of nothing: the end, or waits for more. */
static RelayNext
relayAfterRead(Relay *relay, unsigned int from, ssize_t n)
{
    if (n < 0 && errno == EINTR)
        return RELAY_GOES_ON;
    if (n < 0 && errno != EAGAIN)
        return RELAY_BREAKS;
    if (n == 0) {
        relay->ways[from].eof = true;
        return RELAY_GOES_ON;
    }
    relay->readable[from] = false;
    return RELAY_WAITS;
}

/* Writes what is under way already. */
static RelayNext
relayPut(Relay *relay, unsigned int from)
{
    RelayWay *way = &relay->ways[from];
    int to = relay->ends[!from].fd;
    ssize_t n;

    if (way->early) {
        n = send(to, way->early->data, way->early->len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0)
            g_byte_array_remove_range(way->early, 0, n);
        if (way->early->len == 0)
            g_clear_pointer(&way->early, g_byte_array_unref);
        return relayAfterWrite(relay, from, n);
    }

    n = splice(way->pipe->fds[0], NULL, to, NULL, way->left, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (n > 0) {
        way->left -= n;
        if (way->left == 0)
            relayPipeDrop(relay->relays, way);
    }
    return relayAfterWrite(relay, from, n);
}

/* As read(2), of data that have been looked at already. */
static bool
relayDiscard(int fd, uint8_t *buf, size_t len)
{
    while (len > 0) {
        ssize_t n = recv(fd, buf, len, MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        len -= n;
    }
    return true;
}

/* Reads and writes at once, without a pipe. */
static RelayNext
relayCopy(Relay *relay, unsigned int from, size_t *moved)
{
    RelayWay *way = &relay->ways[from];
    uint8_t *copy = relay->relays->copy;
    ssize_t n = recv(relay->ends[from].fd, copy, RELAY_COPY_SIZE, MSG_DONTWAIT | MSG_PEEK);
    RelayNext next;

    if (n <= 0)
        return relayAfterRead(relay, from, n);
    n = send(relay->ends[!from].fd, copy, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
        *moved += n;
        *way->received += n;
        if (!relayDiscard(relay->ends[from].fd, copy, n))
            return RELAY_BREAKS;
    }
    next = relayAfterWrite(relay, from, n);
    return next;
}

/* Reads what there is into a pipe. */
static RelayNext
relayGet(Relay *relay, unsigned int from, size_t *moved)
{
    RelayWay *way = &relay->ways[from];
    ssize_t n;

    if (!way->copies && !way->pipe)
        way->pipe = relayPipeTake(relay->relays);
    if (!way->pipe)
        return relayCopy(relay, from, moved);

    n = splice(relay->ends[from].fd, NULL, way->pipe->fds[1], NULL, RELAY_PIPE_SIZE,
               SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (n > 0) {
        way->left = n;
        *moved += n;
        *way->received += n;
        return RELAY_GOES_ON;
    }
    relayPipeDrop(relay->relays, way);
    if (n < 0 && (errno == EINVAL || errno == EOPNOTSUPP)) {
        way->copies = true;
        return RELAY_GOES_ON;
    }
    return relayAfterRead(relay, from, n);
}

/* One step of the way from the end @from */
static RelayNext
relayStep(Relay *relay, unsigned int from, size_t *moved)
{
    RelayWay *way = &relay->ways[from];

    if (way->done)
        return RELAY_WAITS;
    if (way->early || way->left > 0)
        return relay->writable[!from] ? relayPut(relay, from) : RELAY_WAITS;
    if (way->eof) {
        way->done = true;
        shutdown(relay->ends[!from].fd, SHUT_WR);
        return RELAY_WAITS;
    }
    /* Nothing is read that cannot be written. */
    if (!relay->readable[from] || !relay->writable[!from])
        return RELAY_WAITS;
    return relayGet(relay, from, moved);
}

static RelayNext
relayMoveWay(Relay *relay, unsigned int from)
{
    RelayNext next = RELAY_GOES_ON;
    size_t moved = 0;

    while (next == RELAY_GOES_ON && moved < RELAY_TURN)
        next = relayStep(relay, from, &moved);
    return next;
}

/* Whether nothing more will come from either end */
static bool
relayIsOver(const Relay *relay)
{
    if (relay->ways[0].done && relay->ways[1].done)
        return true;
    /* Whoever has ended its own way, and is gone, reads nothing either. */
    return (relay->ways[0].done && relay->gone[0]) || (relay->ways[1].done && relay->gone[1]);
}

static void
relayMove(Relay *relay)
{
    RelayNext next[2] = {relayMoveWay(relay, 0), relayMoveWay(relay, 1)};

    if (next[0] == RELAY_BREAKS || next[1] == RELAY_BREAKS)
        relayEnd(relay, true);
    else if (relayIsOver(relay))
        relayEnd(relay, false);
    else if (next[0] == RELAY_GOES_ON || next[1] == RELAY_GOES_ON)
        relayEnqueue(relay);
}

/* Each relay that has something to move gets one turn. */
static int
relaysOnDispatched(void *opaque)
{
    Relays *relays = opaque;
    guint n;

    for (n = relays->queue.length; n > 0 && relays->queue.length > 0; n--) {
        Relay *relay = g_queue_pop_head_link(&relays->queue)->data;

        relay->queued = false;
        relayMove(relay);
    }
    return relays->queue.length > 0 ? 0 : POLLER_WAIT;
}

static void
relayOnReady(PollerWatch *watch, uint32_t events)
{
    Relay *relay = watch->opaque;
    unsigned int end = watch == &relay->ends[1];

    /* What has ended, or failed, is told by the next read or write. */
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        relay->readable[end] = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        relay->writable[end] = true;
    if (events & (EPOLLHUP | EPOLLERR))
        relay->gone[end] = true;
    relayEnqueue(relay);
}

Relays *
relaysNew(unsigned int maxPipes)
{
    Relays *relays = g_new0(Relays, 1);

    relays->poller = pollerNew(relaysOnDispatched, relays);
    if (!relays->poller) {
        g_free(relays);
        return NULL;
    }
    g_queue_init(&relays->queue);
    g_queue_init(&relays->all);
    relays->kept = g_ptr_array_new();
    relays->maxPipes = MIN(maxPipes, RELAY_PIPES_MAX);
    return relays;
}

void
relaysFree(Relays *relays)
{
    if (!relays)
        return;
    while (relays->all.length > 0)
        relayFree(relays->all.head->data, true);
    while (relays->kept->len > 0)
        relayPipeClose(relays, g_ptr_array_remove_index_fast(relays->kept, 0));
    g_ptr_array_unref(relays->kept);
    pollerFree(relays->poller);
    g_free(relays);
}

Poller *
relaysGetPoller(Relays *relays)
{
    return relays->poller;
}

bool
relaysAreBusy(const Relays *relays)
{
    const GList *node;

    for (node = relays->all.head; node; node = node->next) {
        const Relay *relay = node->data;

        if (relay->queued || relay->ways[0].early || relay->ways[1].early ||
            relay->ways[0].left > 0 || relay->ways[1].left > 0 ||
            (!relay->ways[0].done && relay->readable[0]) ||
            (!relay->ways[1].done && relay->readable[1]))
            return true;
    }
    return false;
}

void
relayStart(Relays *relays, const RelayEnd ends[2], void (*ended)(void *opaque), void *opaque)
{
    Relay *relay = g_new0(Relay, 1);
    bool failed = false;
    size_t i;

    relay->relays = relays;
    relay->ended = ended;
    relay->opaque = opaque;
    relay->all.data = relay;
    g_queue_push_tail_link(&relays->all, &relay->all);
    for (i = 0; i < 2; i++) {
        relay->ends[i] = (PollerWatch){ends[i].fd, relay, relayOnReady};
        relay->ways[i].received = ends[i].received;
        relay->ways[i].early = ends[!i].early;
        /* The first wait finds out. */
        relay->readable[i] = relay->writable[i] = true;
        failed = !g_unix_set_fd_nonblocking(ends[i].fd, TRUE, NULL) ||
                 pollerAdd(relays->poller, &relay->ends[i],
                           EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) < 0 || failed;
    }
    if (failed) {
        relay->ways[0].done = relay->ways[1].done = true;
        relayClearWay(relay, &relay->ways[0]);
        relayClearWay(relay, &relay->ways[1]);
    }
    relayEnqueue(relay);
    pollerContinue(relays->poller);
}
