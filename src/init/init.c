/*
 * init.c: the init of images that "virt-eif build" makes of containers
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The first process of an enclave, linked statically. The ramdisks have these files:
 *
 *   /lib/modules/load-order, /nsm.ko   modules of the kernel, or none
 *   /rootfs                            the root directory of the container
 *   /cmd                               the words of its command
 *   /env                               its environment, NAME=VALUE
 *   /workdir, /user                    its directory; its uid, gid and other groups (application.h)
 *
 * It starts that command, waits for its end and ends the enclave. The kernel's command line
 * can ask for more:
 *
 *   init.log=PORT    the output of the command goes to this port of the parent, not the console
 *   init.exit=PORT   its exit code (128 and the signal, when one has ended it) is told there
 *
 * Flow: main -> openConsole, bootMount, bootLoadModules, readOrders -> sendHeartbeat ->
 * applicationRead -> enterRoot -> applicationStart -> reap -> reportExit -> the enclave ends.
 */

#include "application.h"
#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROOT "/rootfs"

#define NSM_MODULE "/nsm.ko"

#define ARRAY_CARDINALITY(array) (sizeof(array) / sizeof((array)[0]))

typedef struct {
    uint32_t logPort;  /* 0: none */
    uint32_t exitPort; /* 0: none */
} orders;

const char bootName[] = "init";

/* Before the root is the container's */
static const bootMountPoint early[] = {
    { "devtmpfs", "/dev", NULL },
    { "proc", "/proc", NULL },
};

static const bootMountPoint late[] = {
    { "devtmpfs", "/dev", NULL },
    { "proc", "/proc", NULL },
    { "sysfs", "/sys", NULL },
    { "devpts", "/dev/pts", "gid=5,mode=620,ptmxmode=666" },
    { "tmpfs", "/dev/shm", "mode=1777" },
};

/* In memory of their own, with its limit, unless the image has something there */
static const bootMountPoint ifEmpty[] = {
    { "tmpfs", "/run", "mode=755" },
    { "tmpfs", "/tmp", "mode=1777" },
};

static const struct {
    const char *target;
    const char *path;
} links[] = {
    { "/proc/self/fd", "/dev/fd" },
    { "/proc/self/fd/0", "/dev/stdin" },
    { "/proc/self/fd/1", "/dev/stdout" },
    { "/proc/self/fd/2", "/dev/stderr" },
};


static void __attribute__((noreturn))
endEnclave(void)
{
    sync();
    reboot(RB_AUTOBOOT);
    bootComplain("end", "the enclave");
    for (;;)
        pause();
}


/* An init that cannot do its work must not look like an enclave that runs. */
static void __attribute__((noreturn))
giveUp(const char *what, const char *name)
{
    bootComplain(what, name);
    endEnclave();
}


/* The kernel has opened it only if the ramdisk has the device. An enclave may have none. */
static void
openConsole(void)
{
    int fd = open("/dev/console", O_RDWR | O_NOCTTY);

    if (fd < 0)
        fd = open("/dev/null", O_RDWR);
    if (fd < 0)
        return;
    dup2(fd, STDIN_FILENO);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}


static void
readPort(const char *word, const char *value, uint32_t *port)
{
    char *end = NULL;
    unsigned long number;

    errno = 0;
    number = strtoul(value, &end, 10);
    if (errno != 0 || *value < '0' || *value > '9' || *end || number == 0 || number >= UINT32_MAX)
        printf("init: %s is not a port\n", word);
    else
        *port = (uint32_t)number;
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

    while (fscanf(cmdline, "%255s", word) == 1) {
        if (strncmp(word, "init.log=", 9) == 0)
            readPort(word, word + 9, &what->logPort);
        else if (strncmp(word, "init.exit=", 10) == 0)
            readPort(word, word + 10, &what->exitPort);
    }
    fclose(cmdline);
}


static void
sendHeartbeat(void)
{
    int fd = bootDialParent(BOOT_HEARTBEAT_PORT);

    if (fd < 0)
        giveUp("connect to the parent for", "the heartbeat");
    if (!bootBeat(fd, BOOT_HEARTBEAT))
        endEnclave();
    close(fd);
}


/* Many programs want 127.0.0.1. Kernels for enclaves may have no network at all. */
static void
startLoopback(void)
{
    struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return;
    if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
        bootComplain("start", "the loopback interface");
    close(fd);
}


static void
mountControlGroups(void)
{
    if (mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 &&
        errno != ENODEV && errno != ENOENT)
        bootComplain("mount", "/sys/fs/cgroup");
}


/* rmdir() of a directory with something in it fails, and so it does of one that is no directory. */
static void
mountIfEmpty(const bootMountPoint *what)
{
    if (rmdir(what->target) == 0 || errno == ENOENT)
        bootMount(what, 1);
}


/* Makes /rootfs the root of all processes. */
static void
enterRoot(void)
{
    size_t i;

    /* only what is mounted can be moved */
    if (mount(ROOT, ROOT, NULL, MS_BIND, NULL) < 0 || chdir(ROOT) < 0 ||
        mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
        giveUp("enter", ROOT);

    bootMount(late, ARRAY_CARDINALITY(late));
    for (i = 0; i < ARRAY_CARDINALITY(ifEmpty); i++)
        mountIfEmpty(&ifEmpty[i]);
    mountControlGroups();
    for (i = 0; i < ARRAY_CARDINALITY(links); i++) {
        if (symlink(links[i].target, links[i].path) < 0 && errno != EEXIST)
            bootComplain("make", links[i].path);
    }
}


/* Returns what to give the command for its output, or -1 for the console. */
static int
openLog(uint32_t port)
{
    int fd;

    if (port == 0)
        return -1;
    if ((fd = bootDialParent(port)) < 0)
        giveUp("connect to the parent for", "the log");
    return fd;
}


/* Waits for the end of all processes up to @wanted. Returns its exit code. */
static int
reap(pid_t wanted)
{
    for (;;) {
        int status;
        pid_t pid = wait(&status);

        if (pid < 0 && errno == ECHILD)
            giveUp("wait for", "the command");
        if (pid == wanted)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
}


static void
reportExit(uint32_t port, int code)
{
    char line[16];
    int len = snprintf(line, sizeof(line), "%d\n", code);
    int fd;

    printf("init: the command has ended with %d\n", code);
    if (port == 0)
        return;
    if ((fd = bootDialParent(port)) < 0 || write(fd, line, len) != len) {
        bootComplain("report", "the exit code");
        return;
    }
    /* the end of the enclave must not overtake it: the parent closes when it has read the line */
    shutdown(fd, SHUT_WR);
    while (read(fd, line, sizeof(line)) > 0)
        continue;
}


int
main(void)
{
    orders what = { 0 };
    application app;
    pid_t pid;
    int code;
    int log;

    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    bootMount(early, ARRAY_CARDINALITY(early));
    openConsole();
    bootLoadModules();
    if (access(NSM_MODULE, F_OK) == 0)
        bootLoadModule(NSM_MODULE);
    readOrders(&what);
    sendHeartbeat();
    startLoopback();

    if (!applicationRead(&app))
        endEnclave();
    enterRoot();
    log = openLog(what.logPort);
    if ((pid = applicationStart(&app, log)) < 0)
        giveUp("start", "a process");
    if (log >= 0)
        close(log);

    code = reap(pid);
    reportExit(what.exitPort, code);
    endEnclave();
}
