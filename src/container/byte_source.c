/*
 * byte_source.c: bytes that come in pieces, from one source through another
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: a file -> its digest -> libarchive's filters -> the digest of that -> who reads.
 */

#include "byte_source.h"

#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <nettle/nettle-meta.h>
#include <nettle/sha2.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_SIZE (64 * 1024)

/* One compression, and the file itself, as libarchive counts them */
#define FILTERS_MAX 2

ssize_t
byteSourceNext(ByteSource *source, const void **data, GError **error)
{
    return source->next(source, data, error);
}

int64_t
byteSourceLocate(ByteSource *source, const void *byte)
{
    return source->locate ? source->locate(source, byte) : -1;
}

uint64_t
byteSourceSkip(ByteSource *source, const void *last, uint64_t len)
{
    return source->skip ? source->skip(source, last, len) : 0;
}

int
byteSourceDrain(ByteSource *source, GError **error)
{
    const void *data;
    ssize_t n;

    do {
        n = byteSourceNext(source, &data, error);
    } while (n > 0);
    return (int)n;
}

void
byteSourceFree(ByteSource *source)
{
    if (source)
        source->free(source);
}

/* a file */

typedef struct _FileSource FileSource;
struct _FileSource {
    ByteSource source;
    int fd;
    char *what;
    int64_t size; /* 0: not known */
    int64_t end;  /* of the present piece, in the file */
    size_t len;
    char piece[PIECE_SIZE];
};

static ssize_t
fileNext(ByteSource *source, const void **data, GError **error)
{
    FileSource *file = (FileSource *)source;
    ssize_t n;

    do {
        n = read(file->fd, file->piece, sizeof(file->piece));
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return containerFail(error, CONTAINER_ERROR_IO, _("cannot read %s: %s"), file->what,
                             g_strerror(errno));
    *data = file->piece;
    file->len = (size_t)n;
    file->end += n;
    return n;
}

static int64_t
fileLocate(ByteSource *source, const void *byte)
{
    FileSource *file = (FileSource *)source;
    uintptr_t at = (uintptr_t)byte - (uintptr_t)file->piece;

    /* elsewhere, this is a large number */
    return at < file->len ? file->end - (int64_t)file->len + (int64_t)at : -1;
}

/* Only to the end of the file: a read is what tells that there is no more. */
static uint64_t
fileSkip(ByteSource *source, const void *last, uint64_t len)
{
    FileSource *file = (FileSource *)source;
    uint64_t left = file->size > file->end ? (uint64_t)(file->size - file->end) : 0;
    uint64_t n = MIN(len, left);

    if (fileLocate(source, last) != file->end - 1 || lseek(file->fd, (off_t)n, SEEK_CUR) < 0)
        return 0;
    file->end += (int64_t)n;
    file->len = 0;
    return n;
}

static void
fileFree(ByteSource *source)
{
    FileSource *file = (FileSource *)source;

    close(file->fd);
    g_free(file->what);
    g_free(file);
}

ByteSource *
byteSourceNewFile(int fd, const char *what)
{
    FileSource *file = g_new0(FileSource, 1);
    struct stat sb;

    file->source = (ByteSource){
        .next = fileNext, .locate = fileLocate, .skip = fileSkip, .free = fileFree,
    };
    if (fstat(fd, &sb) == 0 && S_ISREG(sb.st_mode))
        file->size = sb.st_size;
    file->fd = fd;
    file->what = g_strdup(what);
    return &file->source;
}

/* a digest */

typedef struct _DigestSource DigestSource;
struct _DigestSource {
    ByteSource source;
    ByteSource *lower;
    char *what;
    char *digest;
    const struct nettle_hash *hash;
    void *context;
    int64_t size;
    int64_t done;
    bool ended;
    bool good; /* at its end: it is what it should be */
};

/* The hash function of @digest, with *@hex set to its digits, or NULL */
static const struct nettle_hash *
findHash(const char *digest, const char **hex)
{
    const struct nettle_hash *hashes[] = { &nettle_sha256, &nettle_sha512 };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(hashes); i++) {
        size_t len = strlen(hashes[i]->name);

        if (strncmp(digest, hashes[i]->name, len) == 0 && digest[len] == ':') {
            *hex = digest + len + 1;
            return hashes[i];
        }
    }
    return NULL;
}

bool
byteSourceDigestIsValid(const char *digest)
{
    const char *hex;
    const struct nettle_hash *hash = findHash(digest, &hex);

    return hash && strlen(hex) == 2 * (size_t)hash->digest_size &&
        strspn(hex, "0123456789abcdef") == strlen(hex);
}

static int
digestCheck(DigestSource *ds, GError **error)
{
    uint8_t raw[SHA512_DIGEST_SIZE];
    GString *text;
    bool same;
    size_t i;

    if (ds->size >= 0 && ds->done != ds->size)
        return containerFail(error, CONTAINER_ERROR_FORMAT, _("%s has %" PRId64 " bytes, and "
                             "should have %" PRId64), ds->what, ds->done, ds->size);

    ds->hash->digest(ds->context, ds->hash->digest_size, raw);
    text = g_string_new(ds->hash->name);
    g_string_append_c(text, ':');
    for (i = 0; i < ds->hash->digest_size; i++)
        g_string_append_printf(text, "%02x", raw[i]);
    same = strcmp(text->str, ds->digest) == 0;
    if (!same)
        containerFail(error, CONTAINER_ERROR_FORMAT, _("%s has the digest %s, and should have %s"),
                      ds->what, text->str, ds->digest);
    g_string_free(text, TRUE);
    return same ? 0 : -1;
}

static ssize_t
digestNext(ByteSource *source, const void **data, GError **error)
{
    DigestSource *ds = (DigestSource *)source;
    ssize_t n = ds->ended ? 0 : byteSourceNext(ds->lower, data, error);

    if (n < 0)
        return n;
    if (n == 0) {
        /* once: the hash function starts anew behind a digest */
        if (!ds->ended)
            ds->good = digestCheck(ds, error) == 0;
        else if (!ds->good)
            containerFail(error, CONTAINER_ERROR_FORMAT, _("%s is not what it should be"),
                          ds->what);
        ds->ended = true;
        return ds->good ? 0 : -1;
    }

    /* what is too long is not read to its end, which may never come */
    if (ds->size >= 0 && n > ds->size - ds->done)
        return containerFail(error, CONTAINER_ERROR_FORMAT, _("%s has more than the %" PRId64
                             " bytes that it should have"), ds->what, ds->size);
    ds->hash->update(ds->context, (size_t)n, *data);
    ds->done += n;
    return n;
}

static void
digestFree(ByteSource *source)
{
    DigestSource *ds = (DigestSource *)source;

    byteSourceFree(ds->lower);
    g_free(ds->what);
    g_free(ds->digest);
    g_free(ds->context);
    g_free(ds);
}

ByteSource *
byteSourceNewDigest(ByteSource *lower, const char *what, const char *digest, int64_t size)
{
    DigestSource *ds = g_new0(DigestSource, 1);
    const char *hex;

    ds->source = (ByteSource){ .next = digestNext, .free = digestFree };
    ds->lower = lower;
    ds->what = g_strdup(what);
    ds->digest = g_strdup(digest);
    ds->hash = findHash(digest, &hex);
    g_assert(ds->hash);
    ds->context = g_malloc(ds->hash->context_size);
    ds->hash->init(ds->context);
    ds->size = size;
    return &ds->source;
}

/* libarchive */

static la_ssize_t
onRead(struct archive *archive, void *opaque, const void **data)
{
    SourceArchive *sa = opaque;
    /* libarchive asks again where it takes an error for an end */
    ssize_t n = sa->error ? -1 : byteSourceNext(sa->source, data, &sa->error);

    if (n < 0)
        archive_set_error(archive, EIO, "the source cannot be read");
    else if (n > 0)
        sa->last = (const char *)*data + n - 1;
    return n;
}

/* libarchive knows no error here: what is not skipped is read, and that fails. */
static la_int64_t
onSkip(struct archive *archive, void *opaque, la_int64_t request)
{
    SourceArchive *sa = opaque;

    return sa->last ? (la_int64_t)byteSourceSkip(sa->source, sa->last, (uint64_t)request) : 0;
}

int
sourceArchiveFail(SourceArchive *sa, const char *what, GError **error)
{
    const char *reason = archive_error_string(sa->archive);

    if (sa->error) {
        g_propagate_error(error, g_steal_pointer(&sa->error));
        return -1;
    }
    return containerFail(error, CONTAINER_ERROR_FORMAT, _("cannot unpack %s: %s"), what,
                         reason ? reason : _("unknown error"));
}

int
sourceArchiveOpen(SourceArchive *sa, const char *what, GError **error)
{
    if (archive_read_open2(sa->archive, sa, NULL, onRead, onSkip, NULL) == ARCHIVE_OK)
        return 0;
    return sourceArchiveFail(sa, what, error);
}

int
archiveNextEntry(struct archive *archive, struct archive_entry **entry)
{
    static locale_t bytes;
    locale_t before;
    int ret;

    if (!bytes)
        bytes = newlocale(LC_ALL_MASK, "C", NULL);
    before = uselocale(bytes);
    ret = archive_read_next_header(archive, entry);
    uselocale(before);

    /* a name that the locale "C" does not have is kept as it is, with a warning */
    return ret == ARCHIVE_WARN ? ARCHIVE_OK : ret;
}

/* what is unpacked */

typedef struct _UnpackSource UnpackSource;
struct _UnpackSource {
    ByteSource source;
    SourceArchive sa;
    char *what;
    ContainerLimits *limits;
    uint64_t skipped;
    bool opened;
    bool ended;
};

static int
unpackOpen(UnpackSource *us, GError **error)
{
    struct archive_entry *entry;
    int ret;

    us->opened = true;
    archive_read_support_filter_gzip(us->sa.archive);
    archive_read_support_filter_zstd(us->sa.archive);
    archive_read_support_format_raw(us->sa.archive);
    archive_read_support_format_empty(us->sa.archive);
    if (sourceArchiveOpen(&us->sa, us->what, error) < 0)
        return -1;
    if (archive_filter_count(us->sa.archive) > FILTERS_MAX)
        return containerFail(error, CONTAINER_ERROR_FORMAT, _("%s is compressed more than once"),
                             us->what);
    ret = archiveNextEntry(us->sa.archive, &entry);
    if (ret == ARCHIVE_EOF)
        us->ended = true;
    else if (ret != ARCHIVE_OK)
        return sourceArchiveFail(&us->sa, us->what, error);
    return 0;
}

/* Tells how much has been read, of this archive and those before. */
static void
unpackProgress(UnpackSource *us)
{
    ContainerLimits *limits = us->limits;
    uint64_t done = limits->read + us->skipped +
        (uint64_t)archive_filter_bytes(us->sa.archive, -1);

    if (us->ended)
        limits->read = done;
    if (limits->progress)
        limits->progress(done, limits->total, limits->opaque);
}

/*
 * Reads what is behind the end. libarchive takes an error of the source, such as a wrong digest, for
 * the end when it looks for another member of a gzip file. Returns 0, or -1 with @error set.
 */
static int
unpackEnd(UnpackSource *us, GError **error)
{
    if (us->sa.error)
        return sourceArchiveFail(&us->sa, us->what, error);
    return byteSourceDrain(us->sa.source, error);
}

static ssize_t
unpackNext(ByteSource *source, const void **data, GError **error)
{
    UnpackSource *us = (UnpackSource *)source;
    la_int64_t offset;
    size_t len = 0;
    int ret;

    if (!us->opened && unpackOpen(us, error) < 0)
        return -1;
    if (us->ended)
        return unpackEnd(us, error);

    while (!us->ended && len == 0) {
        ret = archive_read_data_block(us->sa.archive, data, &len, &offset);
        if (ret == ARCHIVE_EOF)
            us->ended = true;
        else if (ret != ARCHIVE_OK)
            return sourceArchiveFail(&us->sa, us->what, error);
    }
    unpackProgress(us);
    if (us->ended)
        return unpackEnd(us, error);
    if (containerCountUnpacked(us->limits, len, us->what, error) < 0)
        return -1;
    return (ssize_t)len;
}

/* libarchive hands on what it does not unpack, and has copied of it what crosses pieces */
static bool
unpackIsAsItWas(UnpackSource *us)
{
    return archive_filter_count(us->sa.archive) < FILTERS_MAX;
}

static int64_t
unpackLocate(ByteSource *source, const void *byte)
{
    UnpackSource *us = (UnpackSource *)source;

    return unpackIsAsItWas(us) ? byteSourceLocate(us->sa.source, byte) : -1;
}

static uint64_t
unpackSkip(ByteSource *source, const void *last, uint64_t len)
{
    UnpackSource *us = (UnpackSource *)source;
    uint64_t done;

    /* with too many bytes, reading is what fails */
    if (!unpackIsAsItWas(us) || containerCountUnpacked(us->limits, len, us->what, NULL) < 0)
        return 0;
    done = byteSourceSkip(us->sa.source, last, len);
    us->limits->unpacked -= len - done;
    us->skipped += done;
    return done;
}

static void
unpackFree(ByteSource *source)
{
    UnpackSource *us = (UnpackSource *)source;

    archive_read_free(us->sa.archive);
    g_clear_error(&us->sa.error);
    byteSourceFree(us->sa.source);
    g_free(us->what);
    g_free(us);
}

ByteSource *
byteSourceNewUnpacked(ByteSource *lower, const char *what, bool xz, ContainerLimits *limits)
{
    UnpackSource *us = g_new0(UnpackSource, 1);

    us->source = (ByteSource){
        .next = unpackNext, .locate = unpackLocate, .skip = unpackSkip, .free = unpackFree,
    };
    us->sa.archive = archive_read_new();
    if (xz)
        archive_read_support_filter_xz(us->sa.archive);
    us->sa.source = lower;
    us->what = g_strdup(what);
    us->limits = limits;
    return &us->source;
}
