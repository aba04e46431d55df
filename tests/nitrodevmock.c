/*
 * nitrodevmock.c: /dev/nitro_enclaves, the CPU pool and AF_VSOCK for tests (LD_PRELOAD)
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The thin half of the mock; what it pretends is all in nitrodevmock.py, which runs as a
 * process of its own on the directory $NITRO_MOCK_DIR. (A program that clears its
 * environment keeps LD_PRELOAD at most; then it is the directory that this library lies in.)
 *
 * Flow: a libc function that touches what is mocked -> mockCall() (nitrodevmock_call.c): one
 * message to the server -> the server acts, on a descriptor that goes with the message where
 * there is one -> its answer is the function's result. An ioctl's argument goes with the
 * message and comes back with the answer.
 *
 * A program that is sandboxed by then may do next to nothing. What this library does for it is
 * no more than that: nitrodevmocksandbox.c has the list of the system calls. Paths are looked
 * at, and UNIX sockets made, for programs alone that do so themselves.
 *
 * There is next to no state here but the path of the directory: the kernel knows of each
 * descriptor what it is, by the name that the server has bound it to. So descriptors can be
 * inherited, duplicated and passed, and threads and forks need no care. Names are
 *     DIR/fd/device.N, DIR/fd/enclave.N, DIR/fd/ne_cpus.N   what open() and ioctl() return
 *     DIR/vsock/PORT, DIR/vsock/CID.PORT                    a listener, an end of a connection
 * all of them abstract (with a leading NUL) but for the listener.
 */

#include "nitrodevmock.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/nitro_enclaves.h>
#include <linux/vm_sockets.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define DEVICE "/dev/nitro_enclaves"
#define PARAMETER "/sys/module/nitro_enclaves/parameters/ne_cpus"

/* Paths below these go to the directory, where it holds the same path. */
static const char *const redirected[] = {
    "/sys/module/nitro_enclaves",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/sys/kernel/mm/hugepages",
};

/*
 * Descriptors that write() and poll() have to look at. They stay marked after a close, so it
 * says "maybe". Nothing but a shortcut: other programs shall not pay for each write().
 */
static unsigned char marked[1024];

struct MockState mockState;

static void
findDirectory(char buffer[MOCK_DIRECTORY_SIZE])
{
    const char *env = getenv("NITRO_MOCK_DIR");
    Dl_info info;
    int len;

    buffer[0] = '\0';
    if (env) {
        if (snprintf(buffer, MOCK_DIRECTORY_SIZE, "%s", env) >= MOCK_DIRECTORY_SIZE)
            buffer[0] = '\0';
    } else if (dladdr(&mockState, &info) && info.dli_fname && info.dli_fname[0] == '/') {
        len = strrchr(info.dli_fname, '/') - info.dli_fname;
        if (snprintf(buffer, MOCK_DIRECTORY_SIZE, "%.*s/call", len, info.dli_fname) >=
                MOCK_DIRECTORY_SIZE ||
            mockState.access(buffer, F_OK) < 0)
            len = 0;
        buffer[len] = '\0';
    }
}

/*
 * The constructors of other libraries can come here before this one's does, and several
 * threads at once: all write the same.
 */
void
mockSetUp(void)
{
    char directory[MOCK_DIRECTORY_SIZE];
    int saved = errno;

#define X(name) mockState.name = (__typeof__(&name)) dlsym(RTLD_NEXT, #name);
    MOCK_FUNCTIONS(X)
#undef X
    findDirectory(directory);
    memcpy(mockState.directory, directory, MOCK_DIRECTORY_SIZE);
    __atomic_store_n(&mockState.done, true, __ATOMIC_RELEASE);
    errno = saved;
}

/* Whether the program has been started with this library, and has not loaded it itself */
static bool
isPreloaded(void)
{
    const char *env = getenv("LD_PRELOAD");
    Dl_info info;

    return env && dladdr(&mockState, &info) && info.dli_fname && strstr(env, info.dli_fname);
}

static __attribute__((constructor)) void
start(void)
{
    int saved = errno;

    if (mockDirectory() && isPreloaded())
        mockKeepConnection();
    errno = saved;
}

/* The mock's directory, NULL when there is none and nothing is to be mocked. */
const char *
mockDirectory(void)
{
    mockNeedState();
    return mockState.directory[0] ? mockState.directory : NULL;
}

/* Descriptors */

const char *
mockedName(int (*get)(int, struct sockaddr *, socklen_t *), int fd, struct sockaddr_un *buffer)
{
    const char *directory = mockDirectory();
    socklen_t len = sizeof(*buffer) - 1;
    size_t prefix = directory ? strlen(directory) : 0;
    const char *name;
    int saved = errno;

    memset(buffer, 0, sizeof(*buffer));
    if (!directory || get(fd, (struct sockaddr *) buffer, &len) < 0) {
        errno = saved;
        return NULL;
    }
    name = buffer->sun_path + (buffer->sun_path[0] == '\0');
    if (buffer->sun_family != AF_UNIX || strncmp(name, directory, prefix) != 0 ||
        name[prefix] != '/')
        return NULL;
    return name + prefix + 1;
}

static bool
isMocked(int fd, const char *kind)
{
    struct sockaddr_un address;
    const char *name = mockedName(REAL(getsockname), fd, &address);

    return name && strncmp(name, kind, strlen(kind)) == 0;
}

static void
mark(int fd)
{
    if (fd >= 0 && (size_t) fd < sizeof(marked))
        marked[fd] = 1;
}

static bool
isMarked(int fd)
{
    return fd >= 0 && (size_t) fd < sizeof(marked) && marked[fd];
}

/* Paths */

/*
 * Returns the path to use for @path: a redirected one in @buffer or @path itself. A path
 * that does not fit in @buffer is none of the mocked ones.
 */
static const char *
redirect(const char *path, char *buffer, size_t size)
{
    const char *directory = mockDirectory();

    if (!directory || !path || path[0] != '/')
        return path;

    if (strcmp(path, DEVICE) == 0) {
        snprintf(buffer, size, "%s/device", directory);
        return buffer;
    }
    for (size_t i = 0; i < sizeof(redirected) / sizeof(redirected[0]); i++) {
        size_t len = strlen(redirected[i]);
        int saved = errno;
        int found;

        if (strncmp(path, redirected[i], len) != 0 || (path[len] && path[len] != '/'))
            continue;
        snprintf(buffer, size, "%s%s", directory, redirected[i]);
        found = REAL(access)(buffer, F_OK);
        errno = saved;
        if (found < 0 || (size_t) snprintf(buffer, size, "%s%s", directory, path) >= size)
            return path;
        return buffer;
    }
    return path;
}

#define PATH_SIZE 512
#define REDIRECT(path) redirect(path, (char[PATH_SIZE]) { 0 }, PATH_SIZE)

/* Opens what only the server can: returns -2 when @path is something else. */
static int
openMocked(const char *path, int flags)
{
    struct MockCall call = { .op = MOCK_OPEN, .number = flags, .fd = -1,
                             .cloexec = flags & O_CLOEXEC };
    const char *name;
    int fd;

    if (!mockDirectory() || !path || (flags & O_PATH))
        return -2;
    if (strcmp(path, DEVICE) == 0)
        name = "device";
    else if (strcmp(path, PARAMETER) == 0 && (flags & O_ACCMODE) != O_RDONLY)
        name = "parameter";
    else
        return -2;

    fd = mockCall(name, &call);
    if (name[0] == 'p')
        mark(fd);
    return fd;
}

static mode_t
modeArgument(int flags, va_list args)
{
    return (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(args, mode_t) : 0;
}

EXPORT int
open(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;
    int fd;

    va_start(args, flags);
    mode = modeArgument(flags, args);
    va_end(args);
    fd = openMocked(path, flags);
    return fd != -2 ? fd : REAL(open)(REDIRECT(path), flags, mode);
}

EXPORT int
openat(int dirfd, const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;
    int fd;

    va_start(args, flags);
    mode = modeArgument(flags, args);
    va_end(args);
    fd = openMocked(path, flags);
    return fd != -2 ? fd : REAL(openat)(dirfd, REDIRECT(path), flags, mode);
}

/* What programs built with _FORTIFY_SOURCE call */
int __open_2(const char *path, int flags);
int __openat_2(int dirfd, const char *path, int flags);

EXPORT int
__open_2(const char *path, int flags)
{
    return open(path, flags);
}

EXPORT int
__openat_2(int dirfd, const char *path, int flags)
{
    return openat(dirfd, path, flags);
}

EXPORT FILE *
fopen(const char *path, const char *mode)
{
    int flags = strchr(mode, '+') ? O_RDWR : mode[0] == 'r' ? O_RDONLY : O_WRONLY;
    int fd = openMocked(path, flags | (strchr(mode, 'e') ? O_CLOEXEC : 0));

    if (fd == -2)
        return REAL(fopen)(REDIRECT(path), mode);
    return fd < 0 ? NULL : fdopen(fd, mode);
}

EXPORT DIR *
opendir(const char *path)
{
    return REAL(opendir)(REDIRECT(path));
}

EXPORT int
access(const char *path, int mode)
{
    return REAL(access)(REDIRECT(path), mode);
}

EXPORT int
faccessat(int dirfd, const char *path, int mode, int flags)
{
    return REAL(faccessat)(dirfd, REDIRECT(path), mode, flags);
}

EXPORT int
eaccess(const char *path, int mode)
{
    return REAL(eaccess)(REDIRECT(path), mode);
}

EXPORT char *
realpath(const char *path, char *resolved)
{
    if (path && strcmp(path, DEVICE) == 0)
        return resolved ? strcpy(resolved, path) : strdup(path);
    return REAL(realpath)(REDIRECT(path), resolved);
}

EXPORT ssize_t
readlink(const char *path, char *buffer, size_t size)
{
    return REAL(readlink)(REDIRECT(path), buffer, size);
}

/* The device is a character device, not a socket. */
static int
disguise(int result, const char *path, int fd, struct stat *st)
{
    if (result == 0 && S_ISSOCK(st->st_mode) &&
        (path ? strcmp(path, DEVICE) == 0 : isMocked(fd, "fd/device."))) {
        st->st_mode = (st->st_mode & ~S_IFMT) | S_IFCHR;
        st->st_rdev = 10 << 8 | 124;
    }
    return result;
}

EXPORT int
stat(const char *path, struct stat *st)
{
    return disguise(REAL(stat)(REDIRECT(path), st), path, -1, st);
}

EXPORT int
lstat(const char *path, struct stat *st)
{
    return disguise(REAL(lstat)(REDIRECT(path), st), path, -1, st);
}

EXPORT int
fstat(int fd, struct stat *st)
{
    return disguise(REAL(fstat)(fd, st), NULL, fd, st);
}

EXPORT int
fstatat(int dirfd, const char *path, struct stat *st, int flags)
{
    return disguise(REAL(fstatat)(dirfd, REDIRECT(path), st, flags),
                    path[0] ? path : NULL, dirfd, st);
}

EXPORT int
statx(int dirfd, const char *path, int flags, unsigned int mask, struct statx *st)
{
    int result = REAL(statx)(dirfd, REDIRECT(path), flags, mask, st);

    if (result == 0 && S_ISSOCK(st->stx_mode) &&
        (path[0] ? strcmp(path, DEVICE) == 0 : isMocked(dirfd, "fd/device.")))
        st->stx_mode = (st->stx_mode & ~S_IFMT) | S_IFCHR;
    return result;
}

/* On 64-bit machines the types are the same. */
_Static_assert(sizeof(off_t) == 8 && sizeof(long) == 8, "not for 32-bit machines");
int open64(const char *path, int flags, ...) ALIAS(open);
int openat64(int dirfd, const char *path, int flags, ...) ALIAS(openat);
int __open64_2(const char *path, int flags) ALIAS(__open_2);
int __openat64_2(int dirfd, const char *path, int flags) ALIAS(__openat_2);
FILE *fopen64(const char *path, const char *mode) ALIAS(fopen);
int euidaccess(const char *path, int mode) ALIAS(eaccess);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wattribute-alias"
int stat64(const char *path, struct stat64 *st) ALIAS(stat);
int lstat64(const char *path, struct stat64 *st) ALIAS(lstat);
int fstat64(int fd, struct stat64 *st) ALIAS(fstat);
int fstatat64(int dirfd, const char *path, struct stat64 *st, int flags) ALIAS(fstatat);
#pragma GCC diagnostic pop

/* The calls of the device, and the CPU pool */

EXPORT int
ioctl(int fd, unsigned long request, ...)
{
    struct MockCall call = { .op = MOCK_IOCTL, .number = request, .fd = fd, .cloexec = true };
    va_list args;
    void *argument;
    int result;

    va_start(args, request);
    argument = va_arg(args, void *);
    va_end(args);

    /* 0xAE is KVM's type as well, so the descriptor decides. */
    if (_IOC_TYPE(request) != _IOC_TYPE(NE_CREATE_VM) || !isMocked(fd, "fd/"))
        return REAL(ioctl)(fd, request, argument);
    if (_IOC_DIR(request) & _IOC_WRITE) {
        call.in = argument;
        call.inSize = _IOC_SIZE(request);
    }
    if (_IOC_DIR(request) & _IOC_READ) {
        call.out = argument;
        call.outSize = _IOC_SIZE(request);
    }
    result = mockCall("call", &call);
    if (request == NE_CREATE_VM)
        mark(result);
    return result;
}

/* A copy is what its original is; fcntl(F_DUPFD) is left out. */
static int
markCopy(int fd, int copy)
{
    if (isMarked(fd))
        mark(copy);
    return copy;
}

EXPORT int
dup(int fd)
{
    return markCopy(fd, REAL(dup)(fd));
}

EXPORT int
dup2(int fd, int copy)
{
    return markCopy(fd, REAL(dup2)(fd, copy));
}

EXPORT int
dup3(int fd, int copy, int flags)
{
    return markCopy(fd, REAL(dup3)(fd, copy, flags));
}

EXPORT ssize_t
write(int fd, const void *data, size_t len)
{
    struct MockCall call = { .op = MOCK_WRITE, .in = data, .inSize = len < 4096 ? len : 4096,
                             .fd = fd };

    if (isMarked(fd) && isMocked(fd, "fd/ne_cpus."))
        return mockCall("call", &call);
    return REAL(write)(fd, data, len);
}

/*
 * Of an enclave the driver reports POLLHUP alone, whatever was asked for; a socket is
 * writable, too, and readable when its peer has gone. So nothing is asked for enclaves.
 */
struct Hidden {
    size_t count;
    struct {
        nfds_t index;
        short events;
    } entries[16];
};

static void
hideEnclaves(struct Hidden *hidden, struct pollfd *fds, nfds_t count)
{
    hidden->count = 0;
    for (nfds_t i = 0; i < count; i++) {
        if (isMarked(fds[i].fd) && isMocked(fds[i].fd, "fd/enclave.") &&
            hidden->count < sizeof(hidden->entries) / sizeof(hidden->entries[0])) {
            hidden->entries[hidden->count].index = i;
            hidden->entries[hidden->count++].events = fds[i].events;
            fds[i].events = 0;
        }
    }
}

static void
restoreEnclaves(const struct Hidden *hidden, struct pollfd *fds)
{
    for (size_t i = 0; i < hidden->count; i++)
        fds[hidden->entries[i].index].events = hidden->entries[i].events;
}

EXPORT int
poll(struct pollfd *fds, nfds_t count, int timeout)
{
    struct Hidden hidden;
    int result;

    hideEnclaves(&hidden, fds, count);
    result = REAL(poll)(fds, count, timeout);
    restoreEnclaves(&hidden, fds);
    return result;
}

EXPORT int
ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
    struct Hidden hidden;
    int result;

    hideEnclaves(&hidden, fds, count);
    result = REAL(ppoll)(fds, count, timeout, mask);
    restoreEnclaves(&hidden, fds);
    return result;
}

/* AF_VSOCK */

/* The server makes the socket: a program may not make one of UNIX itself, see the top. */
EXPORT int
socket(int domain, int type, int protocol)
{
    struct MockCall call = { .op = MOCK_SOCKET, .number = type & ~SOCK_CLOEXEC, .fd = -1,
                             .cloexec = type & SOCK_CLOEXEC };

    if (domain == AF_VSOCK && mockDirectory())
        return mockCall("call", &call);
    return REAL(socket)(domain, type, protocol);
}

static int
callVsock(int op, int fd, const void *address, socklen_t len)
{
    struct sockaddr_vm vm;
    struct MockCall call = { .op = op, .fd = fd };

    if (len < sizeof(vm)) {
        errno = EINVAL;
        return -1;
    }
    memcpy(&vm, address, sizeof(vm));
    call.number = vm.svm_cid;
    call.argument = vm.svm_port;
    return mockCall("call", &call);
}

static bool
isVsock(const struct sockaddr *address, socklen_t len)
{
    return address && len >= sizeof(address->sa_family) &&
           address->sa_family == AF_VSOCK && mockDirectory();
}

EXPORT int
bind(int fd, const struct sockaddr *address, socklen_t len)
{
    if (isVsock(address, len))
        return callVsock(MOCK_BIND, fd, address, len);
    return REAL(bind)(fd, address, len);
}

EXPORT int
connect(int fd, const struct sockaddr *address, socklen_t len)
{
    if (isVsock(address, len))
        return callVsock(MOCK_CONNECT, fd, address, len);
    return REAL(connect)(fd, address, len);
}

/* Writes the address that @name ("vsock/PORT" or "vsock/CID.PORT") stands for. */
static void
vsockAddress(const char *name, struct sockaddr *address, socklen_t *len)
{
    struct sockaddr_vm vm = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY };
    unsigned int first = 0;
    unsigned int second = 0;

    if (sscanf(name, "vsock/%u.%u", &first, &second) == 2) {
        vm.svm_cid = first;
        vm.svm_port = second;
    } else {
        vm.svm_port = first;
    }
    memcpy(address, &vm, *len < sizeof(vm) ? *len : sizeof(vm));
    *len = sizeof(vm);
}

static int
vsockName(int (*get)(int, struct sockaddr *, socklen_t *), int fd,
          struct sockaddr *address, socklen_t *len)
{
    struct sockaddr_un un;
    const char *name = mockedName(get, fd, &un);

    if (!name || strncmp(name, "vsock/", 6) != 0)
        return get(fd, address, len);
    vsockAddress(name, address, len);
    return 0;
}

EXPORT int
getsockname(int fd, struct sockaddr *address, socklen_t *len)
{
    return vsockName(REAL(getsockname), fd, address, len);
}

EXPORT int
getpeername(int fd, struct sockaddr *address, socklen_t *len)
{
    return vsockName(REAL(getpeername), fd, address, len);
}

EXPORT int
accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    struct sockaddr_un un;
    const char *name;
    int conn;

    if (!address || !len || !isMocked(fd, "vsock/"))
        return REAL(accept4)(fd, address, len, flags);

    conn = REAL(accept4)(fd, NULL, NULL, flags);
    if (conn >= 0) {
        name = mockedName(REAL(getpeername), conn, &un);
        /* A test that connects to the path itself is the host's own. */
        vsockAddress(name ? name : "vsock/1.0", address, len);
    }
    return conn;
}

EXPORT int
accept(int fd, struct sockaddr *address, socklen_t *len)
{
    return accept4(fd, address, len, 0);
}

EXPORT int
setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
    if (level == AF_VSOCK && mockDirectory())
        return 0;
    return REAL(setsockopt)(fd, level, option, value, len);
}
