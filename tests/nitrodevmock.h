/*
 * nitrodevmock.h: what the two files of the mock's library share
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef NITRODEVMOCK_H
#define NITRODEVMOCK_H

/* With it, open() and others would be called open64() here. */
#undef _FILE_OFFSET_BITS

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define ALIAS(name) __attribute__((visibility("default"), alias(#name)))

/* The functions that this library stands before, and those of libc's that it needs */
#define MOCK_FUNCTIONS(X) \
    X(accept4) X(access) X(bind) X(close) X(connect) X(dup) X(dup2) X(dup3) X(eaccess) \
    X(faccessat) X(fopen) X(fstat) X(fstatat) X(getpeername) X(getsockname) X(ioctl) \
    X(lstat) X(open) X(openat) X(opendir) X(poll) X(ppoll) X(readlink) X(realpath) \
    X(recvmsg) X(sendmsg) X(setsockopt) X(socket) X(stat) X(statx) X(write)

#define MOCK_DIRECTORY_SIZE 80

/* Set once, before the first use: the directory ("" for none), and the next definitions. */
struct MockState {
    bool done;
    char directory[MOCK_DIRECTORY_SIZE];
#define X(name) __typeof__(&name) name;
    MOCK_FUNCTIONS(X)
#undef X
};

extern struct MockState mockState;

void mockSetUp(void);

static inline void
mockNeedState(void)
{
    if (!__atomic_load_n(&mockState.done, __ATOMIC_ACQUIRE))
        mockSetUp();
}

/* The next definition of a function: libc's, or that of another preloaded library. */
#define REAL(name) (mockNeedState(), mockState.name)

/* The mock's directory, NULL when there is none and nothing is to be mocked. */
const char *mockDirectory(void);

/*
 * Returns the part behind the directory of the name that @get (getsockname or getpeername)
 * finds for @fd, in @buffer, or NULL when @fd is none of ours.
 */
const char *mockedName(int (*get)(int, struct sockaddr *, socklen_t *), int fd,
                       struct sockaddr_un *buffer);

/* What the server is asked to do; the numbers are nitrodevmock_calls.py's too. */
enum {
    MOCK_OPEN = 1,
    MOCK_IOCTL,
    MOCK_WRITE,
    MOCK_BIND,
    MOCK_CONNECT,
    MOCK_SOCKET,
};

struct MockCall {
    uint64_t op;
    uint64_t number;   /* ioctl number, flags of open(), type of a socket, CID */
    uint64_t argument; /* port */
    const void *in;    /* bytes for the server, which need not be readable (EFAULT then) */
    size_t inSize;
    void *out;         /* where the bytes of the answer go, the same with writable */
    size_t outSize;
    int fd;            /* a copy goes to the server; -1: none */
    bool cloexec;      /* of a new descriptor */
};

/*
 * Has the server do @call through its socket @socketName ("call", or "device" and
 * "parameter" for open()). Returns what the function that is mocked does, with errno. As in a
 * system call, no signal handler runs meanwhile; threads can be in calls at once.
 */
int mockCall(const char *socketName, const struct MockCall *call);

/* Connects to the server for all calls of this process, if there is a server. */
void mockKeepConnection(void);

#endif /* NITRODEVMOCK_H */
