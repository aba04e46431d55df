/*
 * iov.h: pieces of memory that make one packet
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What struct iovec needs when a header is cut off the front. The memory that entries
 * point to is not read, but by the two functions that copy.
 */

#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Bytes in @n entries; entries of one packet never add up to more than 4 GiB. */
uint64_t iovSize(const struct iovec *iov, size_t n);

/* Copies @size bytes out of (into) the front of @n entries. Return the bytes copied. */
size_t iovCopyFrom(const struct iovec *iov, size_t n, void *data, size_t size);
size_t iovCopyTo(const struct iovec *iov, size_t n, const void *data, size_t size);

/*
 * Stores in @slice, which has room for @max entries, the @size bytes from @offset on, or
 * as many as there are and fit. Returns the number of entries.
 */
size_t iovSlice(const struct iovec *iov, size_t n, uint64_t offset, uint64_t size,
                struct iovec *slice, size_t max);

/* Takes @size bytes, no more than there are, off the front. Returns the entries left. */
size_t iovSkip(struct iovec *iov, size_t n, size_t size);
