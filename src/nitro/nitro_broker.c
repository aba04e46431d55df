/*
 * nitro_broker.c: finds or starts the heartbeat broker of the host
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The broker (libvirt_nitro --broker) ends by itself when no enclave starts any more, at
 * any time. So who can connect has not won yet: a broker that is about to end closes the
 * connection without a word. One that greets knows of its client, and stays.
 *
 *   connect -> greeting                 done
 *           -> closed                   again
 *           -> nobody listens -> start  again
 *
 * All of this is one thread's business at a time; other daemons have other state
 * directories, and so other brokers, which wait for each other's port.
 */

#include <config.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nitro_broker.h"
#include "nitro_socket.h"
#include "vircommand.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_broker");

/* ms: for all attempts together */
#define NITRO_BROKER_TIMEOUT 10000

/* ms: until a broker that ends has gone */
#define NITRO_BROKER_PAUSE 10

/* Brokers that are started before we believe that they cannot run */
#define NITRO_BROKER_STARTS 3

static virMutex nitroBrokerLock = VIR_MUTEX_INITIALIZER;


/* No domain's log has a name like this: theirs end in ".log". */
static char *
nitroBrokerLogPath(nitroDriver *driver)
{
    return g_strdup_printf("%s/heartbeat-broker", driver->config->logDir);
}


/* Runs a broker that listens at @path. Returns 0, or -1 with an error set. */
static int
nitroBrokerStart(nitroDriver *driver,
                 const char *path)
{
    g_autofree char *logpath = nitroBrokerLogPath(driver);
    g_autoptr(virCommand) cmd = NULL;
    VIR_AUTOCLOSE listener = -1;
    VIR_AUTOCLOSE log = -1;
    int output;

    if ((log = open(logpath, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0) {
        virReportSystemError(errno, _("cannot open the log file '%s'"), logpath);
        return -1;
    }
    /* Nobody listens on what is there. */
    if (unlink(path) < 0 && errno != ENOENT) {
        virReportSystemError(errno, _("cannot remove the socket '%s'"), path);
        return -1;
    }
    if ((listener = nitroSocketListen(path)) < 0)
        return -1;

    cmd = virCommandNewArgList(driver->config->helper, "--broker", "--listen-fd", NULL);
    virCommandAddArgFormat(cmd, "%d", listener);
    virCommandPassFD(cmd, listener, 0);
    output = log;
    virCommandSetOutputFD(cmd, &output);
    virCommandSetErrorFD(cmd, &output);
    virCommandSetUmask(cmd, 0077);
    nitroDriverConfigSetUser(driver->config, cmd);
    virCommandDaemonize(cmd);

    VIR_INFO("Starting the heartbeat broker");
    return virCommandRun(cmd, NULL);
}


/*
 * Waits until the broker has greeted, before @end (monotonic, microseconds).
 * Returns 0, or -errno.
 */
static int
nitroBrokerAwaitGreeting(int fd,
                         gint64 end)
{
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    char byte;

    while (true) {
        gint64 left = MAX(end - g_get_monotonic_time(), 0);
        ssize_t n;
        int rc = poll(&pfd, 1, left / 1000);

        if (rc == 0)
            return -ETIMEDOUT;
        n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (n > 0)
            return 0;
        if (n == 0)
            return -ECONNRESET;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
    }
}


int
nitroBrokerConnect(nitroDriver *driver)
{
    g_autofree char *path = g_strdup_printf("%s/broker.sock", driver->config->stateDir);
    g_autofree char *logpath = nitroBrokerLogPath(driver);
    VIR_LOCK_GUARD lock = virLockGuardLock(&nitroBrokerLock);
    gint64 end = g_get_monotonic_time() + NITRO_BROKER_TIMEOUT * 1000LL;
    size_t starts = 0;
    int rc;

    do {
        int fd = rc = nitroSocketConnect(path);

        if (fd >= 0) {
            if ((rc = nitroBrokerAwaitGreeting(fd, end)) == 0)
                return fd;
            VIR_FORCE_CLOSE(fd);
        } else if (rc == -ENOENT || rc == -ECONNREFUSED) {
            if (starts++ == NITRO_BROKER_STARTS)
                break;
            if (nitroBrokerStart(driver, path) < 0)
                return -1;
            continue;
        } else if (rc != -EAGAIN) {
            break;
        }
        g_usleep(NITRO_BROKER_PAUSE * 1000);
    } while (g_get_monotonic_time() < end);

    virReportSystemError(-rc,
                         _("cannot connect to the heartbeat broker ('%s --broker', socket '%s'), look at its log '%s'"),
                         driver->config->helper, path, logpath);
    return -1;
}
