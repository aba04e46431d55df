/*
 * nitro_broker.c: finds or starts the heartbeat broker of the host
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The broker (libvirt_nitro --broker) ends by itself when no enclave starts any more, at
 * any time. But each connection that was made is served: the broker ends only when its socket
 * refuses new ones and nobody waits there any more. So the greeting is not waited for here:
 * the helper does that, within its domain's own time.
 *
 *   connect -> done
 *           -> nobody listens -> listen -> connect -> the lock is left -> run the broker
 *
 * From "listen" on others connect as well. The lock is held for system calls only that do not
 * wait; other daemons have other state directories, and so other brokers, which wait for each
 * other's port.
 */

#include <config.h>

#include <fcntl.h>
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

static virMutex nitroBrokerLock = VIR_MUTEX_INITIALIZER;


/* No domain's log has a name like this: theirs end in ".log". */
static char *
nitroBrokerLogPath(nitroDriver *driver)
{
    return g_strdup_printf("%s/heartbeat-broker", driver->config->logDir);
}


/*
 * Connects to the socket @path, and makes it when nobody listens there: then @listener is the
 * descriptor that a broker is to be run with. Under nitroBrokerLock. Returns the connection,
 * or -1 with an error set.
 */
static int
nitroBrokerConnectOrListen(nitroDriver *driver,
                           const char *path,
                           int *listener)
{
    g_autofree char *logpath = NULL;
    int fd = nitroSocketConnect(path);

    if (fd == -ENOENT || fd == -ECONNREFUSED) {
        /* Nobody listens on what is there. */
        if (unlink(path) < 0 && errno != ENOENT) {
            virReportSystemError(errno, _("cannot remove the socket '%s'"), path);
            return -1;
        }
        if ((*listener = nitroSocketListen(path)) < 0)
            return -1;
        fd = nitroSocketConnect(path);
    }
    if (fd >= 0)
        return fd;

    logpath = nitroBrokerLogPath(driver);
    virReportSystemError(-fd,
                         _("cannot connect to the heartbeat broker ('%s --broker', socket '%s'), look at its log '%s'"),
                         driver->config->helper, path, logpath);
    return -1;
}


/* Runs a broker that serves @listener. Returns 0, or -1 with an error set. */
static int
nitroBrokerRun(nitroDriver *driver,
               int listener)
{
    g_autofree char *logpath = nitroBrokerLogPath(driver);
    g_autoptr(virCommand) cmd = NULL;
    VIR_AUTOCLOSE log = -1;
    int output;

    if ((log = open(logpath, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0) {
        virReportSystemError(errno, _("cannot open the log file '%s'"), logpath);
        return -1;
    }

    cmd = virCommandNewArgList(driver->config->helper, "--broker", "--listen-fd", NULL);
    virCommandAddArgFormat(cmd, "%d", listener);
    virCommandPassFD(cmd, listener, 0);
    output = log;
    virCommandSetOutputFD(cmd, &output);
    virCommandSetErrorFD(cmd, &output);
    virCommandSetUmask(cmd, 0077);
    nitroDriverConfigSetUser(driver->config, cmd);
    nitroDriverConfigLimitLocking(cmd);
    virCommandSetPreExecHook(cmd, nitroDriverConfigDropBounds, driver->config);
    virCommandDaemonize(cmd);

    VIR_INFO("Starting the heartbeat broker");
    return virCommandRun(cmd, NULL);
}


int
nitroBrokerConnect(nitroDriver *driver,
                   const char *first)
{
    g_autofree char *path = g_strdup_printf("%s/broker.sock", driver->config->stateDir);
    VIR_AUTOCLOSE listener = -1;
    VIR_AUTOCLOSE fd = -1;
    int ret;

    VIR_WITH_MUTEX_LOCK_GUARD(&nitroBrokerLock) {
        fd = nitroBrokerConnectOrListen(driver, path, &listener);
    }
    /* Of a new broker before that runs. The line is far smaller than the buffer of the socket. */
    if (fd >= 0 &&
        send(fd, first, strlen(first), MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t) strlen(first)) {
        virReportSystemError(errno, _("cannot send to the broker, socket '%s'"), path);
        VIR_FORCE_CLOSE(fd);
        if (listener < 0)
            return -1;
    }
    if (listener >= 0 && (fd < 0 || nitroBrokerRun(driver, listener) < 0)) {
        /* Whoever has connected meanwhile hears of the end. While we listen it is ours. */
        VIR_WITH_MUTEX_LOCK_GUARD(&nitroBrokerLock) {
            unlink(path);
            VIR_FORCE_CLOSE(listener);
        }
        return -1;
    }

    ret = fd;
    fd = -1;
    return ret;
}
