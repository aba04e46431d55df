/*
 * log_service.c: lines of the enclave, to a file or to syslog
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: LineReader -> logOnLine() -> is there room in the buckets? -> logFormat() -> the file, by its
 * Rotation, or /dev/log. What is dropped is told by logOnTimer(), once a second.
 */

#include "log_service.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/rotation.h"
#include "helper_protocol.h"
#include "line_reader.h"

#define LOG_SERVICE_DEV_LOG "/dev/log"
#define LOG_SERVICE_SYSLOG_PRIORITY 14 /* user.info; RFC 3164, 4.1.1 */

typedef struct {
    int fd;             /* of the file, or of the socket, which is ours */
    Rotation *rotation; /* NULL: the file grows without limit */
    char *tag;          /* of messages to syslog; NULL: a file */
    gint64 filled;      /* when the buckets were filled up; monotonic, us */
    double lines;       /* in the buckets */
    double bytes;
    uint64_t dropped;   /* that has not been told yet */
    guint timer;
} LogState;

static void
logFill(LogState *state)
{
    gint64 now = g_get_monotonic_time();
    double seconds = (double)(now - state->filled) / G_USEC_PER_SEC;

    state->filled = now;
    state->lines = MIN(state->lines + seconds * LOG_SERVICE_LINES,
                       (double)LOG_SERVICE_LINES * LOG_SERVICE_BURST);
    state->bytes = MIN(state->bytes + seconds * LOG_SERVICE_BYTES,
                       (double)LOG_SERVICE_BYTES * LOG_SERVICE_BURST);
}

/* Whether @c, a tab apart, shows as what it is: no control character, nothing that only changes how
 * others are shown (as U+202E), and nothing that some programs take for the end of a line. */
static bool
logIsShown(gunichar c)
{
    GUnicodeType type = g_unichar_type(c);

    return g_unichar_isprint(c) && type != G_UNICODE_LINE_SEPARATOR &&
           type != G_UNICODE_PARAGRAPH_SEPARATOR;
}

/* Appends text from outside, in which what is not shown is written as \xNN. */
static void
logEscape(GString *out, const char *text, size_t len)
{
    const char *end = text + len;

    while (text < end) {
        gunichar c = g_utf8_get_char_validated(text, end - text);
        bool valid = c != (gunichar)-1 && c != (gunichar)-2 && c != 0;
        size_t n = valid ? g_utf8_skip[(guchar)*text] : 1;

        if (valid && (c == '\t' || logIsShown(c))) {
            g_string_append_len(out, text, n);
            text += n;
            continue;
        }
        for (; n > 0; n--)
            g_string_append_printf(out, "\\x%02x", (guchar)*text++);
    }
}

/* What is before the text: the time, or what syslog wants to know */
static GString *
logFormatHead(const LogState *state)
{
    g_autoptr(GDateTime) now = NULL;
    g_autofree char *stamp = NULL;
    GString *line = g_string_new(NULL);

    if (state->tag) {
        g_string_printf(line, "<%d>%s: ", LOG_SERVICE_SYSLOG_PRIORITY, state->tag);
        return line;
    }
    now = g_date_time_new_now_utc();
    stamp = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S");
    g_string_printf(line, "%s.%06dZ ", stamp, g_date_time_get_microsecond(now));
    return line;
}

/* Returns 0, or -1 with errno set; part of the line may have been written. */
static int
logWriteFile(const LogState *state, const char *line, size_t len)
{
    while (len > 0) {
        ssize_t n = state->rotation ? rotationWrite(state->rotation, line, len, NULL) :
                                      write(state->fd, line, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        line += n;
        len -= n;
    }
    return 0;
}

/* By its path each time, as whoever listens there may be another one by now */
static int
logSendSyslog(const LogState *state, const char *line, size_t len)
{
    const struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = LOG_SERVICE_DEV_LOG};

    return sendto(state->fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL,
                  (const struct sockaddr *)&un, sizeof(un)) < 0 ? -1 : 0;
}

static void
logPut(Service *service, GString *line)
{
    LogState *state = service->state;
    int rc;

    if (state->tag) {
        rc = logSendSyslog(state, line->str, line->len);
    } else {
        g_string_append_c(line, '\n');
        rc = logWriteFile(state, line->str, line->len);
    }
    if (rc == 0)
        return;
    service->lost++;
    logLimited(&service->logLimit, "A line of port %u is lost: %s: %s", service->config->port,
               state->tag ? LOG_SERVICE_DEV_LOG : "its file", g_strerror(errno));
}

static void
logTellDropped(Service *service)
{
    LogState *state = service->state;
    g_autoptr(GString) line = NULL;

    if (state->dropped == 0)
        return;
    line = logFormatHead(state);
    g_string_append_printf(line, "[libvirt-nitro: %llu lines were dropped: the enclave sends more "
                           "than %d lines or %d bytes a second]",
                           (unsigned long long)state->dropped, LOG_SERVICE_LINES,
                           LOG_SERVICE_BYTES);
    state->dropped = 0;
    logPut(service, line);
}

static gboolean
logOnTimer(gpointer opaque)
{
    Service *service = opaque;
    LogState *state = service->state;

    if (state->dropped > 0) {
        logTellDropped(service);
        return G_SOURCE_CONTINUE;
    }
    state->timer = 0;
    return G_SOURCE_REMOVE;
}

static bool
logOnLine(Service *service, int fd G_GNUC_UNUSED, const char *text, size_t len, bool cut)
{
    LogState *state = service->state;
    g_autoptr(GString) line = NULL;

    logFill(state);
    if (state->lines < 1 || state->bytes < (double)len) {
        service->lost++;
        state->dropped++;
        if (state->timer == 0)
            state->timer = g_timeout_add_seconds(1, logOnTimer, service);
        return true;
    }
    state->lines -= 1;
    state->bytes -= (double)len;

    line = logFormatHead(state);
    logEscape(line, text, len);
    if (cut)
        g_string_append(line, " [cut]");
    logPut(service, line);
    return true;
}

void
logAccept(Service *service, int fd)
{
    static const LineReaderType type = {LOG_SERVICE_LINE_MAX, 0, logOnLine};

    lineReaderStart(service, fd, &type);
}

/* syslog takes a tag to its first character of another kind. */
static char *
logMakeTag(const char *name)
{
    char *tag = g_strdup(name);
    char *c;

    for (c = tag; *c; c++) {
        if (!g_ascii_isalnum(*c) && !strchr("-_.", *c))
            *c = '_';
    }
    return tag;
}

int
logBegin(Service *service, Failure *failure)
{
    const ServiceConfig *config = service->config;
    LogState *state = g_new0(LogState, 1);

    service->state = state;
    state->filled = g_get_monotonic_time();
    state->lines = (double)LOG_SERVICE_LINES * LOG_SERVICE_BURST;
    state->bytes = (double)LOG_SERVICE_BYTES * LOG_SERVICE_BURST;
    if (config->type == SERVICE_LOG) {
        state->fd = config->fd;
        if (config->maxSize > 0)
            state->rotation = rotationNew(config->fd, config->backups, config->maxSize);
        return 0;
    }

    state->tag = logMakeTag(config->name);
    state->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (state->fd < 0) {
        failureSet(failure, NITRO_FAILURE_RESOURCE, "Lines cannot be sent to syslog: %s",
                   g_strerror(errno));
        return -1;
    }
    return 0;
}

void
logEnd(Service *service)
{
    LogState *state = service->state;

    if (!state)
        return;
    if (state->fd >= 0) {
        logTellDropped(service);
        close(state->fd);
    }
    g_clear_handle_id(&state->timer, g_source_remove);
    rotationFree(state->rotation);
    g_free(state->tag);
    g_clear_pointer(&service->state, g_free);
}
