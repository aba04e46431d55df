/*
 * virt_eif_extract.c: virt-eif extract
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: image -> the names of its files -> are all of them free? -> each section to a new file in
 * the directory, which is held open -> was the image whole? If not, the files go again. Names are
 * ours, not the image's.
 */

#include "virt_eif.h"
#include "virt_eif_output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct _Extract Extract;
struct _Extract {
    const EifImage *image;
    const char *path; /* of the directory */
    int dir;
    bool made;        /* the directory was not there */
    char *names[EIF_MAX_SECTIONS];
    size_t created;   /* so many of the files are there */
    int fd;           /* of the last of them, or -1 */
    VirtEifProgress progress;
};

static void
extractClear(Extract *extract)
{
    size_t i;

    if (extract->dir >= 0)
        close(extract->dir);
    for (i = 0; i < EIF_MAX_SECTIONS; i++)
        g_free(extract->names[i]);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Extract, extractClear)

/* That of the section's type; ramdisks, of which there may be more, have their number. */
static void
nameSections(Extract *extract)
{
    size_t nramdisks = 0;
    size_t i;

    for (i = 0; i < extract->image->nsections; i++) {
        EifSectionType type = extract->image->sections[i].type;
        const char *name = eifSectionTypeToString(type);

        extract->names[i] = type == EIF_SECTION_RAMDISK ?
            g_strdup_printf("%s%zu", name, nramdisks++) : g_strdup(name);
    }
}

static int
openDirectory(Extract *extract)
{
    extract->made = mkdir(extract->path, 0777) == 0;
    if (!extract->made && errno != EEXIST) {
        virtEifError("cannot create the directory '%s': %s", extract->path, g_strerror(errno));
        return -1;
    }

    /* What was made here is no link; one that the user has named may be. */
    extract->dir = open(extract->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC |
                        (extract->made ? O_NOFOLLOW : 0));
    if (extract->dir >= 0)
        return 0;

    virtEifError("cannot open the directory '%s': %s", extract->path, g_strerror(errno));
    if (extract->made)
        rmdir(extract->path);
    return -1;
}

/* Before anything is written, so that an old file is not half of the reason for new ones to go */
static int
checkFree(const Extract *extract)
{
    struct stat sb;
    size_t i;

    for (i = 0; i < extract->image->nsections; i++) {
        if (fstatat(extract->dir, extract->names[i], &sb, AT_SYMLINK_NOFOLLOW) == 0) {
            virtEifError("'%s/%s' exists, and is not overwritten: name another directory",
                         extract->path, extract->names[i]);
            return -1;
        }
    }
    return 0;
}

/* The file of section @i cannot be written, as errno says. Returns -1. */
static int
setWriteError(const Extract *extract, size_t i, GError **error)
{
    g_set_error(error, EIF_ERROR, EIF_ERROR_IO, _("cannot write '%s/%s': %s"), extract->path,
                extract->names[i], g_strerror(errno));
    return -1;
}

/* Ends the last file; some file systems say only then that there was no room. */
static int
endFile(Extract *extract, GError **error)
{
    int fd = extract->fd;

    extract->fd = -1;
    if (fd >= 0 && close(fd) < 0)
        return setWriteError(extract, extract->created - 1, error);
    return 0;
}

/* The file of the next section. Returns 0, or -1 with @error set. */
static int
nextFile(Extract *extract, GError **error)
{
    if (endFile(extract, error) < 0)
        return -1;

    extract->fd = openat(extract->dir, extract->names[extract->created],
                         O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (extract->fd < 0)
        return setWriteError(extract, extract->created, error);
    extract->created++;
    return 0;
}

/* Each section begins with a call of this, an empty one as well. */
static int
takePiece(const EifSection *section, const void *buf, size_t len, void *opaque, GError **error)
{
    Extract *extract = opaque;
    const char *p = buf;

    if ((size_t)(section - extract->image->sections) == extract->created &&
        nextFile(extract, error) < 0)
        return -1;

    while (len > 0) {
        ssize_t put = write(extract->fd, p, len);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return setWriteError(extract, extract->created - 1, error);
        p += put;
        len -= put;
    }
    return 0;
}

static bool
showProgress(uint64_t done, uint64_t total, void *opaque)
{
    Extract *extract = opaque;

    return virtEifOutputProgress(done, total, &extract->progress);
}

/* Takes back what was made. */
static void
removeFiles(Extract *extract)
{
    size_t i;

    for (i = 0; i < extract->created; i++)
        unlinkat(extract->dir, extract->names[i], 0);
    if (extract->made)
        rmdir(extract->path);
}

static int
extractImage(Extract *extract, int fd, const char *path)
{
    g_autoptr(GError) error = NULL;
    int ret;

    virtEifOutputCatchSignals();
    extract->progress = virtEifProgressBegin("Writing");
    ret = eifImageStream(extract->image, fd, takePiece, showProgress, extract, &error);
    virtEifProgressEnd(&extract->progress);
    if (endFile(extract, ret == 0 ? &error : NULL) < 0)
        ret = -1;

    if (ret < 0) {
        virtEifError("%s: %s", path, error->message);
        removeFiles(extract);
    }
    virtEifOutputReleaseSignals();
    return ret;
}

static int
extractTo(int fd, const char *path, const char *directory)
{
    EifImage image;
    g_auto(Extract) extract = { .image = &image, .path = directory, .dir = -1, .fd = -1 };
    g_autoptr(GError) error = NULL;

    if (eifImageRead(fd, &image, &error) < 0) {
        virtEifError("%s: %s", path, error->message);
        return -1;
    }

    nameSections(&extract);
    if (openDirectory(&extract) < 0 || checkFree(&extract) < 0)
        return -1;
    return extractImage(&extract, fd, path);
}

int
virtEifExtract(int argc, char **argv)
{
    const GOptionEntry entries[] = {
        { NULL },
    };
    int fd;
    int ret;

    if (virtEifParseOptions(&argc, &argv, entries, "FILE DIRECTORY",
                            N_("Writes each section of an image to a file of a directory."),
                            2) < 0 ||
        (fd = virtEifOpen(argv[1])) < 0)
        return EXIT_FAILURE;

    ret = extractTo(fd, argv[1], argv[2]);
    close(fd);
    return ret < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
