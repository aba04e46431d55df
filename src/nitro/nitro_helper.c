/*
 * nitro_helper.c: the process of a helper: who it is, whether it lives, its end
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "nitro_helper.h"
#include "virerror.h"
#include "virfile.h"
#include "virstring.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

/* bytes: more than any file of /proc that is read here can have of what counts */
#define NITRO_HELPER_FILE_MAX 65536

/* us: between two looks at a process without a descriptor */
#define NITRO_HELPER_PAUSE 20000

struct _nitroHelper {
    int refs; /* atomic */
    pid_t pid;
    unsigned long long start; /* ticks since boot; 0: not known */
    int pidfd;                /* -1: none, or not opened yet */
};


nitroHelper *
nitroHelperNew(pid_t pid,
               unsigned long long start)
{
    nitroHelper *helper = g_new0(nitroHelper, 1);

    helper->refs = 1;
    helper->pid = pid;
    helper->start = start;
    helper->pidfd = -1;
    return helper;
}


nitroHelper *
nitroHelperRef(nitroHelper *helper)
{
    g_atomic_int_inc(&helper->refs);
    return helper;
}


void
nitroHelperUnref(nitroHelper *helper)
{
    if (!helper || !g_atomic_int_dec_and_test(&helper->refs))
        return;

    VIR_FORCE_CLOSE(helper->pidfd);
    g_free(helper);
}


pid_t
nitroHelperGetPid(const nitroHelper *helper)
{
    return helper->pid;
}


unsigned long long
nitroHelperGetStart(const nitroHelper *helper)
{
    return helper->start;
}


int
nitroHelperGetFd(const nitroHelper *helper)
{
    return helper->pidfd;
}


/* Reads the file @name of the process @pid, with a NUL behind. Returns its length, or -errno. */
static ssize_t
nitroHelperReadProc(pid_t pid,
                    const char *name,
                    char **text)
{
    g_autofree char *path = g_strdup_printf("/proc/%lld/%s", (long long) pid, name);
    g_autofree char *buf = g_new0(char, NITRO_HELPER_FILE_MAX + 1);
    VIR_AUTOCLOSE fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len;

    if (fd < 0 || (len = saferead(fd, buf, NITRO_HELPER_FILE_MAX)) < 0)
        return -errno;
    *text = g_steal_pointer(&buf);
    return len;
}


/*
 * When the process @pid has started, in ticks since boot (proc(5)), and whether it still runs:
 * what has ended may wait for its parent. Returns 0, or -errno.
 */
static int
nitroHelperReadStart(pid_t pid,
                     unsigned long long *start,
                     bool *ended)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) fields = NULL;
    ssize_t len = nitroHelperReadProc(pid, "stat", &text);
    char *name;

    if (len < 0)
        return len;
    /* "pid (name) state ...", where the name may have any bytes */
    if (!(name = strrchr(text, ')')) || name[1] != ' ')
        return -EINVAL;
    fields = g_strsplit(name + 2, " ", 0);
    /* fields 3 and 22 of the line */
    if (g_strv_length(fields) < 20 || virStrToLong_ull(fields[19], NULL, 10, start) < 0)
        return -EINVAL;
    *ended = fields[0][0] == 'Z' || fields[0][0] == 'X';
    return 0;
}


/* Kernels before 5.3 have none, and old sandboxes do not know the call. */
static bool
nitroHelperHasNoPidfd(int err)
{
    return err == ENOSYS || err == EPERM;
}


/* Whether the process of @pidfd has ended, waiting @timeout ms. Returns 1, 0, or -1: errno says why */
static int
nitroHelperPoll(int pidfd,
                int timeout)
{
    struct pollfd process = { .fd = pidfd, .events = POLLIN };
    gint64 end = g_get_monotonic_time() + timeout * G_TIME_SPAN_MILLISECOND;
    int rc;

    do {
        gint64 left = (end - g_get_monotonic_time()) / G_TIME_SPAN_MILLISECOND;

        rc = poll(&process, 1, MAX(left, 0));
    } while (rc < 0 && errno == EINTR);
    return rc > 0 ? 1 : rc;
}


/*
 * What to think of the process @pid, with the descriptor @pidfd or -1, when its file in /proc cannot
 * be read for @rc, -errno. One that is not there may be hidden (hidepid= of proc(5)), and live.
 */
static nitroHelperState
nitroHelperJudge(pid_t pid,
                 int pidfd,
                 int rc)
{
    if (rc == -ESRCH)
        return NITRO_HELPER_GONE;
    if (rc == -ENOENT) {
        if (pidfd >= 0 ? nitroHelperPoll(pidfd, 0) == 1 : kill(pid, 0) < 0 && errno == ESRCH)
            return NITRO_HELPER_GONE;
        rc = -EACCES;
    }
    errno = -rc;
    return NITRO_HELPER_UNKNOWN;
}


nitroHelper *
nitroHelperNewAlive(pid_t pid)
{
    g_autoptr(nitroHelper) helper = nitroHelperNew(pid, 0);
    bool ended = false;
    int rc;

    helper->pidfd = syscall(SYS_pidfd_open, pid, 0);
    if (helper->pidfd < 0 && !nitroHelperHasNoPidfd(errno)) {
        virReportSystemError(errno, _("cannot keep hold of the process %lld"), (long long) pid);
        return NULL;
    }
    rc = nitroHelperReadStart(pid, &helper->start, &ended);
    if (rc == -ENOENT && nitroHelperJudge(pid, helper->pidfd, rc) == NITRO_HELPER_UNKNOWN) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("cannot find out when the process %lld has started, as /proc hides it (hidepid=): mount /proc without that, or let virtnitrod see all processes, by the group of its gid= or by CAP_SYS_PTRACE"),
                       (long long) pid);
        return NULL;
    }
    if (rc < 0 || ended) {
        virReportSystemError(ended ? ESRCH : -rc, _("cannot find out when the process %lld has started"),
                             (long long) pid);
        return NULL;
    }
    return g_steal_pointer(&helper);
}


nitroHelperState
nitroHelperIsFor(const nitroHelper *helper,
                 const unsigned char *uuid)
{
    char wanted[VIR_UUID_STRING_BUFLEN];
    g_autofree char *args = NULL;
    const char *arg;
    ssize_t len = nitroHelperReadProc(helper->pid, "cmdline", &args);

    if (len < 0)
        return nitroHelperJudge(helper->pid, helper->pidfd, len);
    /* One that exits has no arguments any more, and may do so for long. */
    if (len == 0) {
        errno = EAGAIN;
        return NITRO_HELPER_UNKNOWN;
    }
    virUUIDFormat(uuid, wanted);
    for (arg = args; arg < args + len; arg += strlen(arg) + 1) {
        if (STREQ(arg, wanted))
            return NITRO_HELPER_ALIVE;
    }
    return NITRO_HELPER_GONE;
}


/* Whether the process that has the helper's number now, and the descriptor @pidfd or -1, is the helper */
static nitroHelperState
nitroHelperIdentify(const nitroHelper *helper,
                    int pidfd,
                    const unsigned char *uuid)
{
    unsigned long long start = 0;
    bool ended = false;
    int rc = nitroHelperReadStart(helper->pid, &start, &ended);

    if (rc < 0)
        return nitroHelperJudge(helper->pid, pidfd, rc);
    if (ended)
        return NITRO_HELPER_GONE;
    if (helper->start > 0)
        return start == helper->start ? NITRO_HELPER_ALIVE : NITRO_HELPER_GONE;
    return uuid ? nitroHelperIsFor(helper, uuid) : NITRO_HELPER_ALIVE;
}


nitroHelperState
nitroHelperFind(nitroHelper *helper,
                const unsigned char *uuid)
{
    VIR_AUTOCLOSE pidfd = -1;
    nitroHelperState state;
    int rc;

    if (helper->pidfd >= 0) {
        rc = nitroHelperPoll(helper->pidfd, 0);
        return rc < 0 ? NITRO_HELPER_UNKNOWN : rc > 0 ? NITRO_HELPER_GONE : NITRO_HELPER_ALIVE;
    }

    /* EINVAL: the number is that of a thread now */
    pidfd = syscall(SYS_pidfd_open, helper->pid, 0);
    if (pidfd < 0 && errno == ESRCH)
        return NITRO_HELPER_GONE;
    if (pidfd < 0 && errno != EINVAL && !nitroHelperHasNoPidfd(errno))
        return NITRO_HELPER_UNKNOWN;

    if ((state = nitroHelperIdentify(helper, pidfd, uuid)) != NITRO_HELPER_ALIVE || pidfd < 0)
        return state;
    /* The process of the descriptor is the one that was looked at if it has not ended since. */
    if ((rc = nitroHelperPoll(pidfd, 0)) != 0)
        return rc < 0 ? NITRO_HELPER_UNKNOWN : NITRO_HELPER_GONE;

    helper->pidfd = pidfd;
    pidfd = -1;
    return NITRO_HELPER_ALIVE;
}


int
nitroHelperSignal(nitroHelper *helper,
                  int signum)
{
    int rc;

    if (helper->pidfd >= 0)
        rc = syscall(SYS_pidfd_send_signal, helper->pidfd, signum, NULL, 0);
    else
        rc = kill(helper->pid, signum);
    return rc < 0 && errno != ESRCH ? -1 : 0;
}


bool
nitroHelperAwaitExit(nitroHelper *helper,
                     int timeout)
{
    gint64 end = g_get_monotonic_time() + timeout * G_TIME_SPAN_MILLISECOND;

    if (helper->pidfd >= 0)
        return nitroHelperPoll(helper->pidfd, timeout) == 1;

    while (nitroHelperIdentify(helper, -1, NULL) != NITRO_HELPER_GONE) {
        if (g_get_monotonic_time() >= end)
            return false;
        g_usleep(NITRO_HELPER_PAUSE);
    }
    return true;
}


int
nitroHelperWriteFile(const nitroHelper *helper,
                     const char *path)
{
    g_autofree char *text = g_strdup_printf("%lld\n%llu\n", (long long) helper->pid, helper->start);

    if (virFileWriteStr(path, text, 0600) < 0) {
        virReportSystemError(errno, _("cannot write the file '%s'"), path);
        return -1;
    }
    return 0;
}


int
nitroHelperReadFile(const char *path,
                    nitroHelper **helper)
{
    char text[64] = { 0 };
    VIR_AUTOCLOSE fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    unsigned long long start = 0;
    char *end;
    int number;

    if (fd < 0 || saferead(fd, text, sizeof(text) - 1) < 0)
        return -errno;
    if (virStrToLong_i(text, &end, 10, &number) < 0 || number <= 0)
        return -EINVAL;
    g_strstrip(end);
    if (*end != '\0' && virStrToLong_ull(end, NULL, 10, &start) < 0)
        return -EINVAL;
    *helper = nitroHelperNew(number, start);
    return 0;
}
