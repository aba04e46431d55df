/*
 * time_service.c: tells the enclave the time
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "time_service.h"

#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "line_reader.h"

#define TIME_LINE_MAX 64
#define TIME_WAIT_MS 10000

/* Who does not read the answers has no further one. */
static bool
timeOnLine(Service *service, int fd, const char *line G_GNUC_UNUSED, size_t len G_GNUC_UNUSED,
           bool cut)
{
    g_autofree char *answer = NULL;
    struct timespec now;
    ssize_t n;

    if (cut || clock_gettime(CLOCK_REALTIME, &now) < 0) {
        service->refused++;
        return false;
    }
    answer = g_strdup_printf("%lld.%09ld\n", (long long)now.tv_sec, now.tv_nsec);
    n = send(fd, answer, strlen(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0)
        service->sent += n;
    return n == (ssize_t)strlen(answer);
}

void
timeAccept(Service *service, int fd)
{
    static const LineReaderType type = {TIME_LINE_MAX, TIME_WAIT_MS, timeOnLine};

    lineReaderStart(service, fd, &type);
}
