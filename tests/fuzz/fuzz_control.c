/*
 * fuzz_control.c: fuzz target for the helper's side of the control socket
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The input is what a client sends: a byte that tells how it is cut, then the rest. All that
 * comes back must be lines of JSON with what such a line must have. Commands are answered with
 * what the input has said, so that the writer is tested, too.
 */

#include <string.h>

#include "common/json.h"
#include "control.h"
#include "fuzzloop.h"
#include "helper_protocol.h"

static unsigned int commands; /* that have been handled */

static const char *
fuzzOnCommand(const char *command, JsonWriter *reply, char **text, void *opaque G_GNUC_UNUSED)
{
    commands++;
    if (g_str_has_prefix(command, "query")) {
        static const unsigned int cpus[] = {1, 3};

        jsonAddString(reply, "phase", command);
        jsonAddIntegers(reply, "cpus", cpus, G_N_ELEMENTS(cpus));
        return NULL;
    }
    *text = g_strdup(command);
    return NITRO_ERROR_UNKNOWN_COMMAND;
}

/* Returns whether the line answers a command. */
static bool
fuzzCheckLine(const char *line, size_t len, bool greeting)
{
    g_autofree char *error = NULL;
    g_autoptr(GHashTable) object = jsonParse(line, len, &error);
    int64_t id;

    if (!object || !g_utf8_validate(line, len, NULL))
        abort();
    if (greeting) {
        if (!jsonGetInteger(object, NITRO_PROTOCOL_GREETING ".protocol", &id) || id < 1)
            abort();
        return false;
    }
    if (jsonGetString(object, "event"))
        return false;
    if (jsonHas(object, "return", JSON_OBJECT) == jsonHas(object, "error", JSON_OBJECT))
        abort();
    if (jsonHas(object, "error", JSON_OBJECT) &&
        (!jsonGetString(object, "error.code") || !jsonGetString(object, "error.text")))
        abort();
    if (jsonHas(object, "return", JSON_OBJECT) &&
        !g_str_has_prefix(jsonGetString(object, "return.phase"), "query"))
        abort();
    if (!jsonGetInteger(object, "id", &id) && !jsonHas(object, "id", JSON_OTHER))
        abort();
    return jsonHas(object, "return", JSON_OBJECT) ||
           g_str_equal(jsonGetString(object, "error.code"), NITRO_ERROR_UNKNOWN_COMMAND);
}

static void
fuzzCheckOutput(const GString *output)
{
    const char *line = output->str;
    const char *end = output->str + output->len;
    const char *newline;
    bool greeting = true;
    unsigned int answers = 0;

    for (; line < end; line = newline + 1) {
        newline = memchr(line, '\n', end - line);
        if (!newline)
            abort();
        answers += fuzzCheckLine(line, newline - line, greeting);
        greeting = false;
    }
    if (greeting || answers != commands)
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Control *control;
    GString *output;
    size_t piece;
    int fd;

    if (size < 1)
        return 0;
    commands = 0;
    piece = data[0] ? data[0] * 16 : size;
    fd = fuzzConnect();
    control = controlNew(fuzzListen(), fuzzOnCommand, NULL);
    output = g_string_new(NULL);

    for (data++, size--; size > 0; data += MIN(piece, size), size -= MIN(piece, size)) {
        fuzzSend(fd, data, MIN(piece, size));
        if (piece % 32)
            fuzzReceive(fd, output);
    }
    controlEventSend(control, controlEventNew(""));
    fuzzRunLoop();
    /* it never has to wait for more than one client's reading */
    fuzzReceive(fd, output);
    if (controlIsPending(control))
        abort();
    shutdown(fd, SHUT_WR);
    fuzzRunLoop();
    fuzzReceive(fd, output);

    controlFree(control);
    close(fd);
    fuzzCheckOutput(output);
    g_string_free(output, TRUE);
    return 0;
}
