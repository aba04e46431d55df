/*
 * virt_eif_build.c: virt-eif build
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: options -> EifBuilder with the opened parts -> a temporary file beside
 * the output -> rename. Whatever goes wrong, or a signal that ends the program,
 * removes the temporary file, so the output is there as a whole or as it was.
 */

#include "virt_eif.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

typedef struct _BuildOptions BuildOptions;
struct _BuildOptions {
    char *kernel;
    char *cmdline;
    char **ramdisks;
    char *metadata;
    char *arch;
    char *output;
};

/* The parts' descriptors must live as long as the builder. */
typedef struct _Build Build;
struct _Build {
    EifBuilder *builder;
    GArray *fds;
};

/* The signal that asked to stop, or 0 */
static volatile sig_atomic_t caught;

static void
onSignal(int sig)
{
    caught = sig;
}

static const int stopSignals[] = { SIGHUP, SIGINT, SIGTERM };

static void
catchSignals(void)
{
    struct sigaction action = { .sa_handler = onSignal };
    struct sigaction old;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(stopSignals); i++) {
        sigaction(stopSignals[i], NULL, &old);
        /* Whoever started this may have wanted it ignored, as nohup does. */
        if (old.sa_handler != SIG_IGN)
            sigaction(stopSignals[i], &action, NULL);
    }

    /* Beyond the limit of a file's size let write fail, so that the file is removed. */
    signal(SIGXFSZ, SIG_IGN);
}

/* Ends the program by the signal that was caught, as if it had not been. */
static void
dieBySignal(void)
{
    signal(caught, SIG_DFL);
    raise(caught);
}

static bool
showProgress(uint64_t done, uint64_t total, void *opaque)
{
    return !caught && virtEifProgressShow(done, total, opaque);
}

static void
optionsClear(BuildOptions *options)
{
    g_free(options->kernel);
    g_free(options->cmdline);
    g_strfreev(options->ramdisks);
    g_free(options->metadata);
    g_free(options->arch);
    g_free(options->output);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BuildOptions, optionsClear)

static void
buildClear(Build *build)
{
    size_t i;

    eifBuilderFree(build->builder);
    for (i = 0; build->fds && i < build->fds->len; i++)
        close(g_array_index(build->fds, int, i));
    if (build->fds)
        g_array_unref(build->fds);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Build, buildClear)

static int
parseArch(const char *name, EifArch *arch)
{
    struct utsname host;

    if (!name) {
        uname(&host);
        name = host.machine;
    }

    if (eifArchFromString(name, arch))
        return 0;
    virtEifError("architecture '%s' is not supported: use --arch x86_64 or --arch aarch64", name);
    return -1;
}

/* Returns a descriptor that @build owns, or -1 when an error was printed. */
static int
openPart(Build *build, const char *path)
{
    int fd = virtEifOpen(path);

    if (fd >= 0)
        g_array_append_val(build->fds, fd);
    return fd;
}

static int
addParts(Build *build, const BuildOptions *options)
{
    g_autoptr(GError) error = NULL;
    int fd = openPart(build, options->kernel);
    size_t i;

    if (fd < 0)
        return -1;
    if (eifBuilderSetKernel(build->builder, fd, options->kernel, &error) < 0) {
        virtEifError("%s", error->message);
        return -1;
    }

    for (i = 0; options->ramdisks && options->ramdisks[i]; i++) {
        if ((fd = openPart(build, options->ramdisks[i])) < 0)
            return -1;
        if (eifBuilderAddRamdisk(build->builder, fd, options->ramdisks[i], &error) < 0) {
            virtEifError("%s", error->message);
            return -1;
        }
    }

    eifBuilderRequireRamdisk(build->builder);
    eifBuilderSetCmdline(build->builder, options->cmdline);
    return 0;
}

static int
addMetadata(Build *build, const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    g_autofree char *wrong = NULL;
    gsize len;

    if (!path)
        return 0;

    if (!g_file_get_contents(path, &text, &len, &error)) {
        virtEifError("cannot read the metadata: %s", error->message);
        return -1;
    }
    if (len > VIRT_EIF_TEXT_MAX) {
        virtEifError("metadata '%s' has %zu bytes, more than the %d that are accepted",
                     path, (size_t)len, VIRT_EIF_TEXT_MAX);
        return -1;
    }
    if ((wrong = virtEifJsonCheck(text, len))) {
        virtEifError("metadata '%s' is refused: %s", path, wrong);
        return -1;
    }

    /* JSON has no NUL, so the text is all of it. */
    eifBuilderSetMetadata(build->builder, text);
    return 0;
}

/*
 * The file that is replaced or made: what a symbolic link points to, else @path
 * itself. Returns NULL when an error was printed.
 */
static char *
resolveOutput(const char *path)
{
    g_autofree char *base = g_path_get_basename(path);
    g_autofree char *target = realpath(path, NULL);
    struct stat sb;

    if (!target) {
        int err = errno;

        /* A dangling link is there for lstat(), and nothing that a rename should replace. */
        if (err == ENOENT && lstat(path, &sb) < 0 && !g_str_has_suffix(path, "/") &&
            strcmp(base, ".") != 0)
            return g_strdup(path);
        virtEifError("cannot write '%s': %s", path, g_strerror(err));
        return NULL;
    }

    /* The rename would replace a device node, for one, by a file. */
    if (stat(target, &sb) < 0 || !S_ISREG(sb.st_mode)) {
        virtEifError("cannot write '%s': it exists and is not a regular file", path);
        return NULL;
    }
    return g_steal_pointer(&target);
}

/* The mode that open() would have given a new file */
static mode_t
defaultMode(void)
{
    mode_t mask = umask(0);

    umask(mask);
    return 0666 & ~mask;
}

/* Writes the image to @fd, safely on disk. Returns 0, or -1 when an error was printed. */
static int
writeImage(Build *build, int fd, const char *output)
{
    VirtEifProgress progress = virtEifProgressBegin("Writing");
    g_autoptr(GError) error = NULL;
    int ret = eifBuilderWrite(build->builder, fd, showProgress, &progress, &error);

    virtEifProgressEnd(&progress);
    if (ret < 0) {
        virtEifError("%s: %s", output, error->message);
        return -1;
    }

    if (fchmod(fd, defaultMode()) < 0 || fsync(fd) < 0) {
        virtEifError("cannot write '%s': %s", output, g_strerror(errno));
        return -1;
    }
    return 0;
}

static int
writeAndRename(Build *build, const char *output)
{
    g_autofree char *temporary = NULL;
    g_autofree char *target = resolveOutput(output);
    bool renamed = false;
    int fd;

    if (!target)
        return -1;

    temporary = g_strdup_printf("%s.XXXXXX", target);
    catchSignals();

    if ((fd = g_mkstemp_full(temporary, O_RDWR | O_CLOEXEC, 0600)) < 0) {
        virtEifError("cannot create a file beside '%s': %s", output, g_strerror(errno));
        return -1;
    }

    if (writeImage(build, fd, output) == 0 && !caught) {
        renamed = rename(temporary, target) == 0;
        if (!renamed)
            virtEifError("cannot rename '%s' to '%s': %s", temporary, target, g_strerror(errno));
    }

    if (!renamed)
        unlink(temporary);
    close(fd);

    if (caught)
        dieBySignal();
    return renamed ? 0 : -1;
}

int
virtEifBuild(int argc, char **argv)
{
    g_auto(BuildOptions) options = { 0 };
    g_auto(Build) build = { 0 };
    /* Of the type "filename", options are taken as they are, whatever the locale. */
    const GOptionEntry entries[] = {
        { "kernel", 'k', 0, G_OPTION_ARG_FILENAME, &options.kernel,
          N_("Linux kernel to boot (required)"), "FILE" },
        { "cmdline", 'c', 0, G_OPTION_ARG_FILENAME, &options.cmdline,
          N_("Command line of the kernel (default: empty)"), "TEXT" },
        { "ramdisk", 'r', 0, G_OPTION_ARG_FILENAME_ARRAY, &options.ramdisks,
          N_("Ramdisk; repeat for more, in this order (default: an empty one)"), "FILE" },
        { "metadata", 'm', 0, G_OPTION_ARG_FILENAME, &options.metadata,
          N_("JSON object with facts about the image (default: {})"), "FILE" },
        { "arch", 'a', 0, G_OPTION_ARG_STRING, &options.arch,
          N_("Architecture, x86_64 or aarch64 (default: this machine's)"), "ARCH" },
        { "output", 'o', 0, G_OPTION_ARG_FILENAME, &options.output,
          N_("Image to write (required)"), "FILE" },
        { NULL },
    };
    EifArch arch;

    if (virtEifParseOptions(&argc, &argv, entries, "--kernel FILE --output FILE",
                            N_("Assembles an image of EIF version 4."), 0) < 0)
        return EXIT_FAILURE;

    if (!options.kernel || !options.output) {
        virtEifError("option --%s is missing; see 'virt-eif build --help'",
                     options.kernel ? "output" : "kernel");
        return EXIT_FAILURE;
    }
    if (parseArch(options.arch, &arch) < 0)
        return EXIT_FAILURE;

    build.builder = eifBuilderNew(arch);
    build.fds = g_array_new(FALSE, FALSE, sizeof(int));
    if (addParts(&build, &options) < 0 ||
        addMetadata(&build, options.metadata) < 0 ||
        writeAndRename(&build, options.output) < 0)
        return EXIT_FAILURE;

    return EXIT_SUCCESS;
}
