/*
 * trailer.c: reads what has been appended to the running executable
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "trailer.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRAILER_MAX (256 * 1024)
#define TRAILER_END "TRAILER\n"
#define TRAILER_END_LEN 8
#define TRAILER_DIGITS 8

char *
trailerRead(void)
{
    static char text[TRAILER_MAX + 1];
    char end[TRAILER_DIGITS + TRAILER_END_LEN + 1] = "";
    const off_t tail = TRAILER_DIGITS + TRAILER_END_LEN;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct stat info;
    long len;

    if (fd < 0)
        return text;
    if (fstat(fd, &info) == 0 && info.st_size > tail &&
        pread(fd, end, tail, info.st_size - tail) == tail &&
        strcmp(end + TRAILER_DIGITS, TRAILER_END) == 0) {
        end[TRAILER_DIGITS] = '\0';
        len = strtol(end, NULL, 10);
        if (len < 0 || len > TRAILER_MAX || info.st_size - tail < len ||
            pread(fd, text, len, info.st_size - tail - len) != len)
            memset(text, 0, sizeof(text));
    }
    close(fd);
    return text;
}
