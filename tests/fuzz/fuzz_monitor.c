/*
 * fuzz_monitor.c: fuzz target for what the daemon hears from helpers
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The input is a connection: a byte that tells what is known of the enclave, then lines. What
 * comes out is checked against what nitro_monitor_message.h promises. It needs the built libvirt
 * library, for its JSON.
 */

#include <config.h>

#include "helper_protocol.h"
#include "nitro_monitor_message.h"
#include "virerror.h"
#include "virlog.h"

#define COMMANDS 3

static int
fuzzLogPriority(virErrorPtr err G_GNUC_UNUSED, int priority G_GNUC_UNUSED)
{
    return VIR_LOG_DEBUG;
}

/* Fit for a terminal, and not long */
static void
fuzzCheckText(const char *text)
{
    const char *p;

    if (!text)
        return;
    if (strlen(text) > NITRO_MONITOR_TEXT_MAX + 300 || !g_utf8_validate(text, -1, NULL))
        abort();
    for (p = text; *p; p = g_utf8_next_char(p)) {
        if (!g_unichar_isprint(g_utf8_get_char(p)))
            abort();
    }
}

static void
fuzzCheckCpus(const unsigned int *cpus, size_t ncpus, const nitroMonitorEnclave *enclave)
{
    size_t i;
    size_t j;

    if (ncpus > enclave->vcpus || !cpus != (ncpus == 0))
        abort();
    for (i = 0; i < ncpus; i++) {
        for (j = 0; j < i; j++) {
            if (cpus[i] == cpus[j] || cpus[i] >= VIR_DOMAIN_CPUMASK_LEN)
                abort();
        }
    }
}

static void
fuzzCheckCid(long long cid, const nitroMonitorEnclave *enclave)
{
    if (cid != -1 && (cid < NITRO_CID_MIN || cid >= UINT_MAX))
        abort();
    if (cid != -1 && enclave->cid != cid && (enclave->cid != 0 || !enclave->choosesCid))
        abort();
}

static void
fuzzCheckEvent(const nitroMonitorEvent *event, const nitroMonitorEnclave *enclave,
               unsigned int *seen)
{
    int type = nitroMonitorEventTypeFromString(event->name);

    if (type < 0 || (*seen & (1 << type)))
        abort();
    *seen |= 1 << type;
    fuzzCheckCid(event->cid, enclave);
    fuzzCheckCpus(event->cpus, event->ncpus, enclave);
    fuzzCheckText(event->reason);
    fuzzCheckText(event->code);
    fuzzCheckText(event->text);
    if (STREQ(event->name, NITRO_EVENT_EXITED) && !event->reason)
        abort();
    if (STREQ(event->name, NITRO_EVENT_FAILED) && (!event->code || !event->text))
        abort();
}

/* A reply to whatever command: it is read as either */
static void
fuzzCheckReply(virJSONValue *reply, const nitroMonitorEnclave *enclave)
{
    virJSONValue *data = virJSONValueObjectGetObject(reply, "return");
    g_auto(nitroMonitorStatus) status = { 0 };
    g_auto(nitroMonitorMeasurements) measurements = { 0 };
    g_autofree char *why = NULL;
    g_autofree char *whyNot = NULL;

    if (!data != !!virJSONValueObjectGetObject(reply, "error"))
        abort();
    if (!data)
        return;
    if (nitroMonitorStatusRead(&status, enclave, data, &why) == 0) {
        fuzzCheckText(status.phase);
        fuzzCheckCid(status.cid, enclave);
        fuzzCheckCpus(status.cpus, status.ncpus, enclave);
    } else if (!why) {
        abort();
    }
    fuzzCheckText(why);
    if (nitroMonitorMeasurementsRead(&measurements, data, &whyNot) == 0) {
        if (strlen(measurements.pcr[0]) != 96)
            abort();
    } else if (!whyNot) {
        abort();
    }
    fuzzCheckText(whyNot);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv);

int
LLVMFuzzerInitialize(int *argc G_GNUC_UNUSED, char ***argv G_GNUC_UNUSED)
{
    if (virErrorInitialize() < 0)
        abort();
    virSetErrorLogPriorityFunc(fuzzLogPriority);
    virResetLastError(); /* its memory is kept */
    return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nitroMonitorTalk talk = { 0 };
    unsigned int seen = 0;
    int lastId = 0;
    const char *line = (const char *) data;
    const char *end = line + size;
    const char *newline;

    if (size < 1)
        return 0;
    talk.enclave.cid = *line & 1 ? 16 : 0;
    talk.enclave.choosesCid = *line & 2;
    talk.enclave.fromStart = *line & 4;
    talk.enclave.vcpus = *line >> 4;

    for (line++; (newline = memchr(line, '\n', end - line)); line = newline + 1) {
        g_auto(nitroMonitorMessage) message = { 0 };
        nitroMonitorEnclave enclave = talk.enclave;
        g_autofree char *why = NULL;

        if (nitroMonitorTalkHear(&talk, line, newline - line, COMMANDS, &message, &why) < 0) {
            if (!why)
                abort();
            fuzzCheckText(why);
            break;
        }
        if (why || talk.protocol < 1 || talk.ignored > NITRO_PROTOCOL_EVENTS_MAX)
            abort();
        if (message.type == NITRO_MONITOR_MESSAGE_EVENT) {
            fuzzCheckEvent(&message.event, &enclave, &seen);
        } else if (message.type == NITRO_MONITOR_MESSAGE_REPLY) {
            if (message.id <= lastId || message.id > COMMANDS)
                abort();
            lastId = message.id;
            fuzzCheckReply(message.reply, &talk.enclave);
        }
    }
    virResetLastError();
    return 0;
}
