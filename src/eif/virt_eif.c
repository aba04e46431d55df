/*
 * virt_eif.c: the tool virt-eif, and what its commands share
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: main() reads the options before the command, finds the command in a
 * table and calls it with the rest.
 */

#include "virt_eif.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "virt-eif"

typedef struct _Command Command;
struct _Command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
};

static const Command commands[] = {
    { "attest", virtEifAttest, N_("verify what an enclave proves of itself") },
    { "build", virtEifBuild, N_("assemble an image from a kernel, its command line and ramdisks") },
    { "convert", virtEifConvert, N_("write an image in another version of the format") },
    { "describe", virtEifDescribe, N_("show what is in an image, and its measurements") },
    { "extract", virtEifExtract, N_("write each section of an image to a file") },
    { "pcr", virtEifPcr, N_("print what an image, a file or a certificate measures to") },
    { "sign", virtEifSign, N_("sign an image, or prepare that for a key that is elsewhere") },
    { "verify", virtEifVerify, N_("check that an image is whole") },
};

void
virtEifError(const char *format, ...)
{
    g_autofree char *message = NULL;
    va_list args;

    va_start(args, format);
    message = g_strdup_vprintf(_(format), args);
    va_end(args);

    fprintf(stderr, _("error: %s\n"), message);
}

void
virtEifWarning(const char *format, ...)
{
    g_autofree char *message = NULL;
    va_list args;

    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);

    fprintf(stderr, _("warning: %s\n"), message);
}

int
virtEifParseOptions(int *argc, char ***argv, const GOptionEntry *entries, const char *usage,
                    const char *summary, int noperands)
{
    g_autoptr(GOptionContext) context = g_option_context_new(usage);
    g_autofree char *command = g_strdup_printf(PROGRAM " %s", (*argv)[0]);
    g_autoptr(GError) error = NULL;

    /* The usage line of --help starts with this. */
    g_set_prgname(command);
    g_option_context_set_translation_domain(context, NITRO_TEXT_DOMAIN);
    g_option_context_set_summary(context, summary);
    g_option_context_add_main_entries(context, entries, NULL);

    if (!g_option_context_parse(context, argc, argv, &error)) {
        virtEifError("%s; see '%s --help'", error->message, command);
        return -1;
    }

    /* GOption leaves the "--" that ends the options in place. */
    if (*argc > 1 && strcmp((*argv)[1], "--") == 0) {
        memmove(*argv + 1, *argv + 2, (*argc - 1) * sizeof(**argv));
        (*argc)--;
    }

    if (noperands < 0)
        return 0;
    if (*argc - 1 < noperands) {
        virtEifError(*argc > 1 ? N_("no directory is named; see '%s --help'") :
                     N_("no image file is named; see '%s --help'"), command);
        return -1;
    }
    if (*argc - 1 > noperands) {
        virtEifError("unexpected argument '%s'; see '%s --help'", (*argv)[noperands + 1], command);
        return -1;
    }
    return 0;
}

int
virtEifOpen(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        virtEifError("cannot open '%s': %s", path, g_strerror(errno));
    return fd;
}

void
virtEifPrintSafely(const char *text, size_t len, bool keepLines)
{
    const char *end = text + len;

    while (text < end) {
        gunichar c = g_utf8_get_char_validated(text, end - text);
        bool valid = c != (gunichar)-1 && c != (gunichar)-2;
        size_t n = valid ? (size_t)(g_utf8_next_char(text) - text) : 1;

        if ((c == '\n' && keepLines) || (valid && g_unichar_isprint(c))) {
            fwrite(text, 1, n, stdout);
        } else {
            size_t i;

            for (i = 0; i < n; i++)
                printf("\\x%02x", (unsigned char)text[i]);
        }
        text += n;
    }
}

char *
virtEifReadSmall(const char *path, size_t max, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    g_autofree char *content = g_malloc(max + 1);
    ssize_t got = 1;

    if (fd < 0) {
        virtEifError("cannot open '%s': %s", path, g_strerror(errno));
        return NULL;
    }

    for (*len = 0; got != 0 && *len <= max; *len += got > 0 ? got : 0) {
        got = read(fd, content + *len, max + 1 - *len);
        if (got < 0 && errno != EINTR) {
            virtEifError("cannot read '%s': %s", path, g_strerror(errno));
            close(fd);
            return NULL;
        }
    }
    close(fd);

    if (*len > max) {
        virtEifError("'%s' has more than the %zu bytes that are accepted", path, max);
        return NULL;
    }
    content[*len] = '\0';
    return g_steal_pointer(&content);
}

VirtEifProgress
virtEifProgressBegin(const char *what)
{
    return (VirtEifProgress){ .what = what, .start = g_get_monotonic_time(), .percent = -1 };
}

bool
virtEifProgressShow(uint64_t done, uint64_t total, void *opaque)
{
    VirtEifProgress *progress = opaque;
    int percent;

    if (total == 0 || g_get_monotonic_time() - progress->start < G_USEC_PER_SEC ||
        !isatty(STDERR_FILENO))
        return true;

    /* A double holds no more than 2^53 exactly, which is enough for this. */
    percent = (int)((double)done * 100 / (double)total);
    if (percent != progress->percent) {
        fprintf(stderr, "\r%s: [%3d %%]", progress->what, percent);
        progress->percent = percent;
    }
    return true;
}

void
virtEifProgressEnd(VirtEifProgress *progress)
{
    if (progress->percent >= 0)
        fputc('\n', stderr);
}

static char *
describeCommands(void)
{
    GString *text = g_string_new("Commands:\n");
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(commands); i++)
        g_string_append_printf(text, "  %-10s %s\n", commands[i].name, _(commands[i].help));
    g_string_append_printf(text, _("\n'%s COMMAND --help' describes a command."), PROGRAM);

    return g_string_free(text, FALSE);
}

/*
 * Reads the options before the command. Returns 0 with the rest in @argv from 1
 * on, or -1 when an error was printed. *@version says that --version was given.
 */
static int
parseGlobalOptions(int *argc, char ***argv, gboolean *version)
{
    const GOptionEntry entries[] = {
        { "version", 'v', 0, G_OPTION_ARG_NONE, version, N_("Show the version and exit"), NULL },
        { NULL },
    };
    g_autoptr(GOptionContext) context = g_option_context_new("COMMAND [ARGUMENT…]");
    g_autofree char *description = describeCommands();
    g_autoptr(GError) error = NULL;

    g_set_prgname(PROGRAM);
    g_option_context_set_translation_domain(context, NITRO_TEXT_DOMAIN);
    g_option_context_set_summary(context,
                                 N_("Works with images in the Enclave Image Format (EIF)."));
    g_option_context_set_description(context, description);
    g_option_context_add_main_entries(context, entries, NULL);
    /* Options behind the command are the command's. */
    g_option_context_set_strict_posix(context, TRUE);

    if (!g_option_context_parse(context, argc, argv, &error)) {
        virtEifError("%s; see '%s --help'", error->message, PROGRAM);
        return -1;
    }
    return 0;
}

static int
runCommand(int argc, char **argv)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(argv[0], commands[i].name) == 0)
            return commands[i].run(argc, argv);
    }

    virtEifError("unknown command '%s'; see '%s --help'", argv[0], PROGRAM);
    return EXIT_FAILURE;
}

int
main(int argc, char **argv)
{
    gboolean version = FALSE;
    int status;

    /* Beyond the limit of a file's size let write fail, so that the file is removed. */
    signal(SIGXFSZ, SIG_IGN);

    setlocale(LC_ALL, "");
    nitroGettextInitialize(NULL);
    textdomain(NITRO_TEXT_DOMAIN); /* GOption looks at it, too */

    if (parseGlobalOptions(&argc, &argv, &version) < 0)
        return EXIT_FAILURE;

    if (version) {
        puts(PROGRAM " (libvirt-nitro) " NITRO_VERSION);
        status = EXIT_SUCCESS;
    } else if (argc < 2) {
        virtEifError("no command is named; see '%s --help'", PROGRAM);
        status = EXIT_FAILURE;
    } else {
        status = runCommand(argc - 1, argv + 1);
    }

    /* What was not written was not shown: a full disk must not look like success. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        virtEifError("cannot write to standard output: %s", g_strerror(errno));
        status = EXIT_FAILURE;
    }
    return status;
}
