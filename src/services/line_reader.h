/*
 * line_reader.h: reads lines of a connection of the enclave
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A connection that waits costs no buffer, and one that floods gets its turn like others.
 */

#pragma once

#include "services.h"

typedef struct _LineReader LineReader;

typedef struct _LineReaderType LineReaderType;
struct _LineReaderType {
    size_t max;         /* bytes of a line, without its end */
    unsigned int waitMs; /* for each line; 0: as long as it takes */
    /*
     * A line, without "\n" or "\r\n"; one that is longer is @cut, and the rest of it left out. The last
     * one may have had no end. Returns false when the connection is to be closed.
     */
    bool (*line)(Service *service, int fd, const char *line, size_t len, bool cut);
};

/* Reads from @fd, a non-blocking socket, until its end; it is taken over. */
void lineReaderStart(Service *service, int fd, const LineReaderType *type);
