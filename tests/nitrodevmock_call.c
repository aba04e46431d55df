/*
 * nitrodevmock_call.c: how the mock's library calls the mock's server
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The programs under test are sandboxed once they have started: then they cannot have a new
 * UNIX socket. So a connection is made before their main(), and kept.
 *
 * Flow: mockCall() -> the kept connection, or one for this call alone -> a message with the
 * call's number -> an answer with the same number. Answers come in any order: one of the
 * threads that wait reads, and hands each answer to whose it is.
 *
 * One for a call alone is what open() has, as the server's sockets for it have modes; a forked
 * child, which must not read its parent's answers; a program that has loaded this library
 * itself, and may have loaded others; and one that has closed the kept one, which is known by
 * its peer's name. None of these is in a sandbox.
 */

#include "nitrodevmock.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* The kept connection is far from the numbers that programs count on, below FD_SETSIZE. */
#define HIGHEST_FD 1024
#define FD_ROOM 16

/* The messages; their formats are nitrodevmock_calls.py's too. MockCall.in follows. */
struct Request {
    uint64_t id;
    uint64_t op;
    uint64_t number;
    uint64_t argument;
};

/* MockCall.out follows. */
struct Answer {
    uint64_t id;
    int64_t result;
    uint64_t error; /* errno where result is -1 */
    uint64_t hasFd; /* the result is the descriptor that goes with the answer */
};

union FdControl {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
};

/* A thread in a call */
struct Waiter {
    struct Waiter *next;
    const struct MockCall *call;
    uint64_t id;
    bool done;
    int result;
    int error; /* errno where result is -1 */
};

/* All zero is a good start for each member; @lock is for all but @fd. */
struct Connection {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* an answer was taken, or the reader has gone */
    int fd;
    bool open;
    bool reading; /* one of the waiters reads answers */
    uint64_t lastId;
    struct Waiter *waiters;
};

/* On a page that a fork wipes: not open there, whatever other threads were at. */
static struct Connection *kept;

/* Connections */

/* Connects @connection to the server. */
static int
connectServer(struct Connection *connection, const char *socketName)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int sock = REAL(socket)(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (sock < 0)
        return -1;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", mockState.directory, socketName);
    if (REAL(connect)(sock, (struct sockaddr *) &address, sizeof(address)) < 0) {
        int error = errno == ECONNREFUSED ? ENODEV : errno;

        REAL(close)(sock);
        errno = error;
        return -1;
    }
    connection->fd = sock;
    connection->open = true;
    return 0;
}

/* Gives @fd a number that is out of the way; where there is none it stays. */
static int
moveAway(int fd)
{
    struct rlimit limit;
    int first;
    int high;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return fd;
    first = limit.rlim_cur < HIGHEST_FD ? limit.rlim_cur : HIGHEST_FD;
    high = fcntl(fd, F_DUPFD_CLOEXEC, first > FD_ROOM ? first - FD_ROOM : 0);
    if (high < 0)
        return fd;
    REAL(close)(fd);
    return high;
}

void
mockKeepConnection(void)
{
    struct Connection *page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        return;
    if (madvise(page, sizeof(*page), MADV_WIPEONFORK) < 0 || connectServer(page, "call") < 0) {
        munmap(page, sizeof(*page));
        return;
    }
    page->fd = moveAway(page->fd);
    kept = page;
}

static struct Connection *
keptConnection(const char *socketName)
{
    struct sockaddr_un address;
    const char *name;

    if (!kept || !kept->open || strcmp(socketName, "call") != 0)
        return NULL;
    name = mockedName(REAL(getpeername), kept->fd, &address);
    return name && strcmp(name, socketName) == 0 ? kept : NULL;
}

/* Messages */

static int
sendRequest(int sock, const struct Waiter *waiter, bool withData)
{
    const struct MockCall *call = waiter->call;
    struct Request request = { waiter->id, call->op, call->number, call->argument };
    struct iovec iov[] = {
        { .iov_base = &request, .iov_len = sizeof(request) },
        { .iov_base = (void *) call->in, .iov_len = withData ? call->inSize : 0 },
    };
    union FdControl control = { 0 };
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

    if (call->fd >= 0) {
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &call->fd, sizeof(int));
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);
    }
    return REAL(sendmsg)(sock, &msg, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

/* Waits for an answer and leaves it there. Returns its number, or 0 when none will come. */
static uint64_t
awaitAnswer(int sock)
{
    uint64_t id = 0;
    struct iovec iov = { .iov_base = &id, .iov_len = sizeof(id) };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t len;

    do {
        len = REAL(recvmsg)(sock, &msg, MSG_PEEK);
    } while (len < 0 && errno == EINTR);
    return len == sizeof(id) ? id : 0;
}

/* Fills in the result of @waiter, whose answer is the next one. Bytes go to where it wants them. */
static void
takeAnswer(int sock, struct Waiter *waiter)
{
    const struct MockCall *call = waiter->call;
    struct Answer answer = { 0 };
    union FdControl control = { 0 };
    struct iovec iov[] = {
        { .iov_base = &answer, .iov_len = sizeof(answer) },
        { .iov_base = call->out, .iov_len = call->outSize },
    };
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2, .msg_control = &control,
                          .msg_controllen = sizeof(control) };
    ssize_t len = REAL(recvmsg)(sock, &msg, call->cloexec ? MSG_CMSG_CLOEXEC : 0);

    waiter->done = true;
    waiter->result = -1;
    if (len < (ssize_t) sizeof(answer)) {
        /* as a driver's copy_to_user(); a descriptor in the message is closed then */
        waiter->error = len < 0 && errno == EFAULT ? EFAULT : ENODEV;
    } else if (answer.result < 0) {
        waiter->error = answer.error;
    } else if (!answer.hasFd) {
        waiter->result = answer.result;
    } else if (msg.msg_controllen < CMSG_LEN(sizeof(int))) {
        waiter->error = EMFILE;
    } else {
        memcpy(&waiter->result, CMSG_DATA(&control.header), sizeof(int));
    }
}

/* Calls. The connection is locked in these functions. */

static void
failWaiters(struct Connection *connection, int error)
{
    for (struct Waiter *waiter = connection->waiters; waiter; waiter = waiter->next) {
        if (!waiter->done) {
            waiter->done = true;
            waiter->result = -1;
            waiter->error = error;
        }
    }
}

static void
readAnswer(struct Connection *connection)
{
    struct Waiter *waiter;
    uint64_t id;

    connection->reading = true;
    pthread_mutex_unlock(&connection->lock);
    id = awaitAnswer(connection->fd);
    pthread_mutex_lock(&connection->lock);
    connection->reading = false;

    for (waiter = connection->waiters; waiter && waiter->id != id; waiter = waiter->next)
        continue;
    if (waiter)
        takeAnswer(connection->fd, waiter);
    else
        failWaiters(connection, ENODEV);
    pthread_cond_broadcast(&connection->changed);
}

static void
removeWaiter(struct Connection *connection, struct Waiter *waiter)
{
    struct Waiter **link = &connection->waiters;

    while (*link != waiter)
        link = &(*link)->next;
    *link = waiter->next;
}

static void
exchange(struct Connection *connection, struct Waiter *waiter)
{
    int sent;

    pthread_mutex_lock(&connection->lock);
    waiter->id = ++connection->lastId;
    waiter->next = connection->waiters;
    connection->waiters = waiter;

    sent = sendRequest(connection->fd, waiter, true);
    /* The server knows what a driver says of an argument that it cannot read. */
    if (sent < 0 && errno == EFAULT)
        sent = sendRequest(connection->fd, waiter, false);
    if (sent < 0) {
        waiter->done = true;
        waiter->result = -1;
        waiter->error = errno == EPIPE || errno == ECONNRESET ? ENODEV : errno;
    }
    while (!waiter->done) {
        if (connection->reading)
            pthread_cond_wait(&connection->changed, &connection->lock);
        else
            readAnswer(connection);
    }
    removeWaiter(connection, waiter);
    pthread_mutex_unlock(&connection->lock);
}

int
mockCall(const char *socketName, const struct MockCall *call)
{
    struct Waiter waiter = { .call = call, .result = -1 };
    struct Connection once = { 0 };
    struct Connection *connection;
    sigset_t blocked, before;
    int saved = errno;

    sigfillset(&blocked);
    /* What says that a sandbox has been hit must be heard. */
    sigdelset(&blocked, SIGSYS);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);

    connection = keptConnection(socketName);
    if (!connection && connectServer(&once, socketName) == 0)
        connection = &once;
    if (connection)
        exchange(connection, &waiter);
    else
        waiter.error = errno;
    if (once.open)
        REAL(close)(once.fd);

    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = waiter.result < 0 ? waiter.error : saved;
    return waiter.result;
}
