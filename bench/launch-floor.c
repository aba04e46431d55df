/*
 * launch-floor.c: the least that loading an enclave's image takes
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Usage: launch-floor BYTES OFFSET FILE...
 *
 * Maps BYTES of huge pages of 2 MiB and reads the FILEs into them, one behind the other from
 * OFFSET on, in pieces as large as read() takes them. Then it writes the time,
 * CLOCK_MONOTONIC, and what CPU time was used to standard output, both in nanoseconds.
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

int
main(int argc, char **argv)
{
    size_t size = argc > 3 ? strtoull(argv[1], NULL, 10) : 0;
    size_t pos = argc > 3 ? strtoull(argv[2], NULL, 10) : 0;
    int memory = memfd_create("floor", MFD_CLOEXEC | MFD_HUGETLB);
    struct timespec now;
    struct timespec used;
    uint8_t *base;
    int i;

    if (size == 0 || memory < 0 || ftruncate(memory, size) < 0)
        return 1;
    base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (base == MAP_FAILED)
        return 1;

    for (i = 3; i < argc; i++) {
        int fd = open(argv[i], O_RDONLY | O_CLOEXEC);
        ssize_t n;

        if (fd < 0)
            return 1;
        while ((n = read(fd, base + pos, size - pos)) > 0)
            pos += n;
        if (n < 0)
            return 1;
        close(fd);
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return dprintf(STDOUT_FILENO, "%lld %lld\n", now.tv_sec * 1000000000LL + now.tv_nsec,
                   used.tv_sec * 1000000000LL + used.tv_nsec) > 0 ? 0 : 1;
}
