/*
 * byte_source.h: bytes that come in pieces, from one source through another
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A layer is, from the inside out: a file or a member of an archive, its digest checked,
 * unpacked, the digest of that checked as well. Each of these is a source that reads from
 * another.
 */

#pragma once

#include "container.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/types.h>

typedef struct _ByteSource ByteSource;
struct _ByteSource {
    /* see byteSourceNext() */
    ssize_t (*next)(ByteSource *source, const void **data, GError **error);
    /* see byteSourceLocate(); NULL: never */
    int64_t (*locate)(ByteSource *source, const void *byte);
    /* see byteSourceSkip(); NULL: never */
    uint64_t (*skip)(ByteSource *source, const void *last, uint64_t len);
    void (*free)(ByteSource *source);
};

/*
 * The next bytes of @source in *@data, valid until the next call. Returns how many; 0 at the end,
 * or -1 with @error set.
 */
ssize_t byteSourceNext(ByteSource *source, const void **data, GError **error);

/*
 * Where the byte at @byte, of what byteSourceNext() has returned last, is in the file that @source
 * reads as it is. Returns its offset, or -1: it is in no file, or not in such a one.
 */
int64_t byteSourceLocate(ByteSource *source, const void *byte);

/*
 * Passes over at most @len bytes that come behind @last, the last byte that byteSourceNext() has
 * returned, and does not read them. Returns how many; 0: here they have to be read.
 */
uint64_t byteSourceSkip(ByteSource *source, const void *last, uint64_t len);

/* Reads @source to its end, as what is behind an archive counts for a digest. Returns 0 or -1. */
int byteSourceDrain(ByteSource *source, GError **error);

/* Frees @source with what it reads from; NULL is nothing. */
void byteSourceFree(ByteSource *source);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ByteSource, byteSourceFree)

/* The file @fd, which is taken. @what names it in errors. */
ByteSource *byteSourceNewFile(int fd, const char *what);

/*
 * Whether @digest is "sha256:" or "sha512:" and the right number of hexadecimal digits in lower
 * case; so it can be used in a path.
 */
bool byteSourceDigestIsValid(const char *digest);

/*
 * @lower, which is taken, with an error at its end unless its digest is @digest (valid) and, unless
 * @size is negative, it has @size bytes.
 */
ByteSource *byteSourceNewDigest(ByteSource *lower, const char *what, const char *digest,
                                int64_t size);

/*
 * @lower, which is taken, unpacked if it is compressed by gzip or zstd, else as it is; with @xz by
 * xz as well, which can be made to need a GiB of memory. Counted for @limits.
 */
ByteSource *byteSourceNewUnpacked(ByteSource *lower, const char *what, bool xz,
                                  ContainerLimits *limits);

/* For libarchive: an archive that is read from @source, and the error that @source has had. */
typedef struct _SourceArchive SourceArchive;
struct _SourceArchive {
    struct archive *archive;
    ByteSource *source;
    const char *last; /* byte that @source has returned */
    GError *error;
};

/*
 * Opens @sa->archive, which knows its formats and filters, on @sa->source. Returns 0, or -1 with
 * @error set.
 */
int sourceArchiveOpen(SourceArchive *sa, const char *what, GError **error);

/* Sets @error to what the source or the archive has met. Returns -1. */
int sourceArchiveFail(SourceArchive *sa, const char *what, GError **error);

/*
 * The next entry of @archive. Names are bytes, the same in each locale. Returns ARCHIVE_OK, _EOF,
 * or another of libarchive's codes.
 */
int archiveNextEntry(struct archive *archive, struct archive_entry **entry);
