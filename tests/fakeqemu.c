/*
 * fakeqemu.c: a QEMU that is none, for tests of what runs it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * It runs where QEMU does: with nothing but its own executable and the descriptors that it
 * inherits. What it does is in its trailer (trailer.h), one step a line, run in order:
 *
 *     commands          read what the helper asks of the monitor: qmp_capabilities, cont
 *     say HEX           write these bytes and a newline to the monitor
 *     output HEX        write these bytes to the serial port
 *     message HEX       write these bytes to standard error
 *     messages N        write so many numbered lines there
 *     flood FD N HEX    N threads write these bytes to the descriptor without end, and the
 *                       next step begins
 *     join              wait until nobody reads any more what they write
 *     chatter MS HEX    write these bytes to the serial port for ever, so often
 *     fork N            have N children, which go on with the next step; the parent stays
 *     nsm NAME          nothing; it has the device NAME, of which -device help and NAME,help tell
 *     sleep MS
 *     signal            wait for SIGUSR1, which the test sends from outside
 *     release           close serial port, monitor, vsock and NSM
 *     escape            try what must not be possible, see escape.h
 *     exit N
 *     stay              for ever, also when asked to end by SIGTERM
 *
 * A line "for PREFIX" begins the steps of the domains whose name begins so; the steps above
 * the first such line are all others'. It links statically, so that it needs no library.
 */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "escape.h"
#include "trailer.h"

/* The descriptors of src/helper/emulated/backend_emulated.c */
#define SERIAL_FD 12
#define MONITOR_FD 13
#define VSOCK_FD 14
#define NSM_FD 15

#define EXIT_BAD 99 /* the trailer, or the helper, is not as expected */

typedef struct {
    int fd;
    char *data;
    size_t len;
} Bytes;

static void
bad(const char *what, const char *line)
{
    dprintf(STDERR_FILENO, "fakeqemu: %s: %s\n", what, line);
    _exit(EXIT_BAD);
}

static Bytes
bytesFromHex(int fd, const char *hex)
{
    Bytes bytes = { .fd = fd, .data = calloc(1, strlen(hex) / 2 + 1) };
    unsigned int byte;

    for (; bytes.data && sscanf(hex, "%2x", &byte) == 1; hex += 2)
        bytes.data[bytes.len++] = byte;
    if (!bytes.data || *hex)
        bad("bad hexadecimal digits", hex);
    return bytes;
}

/* Returns false when nobody reads any more. */
static bool
bytesWrite(const Bytes *bytes)
{
    size_t done = 0;

    while (done < bytes->len) {
        ssize_t n = write(bytes->fd, bytes->data + done, bytes->len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        done += n;
    }
    return true;
}

static void
writeHex(int fd, const char *hex, bool newline)
{
    Bytes bytes = bytesFromHex(fd, hex);

    if (newline)
        bytes.data[bytes.len++] = '\n'; /* in place of the 0 at the end */
    bytesWrite(&bytes);
    free(bytes.data);
}

static void
stay(void)
{
    for (;;)
        pause();
}

static void *
floodThread(void *opaque)
{
    while (bytesWrite(opaque))
        ;
    return NULL;
}

#define THREADS_MAX 16

static pthread_t floodThreads[THREADS_MAX];
static size_t floodThreadCount;

/* Each writes as many whole copies as fit in a page, so that there is always something to read. */
static void
flood(const char *args)
{
    Bytes *bytes = calloc(1, sizeof(*bytes));
    Bytes one;
    int fd, threads, used = 0;
    size_t copies;

    if (sscanf(args, "%d %d %n", &fd, &threads, &used) != 2 || !bytes)
        bad("bad flood", args);
    one = bytesFromHex(fd, args + used);
    if (one.len == 0)
        bad("bad flood", args);
    copies = one.len < 4096 ? 4096 / one.len : 1;
    bytes->fd = fd;
    if (!(bytes->data = malloc(copies * one.len)))
        bad("no memory", args);
    for (; copies > 0; copies--, bytes->len += one.len)
        memcpy(bytes->data + bytes->len, one.data, one.len);
    while (threads-- > 0) {
        if (floodThreadCount == THREADS_MAX ||
            pthread_create(&floodThreads[floodThreadCount], NULL, floodThread, bytes) != 0)
            bad("no thread", args);
        floodThreadCount++;
    }
}

static void
join(void)
{
    while (floodThreadCount > 0)
        pthread_join(floodThreads[--floodThreadCount], NULL);
}

static void
chatter(const char *args)
{
    Bytes bytes;
    int ms, used = 0;

    if (sscanf(args, "%d %n", &ms, &used) != 1)
        bad("bad chatter", args);
    bytes = bytesFromHex(SERIAL_FD, args + used);
    while (bytesWrite(&bytes))
        usleep(ms * 1000);
    stay();
}

static void
readCommands(void)
{
    static const char *const commands[] = {"qmp_capabilities", "cont"};
    char line[1024];
    size_t i, len;

    for (i = 0; i < 2; i++) {
        for (len = 0; len + 1 < sizeof(line); len++) {
            ssize_t n = read(MONITOR_FD, line + len, 1);

            if (n != 1)
                bad("the monitor has ended", commands[i]);
            if (line[len] == '\n')
                break;
        }
        line[len] = '\0';
        if (!strstr(line, commands[i]))
            bad("not what was expected on the monitor", line);
    }
}

static void
messages(int count)
{
    int i;

    for (i = 0; i < count; i++)
        dprintf(STDERR_FILENO, "message %d of very many\n", i);
}

static void
forkChildren(int count)
{
    while (count-- > 0) {
        pid_t pid = fork();

        if (pid < 0)
            bad("no child", strerror(errno));
        if (pid == 0)
            return;
    }
    stay();
}

static void
waitForSignal(void)
{
    sigset_t set;
    int number;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigwait(&set, &number);
}

static void
step(char *line)
{
    const char *args = "";
    char *space = strchr(line, ' ');

    if (space) {
        *space = '\0';
        args = space + 1;
    }
    if (strcmp(line, "commands") == 0) {
        readCommands();
    } else if (strcmp(line, "say") == 0) {
        writeHex(MONITOR_FD, args, true);
    } else if (strcmp(line, "output") == 0) {
        writeHex(SERIAL_FD, args, false);
    } else if (strcmp(line, "message") == 0) {
        writeHex(STDERR_FILENO, args, false);
    } else if (strcmp(line, "messages") == 0) {
        messages(atoi(args));
    } else if (strcmp(line, "flood") == 0) {
        flood(args);
    } else if (strcmp(line, "join") == 0) {
        join();
    } else if (strcmp(line, "chatter") == 0) {
        chatter(args);
    } else if (strcmp(line, "fork") == 0) {
        forkChildren(atoi(args));
    } else if (strcmp(line, "sleep") == 0) {
        usleep(atoi(args) * 1000);
    } else if (strcmp(line, "signal") == 0) {
        waitForSignal();
    } else if (strcmp(line, "release") == 0) {
        close(SERIAL_FD);
        close(MONITOR_FD);
        close(VSOCK_FD);
        close(NSM_FD);
    } else if (strcmp(line, "escape") == 0) {
        escapeRunAll();
    } else if (strcmp(line, "exit") == 0) {
        _exit(atoi(args));
    } else if (strcmp(line, "stay") == 0) {
        stay();
    } else if (strncmp(line, "escape-", 7) != 0 && strcmp(line, "nsm") != 0) { /* what the acts are told, see escape.c */
        bad("unknown step", line);
    }
}

/* Answers -device help as QEMU does: with a line for each device that a user can create. */
static void
answerList(const char *text)
{
    const char *step;

    for (step = strstr(text, "nsm "); step; step = strstr(step + 1, "nsm ")) {
        if (step == text || step[-1] == '\n')
            dprintf(STDOUT_FILENO, "name \"%.*s\", bus virtio-bus\n", (int)strcspn(step + 4, "\n"),
                    step + 4);
    }
    _exit(EXIT_SUCCESS);
}

/*
 * Answers -device NAME,help as QEMU does: with the properties of what a user can create, and with a
 * word on standard error for all else; the exit status is 0 in both cases.
 */
static void
answerHelp(int argc, char **argv, const char *text)
{
    const char *name = NULL;
    char line[128];
    int i;

    for (i = 1; i + 1 < argc && !name; i++) {
        size_t len = strlen(argv[i + 1]);

        if (strcmp(argv[i], "-device") == 0 && strcmp(argv[i + 1], "help") == 0)
            answerList(text);
        if (strcmp(argv[i], "-device") == 0 && len > 5 && strcmp(argv[i + 1] + len - 5, ",help") == 0)
            name = strndup(argv[i + 1], len - 5);
    }
    if (!name)
        return;
    snprintf(line, sizeof(line), "nsm %s\n", name);
    if (strstr(text, line))
        dprintf(STDOUT_FILENO, "%s options:\n  chardev=<str>          - ID of a chardev\n"
                "  num_vqs=<uint32>       -  (default: 1)\n  virtio-id=<uint16>     -  (default: 0)\n"
                "  vq_size=<uint32>       -  (default: 64)\n", name);
    else
        dprintf(STDERR_FILENO, "%s: -device %s,help: Device '%s' not found\n", argv[0], name, name);
    _exit(EXIT_SUCCESS);
}

/* The value of the option -name guest=..., or "" */
static const char *
domainName(int argc, char **argv)
{
    int i;

    for (i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "-name") == 0 && strncmp(argv[i + 1], "guest=", 6) == 0)
            return argv[i + 1] + 6;
    }
    return "";
}

/* The steps of the domain @name in @text; what follows them is cut off. */
static char *
findSteps(char *text, const char *name)
{
    char *found = text, *next;

    for (next = strstr(text, "for "); next; next = strstr(next + 1, "\nfor ")) {
        char *prefix = next + (*next == '\n') + 4;
        size_t len = strcspn(prefix, "\n");

        if (strncmp(prefix, name, len) == 0) {
            found = prefix + len;
            break;
        }
    }
    if (*found == '\n')
        found++;
    if (strncmp(found, "for ", 4) == 0)
        *found = '\0';
    if ((next = strstr(found, "\nfor ")))
        *next = '\0';
    return found;
}

int
main(int argc, char **argv)
{
    char *text = trailerRead();
    char *steps;
    sigset_t set;
    char *line, *state;

    answerHelp(argc, argv, text);
    steps = findSteps(text, domainName(argc, argv));

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);

    if (!*steps)
        bad("there is no trailer", argv[0]);
    for (line = strtok_r(steps, "\n", &state); line; line = strtok_r(NULL, "\n", &state))
        step(line);
    return EXIT_SUCCESS;
}
