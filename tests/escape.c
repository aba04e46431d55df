/*
 * escape.c: what a taken-over helper or QEMU would try
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * All calls are made by number, so that what is written as their name is what the kernel
 * sees. Each is harmless where it is possible: the test runs the list outside of any sandbox as
 * well, to see that what is refused inside would be done there.
 */

#include "escape.h"

#include <asm/sockios.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/if_alg.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/openat2.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/quota.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "trailer.h"

#define VALUE_MAX 512
#define FD_MAX 64 /* descriptors that are looked at */

/* What the acts aim at. All of it must exist, or a refusal proves nothing. */
static struct {
    const char *key;
    char value[VALUE_MAX];
} escapeTargets[] = {
    { "image", "" },    /* the file of another domain */
    { "console", "" },  /* of another domain */
    { "control", "" },  /* socket of another domain */
    { "vsock", "" },    /* socket of another domain */
    { "daemon", "" },   /* virtnitrod-sock */
    { "pidfile", "" },  /* of the process itself, or the status file */
    { "abstract", "" }, /* name of a listening socket without a file */
    { "port", "" },     /* listening TCP port of 127.0.0.1 */
    { "shm", "" },      /* key of shared memory (System V) that anybody may read */
    { "victim", "" },   /* PID of another helper */
    { "broker", "" },   /* the act that the heartbeat broker is to try */
};

static const char *
target(const char *key)
{
    size_t i;

    for (i = 0; i < sizeof(escapeTargets) / sizeof(*escapeTargets); i++) {
        if (strcmp(escapeTargets[i].key, key) == 0)
            return escapeTargets[i].value;
    }
    abort();
}

const char *
escapeGetBrokerAct(void)
{
    escapeRead();
    return target("broker");
}

static pid_t
victim(void)
{
    return atoi(target("victim"));
}

static long
tryOpen(const char *path, int flags)
{
    return syscall(SYS_openat, AT_FDCWD, path, flags, 0600);
}

/* Files */

static long
openShadow(void)
{
    return tryOpen("/etc/shadow", O_RDONLY);
}

static long
openShadowPath(void)
{
    return tryOpen("/etc/shadow", O_PATH);
}

static long
openRoot(void)
{
    return tryOpen("/root", O_RDONLY | O_DIRECTORY);
}

static long
openUserFile(void)
{
    return tryOpen("/etc/passwd", O_RDONLY);
}

static long
openInit(void)
{
    return tryOpen("/proc/1/environ", O_RDONLY);
}

static long
openVictim(void)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/status", victim());
    return tryOpen(path, O_RDONLY);
}

static long
openVictimMemory(void)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/mem", victim());
    return tryOpen(path, O_RDWR);
}

static long
openCorePattern(void)
{
    return tryOpen("/proc/sys/kernel/core_pattern", O_WRONLY);
}

static long
openSysrq(void)
{
    return tryOpen("/proc/sysrq-trigger", O_WRONLY);
}

static long
openImage(void)
{
    return tryOpen(target("image"), O_RDONLY);
}

static long
openConsole(void)
{
    return tryOpen(target("console"), O_WRONLY);
}

static long
openPidFile(void)
{
    return tryOpen(target("pidfile"), O_WRONLY);
}

static long
createFile(void)
{
    char path[64];

    snprintf(path, sizeof(path), "/tmp/escape-%d", (int)getpid());
    if (tryOpen(path, O_WRONLY | O_CREAT | O_EXCL) < 0)
        return -1;
    unlink(path);
    return 0;
}

static long
openSecond(void)
{
    struct open_how how = { .flags = O_RDONLY };

    return syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", &how, sizeof(how));
}

/* The kernel asks for the capability before it looks at the handle. */
static long
openHandle(void)
{
    struct { struct file_handle handle; char more[MAX_HANDLE_SZ]; } handle;

    memset(&handle, 0, sizeof(handle));
    handle.handle.handle_bytes = 8;
    handle.handle.handle_type = 1;
    if (syscall(SYS_open_by_handle_at, AT_FDCWD, &handle.handle, O_RDONLY) < 0 && errno != ESTALE)
        return -1;
    return 0;
}

/* A directory that was left open is a way out of the root directory. */
static long
leakedDirectory(void)
{
    struct stat info;
    int fd;

    for (fd = 0; fd < FD_MAX; fd++) {
        if (fstat(fd, &info) == 0 && S_ISDIR(info.st_mode) &&
            syscall(SYS_openat, fd, "../../../../../../../../../etc/passwd", O_RDONLY, 0) >= 0)
            return 0;
    }
    errno = EACCES;
    return -1;
}

static long
linkFile(void)
{
    return syscall(SYS_symlinkat, "/etc/passwd", AT_FDCWD, "escape") < 0 ? -1 :
           syscall(SYS_unlinkat, AT_FDCWD, "escape", 0);
}

/* Other processes */

static long
killVictim(void)
{
    return syscall(SYS_kill, victim(), SIGCONT);
}

static long
killAll(void)
{
    return syscall(SYS_tgkill, victim(), victim(), SIGCONT);
}

/* Whom the kernel is to send a signal, any, when there is something to read */
static long
ownerVictim(void)
{
    int fds[2];
    long rc;

    if (syscall(SYS_pipe2, fds, O_CLOEXEC) < 0)
        return -1;
    rc = syscall(SYS_fcntl, fds[0], F_SETOWN, victim());
    close(fds[0]);
    close(fds[1]);
    return rc;
}

static long
ownerVictimExtended(void)
{
    const struct f_owner_ex owner = { F_OWNER_PID, victim() };
    int fds[2];
    long rc;

    if (syscall(SYS_pipe2, fds, O_CLOEXEC) < 0)
        return -1;
    rc = syscall(SYS_fcntl, fds[0], F_SETOWN_EX, &owner);
    close(fds[0]);
    close(fds[1]);
    return rc;
}

static long
ownerVictimIoctl(void)
{
    int owner = victim();
    int fds[2];
    long rc;

    if (syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, fds) < 0)
        return -1;
    rc = syscall(SYS_ioctl, fds[0], FIOSETOWN, &owner);
    close(fds[0]);
    close(fds[1]);
    return rc;
}

static long
ptraceVictim(void)
{
    return syscall(SYS_ptrace, PTRACE_SEIZE, victim(), NULL, NULL);
}

/* The page at 64 KiB is nobody's: what may be done fails with EFAULT. */
static long
readVictim(void)
{
    char byte;
    struct iovec local = { &byte, 1 }, remote = { (void *)0x10000, 1 };

    if (syscall(SYS_process_vm_readv, victim(), &local, 1, &remote, 1, 0) < 0 && errno != EFAULT)
        return -1;
    return 0;
}

static long
pidfdVictim(void)
{
    return syscall(SYS_pidfd_open, victim(), 0);
}

static long
limitVictim(void)
{
    struct rlimit limit;

    return syscall(SYS_prlimit64, victim(), RLIMIT_NOFILE, NULL, &limit);
}

static long
niceVictim(void)
{
    return syscall(SYS_setpriority, PRIO_PROCESS, victim(), 5);
}

/* New ones */

static long
execute(void)
{
    static const char *const argv[] = {"sh", "-c", "echo act execve: done >&2", NULL};
    static const char *const environment[] = {NULL};

    return syscall(SYS_execve, "/bin/sh", argv, environment);
}

static long
executeSelf(void)
{
    static const char *const argv[] = {"escaped", NULL};
    static const char *const environment[] = {NULL};

    /* a path that is none: what may not execute is refused before it is looked for */
    if (syscall(SYS_execve, "/", argv, environment) < 0 && errno != EACCES)
        return -1;
    return 0;
}

static long
forkChild(void)
{
    long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

    if (pid == 0)
        _exit(0);
    return pid;
}

#ifdef SYS_fork /* newer architectures have clone() alone */
static long
forkOld(void)
{
    long pid = syscall(SYS_fork);

    if (pid == 0)
        _exit(0);
    return pid;
}
#endif

/* Sockets */

static long
connectTo(const void *address, socklen_t len, int domain)
{
    long fd = syscall(SYS_socket, domain, SOCK_STREAM | SOCK_CLOEXEC, 0);
    long rc;

    if (fd < 0)
        return -1;
    rc = syscall(SYS_connect, fd, address, len);
    close(fd);
    return rc;
}

static long
connectPath(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    if (connectTo(&address, sizeof(address), AF_UNIX) == 0)
        return 0;
    /* it has been found, and is only not listened to */
    if (errno == ECONNREFUSED)
        errno = EINVAL;
    return -1;
}

static long
connectDaemon(void)
{
    return connectPath(target("daemon"));
}

static long
connectControl(void)
{
    return connectPath(target("control"));
}

static long
connectVsock(void)
{
    return connectPath(target("vsock"));
}

static long
connectAbstract(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const char *name = target("abstract");

    memcpy(address.sun_path + 1, name, strlen(name));
    return connectTo(&address, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name), AF_UNIX);
}

static long
connectInet(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(atoi(target("port"))),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

    return connectTo(&address, sizeof(address), AF_INET);
}

/* Of the host, which no network namespace keeps away */
static long
bindHostVsock(void)
{
    struct sockaddr_vm address = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY,
                                   .svm_port = 60123 };
    long fd = syscall(SYS_socket, AF_VSOCK, SOCK_STREAM, 0);

    return fd < 0 ? -1 : syscall(SYS_bind, fd, &address, sizeof(address));
}

static long
socketOf(int domain, int type)
{
    return syscall(SYS_socket, domain, type | SOCK_CLOEXEC, 0);
}

static long
socketInet(void)
{
    return socketOf(AF_INET, SOCK_STREAM);
}

static long
socketInet6(void)
{
    return socketOf(AF_INET6, SOCK_DGRAM);
}

static long
socketNetlink(void)
{
    return socketOf(AF_NETLINK, SOCK_RAW);
}

static long
socketPacket(void)
{
    return socketOf(AF_PACKET, SOCK_RAW);
}

static long
socketAlg(void)
{
    return socketOf(AF_ALG, SOCK_SEQPACKET);
}

static long
socketUnix(void)
{
    return socketOf(AF_UNIX, SOCK_STREAM);
}

static long
socketUnixDatagram(void)
{
    return socketOf(AF_UNIX, SOCK_DGRAM);
}

static long
socketVsock(void)
{
    return socketOf(AF_VSOCK, SOCK_STREAM);
}

static long
sharedMemory(void)
{
    return syscall(SYS_shmget, atoi(target("shm")), 0, 0);
}

/* The system */

static long
mountRoot(void)
{
    return syscall(SYS_mount, "none", "/", "tmpfs", 0, NULL);
}

static long
unmountRoot(void)
{
    /* with no such flag the capability is looked at first */
    if (syscall(SYS_umount2, "/proc", MNT_EXPIRE) < 0 && errno != EAGAIN && errno != EBUSY)
        return -1;
    return 0;
}

static long
unshareUser(void)
{
    return syscall(SYS_unshare, CLONE_NEWUSER);
}

static long
unshareMounts(void)
{
    return syscall(SYS_unshare, CLONE_NEWNS);
}

/* Of the descriptor 0, which is no namespace: what may try is told EINVAL. */
static long
setNamespace(void)
{
    if (syscall(SYS_setns, 0, 0) < 0 && errno != EINVAL)
        return -1;
    return 0;
}

static long
changeRoot(void)
{
    return syscall(SYS_chroot, "/");
}

static long
ioUring(void)
{
    struct io_uring_params params = { 0 };

    return syscall(SYS_io_uring_setup, 8, &params);
}

static long
bpfMap(void)
{
    union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4,
                            .max_entries = 1 };

    return syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
}

static long
userFault(void)
{
    return syscall(SYS_userfaultfd, O_CLOEXEC);
}

/* Of all processes on a CPU */
static long
perfEvents(void)
{
    struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE, .size = sizeof(attr),
                                    .config = PERF_COUNT_SW_CPU_CLOCK };

    return syscall(SYS_perf_event_open, &attr, -1, 0, -1, 0);
}

static long
addKey(void)
{
    return syscall(SYS_add_key, "user", "escape", "x", 1, KEY_SPEC_PROCESS_KEYRING);
}

static long
keyControl(void)
{
    return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 1);
}

static long
memoryFile(void)
{
    return syscall(SYS_memfd_create, "escape", 0);
}

static long
mapCode(void)
{
    long rc = syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return rc == -1 ? -1 : 0;
}

static long
protectCode(void)
{
    static char page[8192] __attribute__((aligned(4096)));

    return syscall(SYS_mprotect, page, 4096, PROT_READ | PROT_EXEC);
}

static long
setDumpable(void)
{
    return syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static const struct sock_filter allowAll[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
static const struct sock_fprog allowProgram = { 1, (struct sock_filter *)allowAll };

static long
looserFilter(void)
{
    return syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &allowProgram, 0, 0);
}

static long
looserSeccomp(void)
{
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &allowProgram);
}

static long
becomeRoot(void)
{
    return syscall(SYS_setuid, 0);
}

static long
setGroups(void)
{
    gid_t group = 0;

    return syscall(SYS_setgroups, 1, &group);
}

static long
raiseCore(void)
{
    struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

    return syscall(SYS_prlimit64, 0, RLIMIT_CORE, &limit, NULL);
}

/* Whatever descriptor 0 is: the request must not get so far as to say that it is no terminal. */
static long
terminalInput(void)
{
    return syscall(SYS_ioctl, 0, TIOCSTI, "x");
}

static long
changePersonality(void)
{
    return syscall(SYS_personality, ADDR_NO_RANDOMIZE);
}

static long
quota(void)
{
    return syscall(SYS_quotactl, QCMD((unsigned int)Q_SYNC, USRQUOTA), NULL, 0, NULL);
}

/* With numbers that are none of its own: who may is told EINVAL. */
static long
rebootHost(void)
{
    if (syscall(SYS_reboot, 0, 0, 0, NULL) < 0 && errno != EINVAL)
        return -1;
    return 0;
}

static long
loadModule(void)
{
    /* who may is told that this is none */
    if (syscall(SYS_init_module, allowAll, 4, "") < 0 && errno != ENOEXEC && errno != EINVAL)
        return -1;
    return 0;
}

static long
nameHost(void)
{
    /* who may is told that the length is none */
    if (syscall(SYS_sethostname, "", -1) < 0 && errno != EINVAL)
        return -1;
    return 0;
}

static long
makeDevice(void)
{
    char path[64];

    snprintf(path, sizeof(path), "/tmp/escape-node-%d", (int)getpid());
    if (syscall(SYS_mknodat, AT_FDCWD, path, S_IFCHR | 0600, 0x103) < 0)
        return -1;
    unlink(path);
    return 0;
}

typedef struct {
    const char *name;
    const char *call; /* the one that a filter names */
    long (*run)(void);
    const char *target; /* NULL: it needs none */
    int refusal;        /* an errno that is a refusal, though it mostly tells of bad arguments */
} Act;

static const Act acts[] = {
    { "open-shadow", "openat", openShadow },
    { "open-shadow-path", "openat", openShadowPath },
    { "open-root", "openat", openRoot },
    { "open-passwd", "openat", openUserFile },
    { "open-init", "openat", openInit },
    { "open-victim", "openat", openVictim, "victim" },
    { "open-victim-memory", "openat", openVictimMemory, "victim" },
    { "open-core-pattern", "openat", openCorePattern },
    { "open-sysrq", "openat", openSysrq },
    { "open-image", "openat", openImage, "image" },
    { "open-console", "openat", openConsole, "console" },
    { "open-pidfile", "openat", openPidFile, "pidfile" },
    { "create-file", "openat", createFile },
    { "openat2", "openat2", openSecond },
    { "open-by-handle", "open_by_handle_at", openHandle },
    { "leaked-directory", "openat", leakedDirectory },
    { "symlink", "symlinkat", linkFile },
    { "mknod", "mknodat", makeDevice },
    { "kill", "kill", killVictim, "victim" },
    { "tgkill", "tgkill", killAll, "victim" },
    { "set-owner", "pipe2,fcntl", ownerVictim, "victim" },
    { "set-owner-extended", "pipe2,fcntl", ownerVictimExtended, "victim" },
    { "set-owner-ioctl", "socketpair,ioctl", ownerVictimIoctl, "victim" },
    { "ptrace", "ptrace", ptraceVictim, "victim" },
    { "process-vm-readv", "process_vm_readv", readVictim, "victim" },
    { "pidfd-open", "pidfd_open", pidfdVictim, "victim", EINVAL },
    { "prlimit-victim", "prlimit64", limitVictim, "victim" },
    { "setpriority", "setpriority", niceVictim, "victim" },
    { "connect-daemon", "socket,connect", connectDaemon, "daemon" },
    { "connect-control", "socket,connect", connectControl, "control" },
    { "connect-vsock", "socket,connect", connectVsock, "vsock" },
    { "connect-abstract", "socket,connect", connectAbstract, "abstract" },
    { "connect-inet", "socket", connectInet, "port" },
    { "bind-host-vsock", "socket,bind", bindHostVsock },
    { "socket-inet", "socket", socketInet },
    { "socket-inet6", "socket", socketInet6 },
    { "socket-netlink", "socket", socketNetlink },
    { "socket-packet", "socket", socketPacket },
    { "socket-alg", "socket", socketAlg },
    { "socket-unix", "socket", socketUnix },
    { "socket-unix-datagram", "socket", socketUnixDatagram },
    { "socket-vsock", "socket", socketVsock },
    { "shmget", "shmget", sharedMemory, "shm" },
    { "unshare-user", "unshare", unshareUser },
    { "unshare-mounts", "unshare", unshareMounts },
    { "setns", "setns", setNamespace },
    { "chroot", "chroot", changeRoot },
    { "io-uring", "io_uring_setup", ioUring },
    { "bpf", "bpf", bpfMap },
    { "userfaultfd", "userfaultfd", userFault },
    { "perf-event-open", "perf_event_open", perfEvents },
    { "add-key", "add_key", addKey },
    { "keyctl", "keyctl", keyControl },
    { "memfd-create", "memfd_create", memoryFile },
    { "mmap-exec", "mmap", mapCode },
    { "mprotect-exec", "mprotect", protectCode },
    { "set-dumpable", "prctl", setDumpable },
    { "prctl-seccomp", "prctl", looserFilter },
    { "seccomp", "seccomp", looserSeccomp },
    { "setuid", "setuid", becomeRoot, NULL, EINVAL },     /* 0 is nobody in the namespace */
    { "setgroups", "setgroups", setGroups, NULL, EINVAL },
    { "raise-core", "prlimit64", raiseCore },
    { "tiocsti", "ioctl", terminalInput },
    { "personality", "personality", changePersonality },
    { "quotactl", "quotactl", quota, NULL, ENOSYS }, /* kernels can be built without */
    { "reboot", "reboot", rebootHost },
    { "init-module", "init_module", loadModule, NULL, ENOSYS },
    { "sethostname", "sethostname", nameHost },
    { "mount", "mount", mountRoot },
    { "umount", "umount2", unmountRoot },
#ifdef SYS_fork
    { "fork", "fork", forkOld },
#endif
    { "clone", "clone", forkChild },
    { "execve-none", "execve", executeSelf },
    { "execve", "execve", execute },
};
#define ACT_COUNT (sizeof(acts) / sizeof(*acts))

/* Errors that are about the arguments: the call as such was let through. */
static bool
isInvalid(const Act *act, int err)
{
    return err != act->refusal &&
           (err == EINVAL || err == EFAULT || err == EBADF || err == ENOTTY || err == ENOSYS);
}

static void
say(const Act *act, const char *verdict, const char *detail)
{
    dprintf(STDERR_FILENO, "act %s: %s%s%s\n", act->name, verdict, *detail ? " " : "", detail);
}

static void
runAct(const Act *act)
{
    const char *name;
    int err;

    say(act, "trying", act->call);
    if (act->run() >= 0) {
        say(act, "done", "");
        return;
    }
    err = errno;
    name = strerrorname_np(err);
    say(act, isInvalid(act, err) ? "invalid" : "refused", name ? name : "an unknown error");
}

static void
runInChild(const Act *act)
{
    char number[16];
    int status;
    pid_t pid = fork();

    if (pid <= 0) {
        runAct(act);
        if (pid == 0)
            _exit(0);
        return;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFSIGNALED(status)) {
        snprintf(number, sizeof(number), "%d", WTERMSIG(status));
        say(act, "signal", number);
    }
}

void
escapeRead(void)
{
    static bool done;
    const char *line;
    size_t i;

    if (done)
        return;
    done = true;
    for (line = trailerRead(); line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        for (i = 0; i < sizeof(escapeTargets) / sizeof(*escapeTargets); i++) {
            char format[64];

            snprintf(format, sizeof(format), "escape-%s %%%d[^\n]", escapeTargets[i].key,
                     VALUE_MAX - 1);
            sscanf(line, format, escapeTargets[i].value);
        }
    }
}

void
escapeRunAll(void)
{
    size_t i;

    escapeRead();
    for (i = 0; i < ACT_COUNT; i++) {
        if (!acts[i].target || *target(acts[i].target))
            runInChild(&acts[i]);
    }
}

void
escapeRun(const char *name)
{
    size_t i;

    escapeRead();
    for (i = 0; i < ACT_COUNT; i++) {
        if (strcmp(acts[i].name, name) == 0) {
            runAct(&acts[i]);
            return;
        }
    }
    dprintf(STDERR_FILENO, "act %s: unknown\n", name);
}
