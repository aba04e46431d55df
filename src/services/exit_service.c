/*
 * exit_service.c: takes the exit code of the enclave's application
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "exit_service.h"

#include <string.h>

#include "common/options_values.h"
#include "line_reader.h"

#define EXIT_LINE_MAX 3
#define EXIT_WAIT_MS 10000

static bool
exitOnLine(Service *service, int fd G_GNUC_UNUSED, const char *line, size_t len, bool cut)
{
    g_autofree char *text = g_strndup(line, len);
    uint64_t code;

    if (cut || strlen(text) != len || !optionsParseNumber(text, 0, 255, &code)) {
        service->refused++;
        logLimited(&service->logLimit, "The enclave tells an exit code that is none");
        return false;
    }
    if (service->code >= 0)
        return false;
    service->code = (int)code;
    logInfo("The enclave's application has ended with exit code %d", service->code);
    serviceTellExit(service);
    return false;
}

void
exitAccept(Service *service, int fd)
{
    static const LineReaderType type = {EXIT_LINE_MAX, EXIT_WAIT_MS, exitOnLine};

    lineReaderStart(service, fd, &type);
}
