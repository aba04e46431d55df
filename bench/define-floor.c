/*
 * define-floor.c: the least that the files of definitions take
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Usage: define-floor DIRECTORY COUNT TEXT
 *
 * Writes TEXT into COUNT files of DIRECTORY as a definition must be, so that a crash leaves
 * the old or the new one: another file, fsync(), rename(). Then it removes them. It prints, in
 * nanoseconds, how long the first has taken, the CPU time of it, and both of the removal.
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NAME_LEN 32

static long long
now(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}


static int
write_file(long number, const char *text)
{
    char name[NAME_LEN];
    char temporary[NAME_LEN];
    size_t len = strlen(text);
    int fd;

    snprintf(name, sizeof(name), "%ld.xml", number);
    snprintf(temporary, sizeof(temporary), "%ld.xml.new", number);
    if ((fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) < 0)
        return -1;
    if (fchmod(fd, 0600) < 0 || write(fd, text, len) != (ssize_t) len || fsync(fd) < 0) {
        close(fd);
        return -1;
    }
    return close(fd) < 0 || rename(temporary, name) < 0 ? -1 : 0;
}


static int
remove_file(long number)
{
    char name[NAME_LEN];

    snprintf(name, sizeof(name), "%ld.xml", number);
    return unlink(name);
}


int
main(int argc, char **argv)
{
    long count = argc == 4 ? strtol(argv[2], NULL, 10) : 0;
    long long wall[3];
    long long cpu[3];
    long i;

    if (count <= 0 || chdir(argv[1]) < 0)
        return 1;

    wall[0] = now(CLOCK_MONOTONIC);
    cpu[0] = now(CLOCK_PROCESS_CPUTIME_ID);
    for (i = 0; i < count; i++) {
        if (write_file(i, argv[3]) < 0)
            return 1;
    }
    wall[1] = now(CLOCK_MONOTONIC);
    cpu[1] = now(CLOCK_PROCESS_CPUTIME_ID);
    for (i = 0; i < count; i++) {
        if (remove_file(i) < 0)
            return 1;
    }
    wall[2] = now(CLOCK_MONOTONIC);
    cpu[2] = now(CLOCK_PROCESS_CPUTIME_ID);

    return printf("%lld %lld %lld %lld\n", wall[1] - wall[0], cpu[1] - cpu[0],
                  wall[2] - wall[1], cpu[2] - cpu[1]) > 0 ? 0 : 1;
}
