/*
 * virt_eif_build.c: virt-eif build
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: options -> EifBuilder with the opened parts, or with the ramdisks of a container
 * (virt_eif_container.c), and a signature of what they measure to -> a file that is there as a
 * whole, or as it was (virt_eif_output.c).
 */

#include "virt_eif_container.h"
#include "virt_eif_output.h"
#include "virt_eif_sign.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
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
    char *name;
    char *version;
    VirtEifContainerOptions container;
    char *signKey;
    char *signCertificate;
};

/* The parts' descriptors must live as long as the builder. */
typedef struct _Build Build;
struct _Build {
    EifBuilder *builder;
    GArray *fds;
    int kernel; /* one of them */
    VirtEifContainer container;
};

static void
optionsClear(BuildOptions *options)
{
    g_free(options->kernel);
    g_free(options->cmdline);
    g_strfreev(options->ramdisks);
    g_free(options->metadata);
    g_free(options->arch);
    g_free(options->output);
    g_free(options->name);
    g_free(options->version);
    g_free(options->container.oci);
    g_free(options->container.rootfs);
    g_free(options->container.init);
    g_strfreev(options->container.modules);
    g_free(options->container.moduleDir);
    g_free(options->container.cmd);
    g_strfreev(options->container.env);
    g_free(options->container.workdir);
    g_free(options->container.user);
    g_free(options->signKey);
    g_free(options->signCertificate);
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
    virtEifContainerClear(&build->container);
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

static bool
isContainer(const BuildOptions *options)
{
    return options->container.oci || options->container.rootfs;
}

/* Whether the options fit together. Returns 0, or -1 when an error was printed. */
static int
checkOptions(const BuildOptions *options)
{
    const VirtEifContainerOptions *container = &options->container;
    const char *alone = container->init ? "init" : container->modules ? "module" :
        container->moduleDir ? "module-dir" :
        container->cmd ? "cmd" : container->env ? "env" : container->workdir ? "workdir" :
        container->user ? "user" : NULL;

    if (!options->kernel || !options->output) {
        virtEifError("option --%s is missing; see 'virt-eif build --help'",
                     options->kernel ? "output" : "kernel");
        return -1;
    }
    if (!options->signKey != !options->signCertificate) {
        virtEifError("option --sign-%s is missing; see 'virt-eif build --help'",
                     options->signKey ? "certificate" : "key");
        return -1;
    }
    if (container->oci && container->rootfs) {
        virtEifError("options --oci and --rootfs exclude each other");
        return -1;
    }
    if (isContainer(options) && options->ramdisks) {
        virtEifError("option --ramdisk is not for --oci and --rootfs, which make the ramdisks");
        return -1;
    }
    if (!isContainer(options) && alone) {
        virtEifError("option --%s is for --oci and --rootfs only", alone);
        return -1;
    }
    if (container->maxSize < 1 || container->maxSize > VIRT_EIF_MAX_SIZE_MAX) {
        virtEifError("option --max-size must be 1 to %d MiB, not %" PRId64,
                     VIRT_EIF_MAX_SIZE_MAX, container->maxSize);
        return -1;
    }
    return 0;
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
    build->kernel = fd;
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

/* The checked JSON object in the file @path (g_free), or NULL when an error was printed */
static char *
readMetadata(const char *path)
{
    g_autofree char *wrong = NULL;
    size_t len;
    g_autofree char *text = virtEifReadSmall(path, VIRT_EIF_TEXT_MAX, &len);

    if (!text)
        return NULL;
    if ((wrong = virtEifJsonCheck(text, len))) {
        virtEifError("metadata '%s' is refused: %s", path, wrong);
        return NULL;
    }

    /* JSON has no NUL, so the text is all of it. */
    return g_steal_pointer(&text);
}

/* The file as it is, or as a part of what nitro-cli writes */
static int
addMetadata(Build *build, const BuildOptions *options)
{
    g_autofree char *given = NULL;
    g_autofree char *text = NULL;
    uint32_t mtime;

    if (options->metadata && !(given = readMetadata(options->metadata)))
        return -1;
    if (!isContainer(options) && !options->name && !options->version) {
        eifBuilderSetMetadata(build->builder, given);
        return 0;
    }

    if (virtEifContainerTime(&mtime) < 0)
        return -1;
    text = virtEifMetadata(options->name, options->version, mtime, build->kernel,
                           build->container.image, given);
    if (strlen(text) > VIRT_EIF_TEXT_MAX) {
        virtEifError("the metadata of the image would have %zu bytes, more than the %d that are "
                     "accepted", strlen(text), VIRT_EIF_TEXT_MAX);
        return -1;
    }
    eifBuilderSetMetadata(build->builder, text);
    return 0;
}

/* Measures the image that is to be made, and adds a signature for that. */
static int
signParts(Build *build, const EifSigner *signer, const char *output)
{
    VirtEifProgress progress = virtEifProgressBegin("Measuring");
    g_autoptr(GByteArray) section = NULL;
    g_autoptr(GError) error = NULL;
    EifMeasurements measurements;
    int ret = eifBuilderMeasure(build->builder, &measurements, virtEifOutputProgress, &progress,
                                &error);

    virtEifProgressEnd(&progress);
    if (ret < 0 || !(section = eifSignerSign(signer, measurements.pcr[0], &error)) ||
        eifBuilderSetSignature(build->builder, section->data, section->len, &error) < 0) {
        virtEifError("%s: %s", output, error->message);
        return -1;
    }
    return 0;
}

/* Writes the image to @fd. Returns 0, or -1 when an error was printed. */
static int
writeImage(Build *build, int fd, const char *output)
{
    VirtEifProgress progress = virtEifProgressBegin("Writing");
    g_autoptr(GError) error = NULL;
    int ret = eifBuilderWrite(build->builder, fd, virtEifOutputProgress, &progress, &error);

    virtEifProgressEnd(&progress);
    if (ret < 0)
        virtEifError("%s: %s", output, error->message);
    return ret;
}

static int
writeAndRename(Build *build, const EifSigner *signer, const char *path)
{
    VirtEifOutput output;
    int ret;

    if (virtEifOutputBegin(&output, path, -1) < 0)
        return -1;

    ret = signer ? signParts(build, signer, path) : 0;
    if (ret == 0)
        ret = writeImage(build, output.fd, path);
    if (ret == 0 && signer)
        ret = virtEifSignCheck(output.fd, path);
    if (virtEifOutputEnd(&output, ret, false) < 0)
        return -1;

    if (signer)
        virtEifSignReport(signer);
    return 0;
}

/* The ramdisks of a container, and the architecture; @arch is that of --arch, or this machine's. */
static int
readContainer(Build *build, const BuildOptions *options, EifArch arch)
{
    g_autofree char *scratch = NULL;

    if (!isContainer(options)) {
        build->container.arch = arch;
        return 0;
    }
    /* where the image is written, there is room for its files */
    scratch = g_path_get_dirname(options->output);
    return virtEifContainerRead(&build->container, &options->container, options->arch, arch,
                                scratch);
}

static int
buildImage(const BuildOptions *options)
{
    g_auto(Build) build = { 0 };
    g_autoptr(EifSigner) signer = NULL;
    EifArch arch;

    virtEifContainerInit(&build.container);
    if (parseArch(options->arch, &arch) < 0 ||
        (options->signKey &&
         !(signer = virtEifSignerOpen(options->signCertificate, options->signKey))) ||
        readContainer(&build, options, arch) < 0)
        return -1;

    build.builder = eifBuilderNew(build.container.arch);
    build.fds = g_array_new(FALSE, FALSE, sizeof(int));
    if (isContainer(options) && virtEifContainerAdd(&build.container, build.builder) < 0)
        return -1;
    if (addParts(&build, options) < 0 || addMetadata(&build, options) < 0)
        return -1;
    return writeAndRename(&build, signer, options->output);
}

static int
parseOptions(int *argc, char ***argv, BuildOptions *options)
{
    VirtEifContainerOptions *container = &options->container;
    /* Of the type "filename", options are taken as they are, whatever the locale. */
    const GOptionEntry entries[] = {
        { "kernel", 'k', 0, G_OPTION_ARG_FILENAME, &options->kernel,
          N_("Linux kernel to boot (required)"), "FILE" },
        { "cmdline", 'c', 0, G_OPTION_ARG_FILENAME, &options->cmdline,
          N_("Command line of the kernel (default: empty)"), "TEXT" },
        { "ramdisk", 'r', 0, G_OPTION_ARG_FILENAME_ARRAY, &options->ramdisks,
          N_("Ramdisk; repeat for more, in this order (default: an empty one)"), "FILE" },
        { "metadata", 'm', 0, G_OPTION_ARG_FILENAME, &options->metadata,
          N_("JSON object with facts about the image (default: {})"), "FILE" },
        { "name", 0, 0, G_OPTION_ARG_STRING, &options->name,
          N_("Name of the image, in its metadata"), "NAME" },
        { "version", 0, 0, G_OPTION_ARG_STRING, &options->version,
          N_("Version of the image, in its metadata"), "VERSION" },
        { "oci", 0, 0, G_OPTION_ARG_FILENAME, &container->oci,
          N_("Container image to make the ramdisks of: an OCI layout, or an archive of one or of "
             "Docker's"), "PATH[:TAG]" },
        { "rootfs", 0, 0, G_OPTION_ARG_FILENAME, &container->rootfs,
          N_("Root directory to make the ramdisks of, or a tar archive of one"), "PATH" },
        { "init", 0, 0, G_OPTION_ARG_FILENAME, &container->init,
          N_("First process of the enclave (default: that of this program)"), "FILE" },
        { "module", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &container->modules,
          N_("Module of the kernel; repeat for more, to be loaded in this order"), "FILE|NAME" },
        { "module-dir", 0, 0, G_OPTION_ARG_FILENAME, &container->moduleDir,
          N_("Where modules are looked for by their names, and what they need"), "DIRECTORY" },
        { "cmd", 0, 0, G_OPTION_ARG_FILENAME, &container->cmd,
          N_("Command to run, words as in a shell (default: the image's)"), "COMMAND" },
        { "env", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &container->env,
          N_("Variable of its environment; repeat for more"), "NAME=VALUE" },
        { "workdir", 0, 0, G_OPTION_ARG_FILENAME, &container->workdir,
          N_("Its working directory (default: the image's)"), "DIRECTORY" },
        { "user", 0, 0, G_OPTION_ARG_STRING, &container->user,
          N_("Its user and perhaps group (default: the image's)"), "USER[:GROUP]" },
        { "max-size", 0, 0, G_OPTION_ARG_INT64, &container->maxSize,
          N_("What a container may unpack to at most (default: 8192)"), "MIB" },
        { "arch", 'a', 0, G_OPTION_ARG_STRING, &options->arch,
          N_("Architecture, x86_64 or aarch64 (default: this machine's)"), "ARCH" },
        { "output", 'o', 0, G_OPTION_ARG_FILENAME, &options->output,
          N_("Image to write (required)"), "FILE" },
        { "sign-key", 0, 0, G_OPTION_ARG_FILENAME, &options->signKey,
          N_("Sign the image with this key, as the command sign does"), "KEY" },
        { "sign-certificate", 0, 0, G_OPTION_ARG_FILENAME, &options->signCertificate,
          N_("The certificate of that key"), "FILE" },
        { NULL },
    };

    return virtEifParseOptions(argc, argv, entries, "--kernel FILE --output FILE",
                               N_("Assembles an image of EIF version 4."), 0);
}

int
virtEifBuild(int argc, char **argv)
{
    g_auto(BuildOptions) options = { .container = { .maxSize = VIRT_EIF_MAX_SIZE } };

    if (parseOptions(&argc, &argv, &options) < 0 ||
        checkOptions(&options) < 0 || buildImage(&options) < 0)
        return EXIT_FAILURE;

    return EXIT_SUCCESS;
}
