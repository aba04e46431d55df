/*
 * nitro_cputime.c: the CPU time of an emulated enclave, from its processes
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * helper -> (launcher -> bubblewrap ->) QEMU: the children of each are read from
 * PID/task/TID/children, or, of kernels that do not have that, from the parents of all
 * processes. libvirt's virProcessGetStatInfo() takes a process that it cannot read for one that
 * has used no time.
 */

#include <config.h>

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "nitro_cputime.h"
#include "virfile.h"
#include "virstring.h"

/* bytes: of a "stat"; the numbers of a "children" may be many more */
#define NITRO_CPUTIME_STAT_MAX 4096
#define NITRO_CPUTIME_CHILDREN_MAX 65536

/* Processes of one enclave, and their threads: more are not ours */
#define NITRO_CPUTIME_PROCESSES_MAX 64
#define NITRO_CPUTIME_THREADS_MAX 4096

/* Fields of a "stat" after the name, as proc(5) counts them */
#define NITRO_CPUTIME_FIELD(n) ((n) - 3)
#define NITRO_CPUTIME_FIELDS NITRO_CPUTIME_FIELD(40)

typedef struct _nitroCpuTimeStat nitroCpuTimeStat;
struct _nitroCpuTimeStat {
    char name[32];
    pid_t parent;
    unsigned long long start;     /* ticks since the boot of the host */
    unsigned long long user;      /* ticks, likewise */
    unsigned long long system;
    unsigned long long childUser; /* of children that have been reaped */
    unsigned long long childSystem;
    int cpu;
};

/* A process to be looked at */
typedef struct _nitroCpuTimeProcess nitroCpuTimeProcess;
struct _nitroCpuTimeProcess {
    pid_t pid;
    pid_t parent;             /* 0: any */
    unsigned long long start; /* the parent's: it cannot be older */
};

/* A walk: what there is to look at, and what has been added up; times in ticks */
typedef struct _nitroCpuTimeWalk nitroCpuTimeWalk;
struct _nitroCpuTimeWalk {
    const char *proc;
    nitroCpuTimeProcess list[NITRO_CPUTIME_PROCESSES_MAX];
    size_t n;

    unsigned long long user;
    unsigned long long system;
    size_t nvcpus;
    nitroCpuTimeVcpu *vcpus;
    nitroCpuTimeVcpu shared; /* of all vCPUs */
};


void
nitroCpuTimeClear(nitroCpuTime *time)
{
    g_clear_pointer(&time->vcpus, g_free);
}


/* A process or thread that has ended: there is no file, or it has just gone. */
static bool
nitroCpuTimeIsGone(int rc)
{
    return rc == -ENOENT || rc == -ESRCH;
}


/* Reads the file @path of at most @max bytes, with a NUL behind. Returns 0, or -errno. */
static int
nitroCpuTimeReadFile(const char *path,
                     size_t max,
                     char **text)
{
    g_autofree char *buf = g_new0(char, max + 1);
    VIR_AUTOCLOSE fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len;

    if (fd < 0 || (len = saferead(fd, buf, max)) < 0)
        return -errno;
    if ((size_t) len == max)
        return -E2BIG;
    *text = g_steal_pointer(&buf);
    return 0;
}


/* Field @number of proc(5) as a number. Returns whether it is one. */
static bool
nitroCpuTimeGetField(GStrv fields,
                     size_t number,
                     unsigned long long *value)
{
    return virStrToLong_ullp(fields[NITRO_CPUTIME_FIELD(number)], NULL, 10, value) == 0;
}


/* Reads the "stat" of the process @pid, or of its thread @tid if that is not 0. Returns 0, or -errno. */
static int
nitroCpuTimeReadStat(const char *proc,
                     pid_t pid,
                     pid_t tid,
                     nitroCpuTimeStat *stat)
{
    g_autofree char *thread = tid ? g_strdup_printf("task/%lld/", (long long) tid) : g_strdup("");
    g_autofree char *path = g_strdup_printf("%s/%lld/%sstat", proc, (long long) pid, thread);
    g_autofree char *text = NULL;
    g_auto(GStrv) fields = NULL;
    unsigned long long parent;
    unsigned long long cpu;
    char *name;
    char *end;
    int rc;

    if ((rc = nitroCpuTimeReadFile(path, NITRO_CPUTIME_STAT_MAX, &text)) < 0)
        return rc;
    /* "pid (name) state ...", where the name may have any bytes */
    if (!(name = strchr(text, '(')) || !(end = strrchr(name, ')')) || end[1] != ' ')
        return -EINVAL;
    *end = '\0';
    g_strlcpy(stat->name, name + 1, sizeof(stat->name));
    fields = g_strsplit(end + 2, " ", 0);
    if (g_strv_length(fields) < NITRO_CPUTIME_FIELDS ||
        !nitroCpuTimeGetField(fields, 4, &parent) || parent > INT_MAX ||
        !nitroCpuTimeGetField(fields, 14, &stat->user) ||
        !nitroCpuTimeGetField(fields, 15, &stat->system) ||
        !nitroCpuTimeGetField(fields, 16, &stat->childUser) ||
        !nitroCpuTimeGetField(fields, 17, &stat->childSystem) ||
        !nitroCpuTimeGetField(fields, 22, &stat->start) ||
        !nitroCpuTimeGetField(fields, 39, &cpu) || cpu > INT_MAX)
        return -EINVAL;
    stat->parent = parent;
    stat->cpu = cpu;
    return 0;
}


/* The numbers that are names in the directory @path, @n of them. Returns 0, or -errno. */
static int
nitroCpuTimeListNumbers(const char *path,
                        pid_t **numbers,
                        size_t *n)
{
    g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(pid_t));
    g_autoptr(DIR) dir = NULL;
    struct dirent *entry;
    int number;
    int rc;

    if (virDirOpenQuiet(&dir, path) < 0)
        return -errno;
    while ((rc = virDirRead(dir, &entry, NULL)) > 0) {
        pid_t pid;

        if (virStrToLong_i(entry->d_name, NULL, 10, &number) < 0 || number <= 0)
            continue;
        pid = number;
        g_array_append_val(found, pid);
    }
    if (rc < 0)
        return -errno;
    *n = found->len;
    *numbers = (pid_t *) g_array_free(g_steal_pointer(&found), FALSE);
    return 0;
}


/* Returns 0, or -E2BIG: whoever makes so many processes is no helper of ours. */
static int
nitroCpuTimeAdd(nitroCpuTimeWalk *walk,
                pid_t pid,
                pid_t parent,
                unsigned long long start)
{
    size_t i;

    for (i = 0; i < walk->n; i++) {
        if (walk->list[i].pid == pid)
            return 0;
    }
    if (walk->n == NITRO_CPUTIME_PROCESSES_MAX)
        return -E2BIG;
    walk->list[walk->n++] = (nitroCpuTimeProcess) { pid, parent, start };
    return 0;
}


/* Adds the children that the thread @tid of @pid has made. Returns 0, or -errno. */
static int
nitroCpuTimeAddChildrenOf(nitroCpuTimeWalk *walk,
                          pid_t pid,
                          pid_t tid,
                          unsigned long long start)
{
    g_autofree char *path = g_strdup_printf("%s/%lld/task/%lld/children", walk->proc,
                                            (long long) pid, (long long) tid);
    g_autofree char *text = NULL;
    g_auto(GStrv) words = NULL;
    size_t i;
    int rc = nitroCpuTimeReadFile(path, NITRO_CPUTIME_CHILDREN_MAX, &text);

    if (rc < 0)
        return rc;
    words = g_strsplit(text, " ", 0);
    for (i = 0; words[i]; i++) {
        int child;

        if (*words[i] == '\0')
            continue;
        if (virStrToLong_i(words[i], NULL, 10, &child) < 0 || child <= 0)
            return -EINVAL;
        if ((rc = nitroCpuTimeAdd(walk, child, pid, start)) < 0)
            return rc;
    }
    return 0;
}


/* Likewise of all threads of @pid, of a kernel that keeps no lists of children. */
static int
nitroCpuTimeAddByParent(nitroCpuTimeWalk *walk,
                        pid_t pid,
                        unsigned long long start)
{
    g_autofree pid_t *all = NULL;
    size_t nall = 0;
    size_t i;
    int rc = nitroCpuTimeListNumbers(walk->proc, &all, &nall);

    for (i = 0; rc == 0 && i < nall; i++) {
        nitroCpuTimeStat stat = { 0 };

        /* One that cannot be read, or is not there any more, is no child that counts. */
        if (nitroCpuTimeReadStat(walk->proc, all[i], 0, &stat) == 0 && stat.parent == pid)
            rc = nitroCpuTimeAdd(walk, all[i], pid, start);
    }
    return rc;
}


/* What the vCPU, or all of them, of the thread @stat have used. Its name says which that is. */
static void
nitroCpuTimeNoteThread(nitroCpuTimeWalk *walk,
                       const nitroCpuTimeStat *stat)
{
    nitroCpuTimeVcpu *vcpu = NULL;
    unsigned int number;
    char *end;

    if (STRPREFIX(stat->name, "ALL CPUs/"))
        vcpu = &walk->shared;
    else if (STRPREFIX(stat->name, "CPU ") &&
             virStrToLong_uip(stat->name + strlen("CPU "), &end, 10, &number) == 0 &&
             *end == '/' && number < walk->nvcpus)
        vcpu = &walk->vcpus[number];
    if (!vcpu)
        return;

    vcpu->known = true;
    vcpu->time = stat->user + stat->system;
    vcpu->cpu = stat->cpu;
}


/* Looks at the threads of the process @pid: what they are, and their children. Returns 0, or -errno. */
static int
nitroCpuTimeWalkThreads(nitroCpuTimeWalk *walk,
                        pid_t pid,
                        unsigned long long start)
{
    g_autofree char *path = g_strdup_printf("%s/%lld/task", walk->proc, (long long) pid);
    g_autofree pid_t *threads = NULL;
    size_t nthreads = 0;
    size_t i;
    bool lists = true;
    int rc = nitroCpuTimeListNumbers(path, &threads, &nthreads);

    if (rc < 0)
        return rc;
    if (nthreads > NITRO_CPUTIME_THREADS_MAX)
        return -E2BIG;

    for (i = 0; i < nthreads; i++) {
        nitroCpuTimeStat stat = { 0 };

        rc = nitroCpuTimeReadStat(walk->proc, pid, threads[i], &stat);
        if (nitroCpuTimeIsGone(rc))
            continue;
        if (rc < 0)
            return rc;
        nitroCpuTimeNoteThread(walk, &stat);

        rc = nitroCpuTimeAddChildrenOf(walk, pid, threads[i], start);
        if (rc == -ENOENT)
            lists = false;
        else if (rc < 0 && rc != -ESRCH)
            return rc;
    }
    return lists ? 0 : nitroCpuTimeAddByParent(walk, pid, start);
}


/* Looks at one process. Returns 0, or -errno: -ESRCH, or -ENOENT, when it is not there. */
static int
nitroCpuTimeWalkProcess(nitroCpuTimeWalk *walk,
                        const nitroCpuTimeProcess *process)
{
    nitroCpuTimeStat stat = { 0 };
    int rc = nitroCpuTimeReadStat(walk->proc, process->pid, 0, &stat);

    if (rc < 0)
        return rc;
    /* Its number may be another process' by now. */
    if (process->parent > 0 &&
        (stat.parent != process->parent || stat.start < process->start))
        return -ESRCH;
    if (process->parent == 0 && process->start > 0 && stat.start != process->start)
        return -ESRCH;

    walk->user += stat.user + stat.childUser;
    walk->system += stat.system + stat.childSystem;
    return nitroCpuTimeWalkThreads(walk, process->pid, stat.start);
}


/* What has been found, in ns */
static void
nitroCpuTimeFinish(nitroCpuTimeWalk *walk,
                   nitroCpuTime *time)
{
    unsigned long long tick = 1000ull * 1000 * 1000 / sysconf(_SC_CLK_TCK);
    size_t i;

    time->user = walk->user * tick;
    time->system = walk->system * tick;
    for (i = 0; i < walk->nvcpus; i++) {
        if (walk->shared.known) {
            walk->vcpus[i] = walk->shared;
            walk->vcpus[i].time = walk->shared.time * tick / walk->nvcpus;
        } else {
            walk->vcpus[i].time *= tick;
        }
    }
    time->vcpus = g_steal_pointer(&walk->vcpus);
}


int
nitroCpuTimeRead(const char *proc,
                 pid_t pid,
                 unsigned long long start,
                 size_t nvcpus,
                 nitroCpuTime *time)
{
    g_autofree nitroCpuTimeVcpu *vcpus = g_new0(nitroCpuTimeVcpu, nvcpus);
    nitroCpuTimeWalk walk = { .proc = proc, .nvcpus = nvcpus, .vcpus = vcpus };
    size_t i;
    int rc;

    if ((rc = nitroCpuTimeAdd(&walk, pid, 0, start)) < 0)
        return rc;
    /* The list grows meanwhile. */
    for (i = 0; i < walk.n; i++) {
        nitroCpuTimeProcess process = walk.list[i];

        rc = nitroCpuTimeWalkProcess(&walk, &process);
        if (nitroCpuTimeIsGone(rc) && i > 0)
            continue;
        if (rc < 0)
            return nitroCpuTimeIsGone(rc) ? -ESRCH : rc;
    }

    nitroCpuTimeFinish(&walk, time);
    vcpus = NULL;
    return 0;
}
