/*
 * virt_eif_container.c: images of containers, for "virt-eif build"
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The ramdisks are as those of AWS's images. Bootstrap: /init, modules. Application: /rootfs, /cmd,
 * /env; and /workdir and /user, which are for this project's init (src/init/application.h).
 *
 * Flow: virtEifContainerRead(): readOci() or readRootfs() -> the application's tree ->
 * addDirectories(), addCommand(); addInit(), addModules() -> the bootstrap's tree.
 * virtEifContainerAdd(): each tree -> its size -> a generated part of the image -> cpioWrite().
 */

#include "virt_eif_container.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpio_writer.h"
#include "kernel_modules.h"
#include "oci_user.h"
#include "rootfs_dir.h"
#include "rootfs_tar.h"

/* Environment variable: where inits are, instead of where they are installed */
#define INITDIR_VARIABLE "VIRT_EIF_INITDIR"

#define NSM_MODULE "nsm.ko"
#define MODULES_DIR "lib/modules"

/* What Docker has for an image that says nothing */
#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

void
virtEifContainerInit(VirtEifContainer *container)
{
    *container = (VirtEifContainer){ .directory = -1 };
}

void
virtEifContainerClear(VirtEifContainer *container)
{
    rootfsTreeFree(container->bootstrap);
    rootfsTreeFree(container->application);
    rootfsSpoolClose(container->spool);
    ociImageFree(container->image);
    g_strfreev(container->cmd);
    g_strfreev(container->env);
    if (container->directory >= 0)
        close(container->directory);
}

int
virtEifContainerTime(uint32_t *mtime)
{
    const char *text = g_getenv("SOURCE_DATE_EPOCH");
    guint64 value = 0;

    if (text && *text && !g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT32, &value, NULL)) {
        virtEifError("the environment variable SOURCE_DATE_EPOCH is '%s': it must be seconds since "
                     "1970, from 0 to %u", text, G_MAXUINT32);
        return -1;
    }
    *mtime = (uint32_t)value;
    return 0;
}

/* Prints @error; returns -1. */
static int
report(const GError *error)
{
    virtEifError("%s", error->message);
    return -1;
}

static void
showProgress(uint64_t done, uint64_t total, void *opaque)
{
    virtEifProgressShow(done, total, opaque);
}

/* Ends the line of what is shown, if anything is. */
static void
endProgress(VirtEifContainer *container)
{
    container->limits.progress = NULL;
    virtEifProgressEnd(&container->progress);
    container->progress.percent = -1;
}

/* As report(), while progress is shown */
static int
reportReading(VirtEifContainer *container, const GError *error)
{
    endProgress(container);
    return report(error);
}

static const char *
architectureOfGo(EifArch arch)
{
    return arch == EIF_ARCH_AARCH64 ? "arm64" : "amd64";
}

/* The architecture that an image names must be one of ours, and the one that was asked for. */
static int
checkArchitecture(VirtEifContainer *container, const char *archName, EifArch arch)
{
    const char *name = container->image->architecture;

    if (g_strcmp0(name, "amd64") == 0) {
        container->arch = EIF_ARCH_X86_64;
    } else if (g_strcmp0(name, "arm64") == 0) {
        container->arch = EIF_ARCH_AARCH64;
    } else {
        g_autofree char *shown = containerPrintable(name ? name : "");

        virtEifError("the image is for the architecture '%s': enclaves are of amd64 or arm64",
                     shown);
        return -1;
    }
    if (!archName || container->arch == arch)
        return 0;
    virtEifError("the image is for the architecture '%s', not for '%s' as --arch says", name,
                 archName);
    return -1;
}

/*
 * Splits LAYOUT[:TAG]: the path is what exists of it up to a colon. Returns the path (g_free), and
 * the tag, or NULL, in *@tag, a part of @oci.
 */
static char *
splitTag(const char *oci, const char **tag)
{
    const char *colon = oci;

    *tag = NULL;
    if (g_file_test(oci, G_FILE_TEST_EXISTS))
        return g_strdup(oci);

    while ((colon = strchr(colon, ':'))) {
        g_autofree char *path = g_strndup(oci, colon - oci);

        if (g_file_test(path, G_FILE_TEST_EXISTS)) {
            *tag = colon + 1;
            return g_steal_pointer(&path);
        }
        colon++;
    }
    return g_strdup(oci);
}

static int
readOci(VirtEifContainer *container, const char *oci, const char *archName, EifArch arch)
{
    g_autoptr(GError) error = NULL;
    const char *tag;
    g_autofree char *path = splitTag(oci, &tag);
    g_autoptr(OciStore) store = ociStoreOpen(path, &container->limits, &error);

    if (!store ||
        !(container->image = ociImageRead(store, tag, architectureOfGo(arch), &error)))
        return report(error);
    if (checkArchitecture(container, archName, arch) < 0)
        return -1;
    if (ociImageApply(store, container->image, container->application, &container->limits,
                      &error) < 0)
        return reportReading(container, error);
    return 0;
}

/* Takes @fd. */
static int
readRootfsTar(VirtEifContainer *container, const char *path, int fd)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *what = g_strdup_printf("'%s'", path);
    g_autoptr(ByteSource) source = byteSourceNewFile(fd, what);

    /* what is not compressed stays where it is, and is read there when the image is written */
    if ((container->directory = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0) {
        virtEifError("cannot open '%s': %s", path, g_strerror(errno));
        return -1;
    }
    container->application->archive = container->directory;
    source = byteSourceNewUnpacked(g_steal_pointer(&source), what, false, &container->limits);
    if (rootfsReadTar(container->application, source, what, 0, &container->limits, &error) < 0)
        return reportReading(container, error);
    return 0;
}

static int
readRootfs(VirtEifContainer *container, const char *path, EifArch arch)
{
    g_autoptr(GError) error = NULL;
    int fd = virtEifOpen(path);
    struct stat sb;

    if (fd < 0)
        return -1;
    container->arch = arch;
    if (fstat(fd, &sb) == 0 && S_ISREG(sb.st_mode)) {
        container->limits.total = (uint64_t)sb.st_size;
        return readRootfsTar(container, path, fd);
    }

    container->directory = fd;
    if (!S_ISDIR(sb.st_mode)) {
        virtEifError("'%s' is neither a directory nor a regular file", path);
        return -1;
    }
    if (rootfsReadDirectory(container->application, fd, &container->limits, &error) < 0) {
        virtEifError("%s: %s", path, error->message);
        return -1;
    }
    return 0;
}

/* The files of the container, into the application's tree */
static int
readFiles(VirtEifContainer *container, const VirtEifContainerOptions *options,
          const char *archName, EifArch arch)
{
    int ret;

    container->progress = virtEifProgressBegin("Reading");
    container->limits.progress = showProgress;
    container->limits.opaque = &container->progress;
    ret = options->oci ? readOci(container, options->oci, archName, arch) :
        readRootfs(container, options->rootfs, arch);
    endProgress(container);
    return ret;
}

static void
warnOfLost(const RootfsTree *tree)
{
    if (tree->lostXattrs > 0)
        virtEifWarning(_("a ramdisk holds no extended attributes: %" PRIu64 " files lose theirs, "
                         "'%s' is the first"), tree->lostXattrs, tree->firstXattr);
    if (tree->lostOwners > 0)
        virtEifWarning(_("all files of a directory get the owner root: %" PRIu64 " have another, "
                         "'%s' is the first; a tar archive keeps owners"), tree->lostOwners,
                       tree->firstOwner);
    if (tree->lostSockets > 0)
        virtEifWarning(_("sockets are left out: %" PRIu64 ", '%s' is the first"),
                       tree->lostSockets, tree->firstSocket);
}

/* Where the init mounts something, and where an application may look */
static int
addDirectories(RootfsTree *tree, const char *workdir, GError **error)
{
    static const char *const names[] = { "/dev", "/proc", "/run", "/sys", "/tmp", "/var" };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(names); i++) {
        if (rootfsTreeEnsureDirectory(tree, names[i], error) < 0)
            return -1;
    }
    return rootfsTreeEnsureDirectory(tree, workdir, error);
}

/* Adds copies of @items, which may be NULL. */
static void
addWords(GPtrArray *words, char **items)
{
    for (; items && *items; items++)
        g_ptr_array_add(words, g_strdup(*items));
}

/* The command: --cmd, or the image's own. Returns 0, or -1 when an error was printed. */
static int
chooseCommand(VirtEifContainer *container, const char *cmd)
{
    const OciImage *image = container->image;
    g_autoptr(GError) error = NULL;
    GPtrArray *words;

    if (cmd) {
        if (g_shell_parse_argv(cmd, NULL, &container->cmd, &error))
            return 0;
        virtEifError("the command '%s' cannot be taken apart into words: %s", cmd, error->message);
        return -1;
    }

    words = g_ptr_array_new();
    if (image) {
        addWords(words, image->entrypoint);
        addWords(words, image->cmd);
    }
    g_ptr_array_add(words, NULL);
    container->cmd = (char **)g_ptr_array_free(words, FALSE);
    if (container->cmd[0])
        return 0;
    virtEifError(image ?
                 N_("the image has neither an Entrypoint nor a Cmd: --cmd says what to run") :
                 N_("a root directory has no command: --cmd says what to run"));
    return -1;
}

/* Puts @item, NAME=VALUE, in place of one with this name, or behind all. */
static void
setVariable(GPtrArray *env, const char *item)
{
    size_t len = strchrnul(item, '=') - item;
    unsigned int i;

    for (i = 0; i < env->len; i++) {
        char *old = g_ptr_array_index(env, i);

        if (strncmp(old, item, len) == 0 && old[len] == '=') {
            g_free(old);
            g_ptr_array_index(env, i) = g_strdup(item);
            return;
        }
    }
    g_ptr_array_add(env, g_strdup(item));
}

/* The image's environment, changed by --env; PATH and HOME are there as under Docker. */
static int
chooseEnvironment(VirtEifContainer *container, char **changes, const char *home)
{
    g_autofree char *defaultHome = g_strconcat("HOME=", home, NULL);
    char **own = container->image ? container->image->env : NULL;
    GPtrArray *env = g_ptr_array_new();
    int ret = 0;
    size_t i;

    setVariable(env, DEFAULT_PATH);
    setVariable(env, defaultHome);
    for (i = 0; own && own[i]; i++)
        setVariable(env, own[i]);
    for (i = 0; ret == 0 && changes && changes[i]; i++) {
        if (!strchr(changes[i], '=') || changes[i][0] == '=') {
            virtEifError("'%s' is no variable of an environment: --env needs NAME=VALUE",
                         changes[i]);
            ret = -1;
        }
        setVariable(env, changes[i]);
    }
    g_ptr_array_add(env, NULL);
    container->env = (char **)g_ptr_array_free(env, FALSE);
    return ret;
}

static bool
haveNewline(char **items)
{
    for (; *items; items++) {
        if (strchr(*items, '\n'))
            return true;
    }
    return false;
}

/*
 * Adds a file with an item a line. Items that have newlines themselves are ended by NULs, which the
 * project's init understands.
 */
static int
addItems(RootfsTree *tree, const char *name, char **items, bool ownInit, GError **error)
{
    char end = haveNewline(items) ? '\0' : '\n';
    GString *text;
    int ret;

    if (end == '\0' && !ownInit)
        return containerFail(error, CONTAINER_ERROR_FORMAT, _("a word for the file /%s has a "
                             "newline, which other inits than the default one cannot read"), name);

    text = g_string_new(NULL);
    for (; *items; items++) {
        g_string_append(text, *items);
        g_string_append_c(text, end);
    }
    ret = rootfsTreeAddData(tree, name, 0644, text->str, text->len, error);
    g_string_free(text, TRUE);
    return ret;
}

static int
addUser(RootfsTree *tree, const OciUser *user, GError **error)
{
    GString *text = g_string_new(NULL);
    unsigned int i;
    int ret;

    g_string_append_printf(text, "%u %u", user->uid, user->gid);
    for (i = 0; i < user->groups->len; i++)
        g_string_append_printf(text, " %u", g_array_index(user->groups, uint32_t, i));
    g_string_append_c(text, '\n');
    ret = rootfsTreeAddData(tree, "user", 0644, text->str, text->len, error);
    g_string_free(text, TRUE);
    return ret;
}

/* /cmd, /env, /workdir and /user */
static int
addCommand(VirtEifContainer *container, const VirtEifContainerOptions *options)
{
    RootfsTree *tree = container->application;
    const OciImage *image = container->image;
    const char *user = options->user ? options->user : image && image->user ? image->user : "";
    const char *given = options->workdir ? options->workdir : image ? image->workingDir : NULL;
    g_autofree char *workdir = g_strconcat(given && given[0] == '/' ? "" : "/", given, NULL);
    g_autofree char *line = g_strconcat(workdir, "\n", NULL);
    g_autoptr(GError) error = NULL;
    g_auto(OciUser) whom = { 0 };

    if (strchr(workdir, '\n')) {
        virtEifError("the working directory has a newline in its name: --workdir names another");
        return -1;
    }
    if (addDirectories(tree, workdir, &error) < 0 ||
        ociUserResolve(tree, user, &whom, &error) < 0)
        return report(error);
    if (chooseCommand(container, options->cmd) < 0 ||
        chooseEnvironment(container, options->env, whom.home) < 0)
        return -1;
    if (addItems(tree, "cmd", container->cmd, !options->init, &error) < 0 ||
        addItems(tree, "env", container->env, !options->init, &error) < 0 ||
        rootfsTreeAddData(tree, "workdir", 0644, line, strlen(line), &error) < 0 ||
        addUser(tree, &whom, &error) < 0)
        return report(error);
    return 0;
}

/* Adds the file @path as @name; it may be compressed. */
static int
addBinary(VirtEifContainer *container, const char *path, const char *name, uint32_t mode)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) data = kernelModulesReadFile(path, &error);

    if (!data || rootfsTreeAddData(container->bootstrap, name, mode, data->str, data->len,
                                   &error) < 0)
        return report(error);
    return 0;
}

static int
addInit(VirtEifContainer *container, const char *given)
{
    const char *directory = g_getenv(INITDIR_VARIABLE);
    const char *arch = eifArchToString(container->arch);
    g_autofree char *file = g_strconcat("init-", arch, NULL);
    g_autofree char *path = NULL;

    if (given)
        return addBinary(container, given, "init", 0755);

    path = g_build_filename(directory && *directory ? directory : NITRO_EIF_INITDIR, file, NULL);
    if (g_file_test(path, G_FILE_TEST_EXISTS))
        return addBinary(container, path, "init", 0755);
    virtEifError("there is no init for %s here ('%s'): --init names one", arch, path);
    return -1;
}

/* The name that a module has in the ramdisk: without what says how it is compressed (g_free) */
static char *
moduleName(const char *path)
{
    char *name = g_path_get_basename(path);
    char *suffix = strstr(name, ".ko.");

    if (suffix)
        suffix[strlen(".ko")] = '\0';
    return name;
}

static int
addModules(VirtEifContainer *container, const VirtEifContainerOptions *options)
{
    g_autoptr(GString) order = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) modules = kernelModulesFind(options->moduleDir, options->modules, &error);
    size_t i;

    if (!modules)
        return report(error);

    for (i = 0; modules[i]; i++) {
        g_autofree char *name = moduleName(modules[i]);
        g_autofree char *path = NULL;

        /* where AWS's init looks for it as well */
        if (strcmp(name, NSM_MODULE) == 0) {
            if (addBinary(container, modules[i], NSM_MODULE, 0755) < 0)
                return -1;
            continue;
        }
        if (strpbrk(name, " \t\n") || strlen(name) > 100) {
            virtEifError("the module '%s' has a name that is too long or has a space", modules[i]);
            return -1;
        }
        path = g_build_filename(MODULES_DIR, name, NULL);
        if (addBinary(container, modules[i], path, 0644) < 0)
            return -1;
        g_string_append_printf(order, "%s\n", name);
    }
    if (order->len > 0 && rootfsTreeAddData(container->bootstrap, MODULES_DIR "/load-order", 0644,
                                            order->str, order->len, &error) < 0)
        return report(error);
    return 0;
}

static int
addConsole(RootfsTree *tree)
{
    RootfsInode *inode = rootfsInodeNew(S_IFCHR | 0600, 0, 0);
    g_autoptr(GError) error = NULL;

    /* the kernel opens it for init before init has mounted anything */
    inode->major = 5;
    inode->minor = 1;
    return rootfsTreeAdd(tree, "dev/console", inode, 0, &error) < 0 ? report(error) : 0;
}

int
virtEifContainerRead(VirtEifContainer *container, const VirtEifContainerOptions *options,
                     const char *archName, EifArch arch, const char *scratch)
{
    g_autoptr(GError) error = NULL;

    container->limits.maxBytes = (uint64_t)options->maxSize * 1024 * 1024;
    container->limits.maxEntries = CONTAINER_MAX_ENTRIES;
    if (virtEifContainerTime(&container->mtime) < 0)
        return -1;
    if (!(container->spool = rootfsSpoolOpen(scratch, &error)))
        return report(error);
    container->bootstrap = rootfsTreeNew(container->spool, NULL, &container->limits);
    container->application = rootfsTreeNew(container->spool, "rootfs", &container->limits);

    if (readFiles(container, options, archName, arch) < 0 ||
        addCommand(container, options) < 0 || addConsole(container->bootstrap) < 0 ||
        addInit(container, options->init) < 0 || addModules(container, options) < 0)
        return -1;
    warnOfLost(container->application);
    return 0;
}

/* A tree, and where its bytes go */
typedef struct _Generation Generation;
struct _Generation {
    EifWrite write;
    void *output;
};

static int
writePiece(const void *buf, size_t len, void *opaque, GError **error)
{
    Generation *generation = opaque;

    return generation->write(generation->output, buf, len, error);
}

static int
generateBootstrap(EifWrite write, void *output, void *opaque, GError **error)
{
    VirtEifContainer *container = opaque;
    Generation generation = { .write = write, .output = output };

    return cpioWrite(container->bootstrap, container->mtime, writePiece, &generation, error);
}

static int
generateApplication(EifWrite write, void *output, void *opaque, GError **error)
{
    VirtEifContainer *container = opaque;
    Generation generation = { .write = write, .output = output };

    return cpioWrite(container->application, container->mtime, writePiece, &generation, error);
}

int
virtEifContainerAdd(VirtEifContainer *container, EifBuilder *builder)
{
    g_autoptr(GError) error = NULL;
    uint64_t bootstrap;
    uint64_t application;

    if (cpioGetSize(container->bootstrap, &bootstrap, &error) < 0 ||
        cpioGetSize(container->application, &application, &error) < 0 ||
        eifBuilderAddGenerated(builder, bootstrap, "bootstrap", generateBootstrap, container,
                               &error) < 0 ||
        eifBuilderAddGenerated(builder, application, "application", generateApplication, container,
                               &error) < 0)
        return report(error);
    return 0;
}
