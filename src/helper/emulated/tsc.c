/*
 * tsc.c: the frequency of the host's time stamp counter
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: counter and CLOCK_MONOTONIC_RAW are read together at the start of the process
 * and again when the image has been read, so that measuring costs no time of its own.
 * The kernel's raw clock mostly is this very counter: some milliseconds are enough
 * for a few millionths of accuracy.
 */

#include "emulated/tsc.h"

#include <glib.h>
#include <time.h>

#if defined(__x86_64__)

# include <x86intrin.h>

/* Between the two readings, in nanoseconds: an error of 20 ns is 4 millionths of it */
# define TSC_INTERVAL_MIN 5000000

/* Frequencies that a counter can have, in kHz */
# define TSC_KHZ_MIN 100000
# define TSC_KHZ_MAX 10000000

typedef struct {
    guint64 ticks;
    gint64 ns;
} TscReading;

static TscReading tscFirst;

/* The one of several tries that was disturbed least. */
static TscReading
tscRead(void)
{
    TscReading best = {0};
    guint64 bestWindow = G_MAXUINT64;
    int i;

    for (i = 0; i < 8; i++) {
        struct timespec ts;
        guint64 before = __rdtsc();
        guint64 window;

        clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
        window = __rdtsc() - before;
        if (window < bestWindow) {
            bestWindow = window;
            best.ticks = before + window / 2;
            best.ns = ts.tv_sec * 1000000000LL + ts.tv_nsec;
        }
    }
    return best;
}

void
tscMeasureBegin(void)
{
    tscFirst = tscRead();
}

unsigned int
tscMeasureEnd(void)
{
    TscReading last = tscRead();
    gint64 ns = last.ns - tscFirst.ns;
    double khz;

    if (ns < TSC_INTERVAL_MIN) {
        g_usleep((TSC_INTERVAL_MIN - ns) / 1000 + 1);
        last = tscRead();
        ns = last.ns - tscFirst.ns;
    }
    if (ns <= 0 || last.ticks <= tscFirst.ticks)
        return 0;
    khz = (double)(last.ticks - tscFirst.ticks) * 1e6 / (double)ns;
    /* A counter that has stopped or jumped meanwhile is of no use to a guest. */
    return khz < TSC_KHZ_MIN || khz > TSC_KHZ_MAX ? 0 : (unsigned int)(khz + 0.5);
}

#else

void
tscMeasureBegin(void)
{
}

unsigned int
tscMeasureEnd(void)
{
    return 0;
}

#endif
