/*
 * nitrocputimetest.c: the CPU time of a helper and of what descends from it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A tree of files in the form of proc(5), with and without the lists of children that not all
 * kernels have, and children of this process.
 */

#include <config.h>

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "nitro_cputime.h"
#include "virfile.h"

#define SEC 1000000000ull

static unsigned long long
ticks(unsigned long long n)
{
    return n * SEC / sysconf(_SC_CLK_TCK);
}


static void
testWrite(const char *dir,
          const char *name,
          const char *text)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);

    g_assert_cmpint(g_mkdir_with_parents(dir, 0700), ==, 0);
    g_assert_cmpint(virFileWriteStr(path, text, 0600), ==, 0);
}


/* The line of a process or a thread, with numbers that do not count in between */
static char *
testStat(int pid, const char *name, int parent, int user, int sys, int cuser, int csys, int start,
         int cpu)
{
    return g_strdup_printf("%d (%s) S %d 1 1 0 -1 4194560 7 7 7 7 %d %d %d %d 20 0 1 0 %d "
                           "7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 17 %d 0 0 7 7 7 7 7 7 7 7 7 7 0\n",
                           pid, name, parent, user, sys, cuser, csys, start, cpu);
}


/* A thread @tid of @pid; its @children or NULL: this kernel has no such lists */
static void
testAddThread(const char *proc, int pid, int tid, const char *name, int parent, int user, int sys,
              int start, int cpu, const char *children)
{
    g_autofree char *dir = g_strdup_printf("%s/%d/task/%d", proc, pid, tid);
    g_autofree char *stat = testStat(tid, name, parent, user, sys, 0, 0, start, cpu);

    testWrite(dir, "stat", stat);
    if (children)
        testWrite(dir, "children", children);
}


static void
testAddProcess(const char *proc, int pid, const char *name, int parent, int user, int sys,
               int cuser, int csys, int start, const char *children)
{
    g_autofree char *dir = g_strdup_printf("%s/%d", proc, pid);
    g_autofree char *stat = testStat(pid, name, parent, user, sys, cuser, csys, start, 0);

    testWrite(dir, "stat", stat);
    testAddThread(proc, pid, pid, name, parent, user, sys, start, 0, children);
}


/* helper 100 (a thread of it has made 200) -> bwrap 200 -> 201 -> QEMU 202; 300 is nobody's */
static char *
testMakeTree(bool lists,
             const char *first,
             const char *second)
{
    char *proc = g_dir_make_tmp("nitrocputime-XXXXXX", NULL);

    g_assert_nonnull(proc);
    testAddProcess(proc, 100, "libvirt_nitro", 1, 10, 20, 3, 4, 1000, lists ? "" : NULL);
    testAddThread(proc, 100, 101, "vsock", 1, 5, 5, 1000, 0, lists ? "200 " : NULL);
    testAddProcess(proc, 200, "bwrap", 100, 1, 1, 0, 0, 1001, lists ? "201 " : NULL);
    testAddProcess(proc, 201, "a) S 9 (b", 200, 2, 2, 0, 0, 1002, lists ? "202 " : NULL);
    testAddProcess(proc, 202, "qemu-system-x86", 201, 500, 60, 0, 0, 1003, lists ? "" : NULL);
    testAddThread(proc, 202, 203, first, 201, 300, 10, 1003, 3, lists ? "" : NULL);
    testAddThread(proc, 202, 204, second, 201, 150, 40, 1003, 1, lists ? "" : NULL);
    testAddProcess(proc, 300, "qemu-system-x86", 1, 7777, 7777, 0, 0, 900, lists ? "" : NULL);
    return proc;
}


static void
testRemoveTree(char *proc)
{
    g_assert_cmpint(virFileDeleteTree(proc), ==, 0);
    g_free(proc);
}


static void
testTree(gconstpointer opaque)
{
    bool lists = GPOINTER_TO_INT(opaque);
    char *proc = testMakeTree(lists, "CPU 0/TCG", "CPU 1/TCG");
    g_auto(nitroCpuTime) time = { 0 };

    g_assert_cmpint(nitroCpuTimeRead(proc, 100, 1000, 3, &time), ==, 0);
    g_assert_cmpint(time.user, ==, ticks(10 + 3 + 1 + 2 + 500));
    g_assert_cmpint(time.system, ==, ticks(20 + 4 + 1 + 2 + 60));
    g_assert_true(time.vcpus[0].known);
    g_assert_cmpint(time.vcpus[0].time, ==, ticks(310));
    g_assert_cmpint(time.vcpus[0].cpu, ==, 3);
    g_assert_true(time.vcpus[1].known);
    g_assert_cmpint(time.vcpus[1].time, ==, ticks(190));
    g_assert_cmpint(time.vcpus[1].cpu, ==, 1);
    /* one that has no thread, as QEMU may not have made it yet */
    g_assert_false(time.vcpus[2].known);
    testRemoveTree(proc);
}


/* Names that mean no vCPU of this domain */
static void
testNoVcpus(void)
{
    char *proc = testMakeTree(true, "CPU 2/TCG", "CPU -1/KVM");
    g_auto(nitroCpuTime) time = { 0 };

    g_assert_cmpint(nitroCpuTimeRead(proc, 100, 0, 2, &time), ==, 0);
    g_assert_false(time.vcpus[0].known);
    g_assert_false(time.vcpus[1].known);
    testRemoveTree(proc);
}


static void
testShared(void)
{
    char *proc = testMakeTree(true, "ALL CPUs/TCG", "worker");
    g_auto(nitroCpuTime) time = { 0 };

    g_assert_cmpint(nitroCpuTimeRead(proc, 100, 1000, 2, &time), ==, 0);
    g_assert_true(time.vcpus[0].known && time.vcpus[1].known);
    g_assert_cmpint(time.vcpus[0].time, ==, ticks(310) / 2);
    g_assert_cmpint(time.vcpus[1].time, ==, ticks(310) / 2);
    testRemoveTree(proc);
}


/* A child that has gone, one whose number is another's by now, and a helper that is not ours */
static void
testOthers(void)
{
    char *proc = testMakeTree(true, "CPU 0/KVM", "CPU 1/KVM");
    g_autofree char *task = g_strdup_printf("%s/100/task/101", proc);
    g_auto(nitroCpuTime) time = { 0 };

    testWrite(task, "children", "999 300 ");
    g_assert_cmpint(nitroCpuTimeRead(proc, 100, 1000, 1, &time), ==, 0);
    g_assert_cmpint(time.user, ==, ticks(13));
    g_assert_cmpint(time.system, ==, ticks(24));
    g_assert_false(time.vcpus[0].known);
    nitroCpuTimeClear(&time);

    /* a child that is older than its parent */
    testAddProcess(proc, 300, "old", 100, 7777, 7777, 0, 0, 900, "");
    g_assert_cmpint(nitroCpuTimeRead(proc, 100, 1000, 1, &time), ==, 0);
    g_assert_cmpint(time.user, ==, ticks(13));
    nitroCpuTimeClear(&time);

    g_assert_cmpint(nitroCpuTimeRead(proc, 100, 1001, 1, &time), ==, -ESRCH);
    g_assert_cmpint(nitroCpuTimeRead(proc, 998, 0, 1, &time), ==, -ESRCH);
    g_assert_null(time.vcpus);
    testRemoveTree(proc);
}


/* What cannot be understood is not nothing. */
static void
testNonsense(void)
{
    static const char *const lines[] = {
        "", "100", "100 (x", "100 (x)", "100 (x) S 1 2 3\n", "100 (x) S -1 1 1 0 -1 4194560 7 7 7 7 1 1 "
        "1 1 20 0 1 0 1000 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 17 0 0 0\n",
    };
    char *proc = testMakeTree(true, "CPU 0/TCG", "CPU 1/TCG");
    g_autofree char *helper = g_strdup_printf("%s/100", proc);
    g_autofree char *qemu = g_strdup_printf("%s/202", proc);
    g_autofree char *task = g_strdup_printf("%s/200/task/200", proc);
    g_auto(nitroCpuTime) time = { 0 };
    g_autofree char *good = testStat(100, "libvirt_nitro", 1, 10, 20, 3, 4, 1000, 0);
    g_autofree char *many = g_strnfill(4096, '1');
    GString *children = g_string_new("");
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(lines); i++) {
        testWrite(helper, "stat", lines[i]);
        g_assert_cmpint(nitroCpuTimeRead(proc, 100, 0, 1, &time), ==, -EINVAL);
    }
    testWrite(helper, "stat", many);
    g_assert_cmpint(nitroCpuTimeRead(proc, 100, 0, 1, &time), ==, -E2BIG);
    testWrite(helper, "stat", good);

    testWrite(qemu, "stat", "nonsense");
    g_assert_cmpint(nitroCpuTimeRead(proc, 100, 0, 1, &time), ==, -EINVAL);

    testWrite(task, "children", "x ");
    g_assert_cmpint(nitroCpuTimeRead(proc, 100, 0, 1, &time), ==, -EINVAL);
    for (i = 0; i < 64; i++)
        g_string_append_printf(children, "%zu ", 5000 + i);
    testWrite(task, "children", children->str);
    g_assert_cmpint(nitroCpuTimeRead(proc, 100, 0, 1, &time), ==, -E2BIG);
    g_assert_null(time.vcpus);
    g_string_free(children, TRUE);
    testRemoveTree(proc);
}


/* Runs until it has used @ms of CPU time, tells so, and waits to be killed. */
static void
testBurn(int ms,
         int fd)
{
    while (clock() < ms * (CLOCKS_PER_SEC / 1000))
        continue;
    g_assert_cmpint(write(fd, "x", 1), ==, 1);
    pause();
    _exit(0);
}


/* A child of this process, which has a child in turn; both have worked. */
static void
testChildren(void)
{
    g_auto(nitroCpuTime) time = { 0 };
    int fds[2];
    char byte;
    pid_t pid;

    g_assert_cmpint(pipe(fds), ==, 0);
    if ((pid = fork()) == 0) {
        pid_t child = fork();

        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            testBurn(200, fds[1]);
        }
        testBurn(100, fds[1]);
    }
    g_assert_cmpint(read(fds[0], &byte, 1), ==, 1);
    g_assert_cmpint(read(fds[0], &byte, 1), ==, 1);

    g_assert_cmpint(nitroCpuTimeRead("/proc", pid, 0, 1, &time), ==, 0);
    /* one tick for each of the two and of the four numbers may be rounded away */
    g_assert_cmpint(time.user + time.system, >=, SEC * 300 / 1000 - ticks(4));
    g_assert_cmpint(time.user + time.system, <, SEC * 600 / 1000);
    g_assert_false(time.vcpus[0].known);

    nitroCpuTimeClear(&time);
    g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
    g_assert_cmpint(nitroCpuTimeRead("/proc", pid, 0, 1, &time), ==, -ESRCH);
    close(fds[0]);
    close(fds[1]);
}


int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_data_func("/cputime/tree/lists", GINT_TO_POINTER(true), testTree);
    g_test_add_data_func("/cputime/tree/parents", GINT_TO_POINTER(false), testTree);
    g_test_add_func("/cputime/no-vcpus", testNoVcpus);
    g_test_add_func("/cputime/shared", testShared);
    g_test_add_func("/cputime/others", testOthers);
    g_test_add_func("/cputime/nonsense", testNonsense);
    g_test_add_func("/cputime/children", testChildren);

    return g_test_run();
}
