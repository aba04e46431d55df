/*
 * services.c: what the sample enclave does on its vsock
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One epoll loop, and no call that blocks. A connection has a role, which is a function
 * that moves one buffer at most and tells whether there is more to do; epoll then reports
 * the connection again behind all the others, so that none of them starves:
 *
 *   epoll -> stepConnection -> role->step -> MORE: armed anew
 *                                            WAIT: until the socket changes
 *                                            DONE: closed
 *
 * What a role has read and cannot write yet stays in the connection's buffer, and nothing
 * more is read meanwhile: the sender gets no credit then, and has to wait.
 */

#include "services.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define PARENT_CID 3
#define BACKLOG 1024
/* Edge-triggered: what a role does not wait for does not wake it again and again. */
#define EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)
#define EVENTS_MAX 64

#define DIAL_SECONDS 20

#define BUFFER_SIZE 65536

/* bytes under way of one connection that sends much */
#define BULK_SIZE (512 * 1024)

/* Commands, and answers to "send" and "fetch" */
#define LINE_MAX_SIZE 4096

/* Where "fetch" keeps its text while it asks the proxy, in the buffer */
#define FETCH_TEXT (BUFFER_SIZE / 2)

/* Answers to "clock", with the newline */
#define CLOCK_LINE_MAX 64

#define NS_PER_SECOND 1000000000LL

#define ARRAY_CARDINALITY(array) (sizeof(array) / sizeof((array)[0]))

typedef enum {
    MORE,
    WAIT,
    DONE,
} progress;

typedef struct _connection connection;

typedef struct {
    const char *name; /* NULL: no command of this name */
    uint32_t port;    /* 0: does not listen */
    progress (*step)(connection *conn, uint32_t events);
} role;

struct _connection {
    int fd;
    const role *role;
    connection *next, *previous; /* in the list of all */
    connection *asker; /* who is told what becomes of it, or NULL */
    bool listening;    /* @role is that of the connections to come */
    bool dialing;      /* connect() is under way */
    bool ended;        /* nothing more to read */
    bool counted;      /* source: the number has been read */
    bool tunnel;       /* fetch: the proxy has connected it */
    uint64_t count;    /* bytes: of discard up to now, of source left; of ping round trips left; of
                        * lines those left; of clock when it has asked, in ns */
    size_t start, end; /* what of the buffer is in use */
    char buffer[BUFFER_SIZE];
};

static int poller = -1;
static connection *connections;
static bool (*unknownCommand)(const char *command);

/* What is thrown away, and what "source" sends */
static char scratch[BUFFER_SIZE];


/* Writes a line to @conn, who may have gone. One that lets its answers pile up has to go. */
static void __attribute__((format(printf, 2, 3)))
answer(connection *conn, const char *format, ...)
{
    char line[LINE_MAX_SIZE + 64];
    va_list arguments;
    int len;

    if (!conn)
        return;
    va_start(arguments, format);
    len = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (send(conn->fd, line, len, MSG_NOSIGNAL | MSG_DONTWAIT) != len)
        shutdown(conn->fd, SHUT_RDWR);
}


/* What a call that has failed means for its connection */
static progress
failed(void)
{
    return errno == EAGAIN ? WAIT : DONE;
}


static void
closeConnection(connection *conn)
{
    connection *other;

    for (other = connections; other; other = other->next) {
        if (other->asker == conn)
            other->asker = NULL;
    }
    if (conn->next)
        conn->next->previous = conn->previous;
    if (conn->previous)
        conn->previous->next = conn->next;
    else
        connections = conn->next;
    close(conn->fd);
    free(conn);
}


/* Takes @fd. Returns NULL when there is no memory for it. */
static connection *
addConnection(int fd, const role *what)
{
    connection *conn = malloc(sizeof(*conn));
    struct epoll_event event = { .events = EVENTS, .data.ptr = conn };

    if (!conn || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) {
        printf("hello: no connection more: %s\n", strerror(errno));
        free(conn);
        close(fd);
        return NULL;
    }
    /* no page of the buffer is touched before it is needed */
    memset(conn, 0, offsetof(connection, buffer));
    conn->fd = fd;
    conn->role = what;
    conn->next = connections;
    if (connections)
        connections->previous = conn;
    connections = conn;
    return conn;
}


static progress
stepEcho(connection *conn, uint32_t events)
{
    ssize_t n;

    if (conn->start == conn->end) {
        if ((n = read(conn->fd, conn->buffer, sizeof(conn->buffer))) < 0)
            return failed();
        if (n == 0)
            return DONE;
        conn->start = 0;
        conn->end = n;
    }

    n = send(conn->fd, conn->buffer + conn->start, conn->end - conn->start, MSG_NOSIGNAL);
    if (n < 0)
        return failed();
    conn->start += n;
    return MORE;
}


static progress
stepDiscard(connection *conn, uint32_t events)
{
    ssize_t n = read(conn->fd, scratch, sizeof(scratch));

    if (n < 0)
        return failed();
    conn->count += n;
    if (n > 0)
        return MORE;
    answer(conn, "%" PRIu64 "\n", conn->count);
    return DONE;
}


/*
 * Reads until there is a line in the buffer, and makes it a string. A role that calls this
 * keeps only the part behind the line.
 */
static progress
readLine(connection *conn, char **line)
{
    char *newline = memchr(conn->buffer + conn->start, '\n', conn->end - conn->start);
    ssize_t n;

    if (!newline) {
        memmove(conn->buffer, conn->buffer + conn->start, conn->end - conn->start);
        conn->end -= conn->start;
        conn->start = 0;
        if (conn->end >= LINE_MAX_SIZE)
            return DONE;
        n = read(conn->fd, conn->buffer + conn->end, LINE_MAX_SIZE - conn->end);
        if (n < 0)
            return failed();
        if (n == 0)
            return DONE;
        conn->end += n;
        newline = memchr(conn->buffer, '\n', conn->end);
    }

    *line = NULL;
    if (newline) {
        *newline = '\0';
        *line = conn->buffer + conn->start;
        conn->start = newline + 1 - conn->buffer;
    }
    return MORE;
}


/* Lets @fd be further ahead of its reader: kernels limit what is under way to this as well. */
static void
sendInBulk(int fd)
{
    const uint64_t size = BULK_SIZE;

    setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &size, sizeof(size));
    setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &size, sizeof(size));
}


static progress
stepSource(connection *conn, uint32_t events)
{
    char *line = NULL;
    ssize_t n;

    if (!conn->counted) {
        progress result = readLine(conn, &line);

        if (line) {
            conn->counted = true;
            conn->count = strtoull(line, NULL, 10);
            sendInBulk(conn->fd);
        }
        return result;
    }

    if (conn->count == 0)
        return DONE;
    n = send(conn->fd, scratch, conn->count < sizeof(scratch) ? conn->count : sizeof(scratch),
             MSG_NOSIGNAL);
    if (n < 0)
        return failed();
    conn->count -= n;
    return MORE;
}


static progress
stepStall(connection *conn, uint32_t events)
{
    return events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR) ? DONE : WAIT;
}


/* One byte is always on its way; the first one has been sent by the command. */
static progress
stepPing(connection *conn, uint32_t events)
{
    ssize_t n = read(conn->fd, conn->buffer, 1);

    if (n < 0 && failed() == WAIT)
        return WAIT;
    if (n != 1) {
        answer(conn->asker, "error: %" PRIu64 " round trips are left\n", conn->count);
        return DONE;
    }
    if (conn->count <= 1) {
        answer(conn->asker, "ok\n");
        return DONE;
    }
    conn->count--;
    if (send(conn->fd, conn->buffer, 1, MSG_NOSIGNAL) != 1)
        return DONE;
    return MORE;
}


/* The text to send has been written by the command. */
static progress
stepSend(connection *conn, uint32_t events)
{
    ssize_t n;

    if (conn->end == LINE_MAX_SIZE) {
        answer(conn->asker, "error: more than %d bytes came back\n", LINE_MAX_SIZE);
        return DONE;
    }
    n = read(conn->fd, conn->buffer + conn->end, LINE_MAX_SIZE - conn->end);
    if (n < 0 && failed() == WAIT)
        return WAIT;
    /* Linux forgets in shutdown() that the other side has closed, and says this for the end. */
    if (n < 0 && errno == ENOTCONN)
        n = 0;
    if (n < 0) {
        answer(conn->asker, "error: %s\n", strerror(errno));
        return DONE;
    }
    if (n == 0) {
        answer(conn->asker, "%.*s\n", (int)conn->end, conn->buffer);
        return DONE;
    }
    conn->end += n;
    return MORE;
}


/* The answer to CONNECT is in the buffer. Sends the text, or tells what the proxy has said. */
static progress
enterTunnel(connection *conn, const char *end)
{
    const char *text = conn->buffer + FETCH_TEXT;
    size_t len = strlen(text);

    if (strncmp(conn->buffer, "HTTP/1.1 200 ", strlen("HTTP/1.1 200 ")) != 0) {
        answer(conn->asker, "error: %.*s\n", (int)strcspn(conn->buffer, "\r\n"), conn->buffer);
        return DONE;
    }
    if (send(conn->fd, text, len, MSG_NOSIGNAL) != (ssize_t)len) {
        answer(conn->asker, "error: %s\n", strerror(errno));
        return DONE;
    }
    shutdown(conn->fd, SHUT_WR);
    conn->tunnel = true;
    conn->end -= end - conn->buffer;
    memmove(conn->buffer, end, conn->end);
    return MORE;
}


/* CONNECT has been written by the command. Once that is done, this is as "send". */
static progress
stepFetch(connection *conn, uint32_t events)
{
    const char *end;
    ssize_t n;

    if (conn->tunnel)
        return stepSend(conn, events);
    n = read(conn->fd, conn->buffer + conn->end, LINE_MAX_SIZE - conn->end);
    if (n < 0 && failed() == WAIT)
        return WAIT;
    if (n <= 0) {
        answer(conn->asker, "error: the proxy has not answered\n");
        return DONE;
    }
    conn->end += n;
    conn->buffer[conn->end] = '\0';
    if ((end = strstr(conn->buffer, "\r\n\r\n")))
        return enterTunnel(conn, end + strlen("\r\n\r\n"));
    return MORE;
}


/* The line is the buffer's. */
static progress
stepLines(connection *conn, uint32_t events)
{
    ssize_t n = send(conn->fd, conn->buffer + conn->start, conn->end - conn->start, MSG_NOSIGNAL);

    if (n < 0 && failed() == WAIT)
        return WAIT;
    if (n < 0) {
        answer(conn->asker, "error: %s\n", strerror(errno));
        return DONE;
    }
    conn->start += n;
    if (conn->start < conn->end)
        return MORE;
    conn->start = 0;
    if (--conn->count > 0)
        return MORE;
    answer(conn->asker, "ok\n");
    return DONE;
}


/* ns */
static int64_t
readClock(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return time.tv_sec * NS_PER_SECOND + time.tv_nsec;
}


/*
 * The parent's answer, of which the first @len bytes are there, "SECONDS.NANOSECONDS\n". Returns
 * the time in ns, or -1.
 */
static int64_t
parseTime(const char *answer, size_t len)
{
    char line[CLOCK_LINE_MAX + 1] = "";
    long long seconds;
    long nanoseconds;
    int used = 0;

    memcpy(line, answer, len);
    if (sscanf(line, "%18lld.%9ld%n", &seconds, &nanoseconds, &used) != 2 || seconds < 0 ||
        nanoseconds < 0 || strcmp(line + used, "\n") != 0 || seconds > INT64_MAX / NS_PER_SECOND - 1)
        return -1;
    return seconds * NS_PER_SECOND + nanoseconds;
}


/* The request has been written by the command, at conn->count of the monotonic clock. */
static progress
stepClock(connection *conn, uint32_t events)
{
    ssize_t n = read(conn->fd, conn->buffer + conn->end, CLOCK_LINE_MAX - conn->end);
    int64_t before = readClock(CLOCK_REALTIME);
    struct timespec set;
    int64_t time;

    if (n < 0 && failed() == WAIT)
        return WAIT;
    if (n > 0)
        conn->end += n;
    if (n > 0 && conn->buffer[conn->end - 1] != '\n' && conn->end < CLOCK_LINE_MAX)
        return MORE;
    time = n > 0 ? parseTime(conn->buffer, conn->end) : -1;
    if (time < 0) {
        answer(conn->asker, "error: the parent has told no time\n");
        return DONE;
    }
    /* it was told half way between the question and now */
    time += (readClock(CLOCK_MONOTONIC) - (int64_t)conn->count) / 2;
    set.tv_sec = time / NS_PER_SECOND;
    set.tv_nsec = time % NS_PER_SECOND;
    if (clock_settime(CLOCK_REALTIME, &set) < 0)
        answer(conn->asker, "error: cannot set the clock: %s\n", strerror(errno));
    else
        answer(conn->asker, "ok %" PRId64 "\n", time - before);
    return DONE;
}


static progress
stepCommands(connection *conn, uint32_t events);

static const role roles[] = {
    { "echo", 7, stepEcho },
    { "discard", 9, stepDiscard },
    { "source", 19, stepSource },
    { "stall", 11, stepStall },
    { "ping", 0, stepPing },
    { "send", 0, stepSend },
    { "fetch", 0, stepFetch },
    { "lines", 0, stepLines },
    { "clock", 0, stepClock },
    { NULL, 5000, stepCommands },
};


/* Starts to connect to @port of the parent. Returns NULL with errno set. */
static connection *
dial(uint32_t port, const role *what)
{
    struct sockaddr_vm parent = {
        .svm_family = AF_VSOCK,
        .svm_cid = PARENT_CID,
        .svm_port = port,
    };
    struct timeval limit = { .tv_sec = DIAL_SECONDS };
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    connection *conn;

    if (fd < 0)
        return NULL;
    setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit, sizeof(limit));
    if (connect(fd, (struct sockaddr *)&parent, sizeof(parent)) < 0 && errno != EINPROGRESS) {
        int err = errno;

        close(fd);
        errno = err;
        return NULL;
    }
    if ((conn = addConnection(fd, what)))
        conn->dialing = true;
    return conn;
}


/* The connection is there, or has been refused. */
static progress
finishDialing(connection *conn, uint32_t events)
{
    struct sockaddr_vm parent;
    socklen_t size = sizeof(parent);
    socklen_t len = sizeof(int);
    size_t text = conn->end;
    int err = 0;

    getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &err, &len);
    if (err == 0 && getpeername(conn->fd, (struct sockaddr *)&parent, &size) < 0)
        err = errno;
    if (err == ENOTCONN && !(events & (EPOLLHUP | EPOLLERR)))
        return WAIT;
    if (err != 0) {
        answer(conn->asker, "error: cannot connect: %s\n", strerror(err));
        return DONE;
    }

    conn->dialing = false;
    if (conn->role->step == stepLines)
        return MORE;
    conn->end = 0;
    if (conn->role->step != stepPing && conn->role->step != stepSend &&
        conn->role->step != stepFetch && conn->role->step != stepClock) {
        answer(conn->asker, "ok\n");
        conn->asker = NULL;
        return MORE;
    }
    /* a new connection has room for this, unless the other side has closed it again */
    if (send(conn->fd, conn->buffer, text, MSG_NOSIGNAL) != (ssize_t)text) {
        answer(conn->asker, "error: cannot send: %s\n", strerror(errno));
        return DONE;
    }
    if (conn->role->step == stepSend)
        shutdown(conn->fd, SHUT_WR);
    return MORE;
}


/* Puts what @conn writes first into its buffer. Returns false when @text is no arguments for it. */
static bool
prepare(connection *conn, char *text)
{
    progress (*step)(connection *conn, uint32_t events) = conn->role->step;
    char *rest;

    if (step == stepPing) {
        conn->count = strtoull(text, NULL, 10);
        conn->buffer[0] = '!';
        conn->end = 1;
    } else if (step == stepSend) {
        conn->end = strlen(text);
        memcpy(conn->buffer, text, conn->end);
    } else if (step == stepFetch) {
        if (!(rest = strchr(text, ' ')))
            return false;
        *rest++ = '\0';
        conn->end = snprintf(conn->buffer, FETCH_TEXT, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n",
                             text, text);
        strcpy(conn->buffer + FETCH_TEXT, rest);
    } else if (step == stepLines) {
        conn->count = strtoull(text, &rest, 10);
        if (conn->count == 0 || *rest != ' ')
            return false;
        conn->end = sprintf(conn->buffer, "%s\n", rest + 1);
    } else if (step == stepClock) {
        conn->count = readClock(CLOCK_MONOTONIC);
        conn->buffer[0] = '\n';
        conn->end = 1;
    }
    return true;
}


/* Has a command that is a role with its arguments done. */
static void
startRole(connection *asker, const role *what, const char *arguments)
{
    char *text = NULL;
    unsigned long port = strtoul(arguments, &text, 10);
    connection *conn;

    if (text == arguments || port >= UINT32_MAX) {
        answer(asker, "error: %s is no port\n", arguments);
        return;
    }
    if (*text == ' ')
        text++;
    if (!(conn = dial(port, what))) {
        answer(asker, "error: cannot connect: %s\n", strerror(errno));
        return;
    }
    conn->asker = asker;
    if (!prepare(conn, text)) {
        answer(asker, "error: '%s' is not what %s takes\n", text, what->name);
        closeConnection(conn);
    }
}


static progress
stepCommands(connection *conn, uint32_t events)
{
    char *line = NULL;
    progress result = readLine(conn, &line);
    size_t i;

    if (!line)
        return result;

    for (i = 0; i < ARRAY_CARDINALITY(roles); i++) {
        size_t len = roles[i].name ? strlen(roles[i].name) : 0;

        if (len > 0 && strncmp(line, roles[i].name, len) == 0 && line[len] == ' ') {
            startRole(conn, &roles[i], line + len + 1);
            return MORE;
        }
    }
    if (!unknownCommand(line))
        answer(conn, "error: no such command\n");
    return MORE;
}


static progress
stepListener(connection *listener)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    /* one that has gone again is no reason not to take the others */
    if (fd < 0)
        return errno == ECONNABORTED || errno == ECONNRESET ? MORE : WAIT;
    addConnection(fd, listener->role);
    return MORE;
}


static void
stepConnection(connection *conn, uint32_t events)
{
    struct epoll_event again = { .events = EVENTS, .data.ptr = conn };
    progress result;

    if (conn->listening)
        result = stepListener(conn);
    else if (conn->dialing)
        result = finishDialing(conn, events);
    else
        result = conn->role->step(conn, events);

    if (result == DONE)
        closeConnection(conn);
    else if (result == MORE)
        epoll_ctl(poller, EPOLL_CTL_MOD, conn->fd, &again);
}


static void
listenFor(const role *what)
{
    connection *listener;
    struct sockaddr_vm here = {
        .svm_family = AF_VSOCK,
        .svm_cid = VMADDR_CID_ANY,
        .svm_port = what->port,
    };
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof(here)) < 0 ||
        listen(fd, BACKLOG) < 0) {
        printf("hello: cannot listen on port %" PRIu32 ": %s\n", what->port, strerror(errno));
        if (fd >= 0)
            close(fd);
        return;
    }
    if ((listener = addConnection(fd, what)))
        listener->listening = true;
}


void
servicesOpen(void)
{
    struct rlimit files;
    size_t i;

    /* each connection is a file */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    poller = epoll_create1(EPOLL_CLOEXEC);
    for (i = 0; i < ARRAY_CARDINALITY(roles); i++) {
        if (roles[i].port > 0)
            listenFor(&roles[i]);
    }
}


static double
now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}


void
servicesRun(double seconds, bool (*order)(const char *command))
{
    struct epoll_event events[EVENTS_MAX];
    double end = now() + seconds;
    double left;

    unknownCommand = order;
    while ((left = end - now()) > 0) {
        int n = epoll_wait(poller, events, EVENTS_MAX, (int)(left * 1000) + 1);
        int i;

        /* a connection is closed by its own event only, so all these are still there */
        for (i = 0; i < n; i++)
            stepConnection(events[i].data.ptr, events[i].events);
    }
}
