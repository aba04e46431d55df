/*
 * nitro_native_shell.c: the words of one simple command of a shell
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: text -> a look at what stands outside of quotes -> GLib's g_shell_parse_argv(), which
 * undoes the quoting. GLib takes what a shell would act upon (redirections, "&", variables)
 * for the text of words: those would become a value of QEMU's, or be blamed as one.
 */

#include <config.h>

#include "nitro_native.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

#define SHELL_SPACE " \t\n"
#define SHELL_OPERATORS "&|;<>()"


/* Whether the shell puts something else in the place of what starts at @pos. */
static bool
nitroShellIsExpanded(const char *pos,
                     bool quoted)
{
    if (*pos == '`')
        return true;
    if (*pos != '$' || !pos[1])
        return false;
    if (g_ascii_isalnum(pos[1]) || strchr("_{(?@*#$!-", pos[1]))
        return true;
    return !quoted && strchr("'\"", pos[1]); /* $'...' of bash */
}


/* Moves behind the double quotes that end at the next one; stops at what is expanded. */
static const char *
nitroShellSkipQuotes(const char *pos)
{
    for (pos++; *pos && *pos != '"'; pos++) {
        if (*pos == '\\' && pos[1])
            pos++;
        else if (nitroShellIsExpanded(pos, true))
            break;
    }
    return pos;
}


/* The first thing in @config that a shell acts upon, or NULL. */
static const char *
nitroShellFindSyntax(const char *config)
{
    const char *pos;

    for (pos = config; *pos; pos++) {
        bool start = pos == config || strchr(SHELL_SPACE, pos[-1]);

        if (*pos == '\\' && pos[1]) {
            pos++;
        } else if (*pos == '\'') {
            pos = strchr(pos + 1, '\'');
        } else if (*pos == '"') {
            pos = nitroShellSkipQuotes(pos);
            if (*pos && *pos != '"')
                return pos;
        } else if (*pos == '#' && start) {
            pos = strchr(pos, '\n'); /* a comment */
        } else if (strchr(SHELL_OPERATORS, *pos) || nitroShellIsExpanded(pos, false)) {
            return pos;
        }

        /* Quotes that do not end are GLib's to report. */
        if (!pos || !*pos)
            break;
    }
    return NULL;
}


/* Whether the UTF-8 @text has no control characters but those of @allowed. */
static int
nitroShellCheckControls(const char *text,
                        const char *allowed)
{
    const char *pos;

    for (pos = text; *pos; pos = g_utf8_next_char(pos)) {
        gunichar c = g_utf8_get_char(pos);

        if (g_unichar_iscntrl(c) && !(c < 128 && strchr(allowed, (int)c))) {
            virReportError(VIR_ERR_INVALID_ARG,
                           _("the command line of QEMU has the control character U+%04lX"),
                           (unsigned long)c);
            return -1;
        }
    }
    return 0;
}


char **
nitroNativeSplitShell(const char *config)
{
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) argv = NULL;
    const char *syntax;
    size_t i;

    if (!g_utf8_validate(config, -1, NULL)) {
        virReportError(VIR_ERR_INVALID_ARG, "%s",
                       _("the command line of QEMU is not UTF-8"));
        return NULL;
    }
    if (nitroShellCheckControls(config, SHELL_SPACE) < 0)
        return NULL;

    if ((syntax = nitroShellFindSyntax(config))) {
        size_t len = strchr(SHELL_OPERATORS, *syntax) ? strspn(syntax, SHELL_OPERATORS) :
                                                        strcspn(syntax, SHELL_SPACE "\"'");
        g_autofree char *word = g_strndup(syntax, MAX(len, 1));

        virReportError(VIR_ERR_INVALID_ARG,
                       _("'%s' in the command line of QEMU is an instruction to the shell: remove "
                         "it, or put it in single quotes if it belongs to a value"),
                       word);
        return NULL;
    }

    if (!g_shell_parse_argv(config, NULL, &argv, &error)) {
        virReportError(VIR_ERR_INVALID_ARG, "%s",
                       error->code == G_SHELL_ERROR_EMPTY_STRING ?
                       _("the command line of QEMU is empty") :
                       _("a quotation in the command line of QEMU does not end"));
        return NULL;
    }

    /* A line end in quotes is not between words. */
    for (i = 0; argv[i]; i++) {
        if (nitroShellCheckControls(argv[i], "") < 0)
            return NULL;
    }
    return g_steal_pointer(&argv);
}
