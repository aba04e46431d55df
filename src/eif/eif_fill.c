/*
 * eif_fill.c: files into a buffer, straight and in parallel, with a checksum
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: a buffer, in which short texts are already, and the file ranges that belong
 * between them -> blocks, which a few threads take one after the other: read the
 * block's bytes, add up their CRC while they are in the CPU's cache -> the CRC of
 * all, combined from those of the blocks.
 *
 * Several threads because the buffer's pages are cleared when they are first
 * touched, which takes as long as copying to them.
 */

#include "eif_internal.h"

#include <libdeflate.h>
#include <sched.h>

/* What a thread takes at once, in bytes: the size of most huge pages */
#define FILL_BLOCK_SIZE (2 * 1024 * 1024)

/* What is read before it is checked, in bytes: it is still in the CPU's cache then */
#define FILL_PIECE_SIZE (256 * 1024)

#define FILL_THREADS_MAX 4

typedef struct _EifFill EifFill;
struct _EifFill {
    uint8_t *buf;
    uint64_t size;
    const EifFilePart *parts;
    size_t nparts;
    uint32_t *crcs; /* one a block */
    uint64_t nblocks;

    GMutex lock;
    uint64_t next; /* block that is taken next */
    uint64_t done; /* bytes */
    EifProgress progress;
    void *opaque;
    GError *error; /* the first one; no block is taken after it */
};

/* Reads what files have between @pos and @pos + @len of the buffer. */
static int
fillRead(const EifFill *fill, uint64_t pos, uint64_t len, GError **error)
{
    size_t i;

    for (i = 0; i < fill->nparts; i++) {
        const EifFilePart *part = &fill->parts[i];
        uint64_t start = MAX(pos, part->pos);
        uint64_t end = MIN(pos + len, part->pos + part->size);

        if (start < end &&
            eifReadExact(part->fd, fill->buf + start, end - start, start - part->pos, part->what,
                         error) < 0)
            return -1;
    }
    return 0;
}

/*
 * A CRC-32 is a polynomial over GF(2), the remainder of a division by this one; the highest
 * bit is the coefficient of x^0.
 */
#define CRC_POLYNOMIAL 0xedb88320U
#define CRC_ONE (1U << 31)
#define CRC_X_8 (1U << 23)

static uint32_t
crcMultiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    uint32_t bit;

    for (bit = CRC_ONE; bit > 0; bit >>= 1) {
        if (a & bit)
            product ^= b;
        b = b & 1 ? b >> 1 ^ CRC_POLYNOMIAL : b >> 1;
    }
    return product;
}

/* The CRC-32 of what has @first, followed by @len bytes that have @second */
static uint32_t
crcCombine(uint32_t first, uint32_t second, uint64_t len)
{
    uint32_t power = CRC_ONE;
    uint32_t square = CRC_X_8;

    /* Each byte behind it moves a remainder by x^8. */
    for (; len > 0; len >>= 1) {
        if (len & 1)
            power = crcMultiply(power, square);
        square = crcMultiply(square, square);
    }
    return crcMultiply(first, power) ^ second;
}

/* The checksum field of the header is no part of what is checked. */
static uint32_t
fillCrc(const EifFill *fill, uint32_t crc, uint64_t pos, uint64_t len)
{
    if (pos > EIF_HEADER_CRC_OFFSET)
        return libdeflate_crc32(crc, fill->buf + pos, len);

    crc = libdeflate_crc32(crc, fill->buf + pos, EIF_HEADER_CRC_OFFSET - pos);
    return libdeflate_crc32(crc, fill->buf + EIF_HEADER_SIZE, pos + len - EIF_HEADER_SIZE);
}

static uint64_t
fillBlockSize(const EifFill *fill, uint64_t block)
{
    return MIN(fill->size - block * FILL_BLOCK_SIZE, FILL_BLOCK_SIZE);
}

static int
fillBlock(const EifFill *fill, uint64_t block, GError **error)
{
    uint64_t pos = block * FILL_BLOCK_SIZE;
    uint64_t end = pos + fillBlockSize(fill, block);
    uint32_t crc = 0;

    while (pos < end) {
        uint64_t len = MIN(end - pos, FILL_PIECE_SIZE);

        if (fillRead(fill, pos, len, error) < 0)
            return -1;
        crc = fillCrc(fill, crc, pos, len);
        pos += len;
    }
    fill->crcs[block] = crc;
    return 0;
}

/* Notes the result of @block, or nothing for G_MAXUINT64; returns false at the end. */
static bool
fillNext(EifFill *fill, uint64_t *block, GError *error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&fill->lock);

    if (*block != G_MAXUINT64 && !error) {
        fill->done += fillBlockSize(fill, *block);
        if (!fill->error)
            eifReportProgress(fill->progress, fill->done, fill->size, fill->opaque, &error);
    }
    if (error && !fill->error)
        fill->error = g_steal_pointer(&error);
    g_clear_error(&error);

    if (fill->error || fill->next == fill->nblocks)
        return false;
    *block = fill->next++;
    return true;
}

static gpointer
fillThread(gpointer opaque)
{
    EifFill *fill = opaque;
    uint64_t block = G_MAXUINT64;
    GError *error = NULL;

    while (fillNext(fill, &block, g_steal_pointer(&error)))
        fillBlock(fill, block, &error);
    return NULL;
}

/*
 * The CPUs that this thread may use. GLib would have a file read that says how many there are, which
 * the helper cannot do.
 */
static size_t
fillCountCpus(void)
{
    cpu_set_t cpus;

    /* More CPUs than this type has bits are enough in any case. */
    return sched_getaffinity(0, sizeof(cpus), &cpus) < 0 ? FILL_THREADS_MAX : CPU_COUNT(&cpus);
}

/* Fills the buffer with this thread and up to three more: each of them may fail to start. */
static void
fillRun(EifFill *fill)
{
    GThread *threads[FILL_THREADS_MAX - 1];
    size_t wanted = MIN(fillCountCpus(), FILL_THREADS_MAX);
    size_t n = 0;
    size_t i;

    while (n + 1 < MIN(wanted, fill->nblocks) &&
           (threads[n] = g_thread_try_new("fill", fillThread, fill, NULL)))
        n++;
    fillThread(fill);
    for (i = 0; i < n; i++)
        g_thread_join(threads[i]);
}

int
eifFill(void *buf, uint64_t size, const EifFilePart *parts, size_t nparts,
        EifProgress progress, void *opaque, uint32_t *crc, GError **error)
{
    EifFill fill = {
        .buf = buf,
        .size = size,
        .parts = parts,
        .nparts = nparts,
        .nblocks = size / FILL_BLOCK_SIZE + (size % FILL_BLOCK_SIZE != 0),
        .progress = progress,
        .opaque = opaque,
    };
    uint64_t i;

    fill.crcs = g_new(uint32_t, fill.nblocks);
    g_mutex_init(&fill.lock);
    fillRun(&fill);
    g_mutex_clear(&fill.lock);

    if (!fill.error) {
        *crc = fill.crcs[0];
        for (i = 1; i < fill.nblocks; i++)
            *crc = crcCombine(*crc, fill.crcs[i], fillBlockSize(&fill, i));
    }
    g_free(fill.crcs);

    if (!fill.error)
        return 0;
    g_propagate_error(error, fill.error);
    return -1;
}
