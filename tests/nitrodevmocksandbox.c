/*
 * nitrodevmocksandbox.c: a sandboxed program that uses what the mock mocks, for nitrodevmocktest.py
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * It runs with the mock's library preloaded. As the helper does, it takes what it needs from
 * files first, then lets go of its rights and of nearly all system calls, and then runs an
 * enclave. sandboxCalls is all that it may do then: what an unmocked device and AF_VSOCK need,
 * without the ways to reach a file or a UNIX socket. A call that is not there ends it.
 *
 * Usage: nitrodevmocksandbox IMAGE [close]. It says where it is, a line for each step, and waits
 * for a byte of its standard input where a line ends in a question mark. With close it takes
 * from the mock what that has opened before: what is called then must end it.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/nitro_enclaves.h>
#include <poll.h>
#include <pthread.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define MEMORY ((size_t) 64 << 20)
#define PAGE ((size_t) 2 << 20)
#define HEARTBEAT_PORT 9000
#define CONSOLE_PORT 10000
#define TIMEOUT_MS 30000
#define THREADS 4
#define ROUNDS 25

#define DEVICE "/dev/nitro_enclaves"
#define PARAMETER "/sys/module/nitro_enclaves/parameters/ne_cpus"

/* No socket(), bind() and connect(): of those a filter cannot see the path. */
static const int sandboxCalls[] = {
    SCMP_SYS(read),
    SCMP_SYS(pread64),
    SCMP_SYS(write),
    SCMP_SYS(sendmsg),
    SCMP_SYS(recvmsg),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(close),
    SCMP_SYS(fcntl),
    SCMP_SYS(fstat),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(futex),
    SCMP_SYS(exit_group),
    /* the program's own calls on what it takes for vsock sockets */
    SCMP_SYS(listen),
    SCMP_SYS(accept4),
    SCMP_SYS(getsockopt),
    /* no signal handler runs within a call; whoever starts threads needs it, too */
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
};

static const unsigned long sandboxIoctls[] = {
    NE_CREATE_VM, NE_ADD_VCPU, NE_GET_IMAGE_LOAD_INFO, NE_SET_USER_MEMORY_REGION,
    NE_START_ENCLAVE, FIONBIO,
};

static int device;
static int parameter;
static int enclave;
static int listener;
static char *memory;
static pthread_barrier_t barrier;
static pthread_barrier_t never;
static uint32_t cid;

static void
say(const char *text)
{
    if (write(STDOUT_FILENO, text, strlen(text)) < 0 || write(STDOUT_FILENO, "\n", 1) < 0)
        _exit(3);
}

static void
sayNumber(const char *what, long long number)
{
    char line[100];

    snprintf(line, sizeof(line), "%s %lld", what, number);
    say(line);
}

static void
ask(const char *text)
{
    char byte;

    say(text);
    if (read(STDIN_FILENO, &byte, 1) != 1)
        _exit(3);
}

/* Ends the program when @good is false; errno says why. */
static void
need(bool good, const char *what)
{
    if (!good) {
        sayNumber(what, errno);
        _exit(1);
    }
}

static void
onSigsys(int number, siginfo_t *info, void *context)
{
    (void) number;
    (void) context;
    sayNumber("forbidden system call", info->si_syscall);
    _exit(2);
}

/* Before the sandbox */

static void
readImage(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    need(fd >= 0, "image");
    n = read(fd, memory + (8 << 20), MEMORY - (8 << 20));
    need(n > 0, "image");
    close(fd);
}

static void
prepare(const char *image)
{
    device = open(DEVICE, O_RDWR | O_CLOEXEC);
    need(device >= 0, DEVICE);
    parameter = open(PARAMETER, O_RDONLY | O_CLOEXEC);
    need(parameter >= 0, PARAMETER);
    memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB,
                  -1, 0);
    need(memory != MAP_FAILED, "memory");
    readImage(image);
}

static void
addIoctls(scmp_filter_ctx filter)
{
    for (size_t i = 0; i < sizeof(sandboxIoctls) / sizeof(sandboxIoctls[0]); i++)
        need(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                              SCMP_A1(SCMP_CMP_EQ, sandboxIoctls[i])) == 0, "ioctl rule");
}

static void
enterSandbox(void)
{
    struct sigaction action = { .sa_sigaction = onSigsys, .sa_flags = SA_SIGINFO };
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);

    need(filter && sigaction(SIGSYS, &action, NULL) == 0, "filter");
    /* the threads are there already */
    need(seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) == 0, "filter");
    for (size_t i = 0; i < sizeof(sandboxCalls) / sizeof(sandboxCalls[0]); i++)
        need(seccomp_rule_add(filter, SCMP_ACT_ALLOW, sandboxCalls[i], 0) == 0, "rule");
    /* libc's fstat() */
    need(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 1,
                          SCMP_A3(SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH)) == 0, "rule");
    need(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                          SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) == 0, "rule");
    addIoctls(filter);
    /* what only root can read then */
    need(prctl(PR_SET_DUMPABLE, 0) == 0, "dumpable");
    need(seccomp_load(filter) == 0, "load");
}

/* In the sandbox */

static void
closeOthers(void)
{
    for (int fd = STDERR_FILENO + 1; fd < 1024; fd++) {
        if (fd != device && fd != parameter)
            close(fd);
    }
}

/* The pool is what the file that was opened before says now. */
static void
readPool(void)
{
    char text[64] = "pool ";
    ssize_t n = pread(parameter, text + 5, sizeof(text) - 6, 0);

    need(n > 0, "pread");
    text[5 + n - 1] = '\0';
    say(text);
}

static void
awaitEvents(int fd, short wanted, short got)
{
    struct pollfd entry = { .fd = fd, .events = wanted };

    need(poll(&entry, 1, TIMEOUT_MS) == 1, "poll");
    errno = entry.revents;
    need(entry.revents == got, "events");
}

static void
listenForHeartbeat(void)
{
    struct sockaddr_vm address = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY,
                                   .svm_port = HEARTBEAT_PORT };

    listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    need(listener >= 0, "socket");
    need(fcntl(listener, F_GETFD) == FD_CLOEXEC, "close-on-exec");
    need(fcntl(listener, F_GETFL) & O_NONBLOCK, "non-blocking");
    need(bind(listener, (struct sockaddr *) &address, sizeof(address)) == 0, "bind");
    need(listen(listener, SOMAXCONN) == 0, "listen");
}

static void
answerHeartbeat(void)
{
    struct sockaddr_vm address;
    socklen_t len = sizeof(address);
    unsigned char byte = 0;
    int conn;

    awaitEvents(listener, POLLIN, POLLIN);
    conn = accept4(listener, (struct sockaddr *) &address, &len, SOCK_CLOEXEC);
    need(conn >= 0, "accept4");
    need(address.svm_family == AF_VSOCK && address.svm_cid == cid, "peer");
    need(getpeername(conn, (struct sockaddr *) &address, &len) == 0 && address.svm_cid == cid,
         "getpeername");
    need(getsockname(conn, (struct sockaddr *) &address, &len) == 0 &&
         address.svm_port == HEARTBEAT_PORT, "getsockname");
    need(read(conn, &byte, 1) == 1 && byte == 0xb7, "heartbeat");
    need(write(conn, &byte, 1) == 1, "answer");
    need(close(conn) == 0, "close");
}

static void
createEnclave(void)
{
    struct ne_image_load_info info = { .flags = NE_EIF_IMAGE };
    struct ne_user_memory_region region = { .memory_size = MEMORY,
                                            .userspace_addr = (uintptr_t) memory };
    struct ne_enclave_start_info start = { .flags = NE_ENCLAVE_DEBUG_MODE };
    uint64_t slot = 0;
    uint32_t cpu;

    enclave = ioctl(device, NE_CREATE_VM, &slot);
    need(enclave >= 0 && slot != 0, "NE_CREATE_VM");
    need(close(device) == 0, "close");
    need(ioctl(enclave, NE_ADD_VCPU, (void *) 8) == -1 && errno == EFAULT, "EFAULT");
    need(ioctl(enclave, NE_GET_IMAGE_LOAD_INFO, &info) == 0 && info.memory_offset == 8 << 20,
         "NE_GET_IMAGE_LOAD_INFO");
    need(ioctl(enclave, NE_SET_USER_MEMORY_REGION, &region) == 0, "NE_SET_USER_MEMORY_REGION");
    for (int i = 0; i < 2; i++) {
        cpu = 0;
        need(ioctl(enclave, NE_ADD_VCPU, &cpu) == 0 && cpu != 0, "NE_ADD_VCPU");
    }

    /* Threads call at once until the enclave starts. */
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    need(ioctl(enclave, NE_START_ENCLAVE, &start) == 0, "NE_START_ENCLAVE");
    cid = start.enclave_cid;
    sayNumber("cid", cid);
}

static void *
callManyTimes(void *opaque)
{
    pthread_barrier_wait(&barrier);
    /* The sandbox begins. */
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < ROUNDS; i++) {
        struct ne_image_load_info info = { .flags = NE_EIF_IMAGE };
        int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

        need(fd >= 0 && fcntl(fd, F_GETFD) == 0 && close(fd) == 0, "socket in a thread");
        need(ioctl(enclave, NE_GET_IMAGE_LOAD_INFO, &info) == 0 && info.memory_offset == 8 << 20,
             "call in a thread");
    }
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&never);
    return opaque;
}

static void
readConsole(void)
{
    struct sockaddr_vm address = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HYPERVISOR,
                                   .svm_port = CONSOLE_PORT + cid };
    int error = 1;
    socklen_t len = sizeof(error);
    char text[] = "console ................";
    int conn = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ssize_t n;

    need(conn >= 0, "socket");
    need(connect(conn, (struct sockaddr *) &address, sizeof(address)) == -1 &&
         errno == EINPROGRESS, "connect");
    awaitEvents(conn, POLLIN, POLLIN);
    need(getsockopt(conn, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0, "SO_ERROR");
    n = read(conn, text + 8, sizeof(text) - 9);
    need(n > 0, "console");
    text[8 + n] = '\0';
    say(text);
    need(close(conn) == 0, "close");
}

int
main(int argc, char **argv)
{
    struct pollfd entry = { .events = POLLIN | POLLOUT };
    struct stat st;
    pthread_t thread;

    need(argc == 2 || argc == 3, "usage");
    prepare(argv[1]);
    need(pthread_barrier_init(&barrier, NULL, THREADS + 1) == 0, "barrier");
    need(pthread_barrier_init(&never, NULL, THREADS + 1) == 0, "barrier");
    for (int i = 0; i < THREADS; i++)
        need(pthread_create(&thread, NULL, callManyTimes, NULL) == 0, "thread");
    /* The start of a thread takes more system calls, as does its end. */
    pthread_barrier_wait(&barrier);
    enterSandbox();

    readPool();
    ask("another pool?");
    readPool();
    need(fstat(device, &st) == 0 && S_ISCHR(st.st_mode), "fstat");
    if (argc == 3)
        closeOthers();
    listenForHeartbeat();
    createEnclave();
    answerHeartbeat();
    readConsole();
    entry.fd = enclave;
    need(ppoll(&entry, 1, &(struct timespec) { 0 }, NULL) == 0, "the enclave runs");
    ask("the end?");
    awaitEvents(enclave, POLLIN | POLLOUT, POLLHUP);
    need(close(enclave) == 0 && close(listener) == 0, "close");
    say("good");
    _exit(0);
}
