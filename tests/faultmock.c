/*
 * faultmock.c: calls that fail when a test wants them to: preloaded into the daemon
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The file that the environment variable FAULTMOCK_CONTROL names is shared with the test, which
 * arms faults in it while the daemon runs, and has each call listed there that it makes:
 * tests/e2e/faultmock.py is the other side, and has the same structs. It is in force in the
 * program that is called FAULTMOCK_PROGRAM, and in a child of its until that executes another
 * program.
 *
 * A call of libc's -> which file, and which thread -> is a fault armed for it? then its errno,
 * and libc is not asked -> the list.
 *
 * Where a descriptor is all that a call is given, its path is what /proc/self/fd says. Calls
 * that libc makes itself do not come by here, such as the reads of stdio.
 */

/* With it, open() and others would be called open64() here. */
#undef _FILE_OFFSET_BITS

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define ALIAS(name) __attribute__((visibility("default"), alias(#name)))

#define FAULTS 8
#define CALLS 8192

#define NAME_SIZE 20
#define THREAD_SIZE 16
#define PATH_SIZE 220

/* A call fails, after @skip that do not, @count times, or always when that is negative. */
struct Fault {
    int32_t armed;
    int32_t error; /* errno */
    int32_t skip;
    int32_t count;
    int32_t hits;
    char call[NAME_SIZE];
    char thread[THREAD_SIZE]; /* patterns of fnmatch(3), "*" for any */
    char path[PATH_SIZE];
};

struct Call {
    int32_t error; /* errno if a fault was injected, or 0 */
    int32_t child; /* made by a child that has not executed anything yet */
    int32_t done;  /* the rest is written */
    char call[NAME_SIZE];
    char thread[THREAD_SIZE];
    char path[PATH_SIZE];
};

struct Control {
    int32_t recording;
    int32_t ncalls; /* may be more than there is room for */
    struct Fault faults[FAULTS];
    struct Call calls[CALLS];
};

static struct Control *control;
static pid_t program; /* the process that is to fail, not a child of it */

/* The function of the same name that comes after this library's */
#define NEXT(name) \
    ({ \
        static __typeof__(&name) next; \
        if (!next) \
            next = (__typeof__(&name)) dlsym(RTLD_NEXT, #name); \
        next; \
    })

static void __attribute__((constructor))
faultmockOpen(void)
{
    const char *path = getenv("FAULTMOCK_CONTROL");
    const char *name = getenv("FAULTMOCK_PROGRAM");
    struct Control *map;
    int fd;

    if (!path || !name || strcmp(program_invocation_short_name, name) != 0 ||
        (fd = NEXT(open)(path, O_RDWR | O_CLOEXEC)) < 0)
        return;
    map = mmap(NULL, sizeof(*map), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return;
    program = getpid();
    control = map;
}


static void
copyText(char *to, size_t size, const char *from)
{
    size_t len = strnlen(from, size - 1);

    memcpy(to, from, len);
    to[len] = '\0';
}


/* Whether the call is to fail by @fault: then this is one of its turns. */
static bool
faultTake(struct Fault *fault, const char *call, const char *thread, const char *path)
{
    if (!__atomic_load_n(&fault->armed, __ATOMIC_ACQUIRE) || strcmp(fault->call, call) != 0 ||
        fnmatch(fault->thread, thread, 0) != 0 || fnmatch(fault->path, path, 0) != 0)
        return false;
    if (__atomic_fetch_sub(&fault->skip, 1, __ATOMIC_ACQ_REL) > 0)
        return false;
    if (fault->count >= 0 && __atomic_fetch_sub(&fault->count, 1, __ATOMIC_ACQ_REL) <= 0) {
        __atomic_store_n(&fault->armed, 0, __ATOMIC_RELEASE);
        return false;
    }
    __atomic_fetch_add(&fault->hits, 1, __ATOMIC_ACQ_REL);
    return true;
}


static void
record(const char *name, const char *thread, const char *path, int error)
{
    int32_t n = __atomic_fetch_add(&control->ncalls, 1, __ATOMIC_ACQ_REL);
    struct Call *call = &control->calls[n];

    if (n >= CALLS)
        return;
    call->error = error;
    call->child = getpid() != program;
    copyText(call->call, sizeof(call->call), name);
    copyText(call->thread, sizeof(call->thread), thread);
    copyText(call->path, sizeof(call->path), path);
    __atomic_store_n(&call->done, 1, __ATOMIC_RELEASE);
}


static bool
isWatching(void)
{
    size_t i;

    if (!control)
        return false;
    if (__atomic_load_n(&control->recording, __ATOMIC_ACQUIRE))
        return true;
    for (i = 0; i < FAULTS; i++) {
        if (__atomic_load_n(&control->faults[i].armed, __ATOMIC_ACQUIRE))
            return true;
    }
    return false;
}


/* Returns true with errno set when the call @name for @path is to fail. */
static bool
fails(const char *name, const char *path)
{
    char thread[THREAD_SIZE] = "";
    int before = errno;
    int error = 0;
    size_t i;

    if (!isWatching())
        return false;

    prctl(PR_GET_NAME, thread, 0, 0, 0);
    for (i = 0; i < FAULTS && error == 0; i++) {
        if (faultTake(&control->faults[i], name, thread, path))
            error = control->faults[i].error;
    }
    if (error != 0 || __atomic_load_n(&control->recording, __ATOMIC_ACQUIRE))
        record(name, thread, path, error);
    errno = error != 0 ? error : before;
    return error != 0;
}


/* As fails(), with the path of @fd */
static bool
failsFd(const char *name, int fd)
{
    char path[PATH_SIZE] = "";
    char link[32];
    int before = errno;
    ssize_t len;

    if (!isWatching())
        return false;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = NEXT(readlink)(link, path, sizeof(path) - 1);
    path[len < 0 ? 0 : len] = '\0';
    errno = before;
    return fails(name, path);
}


static bool
failsAddress(const char *name, const struct sockaddr *addr, socklen_t len)
{
    const struct sockaddr_un *un = (const void *) addr;
    char path[sizeof(un->sun_path) + 1] = "";

    if (addr->sa_family == AF_UNIX && len > sizeof(un->sun_family))
        memcpy(path, un->sun_path, len - sizeof(un->sun_family));
    return fails(name, path);
}


/* Files */

static mode_t
modeOf(int flags, va_list args)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
}


EXPORT int
open(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = modeOf(flags, args);
    va_end(args);
    return fails("open", path) ? -1 : NEXT(open)(path, flags, mode);
}

ALIAS(open) int open64(const char *path, int flags, ...);


EXPORT int
openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = modeOf(flags, args);
    va_end(args);
    return fails("open", path) ? -1 : NEXT(openat)(dir, path, flags, mode);
}

ALIAS(openat) int openat64(int dir, const char *path, int flags, ...);


EXPORT FILE *
fopen(const char *restrict path, const char *restrict mode)
{
    return fails("open", path) ? NULL : NEXT(fopen)(path, mode);
}

ALIAS(fopen) FILE *fopen64(const char *restrict path, const char *restrict mode);


EXPORT DIR *
opendir(const char *path)
{
    return fails("open", path) ? NULL : NEXT(opendir)(path);
}


EXPORT ssize_t
read(int fd, void *buffer, size_t size)
{
    return failsFd("read", fd) ? -1 : NEXT(read)(fd, buffer, size);
}


EXPORT ssize_t
write(int fd, const void *buffer, size_t size)
{
    return failsFd("write", fd) ? -1 : NEXT(write)(fd, buffer, size);
}


EXPORT int
fsync(int fd)
{
    return failsFd("fsync", fd) ? -1 : NEXT(fsync)(fd);
}


EXPORT int
fdatasync(int fd)
{
    return failsFd("fsync", fd) ? -1 : NEXT(fdatasync)(fd);
}


EXPORT int
rename(const char *from, const char *to)
{
    return fails("rename", to) ? -1 : NEXT(rename)(from, to);
}


EXPORT int
unlink(const char *path)
{
    return fails("unlink", path) ? -1 : NEXT(unlink)(path);
}


EXPORT int
unlinkat(int dir, const char *path, int flags)
{
    return fails("unlink", path) ? -1 : NEXT(unlinkat)(dir, path, flags);
}


EXPORT int
mkdir(const char *path, mode_t mode)
{
    return fails("mkdir", path) ? -1 : NEXT(mkdir)(path, mode);
}


/* Sockets and pipes */

EXPORT int
socket(int domain, int type, int protocol)
{
    return fails("socket", "") ? -1 : NEXT(socket)(domain, type, protocol);
}


EXPORT int
bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    return failsAddress("bind", addr, len) ? -1 : NEXT(bind)(fd, addr, len);
}


EXPORT int
connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    return failsAddress("connect", addr, len) ? -1 : NEXT(connect)(fd, addr, len);
}


EXPORT int
accept(int fd, struct sockaddr *restrict addr, socklen_t *restrict len)
{
    return failsFd("accept", fd) ? -1 : NEXT(accept)(fd, addr, len);
}


EXPORT int
accept4(int fd, struct sockaddr *restrict addr, socklen_t *restrict len, int flags)
{
    return failsFd("accept", fd) ? -1 : NEXT(accept4)(fd, addr, len, flags);
}


EXPORT ssize_t
recv(int fd, void *buffer, size_t size, int flags)
{
    return failsFd("recv", fd) ? -1 : NEXT(recv)(fd, buffer, size, flags);
}


/* What recv() is where the compiler does not see how large the buffer is */
ssize_t __recv_chk(int fd, void *buffer, size_t size, size_t room, int flags);

EXPORT ssize_t
__recv_chk(int fd, void *buffer, size_t size, size_t room, int flags)
{
    return size > room ? -1 : recv(fd, buffer, size, flags);
}


EXPORT ssize_t
send(int fd, const void *buffer, size_t size, int flags)
{
    return failsFd("send", fd) ? -1 : NEXT(send)(fd, buffer, size, flags);
}


EXPORT int
pipe(int fds[2])
{
    return fails("pipe", "") ? -1 : NEXT(pipe)(fds);
}


EXPORT int
pipe2(int fds[2], int flags)
{
    return fails("pipe", "") ? -1 : NEXT(pipe2)(fds, flags);
}


/* Processes and threads */

EXPORT pid_t
fork(void)
{
    return fails("fork", "") ? -1 : NEXT(fork)();
}


EXPORT int
pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attr,
               void *(*func)(void *), void *restrict opaque)
{
    return fails("pthread_create", "") ? errno : NEXT(pthread_create)(thread, attr, func, opaque);
}


EXPORT long
syscall(long number, ...)
{
    long a[6];
    va_list args;
    size_t i;

    va_start(args, number);
    for (i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);

    if ((number == SYS_pidfd_open && fails("pidfd_open", "")) ||
        (number == SYS_pidfd_send_signal && fails("pidfd_send_signal", "")))
        return -1;
    return NEXT(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
