/*
 * escapehelper.c: makes the helper try to get out of its sandbox
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Linked with all of the helper's own sources, and with -Wl,--wrap for three functions of
 * theirs, so that nothing of this is in the helper that is installed. The name of the domain
 * says what is tried, and when:
 *
 *     escape-ACT    when the enclave runs, a moment after its event "booted"
 *     early-ACT     before the first byte of its image is read
 *
 * Of another domain it is the helper. The heartbeat broker tries the act of its trailer, a
 * moment after its start.
 */

#include <glib.h>
#include <string.h>

#include "control.h"
#include "escape.h"
#include "heartbeat/broker.h"
#include "helper_protocol.h"
#include "image.h"

#define ESCAPE_LATE "escape-"
#define ESCAPE_EARLY "early-"
#define ESCAPE_DELAY_MS 300

JsonWriter *__real_controlEventNew(const char *name);
JsonWriter *__wrap_controlEventNew(const char *name);
int __real_imageOpen(Image *image, const Options *options, Failure *failure);
int __wrap_imageOpen(Image *image, const Options *options, Failure *failure);
int __real_brokerRun(int listenFd, Failure *failure);
int __wrap_brokerRun(int listenFd, Failure *failure);

static const char *escapeAct; /* NULL: none when the enclave runs */

/* What the acts aim at must be read before the sandbox is there. */
__attribute__((constructor)) static void
escapeConstruct(void)
{
    escapeRead();
}

static gboolean
escapeOnTimer(gpointer opaque G_GNUC_UNUSED)
{
    escapeRun(escapeAct);
    return G_SOURCE_REMOVE;
}

JsonWriter *
__wrap_controlEventNew(const char *name)
{
    if (escapeAct && strcmp(name, NITRO_EVENT_BOOTED) == 0)
        g_timeout_add(ESCAPE_DELAY_MS, escapeOnTimer, NULL);
    return __real_controlEventNew(name);
}

int
__wrap_imageOpen(Image *image, const Options *options, Failure *failure)
{
    if (g_str_has_prefix(options->name, ESCAPE_EARLY))
        escapeRun(options->name + strlen(ESCAPE_EARLY));
    if (g_str_has_prefix(options->name, ESCAPE_LATE))
        escapeAct = options->name + strlen(ESCAPE_LATE);
    return __real_imageOpen(image, options, failure);
}

int
__wrap_brokerRun(int listenFd, Failure *failure)
{
    escapeAct = escapeGetBrokerAct();
    if (*escapeAct)
        g_timeout_add(ESCAPE_DELAY_MS, escapeOnTimer, NULL);
    return __real_brokerRun(listenFd, failure);
}
