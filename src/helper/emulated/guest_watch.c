/*
 * guest_watch.c: what the console output tells about the guest's end
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: console output -> lines -> guestWatchLine() compares them with the last words of
 * Linux -> a timer, which any further line stops -> the callback.
 */

#include "emulated/guest_watch.h"

#include <string.h>

#include "helper_protocol.h"

/* Longer lines are compared up to here. */
#define GUEST_LINE_MAX 256

/* How long a guest may take after its last words, in seconds */
#define GUEST_END_TIMEOUT 10

/* How long the last lines of a panic may be in coming while the guest boots, in seconds */
#define GUEST_BOOT_PANIC_TIMEOUT 2

/* Linux waits so many seconds at most when it is told panic=N: more is taken as this. */
#define GUEST_PANIC_TIMEOUT_MAX 86400

struct _GuestWatch {
    GString *line;
    bool booting;
    bool panicked;
    const char *expected; /* reason of the end that the guest has announced; static */
    guint timer;
    GuestWatchStopped stopped;
    void *opaque;
};

/* The last words of Linux, as they begin behind the time stamp */
static const struct {
    const char *text;
    const char *reason;
} guestLastWords[] = {
    {"---[ end Kernel panic - not syncing", NITRO_EXIT_PANIC}, /* panic=0: nothing follows */
    {"reboot: Restarting system", NITRO_EXIT_REBOOT},
    {"reboot: machine restart", NITRO_EXIT_REBOOT},
    {"reboot: Power down", NITRO_EXIT_POWEROFF},
    {"reboot: System halted", NITRO_EXIT_POWEROFF},
};

static gboolean
guestWatchOnTimer(gpointer opaque)
{
    GuestWatch *watch = opaque;

    watch->timer = 0;
    watch->stopped(watch->panicked ? NITRO_EXIT_PANIC : watch->expected, watch->opaque);
    return G_SOURCE_REMOVE;
}

static void
guestWatchExpect(GuestWatch *watch, const char *reason, guint seconds)
{
    watch->expected = reason;
    if (watch->booting && watch->panicked)
        seconds = GUEST_BOOT_PANIC_TIMEOUT;
    watch->timer = g_timeout_add_seconds(seconds, guestWatchOnTimer, watch);
}

/*
 * Skips the "[    1.234567] ", or "[    1.234567][    T1] ", that Linux puts before its
 * messages unless told otherwise.
 */
static const char *
guestWatchSkipStamp(const char *line)
{
    const char *pos = line;

    while (*pos == '[') {
        pos += 1 + strspn(pos + 1, " .0123456789CT");
        if (*pos++ != ']')
            return line;
    }
    return pos > line && *pos == ' ' ? pos + 1 : line;
}

static void
guestWatchLine(GuestWatch *watch)
{
    const char *text = guestWatchSkipStamp(watch->line->str);
    bool announced = watch->timer > 0;
    size_t i;

    if (watch->timer > 0)
        g_source_remove(watch->timer);
    watch->timer = 0;

    if (g_str_has_prefix(text, "Kernel panic - not syncing")) {
        watch->panicked = true;
        return;
    }
    if (watch->panicked && g_str_has_prefix(text, "Rebooting in ")) {
        guint64 seconds = g_ascii_strtoull(text + strlen("Rebooting in "), NULL, 10);

        guestWatchExpect(watch, NITRO_EXIT_PANIC,
                         MIN(seconds, GUEST_PANIC_TIMEOUT_MAX) + GUEST_END_TIMEOUT);
        return;
    }
    for (i = 0; i < G_N_ELEMENTS(guestLastWords); i++) {
        if (g_str_has_prefix(text, guestLastWords[i].text)) {
            guestWatchExpect(watch, guestLastWords[i].reason, GUEST_END_TIMEOUT);
            return;
        }
    }
    /* A kernel that has panicked does not boot any more, whatever it adds. */
    if (announced && watch->booting && watch->panicked)
        guestWatchExpect(watch, NITRO_EXIT_PANIC, GUEST_BOOT_PANIC_TIMEOUT);
}

GuestWatch *
guestWatchNew(GuestWatchStopped stopped, void *opaque)
{
    GuestWatch *watch = g_new0(GuestWatch, 1);

    watch->line = g_string_sized_new(GUEST_LINE_MAX);
    watch->stopped = stopped;
    watch->opaque = opaque;
    return watch;
}

void
guestWatchFree(GuestWatch *watch)
{
    if (!watch)
        return;
    if (watch->timer > 0)
        g_source_remove(watch->timer);
    g_string_free(watch->line, TRUE);
    g_free(watch);
}

void
guestWatchSetBooting(GuestWatch *watch, bool booting)
{
    watch->booting = booting;
}

void
guestWatchOutput(GuestWatch *watch, const void *buf, size_t len)
{
    const char *pos = buf;
    const char *end = pos + len;

    for (; pos < end; pos++) {
        if (*pos == '\n') {
            guestWatchLine(watch);
            g_string_truncate(watch->line, 0);
        } else if (*pos != '\r' && *pos != '\0' && watch->line->len < GUEST_LINE_MAX) {
            g_string_append_c(watch->line, *pos);
        }
    }
}

bool
guestWatchHasPanicked(const GuestWatch *watch)
{
    return watch->panicked;
}
