/*
 * violation.c: the end of a process that has made a system call that it may not make
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The filters allow nobody to set another handler, and the kernel kills who blocks the signal.
 */

#include "sandbox/violation.h"

#include <glib.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "sandbox_call_names.h"

#define VIOLATION_LINE_MAX 160

/* Of the kernel's headers, beside which glibc's cannot be */
#ifndef SYS_SECCOMP
# define SYS_SECCOMP 1
#endif

/* In a signal handler: only what is safe there */
static size_t
violationAppend(char *line, size_t len, const char *text)
{
    while (*text && len < VIOLATION_LINE_MAX - 1)
        line[len++] = *text++;
    return len;
}

static size_t
violationAppendNumber(char *line, size_t len, unsigned int number)
{
    char digits[16];
    size_t i = sizeof(digits) - 1;

    digits[i] = '\0';
    do {
        digits[--i] = '0' + number % 10;
        number /= 10;
    } while (number > 0);
    return violationAppend(line, len, digits + i);
}

static const char *
violationCallName(int number)
{
    const int n = G_N_ELEMENTS(filterCallNames);

    return number >= 0 && number < n && filterCallNames[number] ? filterCallNames[number] : "?";
}

static void
violationOnSignal(int signum G_GNUC_UNUSED, siginfo_t *info, void *context G_GNUC_UNUSED)
{
    char line[VIOLATION_LINE_MAX];
    size_t len = 0;

    /* Somebody has sent it, which the filter has not. */
    if (info->si_code != SYS_SECCOMP)
        _exit(VIOLATION_EXIT);
    len = violationAppend(line, len, "libvirt_nitro: error : the system call ");
    len = violationAppend(line, len, violationCallName(info->si_syscall));
    len = violationAppend(line, len, " (");
    len = violationAppendNumber(line, len, (unsigned int)info->si_syscall);
    len = violationAppend(line, len, ") is not allowed here: this process ends\n");
    if (write(STDERR_FILENO, line, len) < 0)
        _exit(VIOLATION_EXIT);
    _exit(VIOLATION_EXIT);
}

void
violationCatch(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_NODEFER,
                               .sa_sigaction = violationOnSignal};

    sigemptyset(&action.sa_mask);
    sigaction(SIGSYS, &action, NULL);
}
