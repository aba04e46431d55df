/*
 * fuzz_container.c: fuzz target for container images
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The first byte of the input says what the rest is: a layer (even), compressed or not, which is
 * put on one that is there; or an archive of an image (odd). Archives by Docker have no digests
 * that a mutation would break, until all of a layer has been read. What comes out must be a tree
 * that can be written: as many bytes as were told before, and no path that is too long.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpio_writer.h"
#include "oci_image.h"
#include "oci_user.h"
#include "rootfs_tar.h"

#define BYTES_MAX (4 * 1024 * 1024)
#define ENTRIES_MAX 2000

/* of a header of a tar archive */
#define HEADER_SIZE 512
#define CHECKSUM_OFFSET 148
#define MAGIC_OFFSET 257

static int
openMemory(const void *data, size_t size)
{
    int fd = memfd_create("input", MFD_CLOEXEC);

    if (fd < 0 || (size > 0 && write(fd, data, size) != (ssize_t)size) ||
        lseek(fd, 0, SEEK_SET) != 0)
        abort();
    return fd;
}

/*
 * Makes the checksums of all headers of tar archives in @data right, as no mutation does: they are
 * at multiples of 512 bytes, also those of an archive in an archive. Returns a copy (g_free).
 */
static uint8_t *
mendChecksums(const uint8_t *data, size_t size)
{
    uint8_t *copy = g_memdup2(data, size);
    size_t pos;
    size_t i;

    for (pos = 0; pos + HEADER_SIZE <= size; pos += HEADER_SIZE) {
        uint8_t *header = copy + pos;
        unsigned int sum = 0;

        if (memcmp(header + MAGIC_OFFSET, "ustar", 5) != 0)
            continue;
        memset(header + CHECKSUM_OFFSET, ' ', 8);
        for (i = 0; i < HEADER_SIZE; i++)
            sum += header[i];
        g_snprintf((char *)header + CHECKSUM_OFFSET, 8, "%06o", sum);
    }
    return copy;
}

static int
countBytes(const void *buf, size_t len, void *opaque, GError **error)
{
    uint64_t *count = opaque;

    *count += len;
    return 0;
}

/* An error must have been set when, and only when, @ret is negative. */
static void
checkError(int ret, const GError *error)
{
    if ((ret < 0) != (error != NULL) || (error && !g_utf8_validate(error->message, -1, NULL)))
        abort();
}

static void
checkTree(RootfsTree *tree)
{
    g_autoptr(GError) error = NULL;
    g_auto(OciUser) user = { 0 };
    uint64_t size = 0;
    uint64_t written = 0;

    if (cpioGetSize(tree, &size, NULL) < 0 || size % 512 != 0 ||
        cpioWrite(tree, 0, countBytes, &written, NULL) < 0 || written != size)
        abort();
    checkError(ociUserResolve(tree, "app:more", &user, &error), error);
    g_clear_error(&error);
    checkError(rootfsTreeEnsureDirectory(tree, "/a/b/c", &error), error);
}

/* A layer to put others on: a directory with a file, a link to it, and /etc/passwd */
static void
addBase(RootfsTree *tree)
{
    RootfsInode *link = rootfsInodeNew(S_IFLNK | 0777, 0, 0);

    link->target = g_strdup("d");
    if (rootfsTreeAdd(tree, "d/f", rootfsInodeNew(S_IFREG | 0644, 0, 0), 1, NULL) < 0 ||
        rootfsTreeAdd(tree, "l", link, 1, NULL) < 0 ||
        rootfsTreeLink(tree, "etc/passwd", "d/f", 1, NULL) < 0)
        abort();
}

static void
fuzzLayer(const uint8_t *data, size_t size, RootfsTree *tree, ContainerLimits *limits)
{
    g_autoptr(ByteSource) source = byteSourceNewFile(openMemory(data, size), "input");
    g_autoptr(GError) error = NULL;
    int ret;

    addBase(tree);
    source = byteSourceNewUnpacked(g_steal_pointer(&source), "input", false, limits);
    ret = rootfsReadTar(tree, source, "input", 2, limits, &error);
    checkError(ret, error);
}

static void
fuzzArchive(const uint8_t *data, size_t size, RootfsTree *tree, ContainerLimits *limits)
{
    int fd = openMemory(data, size);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    g_autoptr(GError) error = NULL;
    g_autoptr(OciStore) store = ociStoreOpen(path, limits, &error);
    g_autoptr(OciImage) image = NULL;

    if (!store)
        abort();
    image = ociImageRead(store, NULL, "amd64", &error);
    checkError(image ? 0 : -1, error);
    if (image)
        checkError(ociImageApply(store, image, tree, limits, &error), error);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ContainerLimits limits = { .maxBytes = BYTES_MAX, .maxEntries = ENTRIES_MAX };
    RootfsSpool *spool;
    g_autoptr(RootfsTree) tree = NULL;
    g_autofree uint8_t *mended = NULL;

    if (size == 0)
        return 0;
    mended = mendChecksums(data + 1, size - 1);
    spool = g_new0(RootfsSpool, 1);
    spool->fd = openMemory(NULL, 0);
    tree = rootfsTreeNew(spool, "rootfs", &limits);
    if (data[0] & 1)
        fuzzArchive(mended, size - 1, tree, &limits);
    else
        fuzzLayer(mended, size - 1, tree, &limits);
    checkTree(tree);
    rootfsSpoolClose(spool);
    return 0;
}
