/*
 * nsm_process.c: the process that is the emulated machine's NSM
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: nsmProcessStart() -> fork -> nsmProcessExec() with its ends of a socket pair, whose other one
 * is QEMU's, and of a pipe, whose other one is ours -> nsmProcessTell(). A second pipe, which closes
 * when the program is executed, tells why it was not.
 */

#include "emulated/nsm_process.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "helper_protocol.h"

/* Descriptors of the program are from this number on, where none of ours is. */
#define NSM_FD_MIN 64

/* The program's ends; -1: none */
typedef struct {
    int qemu;
    int registers;
    int report;
} NsmChild;

static void
nsmProcessClose(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* In the new process: adds @option and an inheritable duplicate of @fd, if there is one. */
static bool
nsmProcessAddFd(GPtrArray *argv, const char *option, int fd)
{
    int inherited = fcntl(fd, F_DUPFD, NSM_FD_MIN);

    if (inherited < 0)
        return false;
    g_ptr_array_add(argv, (gpointer)option);
    g_ptr_array_add(argv, g_strdup_printf("%d", inherited));
    return true;
}

static void
nsmProcessAddText(GPtrArray *argv, const char *option, const char *value)
{
    if (!value)
        return;
    g_ptr_array_add(argv, (gpointer)option);
    g_ptr_array_add(argv, (gpointer)value);
}

/* In the new process: the program, or its end with the error in the report */
static void __attribute__((noreturn))
nsmProcessExec(const NsmChild *child, const Options *options)
{
    GPtrArray *argv = g_ptr_array_new();
    int err;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    g_ptr_array_add(argv, options->nsmProgram);
    if (nsmProcessAddFd(argv, "--identity-fd", options->nsmIdentityFd) &&
        nsmProcessAddFd(argv, "--vhost-user-fd", child->qemu) &&
        (options->debug || nsmProcessAddFd(argv, "--registers-fd", child->registers))) {
        if (options->debug) {
            g_ptr_array_add(argv, (gpointer)"--debug");
        } else {
            nsmProcessAddText(argv, "--role", options->nsmRole);
            nsmProcessAddText(argv, "--instance", options->nsmInstance);
        }
        g_ptr_array_add(argv, NULL);
        execv(options->nsmProgram, (char **)argv->pdata);
    }
    err = errno;
    (void)!write(child->report, &err, sizeof(err));
    _exit(EXIT_FAILURE);
}

/* Both ends of all: [0] is ours, but for the first, whose [0] is QEMU's */
typedef struct {
    int qemu[2];
    int registers[2];
    int report[2];
} NsmChannels;

static int
nsmProcessOpen(NsmChannels *channels, bool debug)
{
    *channels = (NsmChannels){{-1, -1}, {-1, -1}, {-1, -1}};
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channels->qemu) < 0 ||
           (!debug && pipe2(channels->registers, O_CLOEXEC) < 0) ||
           pipe2(channels->report, O_CLOEXEC) < 0 ? -1 : 0;
}

/* Waits until the program is executed. Returns 0, or -1 with @failure set. */
static int
nsmProcessAwait(int report, const char *program, Failure *failure)
{
    int err;
    ssize_t n;

    do {
        n = read(report, &err, sizeof(err));
    } while (n < 0 && errno == EINTR);
    if (n == 0)
        return 0;
    failureSet(failure, NITRO_FAILURE_UNSUPPORTED, "The NSM of the emulated machine, %s, cannot be "
               "run: %s", program, g_strerror(n == sizeof(err) ? err : EIO));
    return -1;
}

static int
nsmProcessFork(NsmProcess *process, NsmChannels *channels, const Options *options,
               Failure *failure)
{
    const NsmChild child = {channels->qemu[1], channels->registers[0], channels->report[1]};

    process->pid = fork();
    if (process->pid == 0)
        nsmProcessExec(&child, options);
    nsmProcessClose(&channels->report[1]);
    if (process->pid < 0 ||
        (process->pidFd = syscall(SYS_pidfd_open, process->pid, 0)) < 0) {
        failureSet(failure, NITRO_FAILURE_RESOURCE, "The process for the NSM cannot be had: %s",
                   g_strerror(errno));
        process->pid = MAX(process->pid, 0);
        return -1;
    }
    return nsmProcessAwait(channels->report[0], options->nsmProgram, failure);
}

int
nsmProcessStart(NsmProcess *process, const Options *options, Failure *failure)
{
    NsmChannels channels;
    int rc;

    *process = NSM_PROCESS_NONE;
    if (!options->nsmProgram)
        return 0;

    if ((rc = nsmProcessOpen(&channels, options->debug)) < 0)
        failureSet(failure, NITRO_FAILURE_RESOURCE, "No connection to the NSM can be made: %s",
                   g_strerror(errno));
    else
        rc = nsmProcessFork(process, &channels, options, failure);

    process->qemuFd = channels.qemu[0];
    process->registersFd = channels.registers[1];
    nsmProcessClose(&channels.qemu[1]);
    nsmProcessClose(&channels.registers[0]);
    nsmProcessClose(&channels.report[0]);
    nsmProcessClose(&channels.report[1]);
    return rc;
}

static gboolean
nsmProcessOnEnd(gint fd G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED, gpointer opaque)
{
    NsmProcess *process = opaque;
    int status;

    if (waitpid(process->pid, &status, WNOHANG) != process->pid)
        return G_SOURCE_CONTINUE;
    process->pid = 0;
    process->watch = 0;
    if (WIFSIGNALED(status))
        logWarning("The NSM was killed by signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        logWarning("The NSM ended with status %d", WEXITSTATUS(status));
    return G_SOURCE_REMOVE;
}

void
nsmProcessWatch(NsmProcess *process)
{
    if (process->pid > 0)
        process->watch = g_unix_fd_add(process->pidFd, G_IO_IN, nsmProcessOnEnd, process);
}

void
nsmProcessTell(NsmProcess *process, const EifMeasurements *measurements)
{
    g_autoptr(GString) text = g_string_new(NULL);
    size_t i;

    if (process->registersFd < 0)
        return;
    for (i = 0; i < EIF_PCR_COUNT; i++) {
        g_autofree char *hex = eifPcrToString(measurements->pcr[i]);

        if (measurements->valid[i])
            g_string_append_printf(text, "%zu=%s\n", i, hex);
    }
    g_string_append(text, "end\n");
    /* A pipe that is empty has room for it. */
    if (write(process->registersFd, text->str, text->len) != (ssize_t)text->len)
        logWarning("The NSM cannot be told the registers of the image: %s", g_strerror(errno));
    nsmProcessClose(&process->registersFd);
}

void
nsmProcessClear(NsmProcess *process)
{
    if (process->watch > 0)
        g_source_remove(process->watch);
    if (process->pid > 0 && process->pidFd >= 0)
        syscall(SYS_pidfd_send_signal, process->pidFd, SIGKILL, NULL, 0);
    nsmProcessClose(&process->pidFd);
    nsmProcessClose(&process->registersFd);
    nsmProcessClose(&process->qemuFd);
    *process = NSM_PROCESS_NONE;
}
