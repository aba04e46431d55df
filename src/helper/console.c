/*
 * console.c: the enclave's console output, kept and handed to who reads it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: consoleWrite() -> ring -> consolePump() -> reader's descriptor. A reader is
 * a position in the stream of all output: attaching sets it to the oldest byte kept,
 * and it jumps forward when the ring has overtaken it.
 */

#include "console.h"

#include <errno.h>
#include <glib-unix.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "common/log.h"

/* How often we look whether somebody has opened the pseudo terminal, in milliseconds:
 * poll() reports a hang-up all the time while nobody has. */
#define CONSOLE_POLL_MS 150

/* How long the reader of a terminal may take for the last output, in milliseconds */
#define CONSOLE_LAST_WORDS_MS 200

/* After a failing accept(), in milliseconds */
#define CONSOLE_RETRY_MS 1000

struct _Console {
    OptionsConsole type;
    int fd;
    Rotation *rotation; /* NULL: a file grows without limit */
    bool listening;  /* @fd is a socket that readers connect to */
    int reader;      /* descriptor that output goes to; -1: nobody reads */
    guint timer;     /* looks for a reader */
    guint listener;  /* waits for a reader at the socket */
    guint watch;     /* waits for the reader */
    GIOCondition watched;
    bool deaf;       /* the reader has closed its sending side */
    uint64_t total;  /* bytes of output so far */
    uint64_t sent;   /* how many of them the reader has got or lost */
    bool failed;     /* writing to the file has failed, and it was logged */
    bool lost;       /* old output could not be kept, and it was logged */
    uint8_t ring[CONSOLE_RING_SIZE]; /* byte n of the output is at n modulo the size */
};

static void consoleUpdate(Console *console);

static uint64_t
consoleOldest(const Console *console)
{
    return console->total > CONSOLE_RING_SIZE ? console->total - CONSOLE_RING_SIZE : 0;
}

static void
consoleAttach(Console *console, int reader)
{
    console->reader = reader;
    console->deaf = false;
    console->sent = consoleOldest(console);
}

static bool
consoleTerminalIsOpen(const Console *console)
{
    struct pollfd pfd = {.fd = console->fd, .events = POLLOUT};

    return poll(&pfd, 1, 0) >= 0 && !(pfd.revents & (POLLHUP | POLLERR | POLLNVAL));
}

static gboolean
consoleOnTimer(gpointer opaque)
{
    Console *console = opaque;

    if (console->type == OPTIONS_CONSOLE_PTY) {
        if (!consoleTerminalIsOpen(console))
            return G_SOURCE_CONTINUE;
        consoleAttach(console, console->fd);
    }

    console->timer = 0;
    consoleUpdate(console);
    return G_SOURCE_REMOVE;
}

static gboolean
consoleOnListener(gint fd, GIOCondition condition G_GNUC_UNUSED, gpointer opaque)
{
    Console *console = opaque;
    int reader = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (reader < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
        return G_SOURCE_CONTINUE;

    /* Who else connects waits in the socket's queue until this reader has gone. */
    console->listener = 0;
    if (reader < 0) {
        logWarning("A console connection cannot be accepted: %s", g_strerror(errno));
        console->timer = g_timeout_add(CONSOLE_RETRY_MS, consoleOnTimer, console);
        return G_SOURCE_REMOVE;
    }

    consoleAttach(console, reader);
    consoleUpdate(console);
    return G_SOURCE_REMOVE;
}

/* Opens the other end of the terminal, without its name. Returns -1 on failure. */
static int
consoleOpenPeer(const Console *console)
{
    return ioctl(console->fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
}

/*
 * The reader has gone: what it has not read must not be the first that the next one
 * gets. Some of it is on its way, the rest waits at the other end.
 */
static void
consoleFlushTerminal(const Console *console)
{
    int peer = consoleOpenPeer(console);

    tcflush(console->fd, TCIOFLUSH);
    if (peer >= 0) {
        tcflush(peer, TCIFLUSH);
        close(peer);
    }
}

/*
 * Closing our end of a terminal throws away what its reader has not read: gives it a
 * moment. What has been written is on its way to the other end for a while, where FIONREAD does
 * not see it; poll() there waits until it has arrived.
 */
static void
consoleAwaitTerminal(const Console *console)
{
    gint64 end = g_get_monotonic_time() + CONSOLE_LAST_WORDS_MS * 1000;
    struct pollfd peer = {.fd = consoleOpenPeer(console), .events = POLLIN};
    int unread = 0;

    if (peer.fd < 0)
        return;
    while (poll(&peer, 1, 0) >= 0 && ioctl(peer.fd, FIONREAD, &unread) == 0 && unread > 0 &&
           g_get_monotonic_time() < end)
        g_usleep(5000);
    close(peer.fd);
}

static void
consoleDetach(Console *console)
{
    if (console->type == OPTIONS_CONSOLE_PTY)
        consoleFlushTerminal(console);
    else if (console->reader != console->fd)
        close(console->reader);
    console->reader = -1;
}

/* As write(), with less than @len bytes now and then */
static ssize_t
consoleWriteFile(Console *console, const void *buf, size_t len)
{
    bool lost = false;
    ssize_t n;

    if (!console->rotation)
        return write(console->reader, buf, len);

    n = rotationWrite(console->rotation, buf, len, &lost);
    if (lost && !console->lost)
        logWarning("Old console output could not be kept: is the disk full?");
    console->lost |= lost;
    return n;
}

/* Writes what the reader takes. Returns false when it has gone. */
static bool
consolePump(Console *console)
{
    console->sent = MAX(console->sent, consoleOldest(console));

    while (console->sent < console->total) {
        size_t start = console->sent % CONSOLE_RING_SIZE;
        size_t len = MIN(console->total - console->sent, CONSOLE_RING_SIZE - start);
        ssize_t n;

        if (console->type == OPTIONS_CONSOLE_UNIX)
            n = send(console->reader, console->ring + start, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        else if (console->type == OPTIONS_CONSOLE_FILE)
            n = consoleWriteFile(console, console->ring + start, len);
        else
            n = write(console->reader, console->ring + start, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0 && console->type != OPTIONS_CONSOLE_FILE)
            return false;
        if (n <= 0) {
            /* The disk may have room again later: this much is lost, the domain goes on. */
            if (!console->failed)
                logError("The console output cannot be written to its file: %s",
                         g_strerror(n < 0 ? errno : ENOSPC));
            console->failed = true;
            console->sent = console->total;
            return true;
        }
        console->sent += n;
    }
    return true;
}

static gboolean
consoleOnReader(gint fd, GIOCondition condition, gpointer opaque)
{
    Console *console = opaque;
    char buf[4096];
    bool gone = false;

    console->watch = 0;
    if (condition & (G_IO_HUP | G_IO_ERR)) {
        gone = true;
    } else if (condition & G_IO_IN) {
        ssize_t n = read(fd, buf, sizeof(buf));

        /* A reader that has nothing more to say may go on reading: G_IO_HUP tells its end. */
        console->deaf = n == 0;
        gone = n < 0 && errno != EAGAIN && errno != EINTR;
    }

    if (gone)
        consoleDetach(console);
    consoleUpdate(console);
    return G_SOURCE_REMOVE;
}

/* What the console waits for while nobody reads; a connection or file that has gone stays so. */
static void
consoleAwaitReader(Console *console)
{
    if (console->watch > 0)
        g_source_remove(console->watch);
    console->watch = 0;

    if (console->type == OPTIONS_CONSOLE_PTY && console->timer == 0)
        console->timer = g_timeout_add(CONSOLE_POLL_MS, consoleOnTimer, console);
    else if (console->listening && console->listener == 0 && console->timer == 0)
        console->listener = g_unix_fd_add(console->fd, G_IO_IN, consoleOnListener, console);
}

/* Gives the reader what it takes, then waits for what can happen next. */
static void
consoleUpdate(Console *console)
{
    GIOCondition wanted = 0;

    if (console->reader >= 0 && !consolePump(console))
        consoleDetach(console);
    if (console->reader < 0) {
        consoleAwaitReader(console);
        return;
    }

    /* A file is neither read nor ever gone. */
    if (console->type != OPTIONS_CONSOLE_FILE)
        wanted |= console->deaf ? G_IO_HUP : G_IO_IN;
    if (console->sent < console->total)
        wanted |= G_IO_OUT;

    if (console->watch > 0 && console->watched == wanted)
        return;
    if (console->watch > 0)
        g_source_remove(console->watch);
    console->watch = 0;
    console->watched = wanted;
    if (wanted != 0)
        console->watch = g_unix_fd_add(console->reader, wanted, consoleOnReader, console);
}

/* Settles what the descriptor is; a regular file cannot be made non-blocking and need not be. */
static void
consoleSetUp(Console *console)
{
    struct termios termios;
    struct stat st;
    int listening = 0;
    socklen_t len = sizeof(listening);

    if (fstat(console->fd, &st) < 0 || !S_ISREG(st.st_mode))
        g_unix_set_fd_nonblocking(console->fd, TRUE, NULL);

    switch (console->type) {
    case OPTIONS_CONSOLE_PTY:
        /* Without echo, our output does not come back as input. */
        if (tcgetattr(console->fd, &termios) == 0) {
            cfmakeraw(&termios);
            tcsetattr(console->fd, TCSANOW, &termios);
        }
        break;
    case OPTIONS_CONSOLE_FILE:
        consoleAttach(console, console->fd);
        break;
    case OPTIONS_CONSOLE_UNIX:
        console->listening = getsockopt(console->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening,
                                        &len) == 0 && listening;
        if (!console->listening)
            consoleAttach(console, console->fd);
        break;
    case OPTIONS_CONSOLE_NONE:
        break;
    }
}

Console *
consoleNew(OptionsConsole type, int fd)
{
    Console *console = g_new0(Console, 1);

    console->type = type;
    console->fd = fd;
    console->reader = -1;
    if (type != OPTIONS_CONSOLE_NONE)
        consoleSetUp(console);
    consoleUpdate(console);
    return console;
}

void
consoleSetRotation(Console *console, Rotation *rotation)
{
    g_clear_pointer(&console->rotation, rotationFree);
    console->rotation = rotation;
}

void
consoleFree(Console *console)
{
    if (!console)
        return;

    /* A reader that has just opened the terminal of an enclave which ended at once */
    if (console->type == OPTIONS_CONSOLE_PTY && console->reader < 0 &&
        consoleTerminalIsOpen(console))
        consoleAttach(console, console->fd);
    if (console->reader >= 0)
        consolePump(console);
    if (console->reader >= 0 && console->type == OPTIONS_CONSOLE_PTY)
        consoleAwaitTerminal(console);
    if (console->reader >= 0 && console->reader != console->fd)
        close(console->reader);

    if (console->timer > 0)
        g_source_remove(console->timer);
    if (console->listener > 0)
        g_source_remove(console->listener);
    if (console->watch > 0)
        g_source_remove(console->watch);
    g_clear_pointer(&console->rotation, rotationFree);
    g_free(console);
}

/* The last bytes of output in one piece, at most @max; their number goes to @len. */
static char *
consoleCopyLast(const Console *console, size_t max, size_t *len)
{
    uint64_t kept = console->total - consoleOldest(console);
    g_autofree char *copy = NULL;
    size_t i;

    *len = MIN(kept, max);
    copy = g_malloc(*len + 1);
    for (i = 0; i < *len; i++)
        copy[i] = (char)console->ring[(console->total - *len + i) % CONSOLE_RING_SIZE];
    copy[*len] = '\0';
    return g_steal_pointer(&copy);
}

char **
consoleGetLastLines(const Console *console)
{
    GPtrArray *lines = g_ptr_array_new();
    g_autofree char *copy = NULL;
    size_t end;

    /* From the end, as a guest can write any number of lines, and of any length. */
    copy = consoleCopyLast(console, CONSOLE_LAST_LINES * CONSOLE_LAST_LINE_MAX, &end);
    while (end > 0 && lines->len < CONSOLE_LAST_LINES) {
        const char *before = memrchr(copy, '\n', end);
        size_t start = before ? before - copy + 1 : 0;
        g_autofree char *line = NULL;

        /* A serial line ends with both. */
        while (end > start && copy[end - 1] == '\r')
            end--;
        line = logSanitize(copy + start, MIN(end - start, CONSOLE_LAST_LINE_MAX));
        if (*line)
            g_ptr_array_insert(lines, 0, g_steal_pointer(&line));
        end = before ? start - 1 : 0;
    }

    g_ptr_array_add(lines, NULL);
    return (char **)g_ptr_array_free(lines, FALSE);
}

/* What is longer than the ring goes through it in parts, so that a file gets all of it. */
void
consoleWrite(Console *console, const void *buf, size_t len)
{
    const uint8_t *pos = buf;

    while (len > 0) {
        size_t start = console->total % CONSOLE_RING_SIZE;
        size_t n = MIN(len, CONSOLE_RING_SIZE - start);

        memcpy(console->ring + start, pos, n);
        console->total += n;
        pos += n;
        len -= n;
        if (console->reader >= 0)
            consoleUpdate(console);
    }
}
