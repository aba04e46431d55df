/*
 * backlog.h: bytes that wait for their reader
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A ring of bytes. It takes no memory while it is empty, and never more than it was made
 * for, however slowly it is read.
 */

#pragma once

#include <glib.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* All zero is an empty one. */
typedef struct _Backlog Backlog;
struct _Backlog {
    uint8_t *data; /* NULL while it is empty */
    size_t size;   /* of @data, in bytes */
    size_t start;  /* of what is kept */
    size_t length; /* bytes kept */
};

/*
 * Appends the bytes of @n entries of @iov. @size is the room of the backlog in bytes, which
 * counts when it is empty; they must fit.
 */
void backlogAppend(Backlog *backlog, size_t size, const struct iovec *iov, size_t n);

/* Stores where the bytes are in @iov, the first ones first. Returns the number of entries. */
size_t backlogPeek(const Backlog *backlog, struct iovec iov[2]);

/* Takes @size bytes, no more than there are, off the front. */
void backlogSkip(Backlog *backlog, size_t size);

/* Takes all of them. */
void backlogClear(Backlog *backlog);
