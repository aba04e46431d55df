/*
 * unprotected_probe.c: finds out which protections this host lacks
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each is tried in a process of its own, the way a helper gets it.
 */

#include "sandbox/unprotected.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emulated/qemu_command.h"
#include "sandbox/landlock.h"
#include "sandbox/sandbox.h"

/* Whether @failure has been set: then it is on stderr, for who looks why. */
static bool
unprotectedHasFailed(int rc, Failure *failure)
{
    if (rc == 0)
        return false;
    fprintf(stderr, "libvirt_nitro: %s\n", failure->text);
    return true;
}

/* Runs @try in a process of its own. Returns whether it has returned true there. */
static bool
unprotectedTry(bool (*try)(void))
{
    pid_t pid;
    int status;

    fflush(NULL);
    pid = fork();
    if (pid == 0)
        _exit(try() ? 0 : 1);
    if (pid < 0)
        return false;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return false;
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool
unprotectedTrySeccomp(void)
{
    Failure failure = {0};

    return !unprotectedHasFailed(sandboxEnter(SANDBOX_BROKER, &failure), &failure);
}

static bool
unprotectedTryNamespaces(void)
{
    Failure failure = {0};

    return !unprotectedHasFailed(sandboxChangeDirectory(-1, &failure) < 0 ? -1 : sandboxLeaveHost(&failure), &failure);
}

/* This very program runs where QEMU would. */
static bool
unprotectedTryQemuNamespaces(void)
{
    static const char *const environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    GPtrArray *argv = g_ptr_array_new();
    int output = open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (!self || output < 0 || dup2(output, STDOUT_FILENO) < 0)
        return false;
    g_ptr_array_add(argv, g_strdup(self));
    g_ptr_array_add(argv, g_strdup("--version"));
    g_ptr_array_add(argv, NULL);
    qemuCommandConfine(argv, false, false);
    execve(g_ptr_array_index(argv, 0), (char *const *)argv->pdata, (char *const *)environment);
    fprintf(stderr, "libvirt_nitro: %s: %s\n", (char *)g_ptr_array_index(argv, 0),
            g_strerror(errno));
    return false;
}

unsigned int
unprotectedProbe(void)
{
    unsigned int bits = 0;

    if (!unprotectedTry(unprotectedTrySeccomp))
        bits |= UNPROTECTED_SECCOMP;
    if (!unprotectedTry(unprotectedTryNamespaces))
        bits |= UNPROTECTED_NAMESPACES;
    if (!unprotectedTry(unprotectedTryQemuNamespaces))
        bits |= UNPROTECTED_QEMU_NAMESPACES;
    if ((bits & UNPROTECTED_QEMU_NAMESPACES) && !landlockIsThere())
        bits |= UNPROTECTED_LANDLOCK;
    return bits;
}
