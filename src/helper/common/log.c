/*
 * log.c: the helper's log lines on stderr
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: logWrite(), logLimited() -> one sanitized line -> room for it -> one write() to stderr, so that lines of
 * several threads do not mix.
 */

#include "common/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* A pipe that polls as writable takes this much without blocking (PIPE_BUF). */
#define LOG_LINE_MAX 4096

static Rotation *logRotation; /* NULL: the log grows without limit */
static GMutex logRotationLock;
static char *logPath; /* NULL: not known */

char *
logSanitize(const char *text, size_t len)
{
    char *clean = g_malloc(len + 1);
    const char *end = text + len;
    char *out = clean;

    while (text < end) {
        gunichar c = g_utf8_get_char_validated(text, end - text);
        bool valid = c != (gunichar)-1 && c != (gunichar)-2 && c != 0;
        size_t n = valid ? g_utf8_skip[(guchar)*text] : 1;

        if (valid && g_unichar_isprint(c)) {
            memcpy(out, text, n);
            out += n;
        } else {
            *out++ = c == '\t' ? ' ' : '?';
        }
        text += n;
    }
    *out = '\0';

    return g_strstrip(clean);
}

/* Also for one that is about to end as there is no memory: nothing is allocated. */
static GLogWriterOutput
logOnGlib(GLogLevelFlags level G_GNUC_UNUSED, const GLogField *fields, gsize n,
          gpointer opaque G_GNUC_UNUSED)
{
    gsize i;

    for (i = 0; i < n; i++) {
        const char *text = fields[i].value;
        struct iovec line[] = {
            {(char *)"GLib: ", strlen("GLib: ")},
            {(char *)text, fields[i].length < 0 ? strlen(text) : (size_t)fields[i].length},
            {(char *)"\n", 1},
        };

        if (g_str_equal(fields[i].key, "MESSAGE") &&
            writev(STDERR_FILENO, line, G_N_ELEMENTS(line)) < 0)
            return G_LOG_WRITER_UNHANDLED;
    }
    return G_LOG_WRITER_HANDLED;
}

static void
logOnPrint(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        return;
}

void
logCatchGlib(void)
{
    g_log_set_writer_func(logOnGlib, NULL, NULL);
    g_set_printerr_handler(logOnPrint);
}

void
logRememberPath(void)
{
    g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", STDERR_FILENO);
    g_autofree char *path = g_file_read_link(link, NULL);
    struct stat st;

    if (path && fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink > 0)
        logPath = logSanitize(path, strlen(path));
}

const char *
logGetPath(void)
{
    return logPath;
}

void
logSetRotation(Rotation *rotation)
{
    logRotation = rotation;
}

/* That old lines are lost cannot be told anywhere, nor that this one is. */
static void
logWriteLine(const char *line, size_t len)
{
    struct pollfd pfd = {.fd = STDERR_FILENO, .events = POLLOUT};
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&logRotationLock);

    if (logRotation)
        rotationMakeRoom(logRotation, len);
    if (poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLOUT) &&
        write(STDERR_FILENO, line, len) < 0)
        return;
}

static void
logWriteText(LogLevel level, const char *text)
{
    static const char *const levels[] = {"info", "warning", "error"};
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *stamp = g_date_time_format(now, "%Y-%m-%d %H:%M:%S");
    g_autofree char *clean = logSanitize(text, strlen(text));
    g_autofree char *line = NULL;
    size_t len;

    line = g_strdup_printf("%s.%03d+0000: %d: %s : %s\n", stamp,
                           g_date_time_get_microsecond(now) / 1000, (int)getpid(),
                           levels[level], clean);
    len = strlen(line);
    if (len > LOG_LINE_MAX) {
        len = LOG_LINE_MAX;
        line[len - 1] = '\n';
    }
    logWriteLine(line, len);
}

void
logWrite(LogLevel level, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    logWriteText(level, text);
}

void
logLimited(LogLimit *limit, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    gint64 now = g_get_monotonic_time();
    va_list ap;

    if (limit->lines == 0 || now - limit->start > LOG_LIMIT_PERIOD) {
        if (limit->lines > LOG_LIMIT_LINES)
            logWrite(LOG_LEVEL_WARNING, "%u more messages of this kind were not logged",
                     limit->lines - LOG_LIMIT_LINES);
        limit->start = now;
        limit->lines = 0;
    }
    if (limit->lines++ >= LOG_LIMIT_LINES)
        return;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    logWriteText(LOG_LEVEL_WARNING, text);
}
