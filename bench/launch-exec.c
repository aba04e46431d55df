/*
 * launch-exec.c: when a program was executed, for bench-launch
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Usage: launch-exec PRELOAD PROGRAM ARGUMENT...
 *
 * Writes CLOCK_MONOTONIC in nanoseconds to standard output, then executes PROGRAM, with the
 * library PRELOAD unless that is empty.
 */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int
main(int argc, char **argv)
{
    struct timespec now;

    if (argc < 3 || (*argv[1] && setenv("LD_PRELOAD", argv[1], 1) < 0))
        return 127;
    clock_gettime(CLOCK_MONOTONIC, &now);
    dprintf(STDOUT_FILENO, "%lld\n", now.tv_sec * 1000000000LL + now.tv_nsec);
    execv(argv[2], argv + 2);
    return 127;
}
