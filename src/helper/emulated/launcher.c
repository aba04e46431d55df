/*
 * launcher.c: the process that becomes QEMU
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: launcherFork() -> in the new process launcherServe() waits for one message -> arguments ->
 * bubblewrap, or Landlock -> QEMU. The end of the socket without a message is its end.
 */

#include "emulated/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emulated/qemu_command.h"
#include "helper_protocol.h"
#include "sandbox/landlock.h"
#include "sandbox/sandbox.h"
#include "sandbox/unprotected.h"

/* What is told; the command line of the kernel follows, without its NUL. */
typedef struct {
    uint8_t acpi;
    uint8_t icount;
    uint8_t ramdisk;
} LauncherRequest;

#define LAUNCHER_CMDLINE_MAX (64 * 1024)
#define LAUNCHER_FDS 2 /* kernel and ramdisk */

/* Where descriptors are put that must not be in the way of QEMU's */
#define LAUNCHER_FD_MIN 32

union LauncherControl {
    struct cmsghdr header;
    char space[CMSG_SPACE(LAUNCHER_FDS * sizeof(int))];
};

/* The ends that are QEMU's, and what it is told; in the new process */
typedef struct {
    const Options *options;
    const char *qemu;
    bool kvm;
    int request;
    int serial;
    int qmp;
    int messages;
    int vsock; /* -1: none, likewise below */
    int nsm;
} LauncherChild;

/* In the new process. Its stderr is the pipe of messages by then, or still ours. */
static void __attribute__((noreturn))
launcherFail(const char *what)
{
    fprintf(stderr, "libvirt_nitro: %s: %s\n", what, g_strerror(errno));
    _exit(1);
}

/* Takes the descriptor @fd to a number that is in nobody's way. */
static int
launcherMove(int fd)
{
    int moved = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, LAUNCHER_FD_MIN);

    if (fd >= 0 && moved < 0)
        launcherFail("a descriptor for QEMU");
    return moved;
}

/*
 * Kernels before 5.9 have no such call, and containers may refuse it; there all that we have opened
 * is closed when QEMU is executed.
 */
static void
launcherCloseRange(unsigned int first, unsigned int last)
{
#ifdef SYS_close_range
    if (first <= last && syscall(SYS_close_range, first, last, 0) < 0 && errno != ENOSYS &&
        errno != EPERM)
        launcherFail("close_range()");
#endif
}

static int
launcherCompare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Only what is QEMU's stays open while this waits. */
static void
launcherKeepOwn(LauncherChild *child)
{
    int *const fds[] = {&child->request, &child->serial, &child->qmp, &child->vsock,
                         &child->nsm};
    int kept[G_N_ELEMENTS(fds)];
    int next = STDERR_FILENO + 1;
    size_t n = 0;
    size_t i;

    if (dup2(child->messages, STDOUT_FILENO) < 0 || dup2(child->messages, STDERR_FILENO) < 0)
        launcherFail("the messages of QEMU");
    for (i = 0; i < G_N_ELEMENTS(fds); i++) {
        *fds[i] = launcherMove(*fds[i]);
        if (*fds[i] >= 0)
            kept[n++] = *fds[i];
    }
    qsort(kept, n, sizeof(kept[0]), launcherCompare);
    for (i = 0; i < n; i++) {
        launcherCloseRange(next, kept[i] - 1);
        next = kept[i] + 1;
    }
    launcherCloseRange(next, ~0U);
}

/* Nothing but the sealed memory that a part of an image is in: no directory, no socket. */
static bool
launcherIsPart(int fd)
{
    const int wanted = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK;
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && seals >= 0 && (seals & wanted) == wanted;
}

/* Takes the @n descriptors of @message. Returns whether they are the parts of an image. */
static bool
launcherTakeParts(struct msghdr *message, int *fds, size_t n)
{
    const struct cmsghdr *header = CMSG_FIRSTHDR(message);
    size_t i;

    if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
        header->cmsg_len != CMSG_LEN(n * sizeof(int)))
        return false;
    memcpy(fds, CMSG_DATA(header), n * sizeof(int));
    for (i = 0; i < n; i++) {
        if (!launcherIsPart(fds[i]))
            return false;
    }
    return true;
}

/* Receives the request and its descriptors. Returns the length of the command line. */
static size_t
launcherReceive(int fd, LauncherRequest *request, char *cmdline, int *fds)
{
    union LauncherControl control = {0};
    struct iovec iov[] = {{request, sizeof(*request)}, {cmdline, LAUNCHER_CMDLINE_MAX}};
    struct msghdr message = {
        .msg_iov = iov, .msg_iovlen = G_N_ELEMENTS(iov),
        .msg_control = control.space, .msg_controllen = sizeof(control.space),
    };
    ssize_t n;

    do {
        n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n == 0)
        _exit(0); /* there will be no enclave */
    errno = n < 0 ? errno : EPROTO;
    if (n < (ssize_t)sizeof(*request) || message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
        launcherFail("the request to run QEMU");
    if (!launcherTakeParts(&message, fds, request->ramdisk ? 2 : 1))
        launcherFail("the image for QEMU");
    return n - sizeof(*request);
}

static void
launcherGive(int fd, int target)
{
    /* Numbers of the targets were free: what came later is above them. */
    if (fd >= 0 && dup2(fd, target) < 0)
        launcherFail("a descriptor of QEMU");
}

/* QEMU writes no file: it only makes its guest's memory, which is one. */
static void
launcherLimit(const Options *options)
{
    const struct rlimit size = {options->memory, options->memory};

    if (setrlimit(RLIMIT_FSIZE, &size) < 0)
        launcherFail("setrlimit(RLIMIT_FSIZE)");
}

/* For bubblewrap, which reads it */
static void
launcherGiveFilter(void)
{
    int fd = memfd_create("filter", MFD_CLOEXEC);
    size_t size;
    const void *filter = sandboxGetQemuFilter(&size);

    if (fd < 0 || write(fd, filter, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) < 0)
        launcherFail("the filter of QEMU");
    launcherGive(launcherMove(fd), QEMU_FD_FILTER);
}

static void
launcherRestrict(const LauncherChild *child)
{
    g_auto(GStrv) paths = qemuCommandGetPaths(child->qemu);

    if (!(child->options->without & UNPROTECTED_LANDLOCK) &&
        landlockRestrict((const char *const *)paths, child->kvm ? QEMU_KVM_DEVICE : NULL) < 0)
        launcherFail("QEMU cannot be confined by Landlock");
    if (sandboxFilterQemu() < 0)
        launcherFail("the filter of QEMU");
}

/* From 0.12 on bubblewrap looks there for its child, by the number in this namespace. */
static void
launcherMountProc(void)
{
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        launcherFail("/proc cannot be mounted for QEMU's namespace of processes");
}

/* Puts what it takes around QEMU, which has the arguments @argv. */
static void
launcherConfine(const LauncherChild *child, GPtrArray *argv)
{
    if (child->options->without & UNPROTECTED_QEMU_NAMESPACES) {
        launcherRestrict(child);
        return;
    }
    launcherMountProc();
    launcherGiveFilter();
    qemuCommandConfine(argv, child->kvm, true);
}

static void __attribute__((noreturn))
launcherServe(LauncherChild *child)
{
    static const char *const environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};
    static char cmdline[LAUNCHER_CMDLINE_MAX + 1];
    QemuCommand command = {.options = child->options, .qemu = child->qemu, .kvm = child->kvm};
    LauncherRequest request;
    GPtrArray *argv;
    int fds[LAUNCHER_FDS] = {-1, -1};

    launcherKeepOwn(child);
    cmdline[launcherReceive(child->request, &request, cmdline, fds)] = '\0';
    command.acpi = request.acpi;
    command.icount = request.icount;
    command.ramdisk = request.ramdisk;
    command.cmdline = cmdline;

    fds[0] = launcherMove(fds[0]);
    fds[1] = launcherMove(fds[1]);
    launcherGive(fds[0], QEMU_FD_KERNEL);
    launcherGive(fds[1], QEMU_FD_RAMDISK);
    launcherGive(child->serial, QEMU_FD_SERIAL);
    launcherGive(child->qmp, QEMU_FD_QMP);
    launcherGive(child->vsock, QEMU_FD_VSOCK);
    launcherGive(child->nsm, QEMU_FD_NSM);
    launcherLimit(child->options);

    argv = qemuCommandBuild(&command);
    launcherConfine(child, argv);
    execve(g_ptr_array_index(argv, 0), (char *const *)argv->pdata, (char *const *)environment);
    launcherFail(g_ptr_array_index(argv, 0));
}

/* A helper that has died before it could be said that this ends with it has closed the request. */
static void __attribute__((noreturn))
launcherChild(LauncherChild *child, uid_t user, gid_t group)
{
    g_auto(Failure) failure = {0};

    signal(SIGPIPE, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!(child->options->without & UNPROTECTED_QEMU_NAMESPACES) &&
        sandboxBecomeUser(user, group, &failure) < 0) {
        dprintf(child->messages, "libvirt_nitro: %s\n", failure.text);
        _exit(1);
    }
    launcherServe(child);
}

/*
 * A process in a namespace of processes, which it is the first one of: when it ends, so do all
 * others in it, at whatever moment that is. It has one of mounts for the /proc of that. Returns
 * as fork() does.
 */
static pid_t
launcherClone(const Options *options)
{
    if (options->without & UNPROTECTED_QEMU_NAMESPACES)
        return fork();
    return syscall(SYS_clone, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | SIGCHLD, NULL, NULL,
                   NULL, NULL);
}

/*
 * Binds this thread, and by that the process it forks, to the CPUs that were asked for; the former
 * binding is stored in @before.
 */
static int
launcherBind(const GArray *cpus, cpu_set_t *before, size_t size, Failure *failure)
{
    cpu_set_t *wanted = CPU_ALLOC(NITRO_CPU_MAX + 1);
    cpu_set_t *found = CPU_ALLOC(NITRO_CPU_MAX + 1);
    guint i;

    CPU_ZERO_S(size, wanted);
    CPU_ZERO_S(size, found);
    CPU_ZERO_S(size, before);
    for (i = 0; i < cpus->len; i++)
        CPU_SET_S(g_array_index(cpus, unsigned int, i), size, wanted);

    if (sched_getaffinity(0, size, before) < 0 ||
        (sched_setaffinity(0, size, wanted) < 0 && errno != EINVAL) ||
        sched_getaffinity(0, size, found) < 0)
        failureSet(failure, NITRO_FAILURE_RESOURCE, "The CPUs cannot be chosen: %s",
                   g_strerror(errno));

    for (i = 0; i < cpus->len; i++) {
        unsigned int cpu = g_array_index(cpus, unsigned int, i);

        if (!CPU_ISSET_S(cpu, size, found))
            failureSet(failure, NITRO_FAILURE_RESOURCE,
                       "CPU %u cannot be used: this host does not have it, or it is offline", cpu);
    }
    if (failure->code)
        sched_setaffinity(0, size, before);

    CPU_FREE(wanted);
    CPU_FREE(found);
    return failure->code ? -1 : 0;
}

/* Both ends of what connects us with QEMU; [0] is ours */
typedef struct {
    int request[2];
    int serial[2];
    int qmp[2];
    int messages[2];
    int vsock[2];
} LauncherChannels;

static int
launcherOpenChannels(LauncherChannels *channels, bool vsock)
{
    *channels = (LauncherChannels){{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};

    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channels->request) < 0 ||
           pipe2(channels->serial, O_CLOEXEC) < 0 ||
           !g_unix_set_fd_nonblocking(channels->serial[0], TRUE, NULL) ||
           socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channels->qmp) < 0 ||
           (vsock && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channels->vsock) < 0) ||
           pipe2(channels->messages, O_CLOEXEC) < 0 ||
           !g_unix_set_fd_nonblocking(channels->messages[0], TRUE, NULL) ? -1 : 0;
}

static void
launcherClose(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void
launcherCloseTheirs(const LauncherChannels *channels)
{
    launcherClose(channels->request[1]);
    launcherClose(channels->serial[1]);
    launcherClose(channels->qmp[1]);
    launcherClose(channels->messages[1]);
    launcherClose(channels->vsock[1]);
}

/* Without a descriptor of it the process could not be ended and nobody else. */
static int
launcherForkNow(Launcher *launcher, LauncherChild *child, Failure *failure)
{
    uid_t user = geteuid();
    gid_t group = getegid();

    launcher->pid = launcherClone(child->options);
    if (launcher->pid == 0)
        launcherChild(child, user, group);
    if (launcher->pid < 0) {
        launcher->pid = 0;
        failureSet(failure, errno == EPERM ? NITRO_FAILURE_UNSUPPORTED : NITRO_FAILURE_RESOURCE,
                   "The process for QEMU cannot be had: %s", g_strerror(errno));
        return -1;
    }
    if ((launcher->pidFd = syscall(SYS_pidfd_open, launcher->pid, 0)) >= 0)
        return 0;
    if (errno == ENOSYS)
        failureSet(failure, NITRO_FAILURE_UNSUPPORTED,
                   "The machine 'nitro-enclave' needs descriptors of processes (pidfd_open): use "
                   "Linux 5.3 or newer");
    else
        failureSet(failure, NITRO_FAILURE_RESOURCE,
                   "The process for QEMU cannot have a descriptor: %s", g_strerror(errno));
    return -1;
}

static int
launcherForkBound(Launcher *launcher, LauncherChild *child, Failure *failure)
{
    size_t size = CPU_ALLOC_SIZE(NITRO_CPU_MAX + 1);
    cpu_set_t *before = CPU_ALLOC(NITRO_CPU_MAX + 1);
    int rc = launcherBind(child->options->cpus, before, size, failure);

    if (rc == 0) {
        rc = launcherForkNow(launcher, child, failure);
        sched_setaffinity(0, size, before);
    }
    CPU_FREE(before);
    return rc;
}

int
launcherFork(Launcher *launcher, const Options *options, const char *qemu, bool kvm, int nsm,
             Failure *failure)
{
    LauncherChannels channels;
    LauncherChild child = {.options = options, .qemu = qemu, .kvm = kvm, .nsm = nsm};
    int rc = launcherOpenChannels(&channels, options->hasCid);

    *launcher = LAUNCHER_NONE;
    launcher->request = channels.request[0];
    launcher->serial = channels.serial[0];
    launcher->qmp = channels.qmp[0];
    launcher->messages = channels.messages[0];
    launcher->vsock = channels.vsock[0];
    child.request = channels.request[1];
    child.serial = channels.serial[1];
    child.qmp = channels.qmp[1];
    child.messages = channels.messages[1];
    child.vsock = channels.vsock[1];

    if (rc < 0)
        failureSet(failure, NITRO_FAILURE_RESOURCE, "No connection to QEMU can be made: %s",
                   g_strerror(errno));
    else
        rc = options->cpus ? launcherForkBound(launcher, &child, failure) :
                             launcherForkNow(launcher, &child, failure);
    launcherCloseTheirs(&channels);
    return rc;
}

int
launcherRun(Launcher *launcher, const Machine *machine, int kernelFd, int ramdiskFd,
            Failure *failure)
{
    LauncherRequest request = {
        .acpi = machine->acpi, .icount = machine->icount, .ramdisk = ramdiskFd >= 0,
    };
    const int fds[LAUNCHER_FDS] = {kernelFd, ramdiskFd};
    size_t size = (ramdiskFd >= 0 ? 2 : 1) * sizeof(int);
    union LauncherControl control = {0};
    struct iovec iov[] = {{&request, sizeof(request)},
                          {machine->cmdline, strlen(machine->cmdline)}};
    struct msghdr message = {
        .msg_iov = iov, .msg_iovlen = G_N_ELEMENTS(iov),
        .msg_control = control.space, .msg_controllen = CMSG_SPACE(size),
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    ssize_t n;

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(header), fds, size);
    do {
        n = sendmsg(launcher->request, &message, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        failureSet(failure, NITRO_FAILURE_INTERNAL,
                   "The process for QEMU cannot be told to run it: %s", g_strerror(errno));
    close(launcher->request);
    launcher->request = -1;
    return n < 0 ? -1 : 0;
}

void
launcherKill(const Launcher *launcher)
{
    if (launcher->pid > 0 && launcher->pidFd >= 0)
        syscall(SYS_pidfd_send_signal, launcher->pidFd, SIGKILL, NULL, 0);
}

bool
launcherReap(Launcher *launcher, int *status)
{
    if (launcher->pid == 0 || waitpid(launcher->pid, status, WNOHANG) != launcher->pid)
        return false;
    launcher->pid = 0;
    return true;
}

void
launcherClear(Launcher *launcher)
{
    const int fds[] = {launcher->request, launcher->serial, launcher->qmp, launcher->messages,
                       launcher->vsock, launcher->pidFd};
    size_t i;

    launcherKill(launcher);
    for (i = 0; i < G_N_ELEMENTS(fds); i++)
        launcherClose(fds[i]);
    *launcher = LAUNCHER_NONE;
}
