/*
 * oci_store.c: the files of a container image: an OCI layout, or an archive of one
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: ociStoreOpenFile() -> a file of the directory; or findMember(), through the archive up to
 * the name -> a source of its bytes.
 */

#include "oci_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_SIZE (64 * 1024)

/* Links from file to file of an archive: Docker's older versions have one */
#define HOPS_MAX 8

/* Files of an archive, which is gone through for each layer: some for each layer of each image */
#define MEMBERS_MAX 20000

#define FILTERS_MAX 2

struct _OciStore {
    int fd;
    char *path;
    bool isDirectory;
    ContainerLimits *limits;
};

OciStore *
ociStoreOpen(const char *path, ContainerLimits *limits, GError **error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat sb;
    OciStore *store;

    if (fd < 0 || fstat(fd, &sb) < 0) {
        containerFail(error, CONTAINER_ERROR_IO, _("cannot open '%s': %s"), path,
                      g_strerror(errno));
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    if (!S_ISDIR(sb.st_mode) && !S_ISREG(sb.st_mode)) {
        containerFail(error, CONTAINER_ERROR_IO,
                      _("'%s' is neither a directory nor a regular file"), path);
        close(fd);
        return NULL;
    }

    store = g_new0(OciStore, 1);
    *store = (OciStore){
        .fd = fd, .path = g_strdup(path), .isDirectory = S_ISDIR(sb.st_mode), .limits = limits,
    };
    return store;
}

void
ociStoreClose(OciStore *store)
{
    if (!store)
        return;

    close(store->fd);
    g_free(store->path);
    g_free(store);
}

const char *
ociStoreGetPath(const OciStore *store)
{
    return store->path;
}

/* Whether @name, which an image may have said, stays in a directory */
static bool
isInside(const char *name)
{
    g_auto(GStrv) parts = g_strsplit(name, "/", -1);

    return name[0] != '/' && !g_strv_contains((const char *const *)parts, "..");
}

static ByteSource *
openInDirectory(OciStore *store, const char *name, bool *missing, GError **error)
{
    struct stat sb;
    int fd;

    if (!isInside(name)) {
        containerFail(error, CONTAINER_ERROR_FORMAT, _("'%s' names a file '%s', which leads out of "
                      "its directory"), store->path, name);
        return NULL;
    }
    if ((fd = openat(store->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) < 0) {
        *missing = errno == ENOENT;
        containerFail(error, CONTAINER_ERROR_IO, _("cannot open '%s' in '%s': %s"), name,
                      store->path, g_strerror(errno));
        return NULL;
    }
    if (fstat(fd, &sb) < 0 || !S_ISREG(sb.st_mode)) {
        containerFail(error, CONTAINER_ERROR_IO, _("'%s' in '%s' is not a regular file"), name,
                      store->path);
        close(fd);
        return NULL;
    }
    return byteSourceNewFile(fd, name);
}

/* a file of an archive */

typedef struct _MemberSource MemberSource;
struct _MemberSource {
    ByteSource source;
    struct archive *archive;
    OciStore *store;
};

static int
failArchive(OciStore *store, struct archive *archive, GError **error)
{
    const char *reason = archive_error_string(archive);

    return containerFail(error, CONTAINER_ERROR_FORMAT, _("cannot read '%s' as an archive: %s"),
                         store->path, reason ? reason : _("unknown error"));
}

static ssize_t
memberNext(ByteSource *source, const void **data, GError **error)
{
    MemberSource *member = (MemberSource *)source;
    la_int64_t offset;
    size_t len;
    int ret;

    do {
        ret = archive_read_data_block(member->archive, data, &len, &offset);
    } while (ret == ARCHIVE_OK && len == 0);
    if (ret == ARCHIVE_EOF)
        return 0;
    return ret == ARCHIVE_OK ? (ssize_t)len : failArchive(member->store, member->archive, error);
}

static void
memberFree(ByteSource *source)
{
    MemberSource *member = (MemberSource *)source;

    archive_read_free(member->archive);
    g_free(member);
}

static struct archive *
openArchive(OciStore *store, GError **error)
{
    struct archive *archive = archive_read_new();

    archive_read_support_filter_gzip(archive);
    archive_read_support_filter_zstd(archive);
    archive_read_support_format_tar(archive);
    if (lseek(store->fd, 0, SEEK_SET) == 0 &&
        archive_read_open_fd(archive, store->fd, PIECE_SIZE) == ARCHIVE_OK &&
        archive_filter_count(archive) <= FILTERS_MAX)
        return archive;

    failArchive(store, archive, error);
    archive_read_free(archive);
    return NULL;
}

/* @name without what does not count: "./" at its start */
static const char *
plainName(const char *name)
{
    while (name && name[0] == '.' && name[1] == '/')
        name += strspn(name + 1, "/") + 1;
    return name;
}

/* The name of the file that the link @entry at @name leads to (g_free) */
static char *
linkTarget(const char *name, struct archive_entry *entry)
{
    const char *symlink = archive_entry_symlink(entry);
    g_autofree char *directory = NULL;
    g_autofree char *absolute = NULL;

    if (archive_entry_hardlink(entry))
        return g_strdup(plainName(archive_entry_hardlink(entry)));

    directory = g_path_get_dirname(name);
    absolute = g_strconcat("/", directory, "/", symlink ? symlink : "", NULL);
    g_free(directory);
    directory = g_canonicalize_filename(absolute, "/");
    return g_strdup(directory + 1);
}

/* Whether what @archive, if it is compressed, has unpacked to with @entry is still accepted */
static int
checkUnpacked(OciStore *store, struct archive *archive, struct archive_entry *entry,
              GError **error)
{
    int64_t size = archive_entry_size(entry);

    if (archive_filter_count(archive) < FILTERS_MAX ||
        (size >= 0 && (uint64_t)size <= store->limits->maxBytes &&
         (uint64_t)archive_filter_bytes(archive, 0) <= store->limits->maxBytes - (uint64_t)size))
        return 0;
    return containerFail(error, CONTAINER_ERROR_LIMIT, _("'%s' unpacks to more than the %" PRIu64
                         " bytes that are accepted; --max-size sets another limit"), store->path,
                         store->limits->maxBytes);
}

/* Goes to the entry @name of @archive. Returns 1 when it is there, 0, or -1 with @error set. */
static int
findMember(OciStore *store, struct archive *archive, const char *name,
           struct archive_entry **entry, GError **error)
{
    size_t n = 0;
    int ret;

    while ((ret = archiveNextEntry(archive, entry)) == ARCHIVE_OK) {
        const char *path = plainName(archive_entry_pathname(*entry));

        if (checkUnpacked(store, archive, *entry, error) < 0)
            return -1;
        if (path && strcmp(path, name) == 0)
            return 1;
        if (++n > MEMBERS_MAX)
            return containerFail(error, CONTAINER_ERROR_LIMIT,
                                 _("'%s' has more than %d files, too many for an image"),
                                 store->path, MEMBERS_MAX);
    }
    return ret == ARCHIVE_EOF ? 0 : failArchive(store, archive, error);
}

static ByteSource *
memberNew(OciStore *store, struct archive *archive)
{
    MemberSource *member = g_new0(MemberSource, 1);

    member->source = (ByteSource){ .next = memberNext, .free = memberFree };
    member->archive = archive;
    member->store = store;
    return &member->source;
}

/*
 * One attempt to open *@name of the archive. Returns its source; or NULL with *@name changed when
 * it is a link, else with @error set.
 */
static ByteSource *
openMember(OciStore *store, char **name, bool *missing, GError **error)
{
    struct archive *archive = openArchive(store, error);
    struct archive_entry *entry;
    int found;

    if (!archive)
        return NULL;
    if ((found = findMember(store, archive, *name, &entry, error)) > 0 &&
        archive_entry_filetype(entry) == AE_IFREG && !archive_entry_hardlink(entry))
        return memberNew(store, archive);

    if (found > 0 && (archive_entry_hardlink(entry) || archive_entry_symlink(entry))) {
        char *target = linkTarget(*name, entry);

        g_free(*name);
        *name = target;
    } else if (found >= 0) {
        *missing = found == 0;
        containerFail(error, CONTAINER_ERROR_FORMAT, found == 0 ? _("'%s' has no file '%s'") :
                      _("'%s' has a file '%s' that is not a regular one"), store->path, *name);
    }
    archive_read_free(archive);
    return NULL;
}

ByteSource *
ociStoreOpenFile(OciStore *store, const char *name, bool *missing, GError **error)
{
    g_autofree char *where = g_strdup(name);
    g_autoptr(GError) local = NULL;
    ByteSource *source = NULL;
    bool ignored;
    size_t hops;

    missing = missing ? missing : &ignored;
    *missing = false;
    if (store->isDirectory)
        return openInDirectory(store, name, missing, error);

    for (hops = 0; !source && !local && hops < HOPS_MAX; hops++)
        source = openMember(store, &where, missing, &local);
    if (!source && !local)
        containerFail(&local, CONTAINER_ERROR_FORMAT,
                      _("'%s' in '%s' is a link that leads nowhere"), name, store->path);
    if (local)
        g_propagate_error(error, g_steal_pointer(&local));
    return source;
}

/*
 * Whether the archive has no second file @name: of two, one program takes the first, and another, which
 * unpacks them, the last. Returns 0, or -1 with @error set.
 */
static int
checkOnce(OciStore *store, const char *name, GError **error)
{
    struct archive *archive;
    struct archive_entry *entry;
    int found;

    if (store->isDirectory)
        return 0;
    if (!(archive = openArchive(store, error)))
        return -1;
    found = findMember(store, archive, name, &entry, error);
    if (found > 0)
        found = findMember(store, archive, name, &entry, error);
    archive_read_free(archive);
    if (found > 0)
        return containerFail(error, CONTAINER_ERROR_FORMAT, _("'%s' has the file '%s' twice"),
                             store->path, name);
    return found;
}

char *
ociStoreReadFile(OciStore *store, const char *name, const char *digest, int64_t size, size_t max,
                 size_t *len, bool *missing, GError **error)
{
    g_autoptr(ByteSource) source = NULL;
    GString *text;
    const void *data;
    ssize_t n;

    if (missing)
        *missing = false;
    if ((!digest && checkOnce(store, name, error) < 0) ||
        !(source = ociStoreOpenFile(store, name, missing, error)))
        return NULL;
    if (digest)
        source = byteSourceNewDigest(g_steal_pointer(&source), name, digest, size);

    text = g_string_new(NULL);
    while ((n = byteSourceNext(source, &data, error)) > 0) {
        if (text->len + (size_t)n > max) {
            containerFail(error, CONTAINER_ERROR_LIMIT, _("'%s' in '%s' has more than the %zu "
                          "bytes that are read"), name, store->path, max);
            n = -1;
            break;
        }
        g_string_append_len(text, data, n);
    }
    *len = text->len;
    return g_string_free(text, n < 0);
}
