/*
 * nitro_json_position.h: where in a text a parser has stopped
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * For the driver and for virt-eif, which have nothing else in common.
 */

#pragma once

#include <stddef.h>

/*
 * Sets @line and @column, both from 1 on, to the last character of the first @offset bytes of
 * @text; columns are characters of UTF-8.
 */
static inline void
nitroJsonPosition(const char *text, size_t offset, unsigned int *line, unsigned int *column)
{
    size_t i;

    *line = 1;
    *column = 0;
    for (i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            (*line)++;
            *column = 0;
        } else if ((text[i] & 0xc0) != 0x80) { /* not one that continues a character */
            (*column)++;
        }
    }
    if (*column == 0)
        *column = 1;
}
