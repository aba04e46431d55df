/*
 * fuzz_qmp.c: fuzz target for what is read of QEMU's monitor
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The input is what QEMU sends: a byte that tells how it is cut, then the rest. When it has been
 * called broken, nothing more may come.
 */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "emulated/qmp.h"
#include "fuzzloop.h"

static void
fuzzOnRunning(void *opaque G_GNUC_UNUSED)
{
}

/* Touches all of the text. */
static void
fuzzOnText(const char *text, void *opaque G_GNUC_UNUSED)
{
    if (!text || strlen(text) > 65536)
        abort();
}

static const QmpCallbacks fuzzCallbacks = {
    .running = fuzzOnRunning,
    .shutdown = fuzzOnText,
    .broken = fuzzOnText,
};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fds[2];
    Qmp *qmp;
    GString *output;
    size_t piece;
    size_t last;

    if (size < 1)
        return 0;
    piece = data[0] ? data[0] * 16 : size;
    last = data[0] % 2 ? size / 2 : 0; /* bytes that QEMU leaves behind */
    fuzzSocketPair(fds);
    qmp = qmpNew(fds[0], &fuzzCallbacks, NULL);

    for (data++, size--; size > last; data += MIN(piece, size), size -= MIN(piece, size))
        fuzzSend(fds[1], data, MIN(piece, size));
    if (size > 0)
        (void)!send(fds[1], data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    output = g_string_new(NULL);
    fuzzReceive(fds[1], output);
    if (!strstr(output->str, "qmp_capabilities"))
        abort();
    g_string_free(output, TRUE);
    close(fds[1]);
    qmpDrain(qmp);
    fuzzRunLoop();
    qmpFree(qmp);
    return 0;
}
