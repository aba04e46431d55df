/*
 * iov.c: pieces of memory that make one packet
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each function walks the entries once, from the front.
 */

#include "vsock/iov.h"

#include <glib.h>
#include <stdbool.h>
#include <string.h>

uint64_t
iovSize(const struct iovec *iov, size_t n)
{
    uint64_t size = 0;
    size_t i;

    for (i = 0; i < n; i++)
        size += iov[i].iov_len;
    return size;
}

static size_t
iovCopy(const struct iovec *iov, size_t n, uint8_t *data, size_t size, bool to)
{
    size_t done = 0;
    size_t i;

    for (i = 0; i < n && done < size; i++) {
        size_t piece = MIN(iov[i].iov_len, size - done);

        memcpy(to ? iov[i].iov_base : data + done, to ? data + done : iov[i].iov_base, piece);
        done += piece;
    }
    return done;
}

size_t
iovCopyFrom(const struct iovec *iov, size_t n, void *data, size_t size)
{
    return iovCopy(iov, n, data, size, false);
}

size_t
iovCopyTo(const struct iovec *iov, size_t n, const void *data, size_t size)
{
    return iovCopy(iov, n, (uint8_t *)data, size, true);
}

size_t
iovSlice(const struct iovec *iov, size_t n, uint64_t offset, uint64_t size,
         struct iovec *slice, size_t max)
{
    size_t count = 0;
    size_t i;

    for (i = 0; i < n && count < max && size > 0; i++) {
        uint64_t piece;

        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        piece = MIN(size, iov[i].iov_len - offset);
        slice[count].iov_base = (uint8_t *)iov[i].iov_base + offset;
        slice[count].iov_len = piece;
        count++;
        size -= piece;
        offset = 0;
    }
    return count;
}

size_t
iovSkip(struct iovec *iov, size_t n, size_t size)
{
    size_t gone = 0;

    while (gone < n && size >= iov[gone].iov_len)
        size -= iov[gone++].iov_len;
    memmove(iov, iov + gone, (n - gone) * sizeof(*iov));
    if (n > gone) {
        iov[0].iov_base = (uint8_t *)iov[0].iov_base + size;
        iov[0].iov_len -= size;
    }
    return n - gone;
}
