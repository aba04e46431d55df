/*
 * quickhelper.c: a helper without an enclave, for tests that need many or quick ones
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * It is what <emulator> names, and keeps to src/helper/helper_protocol.h: greets, says that it
 * has started and booted, answers commands, and ends when it is told to. The command line of
 * the kernel can have it do otherwise:
 *
 *     quick.boot=never     it starts, and does not boot
 *     quick.boot=SECONDS   it boots after so many
 *     quick.protocol=N     the version of the protocol that it greets with
 *     quick.lacks=CODE     what of its confinement is missing, and nothing else (NITRO_UNPROTECTED_*)
 *     quick.lacks=?        it does not tell, as a helper of an earlier version
 *
 * and signals make it the helper of another day:
 *
 *     SIGTERM   somebody ends it
 *     SIGUSR1   from now on its greeting is that of a protocol that nobody knows
 *     SIGUSR2   the guest powers off
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "helper_protocol.h"

#define CLIENTS 8
#define HASH "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" \
             "202122232425262728292a2b2c2d2e2f"

struct Client {
    int fd;
    size_t len;
    char input[512];
};

static struct Client clients[CLIENTS];
static int nclients;

static const char *cid = "0";
static int protocol = NITRO_PROTOCOL_VERSION;
/* of JSON: what follows in "started" and in the status */
static char lacks[64] = ", \"unprotected\": []";
static bool strange; /* the greeting */
static bool booted;
static double bootAt; /* seconds of the monotonic clock; 0: never */

static double
now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec + ts.tv_nsec / 1e9;
}


/* One that does not listen any more is noticed when it is read from. */
static void __attribute__((format(printf, 2, 3)))
sayTo(const struct Client *client, const char *format, ...)
{
    char line[1024];
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (send(client->fd, line, len, MSG_NOSIGNAL) < 0)
        fprintf(stderr, "quickhelper: send: %s\n", strerror(errno));
}


static void
sayToAll(const char *line)
{
    int i;

    for (i = 0; i < nclients; i++)
        sayTo(&clients[i], "%s", line);
}


static void __attribute__((noreturn))
end(const char *reason)
{
    int i;

    for (i = 0; i < nclients; i++)
        sayTo(&clients[i], "{\"event\": \"%s\", \"data\": {\"reason\": \"%s\"}}\n",
              NITRO_EVENT_EXITED, reason);
    exit(0);
}


static void
started(const struct Client *client)
{
    sayTo(client, "{\"event\": \"%s\", \"data\": {\"cid\": %s, \"accel\": \"tcg\"%s}}\n",
          NITRO_EVENT_STARTED, cid, lacks);
}


static void
boot(void)
{
    booted = true;
    sayToAll("{\"event\": \"" NITRO_EVENT_BOOTED "\", \"data\": {}}\n");
}


static void
acceptClient(int fd)
{
    struct Client *client = &clients[nclients];
    int new = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

    if (new < 0)
        return;
    if (nclients == CLIENTS) {
        close(new);
        return;
    }
    *client = (struct Client) { .fd = new };
    if (strange)
        sayTo(client, "{\"libvirt-tomorrow\": {\"protocol\": 0}}\n");
    else
        sayTo(client, "{\"%s\": {\"protocol\": %d, \"version\": \"quick\"}}\n",
              NITRO_PROTOCOL_GREETING, protocol);
    nclients++;
}


/* The only JSON that comes here is a command of ours. */
static void
answer(struct Client *client, const char *line)
{
    const char *id = strstr(line, "\"id\":");
    int number = id ? atoi(id + strlen("\"id\":")) : 0;

    if (strstr(line, "\"" NITRO_COMMAND_QUERY_STATUS "\"")) {
        sayTo(client, "{\"return\": {\"phase\": \"%s\", \"cid\": %s, \"accel\": \"tcg\"%s}, "
              "\"id\": %d}\n", booted ? NITRO_PHASE_RUNNING : NITRO_PHASE_BOOT, cid, lacks,
              number);
    } else if (strstr(line, "\"" NITRO_COMMAND_QUERY_MEASUREMENTS "\"")) {
        sayTo(client, "{\"return\": {\"hash\": \"sha384\", \"pcr0\": \"" HASH "\", "
              "\"pcr1\": \"" HASH "\", \"pcr2\": \"" HASH "\"}, \"id\": %d}\n", number);
    } else if (strstr(line, "\"" NITRO_COMMAND_TERMINATE "\"")) {
        sayTo(client, "{\"return\": {}, \"id\": %d}\n", number);
        end(NITRO_EXIT_TERMINATED);
    } else {
        sayTo(client, "{\"error\": {\"code\": \"%s\", \"text\": \"quickhelper has no such "
              "command\"}, \"id\": %d}\n", NITRO_ERROR_UNKNOWN_COMMAND, number);
    }
}


/* Returns false when the client has gone. */
static bool
readClient(struct Client *client)
{
    ssize_t got = recv(client->fd, client->input + client->len,
                       sizeof(client->input) - 1 - client->len, 0);
    char *newline;

    if (got <= 0)
        return false;
    client->len += got;
    client->input[client->len] = '\0';
    while ((newline = strchr(client->input, '\n'))) {
        *newline++ = '\0';
        answer(client, client->input);
        client->len -= newline - client->input;
        memmove(client->input, newline, client->len + 1);
    }
    return client->len < sizeof(client->input) - 1;
}


static void
handleSignal(int fd)
{
    struct signalfd_siginfo info;

    if (read(fd, &info, sizeof(info)) != sizeof(info))
        return;
    if (info.ssi_signo == SIGUSR1)
        strange = true;
    else
        end(info.ssi_signo == SIGUSR2 ? NITRO_EXIT_POWEROFF : NITRO_EXIT_TERMINATED);
}


static int
openSignals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}


static void __attribute__((noreturn))
serve(int control, int signals)
{
    for (;;) {
        struct pollfd fds[CLIENTS + 2] = {
            { .fd = control, .events = POLLIN },
            { .fd = signals, .events = POLLIN },
        };
        double left = booted || bootAt == 0 ? -1 : bootAt - now();
        int before = nclients;
        int i;

        for (i = 0; i < before; i++)
            fds[i + 2] = (struct pollfd) { .fd = clients[i].fd, .events = POLLIN };
        poll(fds, before + 2, booted || bootAt == 0 ? -1 : left < 0 ? 0 : left * 1000 + 1);

        for (i = before - 1; i >= 0; i--) {
            if (fds[i + 2].revents && !readClient(&clients[i])) {
                close(clients[i].fd);
                clients[i] = clients[--nclients];
            }
        }
        if (fds[0].revents)
            acceptClient(control);
        if (fds[1].revents)
            handleSignal(signals);
        if (!booted && bootAt != 0 && now() >= bootAt)
            boot();
    }
}


static void
readCmdline(const char *cmdline)
{
    const char *word;

    if ((word = strstr(cmdline, "quick.boot=")))
        bootAt = strncmp(word, "quick.boot=never", 16) == 0 ? 0 : now() + atof(word + 11);
    if ((word = strstr(cmdline, "quick.protocol=")))
        protocol = atoi(word + strlen("quick.protocol="));
    if (strstr(cmdline, "quick.lacks=?"))
        lacks[0] = '\0';
    else if ((word = strstr(cmdline, "quick.lacks=")))
        snprintf(lacks, sizeof(lacks), ", \"unprotected\": [\"%.*s\"]",
                 (int)strcspn(word + strlen("quick.lacks="), " "), word + strlen("quick.lacks="));
}


int
main(int argc, char **argv)
{
    int control = -1;
    int signals = openSignals();
    int i;

    bootAt = now();
    for (i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--control-fd") == 0)
            control = atoi(argv[++i]);
        else if (strcmp(argv[i], "--cid") == 0)
            cid = argv[++i];
        else if (strcmp(argv[i], "--cmdline") == 0)
            readCmdline(argv[++i]);
    }
    if (control < 0 || signals < 0) {
        fprintf(stderr, "quickhelper: there is no --control-fd\n");
        return 1;
    }
    fcntl(control, F_SETFL, O_NONBLOCK);

    /* The daemon has connected before. */
    acceptClient(control);
    if (nclients > 0)
        started(&clients[0]);
    serve(control, signals);
}
