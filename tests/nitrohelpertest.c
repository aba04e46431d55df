/*
 * nitrohelpertest.c: what is known of the process of a helper
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nitro_helper.h"
#include "virerror.h"
#include "virfile.h"

/* A child that waits to be killed */
static pid_t
testFork(void)
{
    pid_t pid = fork();

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        pause();
        _exit(0);
    }
    return pid;
}


static void
testReap(pid_t pid)
{
    g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
}


static void
testAlive(void)
{
    pid_t pid = testFork();
    g_autoptr(nitroHelper) own = nitroHelperNewAlive(pid);
    g_autoptr(nitroHelper) other = NULL;

    g_assert_nonnull(own);
    g_assert_cmpint(nitroHelperGetPid(own), ==, pid);
    g_assert_cmpint(nitroHelperFind(own, NULL), ==, NITRO_HELPER_ALIVE);
    /* that of the next daemon */
    other = nitroHelperNew(pid, nitroHelperGetStart(own));
    g_assert_cmpint(nitroHelperGetFd(other), ==, -1);
    g_assert_cmpint(nitroHelperFind(other, NULL), ==, NITRO_HELPER_ALIVE);
    g_assert_cmpint(nitroHelperGetFd(other), >=, 0);
    g_assert_false(nitroHelperAwaitExit(other, 10));

    g_assert_cmpint(nitroHelperSignal(own, SIGKILL), ==, 0);
    g_assert_true(nitroHelperAwaitExit(other, 5000));
    /* it waits for its parent */
    g_assert_cmpint(nitroHelperFind(own, NULL), ==, NITRO_HELPER_GONE);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
    g_assert_cmpint(nitroHelperFind(other, NULL), ==, NITRO_HELPER_GONE);
    g_assert_cmpint(nitroHelperSignal(other, SIGKILL), ==, 0);
}


static void
testGone(void)
{
    pid_t pid = testFork();
    g_autoptr(nitroHelper) own = nitroHelperNewAlive(pid);
    g_autoptr(nitroHelper) reused = nitroHelperNew(pid, nitroHelperGetStart(own) + 1);
    g_autoptr(nitroHelper) zombie = nitroHelperNew(pid, nitroHelperGetStart(own));
    siginfo_t info;

    /* somebody else has the number now */
    g_assert_cmpint(nitroHelperFind(reused, NULL), ==, NITRO_HELPER_GONE);

    g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
    g_assert_cmpint(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), ==, 0);
    g_assert_cmpint(nitroHelperFind(zombie, NULL), ==, NITRO_HELPER_GONE);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
    g_assert_cmpint(nitroHelperFind(zombie, NULL), ==, NITRO_HELPER_GONE);
}


/* A process without the start time in its status counts by its arguments. */
static void
testArguments(void)
{
    static const unsigned char uuid[VIR_UUID_BUFLEN] = { 1, 2, 3 };
    pid_t pid = testFork();
    g_autoptr(nitroHelper) helper = nitroHelperNew(pid, 0);

    g_assert_cmpint(nitroHelperIsFor(helper, uuid), ==, NITRO_HELPER_GONE);
    g_assert_cmpint(nitroHelperFind(helper, uuid), ==, NITRO_HELPER_GONE);
    g_assert_cmpint(nitroHelperFind(helper, NULL), ==, NITRO_HELPER_ALIVE);
    testReap(pid);
}


/* Without descriptors nothing can be found out. */
static void
testUnknown(void)
{
    pid_t pid = testFork();
    g_autoptr(nitroHelper) own = nitroHelperNewAlive(pid);
    g_autoptr(nitroHelper) other = nitroHelperNew(pid, nitroHelperGetStart(own));
    struct rlimit limit;
    struct rlimit none;

    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    none = limit;
    none.rlim_cur = 3;
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
    g_assert_cmpint(nitroHelperFind(other, NULL), ==, NITRO_HELPER_UNKNOWN);
    g_assert_cmpint(errno, ==, EMFILE);
    g_assert_null(nitroHelperNewAlive(pid));
    /* but for who has hold of it */
    g_assert_cmpint(nitroHelperFind(own, NULL), ==, NITRO_HELPER_ALIVE);
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    g_assert_cmpint(nitroHelperFind(other, NULL), ==, NITRO_HELPER_ALIVE);
    testReap(pid);
}


/* In a process of its own: a /proc without processes, as hidepid= shows it to who may not see them. */
static bool
testHide(void)
{
    if (unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return false;
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", "/proc", "tmpfs", 0, NULL) == 0;
}


#define HIDDEN_SKIP 77

static void
testHiddenProcess(pid_t pid,
                  unsigned long long start)
{
    static const unsigned char uuid[VIR_UUID_BUFLEN] = { 1, 2, 3 };
    g_autoptr(nitroHelper) helper = nitroHelperNew(pid, start);

    if (!testHide())
        _exit(HIDDEN_SKIP);

    g_assert_cmpint(nitroHelperFind(helper, uuid), ==, NITRO_HELPER_UNKNOWN);
    g_assert_cmpint(errno, ==, EACCES);
    g_assert_cmpint(nitroHelperIsFor(helper, uuid), ==, NITRO_HELPER_UNKNOWN);
    g_assert_cmpint(errno, ==, EACCES);
    g_assert_false(nitroHelperAwaitExit(helper, 50));
    g_assert_null(nitroHelperNewAlive(pid));
    g_assert_cmpint(virGetLastErrorCode(), ==, VIR_ERR_OPERATION_FAILED);
    g_assert_nonnull(strstr(virGetLastErrorMessage(), "hidepid"));

    g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
    /* its parent does not wait for it before this one has ended */
    while (nitroHelperFind(helper, uuid) != NITRO_HELPER_GONE)
        g_usleep(1000);
    _exit(0);
}


/* A process that is hidden lives until it is known to have ended. */
static void
testHidden(void)
{
    pid_t pid = testFork();
    g_autoptr(nitroHelper) own = nitroHelperNewAlive(pid);
    pid_t tester = fork();
    int status;

    g_assert_cmpint(tester, >=, 0);
    if (tester == 0)
        testHiddenProcess(pid, nitroHelperGetStart(own));
    g_assert_cmpint(waitpid(tester, &status, 0), ==, tester);
    if (WIFEXITED(status) && WEXITSTATUS(status) == HIDDEN_SKIP) {
        testReap(pid);
        g_test_skip("no mount namespace can be had");
        return;
    }
    g_assert_cmpint(status, ==, 0);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
    g_assert_cmpint(nitroHelperFind(own, NULL), ==, NITRO_HELPER_GONE);
}


static void
testFile(void)
{
    g_autofree char *dir = g_dir_make_tmp("nitrohelpertest-XXXXXX", NULL);
    g_autofree char *path = g_strdup_printf("%s/pid", dir);
    g_autoptr(nitroHelper) own = nitroHelperNewAlive(getpid());
    g_autoptr(nitroHelper) read = NULL;
    g_autoptr(nitroHelper) old = NULL;
    static const char *const bad[] = { "", "0\n", "-1\n", "x\n", "1\nx\n", "99999999999\n" };
    size_t i;

    g_assert_cmpint(nitroHelperReadFile(path, &read), ==, -ENOENT);
    g_assert_cmpint(nitroHelperWriteFile(own, path), ==, 0);
    g_assert_cmpint(nitroHelperReadFile(path, &read), ==, 0);
    g_assert_cmpint(nitroHelperGetPid(read), ==, getpid());
    g_assert_cmpuint(nitroHelperGetStart(read), ==, nitroHelperGetStart(own));

    /* of version 0.1.0 */
    g_assert_cmpint(virFileWriteStr(path, "4711", 0600), ==, 0);
    g_assert_cmpint(nitroHelperReadFile(path, &old), ==, 0);
    g_assert_cmpint(nitroHelperGetPid(old), ==, 4711);
    g_assert_cmpuint(nitroHelperGetStart(old), ==, 0);

    for (i = 0; i < G_N_ELEMENTS(bad); i++) {
        nitroHelper *none = NULL;

        g_assert_cmpint(virFileWriteStr(path, bad[i], 0600), ==, 0);
        g_assert_cmpint(nitroHelperReadFile(path, &none), ==, -EINVAL);
        g_assert_null(none);
    }
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_cmpint(symlink("/proc/self/status", path), ==, 0);
    g_assert_cmpint(nitroHelperReadFile(path, &read), ==, -ELOOP);
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_cmpint(rmdir(dir), ==, 0);
}


int
main(int argc,
     char **argv)
{
    if (virErrorInitialize() < 0)
        return 1;

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/helper/alive", testAlive);
    g_test_add_func("/helper/gone", testGone);
    g_test_add_func("/helper/arguments", testArguments);
    g_test_add_func("/helper/unknown", testUnknown);
    g_test_add_func("/helper/hidden", testHidden);
    g_test_add_func("/helper/file", testFile);
    return g_test_run();
}
