/*
 * clockmock.c: clocks that can be set, for tests: preloaded into the program under test
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The file that the environment variable CLOCKMOCK_OFFSET names holds an int64_t, the
 * seconds by which the clock is ahead; who writes there sets the clock. As with a kernel's,
 * waits until a time of this clock end when the clock has got there, also when it is set
 * meanwhile, and all other clocks go on. libfaketime looks at its offset once, when a wait
 * begins, so a wait would not notice.
 *
 * CLOCKMOCK_MONOTONIC does the same to CLOCK_MONOTONIC, for programs that need hours: a wait
 * for descriptors does not notice by itself, so the test has to wake it up.
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

#define STEP_NS 20000000 /* how often a wait looks at the clock */
#define SECOND_NS 1000000000

/* libc's asks no kernel, as a rule, and so is no matter of a sandbox. */
static __typeof__(&clock_gettime) next;
static const volatile int64_t *offset;
static const volatile int64_t *monotonicOffset;


/* What the file holds that the environment variable @name names, or NULL */
static const volatile int64_t *
clockmockMap(const char *name)
{
    const char *path = getenv(name);
    void *map;
    int fd;

    if (!path || (fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return NULL;
    map = mmap(NULL, sizeof(*offset), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    return map == MAP_FAILED ? NULL : map;
}


static void
clockmockFindNext(void)
{
    if (!next)
        next = (__typeof__(&clock_gettime))dlsym(RTLD_NEXT, "clock_gettime");
}


static void __attribute__((constructor))
clockmockOpen(void)
{
    clockmockFindNext();
    offset = clockmockMap("CLOCKMOCK_OFFSET");
    monotonicOffset = clockmockMap("CLOCKMOCK_MONOTONIC");
}


EXPORT int
clock_gettime(clockid_t id, struct timespec *now)
{
    /* the constructors of other libraries can come here before ours */
    clockmockFindNext();
    if (next(id, now) < 0)
        return -1;
    if (offset && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        now->tv_sec += *offset;
    if (monotonicOffset && id == CLOCK_MONOTONIC)
        now->tv_sec += *monotonicOffset;
    return 0;
}


EXPORT int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec ts;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &ts);
    now->tv_sec = ts.tv_sec;
    now->tv_usec = ts.tv_nsec / 1000;
    return 0;
}


EXPORT time_t
time(time_t *now)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME_COARSE, &ts);
    if (now)
        *now = ts.tv_sec;
    return ts.tv_sec;
}


EXPORT int
pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                       const struct timespec *restrict end)
{
    for (;;) {
        struct timespec step;
        struct timespec now;
        int rc;

        clock_gettime(CLOCK_REALTIME, &now);
        if (now.tv_sec > end->tv_sec ||
            (now.tv_sec == end->tv_sec && now.tv_nsec >= end->tv_nsec))
            return ETIMEDOUT;

        /* that of the kernel, which waits */
        next(CLOCK_MONOTONIC, &step);
        step.tv_nsec += STEP_NS;
        step.tv_sec += step.tv_nsec / SECOND_NS;
        step.tv_nsec %= SECOND_NS;
        if ((rc = pthread_cond_clockwait(cond, mutex, CLOCK_MONOTONIC, &step)) != ETIMEDOUT)
            return rc;
    }
}
