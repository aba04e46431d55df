/*
 * signals.c: the signals that end a process in its own good time
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "common/signals.h"

#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "helper_protocol.h"

typedef struct {
    void (*func)(void *opaque);
    void *opaque;
} Signals;

static gboolean
signalsOnReady(gint fd, GIOCondition condition G_GNUC_UNUSED, gpointer opaque)
{
    const Signals *signals = opaque;
    struct signalfd_siginfo info;

    if (read(fd, &info, sizeof(info)) == sizeof(info))
        signals->func(signals->opaque);
    return G_SOURCE_CONTINUE;
}

int
signalsCatch(void (*func)(void *opaque), void *opaque, Failure *failure)
{
    static Signals signals;
    sigset_t set;
    int fd;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 ||
        (fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0) {
        failureSet(failure, NITRO_FAILURE_RESOURCE, "Signals cannot be waited for: %s",
                   g_strerror(errno));
        return -1;
    }

    signals = (Signals){func, opaque};
    g_unix_fd_add(fd, G_IO_IN, signalsOnReady, &signals);
    return 0;
}
