/*
 * validate_output.c: the lines that virt-nitro-validate prints
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A line is shown as soon as its check begins, as some take seconds; with --quiet, when
 * it is known that the check does not pass.
 */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "validate.h"

#define COLOUR_RED 31
#define COLOUR_GREEN 32
#define COLOUR_YELLOW 33

/* Columns of the text of a check, as in virt-host-validate's output */
#define TEXT_COLUMNS 60

static bool quiet;
static bool report;
static const char *current; /* the group of the line that has begun */
static GSList *failed;      /* of groups */
static char *line; /* the beginning of a line that has not been printed yet, or NULL */


void
validateSetQuiet(bool on)
{
    quiet = on;
}


void
validateSetReport(bool on)
{
    report = on;
}


const char *
validateShown(const char *name)
{
    return report ? "..." : name;
}


static void
validatePrintLine(void)
{
    if (line)
        fputs(line, stdout);
    g_clear_pointer(&line, g_free);
    fflush(stdout);
}


void
validateCheck(const char *group,
              const char *format,
              ...)
{
    g_autofree char *text = NULL;
    va_list args;
    int fill;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);

    /* printf() would count bytes */
    fill = MAX(0, TEXT_COLUMNS - (int)g_utf8_strlen(text, -1));

    current = group;
    g_free(line);
    line = g_strdup_printf(_("%13s: Checking %s%*s: "), group, text, fill, "");
    if (!quiet)
        validatePrintLine();
}


/* Ends the line with @result, and with the advice @format. */
static void
validateEnd(int colour,
            const char *result,
            const char *format,
            va_list args)
{
    validatePrintLine();

    if (isatty(STDOUT_FILENO))
        printf("\033[%dm%s\033[0m", colour, result);
    else
        fputs(result, stdout);

    if (format) {
        g_autofree char *advice = g_strdup_vprintf(format, args);

        /* What a program that has failed says may have several lines. */
        g_strdelimit(g_strchomp(advice), "\n", ' ');
        printf(" (%s)", advice);
    }
    putchar('\n');
}


void
validatePass(void)
{
    va_list none = { 0 };

    if (!quiet)
        validateEnd(COLOUR_GREEN, _("PASS"), NULL, none);
}


void
validatePassWith(const char *format,
                 ...)
{
    va_list args;

    va_start(args, format);
    if (!quiet)
        validateEnd(COLOUR_GREEN, _("PASS"), format, args);
    va_end(args);
}


void
validateNote(const char *group,
             const char *format,
             ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    printf("%13s: %s\n", group, text);
}


void
validateWarn(const char *format,
             ...)
{
    va_list args;

    va_start(args, format);
    validateEnd(COLOUR_YELLOW, _("WARN"), format, args);
    va_end(args);
}


void
validateFail(const char *format,
             ...)
{
    va_list args;

    if (!validateHasFailed(current))
        failed = g_slist_prepend(failed, (void *)current);
    va_start(args, format);
    validateEnd(COLOUR_RED, _("FAIL"), format, args);
    va_end(args);
}


bool
validateHasFailed(const char *group)
{
    return g_slist_find_custom(failed, group, (GCompareFunc)strcmp) != NULL;
}
