/*
 * unprotected_probe.c: finds out which protections this host lacks
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each is tried in a process of its own, the way a helper gets it. A trial that fails for what may
 * be otherwise the next time, as memory or processes that are short, tells nothing: only errors
 * that mean that the kernel or its configuration refuses make a protection one that is lacking.
 */

#include "sandbox/unprotected.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emulated/qemu_command.h"
#include "helper_protocol.h"
#include "nitro_gettext.h"
#include "sandbox/landlock.h"
#include "sandbox/sandbox.h"

/* Bytes that are kept of what a trial writes to stderr */
#define UNPROTECTED_TEXT_MAX 1024

/* The exit status of a trial: no other program's that has one, as bubblewrap's is 1 */
typedef enum {
    UNPROTECTED_THERE = 0,
    UNPROTECTED_LACKING = 121,
    UNPROTECTED_UNKNOWN = 122,
} UnprotectedResult;

/* Limits of namespaces that a trial makes: 0 means that there are to be none. */
static bool
unprotectedIsForbidden(void)
{
    static const char *const kinds[] = {"user", "net", "ipc", "mnt", "pid", "uts"};
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *path = g_strdup_printf("/proc/sys/user/max_%s_namespaces", kinds[i]);
        g_autofree char *text = NULL;

        if (g_file_get_contents(path, &text, NULL, NULL) && g_str_equal(g_strstrip(text), "0"))
            return true;
    }
    return false;
}

/* What a call that has failed with @err says of this host. */
static UnprotectedResult
unprotectedJudge(int err)
{
    switch (err) {
    case EPERM:
    case EACCES:
    case EINVAL:
    case ENOSYS:
        return UNPROTECTED_LACKING;
    case ENOSPC:
        /* There are as many namespaces as there may be. */
        return unprotectedIsForbidden() ? UNPROTECTED_LACKING : UNPROTECTED_UNKNOWN;
    default:
        return UNPROTECTED_UNKNOWN;
    }
}

/* Makes a process with the namespaces that bubblewrap's has. Returns 0, or the error. */
static int
unprotectedClone(void)
{
    const unsigned long flags = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWIPC | CLONE_NEWPID |
                                CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWCGROUP;
    /* fork() takes no flags, and clone() of the C library wants a stack */
    pid_t pid = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);

    if (pid < 0)
        return errno;
    if (pid == 0)
        _exit(0);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return 0;
}

/*
 * Why bubblewrap has failed, which ends with 1 whatever its reason is, and whose last words are
 * @text. It words the errors of clone() in its own way, which changes with its versions, so this
 * is tried again. Other messages end with that of the error; it is run in the language C.
 */
static UnprotectedResult
unprotectedJudgeBubblewrap(const char *text)
{
    static const int errors[] = {EPERM, EACCES, EINVAL, ENOSYS, ENOSPC};
    int err;
    size_t i;

    if (!g_str_has_prefix(text, "bwrap: "))
        return UNPROTECTED_UNKNOWN;
    err = unprotectedClone();
    if (err != 0)
        return unprotectedJudge(err);
    for (i = 0; i < G_N_ELEMENTS(errors); i++) {
        /* not g_strerror(), which translates */
        if (g_str_has_suffix(text, strerrordesc_np(errors[i])))
            return unprotectedJudge(errors[i]);
    }
    return UNPROTECTED_UNKNOWN;
}

/* In a trial: says why it has failed. */
static UnprotectedResult
unprotectedTell(int rc, const Failure *failure)
{
    if (rc == 0)
        return UNPROTECTED_THERE;
    fprintf(stderr, "%s\n", failure->text);
    return unprotectedJudge(failure->err);
}

static UnprotectedResult
unprotectedTrySeccomp(void)
{
    Failure failure = {0};

    return unprotectedTell(sandboxEnter(SANDBOX_BROKER, &failure), &failure);
}

static UnprotectedResult
unprotectedTryNamespaces(void)
{
    Failure failure = {0};

    return unprotectedTell(sandboxChangeDirectory(-1, &failure) < 0 ? -1 :
                               sandboxLeaveHost(&failure), &failure);
}

/* This very program runs where QEMU would. */
static UnprotectedResult
unprotectedTryQemuNamespaces(void)
{
    static const char *const environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    GPtrArray *argv = g_ptr_array_new();
    int output = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int err;

    if (!self || output < 0 || dup2(output, STDOUT_FILENO) < 0) {
        fprintf(stderr, "%s\n", g_strerror(errno));
        return UNPROTECTED_UNKNOWN;
    }
    g_ptr_array_add(argv, g_strdup(self));
    g_ptr_array_add(argv, g_strdup("--version"));
    g_ptr_array_add(argv, NULL);
    qemuCommandConfine(argv, false, false);
    execve(g_ptr_array_index(argv, 0), (char *const *)argv->pdata, (char *const *)environment);
    err = errno;
    fprintf(stderr, "%s: %s\n", (char *)g_ptr_array_index(argv, 0), g_strerror(err));
    /* It is not installed. */
    return err == ENOENT ? UNPROTECTED_LACKING : unprotectedJudge(err);
}

/* The process of a trial, which does not outlive this one and has the pipe @fd for stderr */
static void __attribute__((noreturn))
unprotectedChild(UnprotectedResult (*try)(void), pid_t parent, int fd)
{
    UnprotectedResult result;

    if (dup2(fd, STDERR_FILENO) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
        getppid() != parent)
        _exit(UNPROTECTED_UNKNOWN);
    result = try();
    fflush(stderr);
    _exit(result);
}

/* Reads all that is written to the pipe @fd; the beginning of it is @text. */
static void
unprotectedListen(int fd, GString *text)
{
    char buf[256];
    ssize_t n;

    while ((n = read(fd, buf, sizeof(buf))) != 0) {
        if (n < 0 && errno != EINTR)
            break;
        if (n > 0)
            g_string_append_len(text, buf, MIN((size_t)n, UNPROTECTED_TEXT_MAX - text->len));
    }
    g_strchomp(text->str);
    text->len = strlen(text->str);
}

/* What the trial says that has ended with @status, as of waitpid(2); adds to @text what has not. */
static UnprotectedResult
unprotectedRead(int status, GString *text)
{
    if (WIFSIGNALED(status)) {
        g_string_append_printf(text, " (signal %d)", WTERMSIG(status));
        return UNPROTECTED_UNKNOWN;
    }
    switch (WEXITSTATUS(status)) {
    case UNPROTECTED_THERE:
    case UNPROTECTED_LACKING:
    case UNPROTECTED_UNKNOWN:
        return WEXITSTATUS(status);
    case 1:
        return unprotectedJudgeBubblewrap(text->str);
    default:
        g_string_append_printf(text, " (exit status %d)", WEXITSTATUS(status));
        return UNPROTECTED_UNKNOWN;
    }
}

/* Runs @try in a process of its own; @text is what that writes to stderr. */
static UnprotectedResult
unprotectedRun(UnprotectedResult (*try)(void), GString *text)
{
    pid_t parent = getpid();
    int fds[2];
    int status;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0) {
        g_string_assign(text, g_strerror(errno));
        return UNPROTECTED_UNKNOWN;
    }
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        unprotectedChild(try, parent, fds[1]);
    if (pid < 0)
        g_string_assign(text, g_strerror(errno));
    close(fds[1]);
    if (pid > 0)
        unprotectedListen(fds[0], text);
    close(fds[0]);
    if (pid < 0)
        return UNPROTECTED_UNKNOWN;

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            g_string_assign(text, g_strerror(errno));
            return UNPROTECTED_UNKNOWN;
        }
    }
    return unprotectedRead(status, text);
}

/*
 * Tries one protection, and adds @bit to @bits if it is lacking. Returns 0, or -1 with @failure
 * set: nobody knows, or enclaves need it (@bit is 0).
 */
static int
unprotectedTry(UnprotectedResult (*try)(void),
               unsigned int bit,
               unsigned int *bits,
               Failure *failure)
{
    g_autoptr(GString) text = g_string_new(NULL);

    switch (unprotectedRun(try, text)) {
    case UNPROTECTED_THERE:
        return 0;
    case UNPROTECTED_LACKING:
        if (bit == 0) {
            failureSet(failure, NITRO_FAILURE_UNSUPPORTED, "%s", text->str);
            return -1;
        }
        /* for who looks why */
        fprintf(stderr, "libvirt_nitro: %s\n", text->str);
        *bits |= bit;
        return 0;
    case UNPROTECTED_UNKNOWN:
        break;
    }
    failureSet(failure, NITRO_FAILURE_INTERNAL, "It cannot be found out how enclaves can be "
               "confined on this host: %s", text->len > 0 ? text->str : _("no reason is known"));
    return -1;
}

int
unprotectedProbe(unsigned int *bits, Failure *failure)
{
    *bits = 0;
    if (unprotectedTry(unprotectedTrySeccomp, 0, bits, failure) < 0 ||
        unprotectedTry(unprotectedTryNamespaces, UNPROTECTED_NAMESPACES, bits, failure) < 0 ||
        unprotectedTry(unprotectedTryQemuNamespaces, UNPROTECTED_QEMU_NAMESPACES, bits,
                       failure) < 0)
        return -1;
    if ((*bits & UNPROTECTED_QEMU_NAMESPACES) && !landlockIsThere())
        *bits |= UNPROTECTED_LANDLOCK;
    return 0;
}
