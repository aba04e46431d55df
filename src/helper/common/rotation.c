/*
 * rotation.c: a file that does not grow beyond a size
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: rotationWrite() -> is there room? -> rotationMakeRoom() -> backups are copied, the
 * oldest one first -> the file is emptied -> write().
 */

#include "common/rotation.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROTATION_CHUNK (64 * 1024) /* bytes */

struct _Rotation {
    int fd;
    GArray *backups; /* of int */
    uint64_t maxSize;
};

Rotation *
rotationNew(int fd, const GArray *backups, uint64_t maxSize)
{
    Rotation *rotation = g_new0(Rotation, 1);

    rotation->fd = fd;
    rotation->backups = g_array_new(FALSE, FALSE, sizeof(int));
    if (backups && backups->len > 0)
        g_array_append_vals(rotation->backups, backups->data, backups->len);
    rotation->maxSize = maxSize;
    return rotation;
}

void
rotationFree(Rotation *rotation)
{
    if (!rotation)
        return;
    g_array_unref(rotation->backups);
    g_free(rotation);
}

static ssize_t
rotationReadAt(int fd, void *buf, size_t len, off_t offset)
{
    ssize_t n;

    do {
        n = pread(fd, buf, len, offset);
    } while (n < 0 && errno == EINTR);
    return n;
}

static bool
rotationWriteAt(int fd, const uint8_t *buf, size_t len, off_t offset)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, buf, len, offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        buf += n;
        len -= n;
        offset += n;
    }
    return true;
}

/* Makes @to the last @max bytes of @from. Returns false when it could not be; @to is empty then. */
static bool
rotationCopy(int from, int to, uint64_t max)
{
    g_autofree uint8_t *buf = g_malloc(ROTATION_CHUNK);
    struct stat st;
    off_t offset;
    off_t done = 0;
    ssize_t n;

    if (ftruncate(to, 0) < 0 || fstat(from, &st) < 0)
        return false;

    offset = (uint64_t)st.st_size > max ? st.st_size - (off_t)max : 0;
    while ((n = rotationReadAt(from, buf, ROTATION_CHUNK, offset + done)) > 0) {
        if (!rotationWriteAt(to, buf, n, done)) {
            n = -1;
            break;
        }
        done += n;
    }
    if (n < 0 && ftruncate(to, 0) < 0)
        return false; /* half of it is there, which is better than nothing */
    return n == 0;
}

/* Returns false when some of the old output is lost. */
static bool
rotationRotate(Rotation *rotation)
{
    const int *backups = (const int *)(void *)rotation->backups->data;
    bool kept = true;
    guint i;

    for (i = rotation->backups->len; i-- > 0;)
        kept = rotationCopy(i > 0 ? backups[i - 1] : rotation->fd, backups[i],
                            rotation->maxSize) && kept;
    return ftruncate(rotation->fd, 0) == 0 && kept;
}

/* How many bytes the file has; 0 when that cannot be told */
static uint64_t
rotationGetSize(const Rotation *rotation)
{
    struct stat st;

    return fstat(rotation->fd, &st) < 0 ? 0 : (uint64_t)st.st_size;
}

bool
rotationMakeRoom(Rotation *rotation, size_t len)
{
    uint64_t size = rotationGetSize(rotation);

    return size == 0 || size + len <= rotation->maxSize || rotationRotate(rotation);
}

/* How many of the @len bytes go into a file that has room for @room: whole lines, if any */
static size_t
rotationSplit(const uint8_t *buf, size_t len, uint64_t room)
{
    const uint8_t *end = len > room ? memrchr(buf, '\n', room) : NULL;

    if (len <= room)
        return len;
    return end ? (size_t)(end - buf) + 1 : 0;
}

ssize_t
rotationWrite(Rotation *rotation, const void *buf, size_t len, bool *lost)
{
    uint64_t size = rotationGetSize(rotation);
    uint64_t room = size < rotation->maxSize ? rotation->maxSize - size : 0;
    size_t part = rotationSplit(buf, len, room);

    if (part == 0) {
        if (!rotationMakeRoom(rotation, len) && lost)
            *lost = true;
        /* A file that cannot be emptied is full. */
        if (rotationGetSize(rotation) >= rotation->maxSize) {
            errno = EFBIG;
            return -1;
        }
        part = rotationSplit(buf, len, rotation->maxSize);
        if (part == 0)
            part = MIN(len, rotation->maxSize);
    }
    return write(rotation->fd, buf, part);
}
