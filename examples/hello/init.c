/*
 * init.c: the init of the sample enclave "hello"
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The first and only process of a small enclave, linked statically. It mounts
 * the usual file systems, loads the modules that its ramdisk brings along, sends
 * the heartbeat, says on the console that it is there, and then serves programs
 * of the parent over vsock (services.h). The kernel command line tells it what
 * else to do:
 *
 *   hello.heartbeat=H   how to send the heartbeat (heartbeat.h, default yes)
 *   hello.seed=N        the banner ends with N * N + 1, which shows that this
 *                       code ran with this command line (default 0)
 *   hello.action=A      what to do after the banner (default idle):
 *                         idle      serve, with a line on the console now and then
 *                         poweroff  power off
 *                         reboot    restart the machine
 *                         panic     crash the kernel
 *                         exit      end this process, of which a kernel panics
 *                         flood     write numbered lines to the console without end
 *   hello.delay=S       seconds, fractions allowed, between the banner and the
 *                       action (default 0); it serves meanwhile
 *
 * The actions that end it are commands over vsock as well.
 *
 * Flow: main -> bootMount -> bootLoadModules -> readOrders -> heartbeat -> printBanner ->
 * servicesRun -> act.
 * Each step says on the console what went wrong and goes on where it can: the
 * console is all that the parent of an enclave sees.
 */

#include "boot.h"
#include "heartbeat.h"
#include "services.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

/* The second ramdisk, the application in the terms of enclave images. */
#define APPLICATION_FILE "/etc/hello"

#define TICK_SECONDS 10.0
#define DELAY_MAX_SECONDS 86400.0

#define ARRAY_CARDINALITY(array) (sizeof(array) / sizeof((array)[0]))

typedef struct _orders orders;

typedef void (*action)(const orders *what);

struct _orders {
    const char *heartbeat; /* as heartbeat() takes it */
    uint64_t seed;
    double delay; /* seconds */
    action act;
};


const char bootName[] = "hello";

static const bootMountPoint mounts[] = {
    { "proc", "/proc", NULL },
    { "sysfs", "/sys", NULL },
    { "devtmpfs", "/dev", NULL },
    { "tmpfs", "/run", NULL },
    { "tmpfs", "/tmp", NULL },
};


static bool
actByName(const char *name);


static void
actIdle(const orders *what)
{
    struct timespec now;

    for (;;) {
        servicesRun(TICK_SECONDS, actByName);
        clock_gettime(CLOCK_BOOTTIME, &now);
        printf("hello: tick, up for %lld s\n", (long long)now.tv_sec);
    }
}


static void
actPoweroff(const orders *what)
{
    reboot(RB_POWER_OFF);
    bootComplain("power off", "the machine");
}


static void
actReboot(const orders *what)
{
    reboot(RB_AUTOBOOT);
    bootComplain("restart", "the machine");
}


static void
actPanic(const orders *what)
{
    FILE *trigger = fopen("/proc/sysrq-trigger", "we");

    /* fflush sends the letter; the kernel is dead before it returns */
    if (!trigger || fputc('c', trigger) == EOF || fflush(trigger) == EOF)
        bootComplain("write to", "/proc/sysrq-trigger");
}


static void
actExit(const orders *what)
{
    exit(EXIT_SUCCESS);
}


static void
actFlood(const orders *what)
{
    uint64_t line;

    for (line = 0;; line++)
        printf("hello: flood %" PRIu64 "\n", line);
}


static const struct {
    const char *name;
    action act;
} actions[] = {
    { "idle", actIdle },
    { "poweroff", actPoweroff },
    { "reboot", actReboot },
    { "panic", actPanic },
    { "exit", actExit },
    { "flood", actFlood },
};


/* Returns NULL when there is no such action. */
static action
findAction(const char *name)
{
    size_t i;

    for (i = 0; i < ARRAY_CARDINALITY(actions); i++) {
        if (strcmp(name, actions[i].name) == 0)
            return actions[i].act;
    }
    return NULL;
}


/* A command over vsock. It has been obeyed when this returns, or is not known. */
static bool
actByName(const char *name)
{
    action act = findAction(name);

    if (!act || act == actIdle || act == actFlood)
        return false;
    printf("hello: told to %s\n", name);
    sync();
    act(NULL);
    return true;
}


static void
readAction(const char *value, orders *what)
{
    action act = findAction(value);

    if (act)
        what->act = act;
    else
        printf("hello: hello.action=%s is not known, staying idle\n", value);
}


static void
readOrder(const char *word, orders *what)
{
    char *end = NULL;

    if (strncmp(word, "hello.action=", 13) == 0) {
        readAction(word + 13, what);
    } else if (strncmp(word, "hello.heartbeat=", 16) == 0) {
        what->heartbeat = strdup(word + 16);
    } else if (strncmp(word, "hello.seed=", 11) == 0) {
        what->seed = strtoull(word + 11, &end, 10);
        if (end == word + 11 || *end)
            printf("hello: %s is not a number\n", word);
    } else if (strncmp(word, "hello.delay=", 12) == 0) {
        what->delay = strtod(word + 12, &end);
        /* also false for not-a-number */
        if (end == word + 12 || *end ||
            !(what->delay >= 0 && what->delay <= DELAY_MAX_SECONDS)) {
            printf("hello: %s is not a time in seconds, not waiting\n", word);
            what->delay = 0;
        }
    }
}


static void
readOrders(orders *what)
{
    FILE *cmdline = fopen("/proc/cmdline", "re");
    char word[256];

    if (!cmdline) {
        bootComplain("open", "/proc/cmdline");
        return;
    }

    while (fscanf(cmdline, "%255s", word) == 1)
        readOrder(word, what);
    fclose(cmdline);
}


static void
printApplication(void)
{
    FILE *application = fopen(APPLICATION_FILE, "re");
    char line[128];

    if (!application)
        return;

    while (fgets(line, sizeof(line), application))
        printf("hello: %s", line);
    fclose(application);
}


static void
printBanner(const orders *what)
{
    printf("hello: enclave ready, check number %" PRIu64 "\n", what->seed * what->seed + 1);
}


int
main(void)
{
    orders what = { .heartbeat = "yes", .act = actIdle };

    setvbuf(stdout, NULL, _IOLBF, 0);
    bootMount(mounts, ARRAY_CARDINALITY(mounts));
    bootLoadModules();
    readOrders(&what);
    printApplication();
    servicesOpen();
    heartbeat(what.heartbeat);
    printBanner(&what);

    servicesRun(what.delay, actByName);
    sync();
    what.act(&what);

    /* an action has failed and has said so: init must not end */
    actIdle(&what);
}
