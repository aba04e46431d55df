/*
 * log.h: the helper's log lines on stderr
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One line a message, in the format of libvirt's logs, as the daemon gives the
 * helper the domain's log file or a pipe to virtlogd for its stderr.
 */

#pragma once

#include <glib.h>

#include "common/rotation.h"

typedef enum {
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_ERROR,
} LogLevel;

/* Has stderr written by @rotation from now on, and forever; before other threads log. */
void logSetRotation(Rotation *rotation);

/*
 * Writes one line; control characters and bytes that are no UTF-8 become '?'. A line that
 * stderr has no room for is dropped: the log never blocks the enclave.
 */
void logWrite(LogLevel level, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

#define logInfo(...) logWrite(LOG_LEVEL_INFO, __VA_ARGS__)
#define logWarning(...) logWrite(LOG_LEVEL_WARNING, __VA_ARGS__)
#define logError(...) logWrite(LOG_LEVEL_ERROR, __VA_ARGS__)

/* Keeps a guest that causes a message again and again from filling the log. */
typedef struct _LogLimit LogLimit;
struct _LogLimit {
    gint64 start; /* of the current period, monotonic microseconds */
    unsigned int lines; /* wanted since then */
};

/* As logWarning(), but only LOG_LIMIT_LINES lines in LOG_LIMIT_PERIOD for each @limit. */
void logLimited(LogLimit *limit, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

#define LOG_LIMIT_LINES 10
#define LOG_LIMIT_PERIOD (60 * G_USEC_PER_SEC)

/*
 * Has what GLib says, of faults in its use or of memory that cannot be had, written as lines of the
 * log, which it does in ways that a process without files has not.
 */
void logCatchGlib(void);

/* Finds out the path of the file that the log goes to, as long as that can be. */
void logRememberPath(void);

/* That path, for a message; NULL when it is another kind of file, or is not known. */
const char *logGetPath(void);

/*
 * Copies @len bytes of text from outside for a message: what is not printable
 * UTF-8 becomes '?', and surrounding white space goes. Returns a new string.
 */
char *logSanitize(const char *text, size_t len);
