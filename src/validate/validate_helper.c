/*
 * validate_helper.c: a helper that virt-nitro-validate runs for an enclave of its own
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helper_protocol.h"
#include "nitro_command.h"
#include "nitro_socket.h"
#include "validate_helper.h"
#include "virfile.h"
#include "virprocess.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

/* The only command that is sent */
#define TERMINATE "{\"command\": \"" NITRO_COMMAND_TERMINATE "\", \"id\": 1}\n"

/* ms: how long a helper whose enclave has ended may take to be gone itself */
#define END_TIME 10000


int
validateHelperListen(int *client)
{
    g_autofree char *dir = g_dir_make_tmp("virt-nitro-validate-XXXXXX", NULL);
    g_autofree char *path = NULL;
    int fd;

    if (!dir)
        return -errno;
    path = g_build_filename(dir, "sock", NULL);
    if ((fd = nitroSocketBind(path)) >= 0) {
        *client = nitroSocketConnect(path);
        unlink(path);
    }
    rmdir(dir);
    if (fd >= 0 && *client < 0) {
        VIR_FORCE_CLOSE(fd);
        return *client;
    }
    return fd;
}


void
validateHelperSetUp(virCommand *cmd,
                    const nitroDriverConfig *config,
                    int *log)
{
    virCommandSetOutputFD(cmd, log);
    virCommandSetErrorFD(cmd, log);
    virCommandSetUmask(cmd, 0077);
    nitroDriverConfigSetUser(config, cmd);
    nitroDriverConfigLimitLocking(cmd);
    virCommandSetPreExecHook(cmd, nitroDriverConfigDropBounds, (void *) config);
}


int
validateHelperStart(validateHelper *helper,
                    virCommand *cmd,
                    const nitroMonitorEnclave *enclave)
{
    VIR_AUTOCLOSE listener = validateHelperListen(&helper->fd);

    if (listener < 0) {
        virReportSystemError(-listener, "%s", _("cannot create a socket"));
        return -1;
    }
    helper->talk = (nitroMonitorTalk) { .enclave = *enclave };
    helper->input = g_string_new(NULL);

    nitroCommandAddFd(cmd, "--control-fd", listener);
    virCommandAddArg(cmd, "--end-with-client");
    return virCommandRunAsync(cmd, &helper->pid);
}


/* Takes the first line of the input, if it is there. Returns as validateHelperWait(). */
static int
validateHelperHear(validateHelper *helper,
                   nitroMonitorMessage *message)
{
    char *end;

    while ((end = memchr(helper->input->str, '\n', helper->input->len))) {
        size_t len = end - helper->input->str;
        int rc = nitroMonitorTalkHear(&helper->talk, helper->input->str, len, 1, message,
                                      &helper->why);

        g_string_erase(helper->input, 0, len + 1);
        if (rc < 0)
            return -1;
        if (message->type == NITRO_MONITOR_MESSAGE_EVENT)
            return 1;
        nitroMonitorMessageClear(message);
        *message = (nitroMonitorMessage) { 0 };
    }
    if (helper->input->len < NITRO_PROTOCOL_LINE_MAX)
        return 0;
    helper->why = g_strdup(_("it has sent a line that is too long"));
    return -1;
}


int
validateHelperWait(validateHelper *helper,
                   int timeout,
                   nitroMonitorMessage *message)
{
    gint64 end = g_get_monotonic_time() + timeout * 1000LL;
    struct pollfd pfd = { .fd = helper->fd, .events = POLLIN };
    char buf[4096];
    ssize_t got;
    int rc;

    while ((rc = validateHelperHear(helper, message)) == 0) {
        gint64 left = MAX(end - g_get_monotonic_time(), 0) / 1000;

        rc = poll(&pfd, 1, timeout < 0 ? -1 : left);
        if (rc == 0)
            return 0;
        got = rc < 0 ? -1 : read(helper->fd, buf,
                                 MIN(sizeof(buf), NITRO_PROTOCOL_LINE_MAX - helper->input->len));
        if (got > 0) {
            g_string_append_len(helper->input, buf, got);
        } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
            helper->why = g_strdup(_("it has closed the control connection"));
            return -1;
        }
    }
    return rc;
}


void
validateHelperTerminate(validateHelper *helper)
{
    /* If it has gone, that is seen when it is waited for. */
    ignore_value(send(helper->fd, TERMINATE, strlen(TERMINATE), MSG_NOSIGNAL));
}


/* Waits for the helper to close its connection, as it does when it exits. */
static void
validateHelperWaitClosed(validateHelper *helper)
{
    gint64 end = g_get_monotonic_time() + END_TIME * 1000LL;
    int rc;

    do {
        g_auto(nitroMonitorMessage) message = { 0 };

        rc = validateHelperWait(helper, END_TIME, &message);
    } while (rc > 0 && g_get_monotonic_time() < end);
}


void
validateHelperEnd(validateHelper *helper)
{
    if (helper->pid > 0) {
        if (!helper->why)
            validateHelperWaitClosed(helper);
        virProcessAbort(helper->pid);
    }
    helper->pid = -1;
    VIR_FORCE_CLOSE(helper->fd);
    g_clear_pointer(&helper->why, g_free);
    if (helper->input)
        g_string_free(helper->input, true);
    helper->input = NULL;
}
