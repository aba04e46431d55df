/*
 * nitro_image_verdict.c: what the image checker says, checked
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "nitro_failure.h"
#include "nitro_image_verdict.h"
#include "nitro_monitor_message.h"
#include "virjson.h"

/* hex digits of SHA-384 */
#define NITRO_IMAGE_PCR_DIGITS 96


void
nitroImageVerdictClear(nitroImageVerdict *verdict)
{
    g_clear_pointer(&verdict->pcr0, g_free);
    g_clear_pointer(&verdict->code, g_free);
    g_clear_pointer(&verdict->text, g_free);
}


static int
nitroImageVerdictReadPcr0(virJSONValue *value,
                          nitroImageVerdict *verdict,
                          char **why)
{
    const char *pcr0 = virJSONValueGetString(value);

    if (!pcr0 || strlen(pcr0) != NITRO_IMAGE_PCR_DIGITS ||
        strspn(pcr0, "0123456789abcdef") != NITRO_IMAGE_PCR_DIGITS) {
        *why = g_strdup(_("'pcr0' is no value of SHA-384"));
        return -1;
    }
    verdict->pcr0 = g_strdup(pcr0);
    return 0;
}


static int
nitroImageVerdictReadFailure(virJSONValue *value,
                             nitroImageVerdict *verdict,
                             char **why)
{
    const char *code = NULL;
    const char *text = NULL;
    g_autofree char *clean = NULL;

    if (virJSONValueIsObject(value)) {
        code = virJSONValueObjectGetString(value, "code");
        text = virJSONValueObjectGetString(value, "text");
    }
    if (text)
        clean = nitroMonitorCleanText(text);
    if (!code || !nitroFailureIsKnown(code) || !clean || *clean == '\0') {
        *why = g_strdup(_("'failure' has no code that is known, or no text"));
        return -1;
    }
    verdict->code = g_strdup(code);
    verdict->text = g_steal_pointer(&clean);
    return 0;
}


int
nitroImageVerdictRead(const char *output,
                      size_t len,
                      nitroImageVerdict *verdict,
                      char **why)
{
    g_autoptr(virJSONValue) object = NULL;
    g_autofree char *line = NULL;
    virJSONValue *pcr0;
    virJSONValue *failure;

    if (len == 0 || len > NITRO_IMAGE_VERDICT_MAX ||
        memchr(output, '\n', len) != output + len - 1 || memchr(output, '\0', len)) {
        *why = g_strdup(_("it is not one line of text"));
        return -1;
    }
    line = g_strndup(output, len - 1);
    if (*line != '{' || !nitroMonitorScan(line) || !(object = virJSONValueFromString(line))) {
        virResetLastError();
        *why = g_strdup(_("it is no JSON object"));
        return -1;
    }

    pcr0 = virJSONValueObjectGet(object, "pcr0");
    failure = virJSONValueObjectGet(object, "failure");
    if (virJSONValueObjectKeysNumber(object) > 1 ||
        (virJSONValueObjectKeysNumber(object) == 1 && !pcr0 && !failure)) {
        *why = g_strdup(_("it has members that it cannot have"));
        return -1;
    }
    if (failure)
        return nitroImageVerdictReadFailure(failure, verdict, why);
    return pcr0 ? nitroImageVerdictReadPcr0(pcr0, verdict, why) : 0;
}
