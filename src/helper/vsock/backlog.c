/*
 * backlog.c: bytes that wait for their reader
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: backlogAppend() copies behind the last byte, from the ring's end on to its start ->
 * backlogPeek() and backlogSkip() take from the first one.
 */

#include "vsock/backlog.h"

#include <string.h>

static void
backlogAppendPiece(Backlog *backlog, const uint8_t *data, size_t size)
{
    size_t end = (backlog->start + backlog->length) % backlog->size;
    size_t first = MIN(size, backlog->size - end);

    memcpy(backlog->data + end, data, first);
    memcpy(backlog->data, data + first, size - first);
    backlog->length += size;
}

void
backlogAppend(Backlog *backlog, size_t size, const struct iovec *iov, size_t n)
{
    size_t i;

    if (!backlog->data)
        *backlog = (Backlog){g_malloc(size), size, 0, 0};
    for (i = 0; i < n; i++) {
        g_return_if_fail(iov[i].iov_len <= backlog->size - backlog->length);
        backlogAppendPiece(backlog, iov[i].iov_base, iov[i].iov_len);
    }
}

size_t
backlogPeek(const Backlog *backlog, struct iovec iov[2])
{
    size_t first = MIN(backlog->length, backlog->size - backlog->start);

    iov[0] = (struct iovec){backlog->data + backlog->start, first};
    iov[1] = (struct iovec){backlog->data, backlog->length - first};
    return (iov[0].iov_len > 0) + (iov[1].iov_len > 0);
}

void
backlogSkip(Backlog *backlog, size_t size)
{
    backlog->length -= size;
    if (backlog->length == 0) {
        backlogClear(backlog);
        return;
    }
    backlog->start = (backlog->start + size) % backlog->size;
}

void
backlogClear(Backlog *backlog)
{
    g_free(backlog->data);
    *backlog = (Backlog){0};
}
