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
#define NITRO_IMAGE_DIGITS 96

#define NITRO_IMAGE_SIGNATURE_VALUES 3


void
nitroImageVerdictClear(nitroImageVerdict *verdict)
{
    g_clear_pointer(&verdict->signature, g_free);
    g_clear_pointer(&verdict->code, g_free);
    g_clear_pointer(&verdict->text, g_free);
}


static int
nitroImageVerdictReadSignature(virJSONValue *value,
                               nitroImageVerdict *verdict,
                               char **why)
{
    const char *signature = virJSONValueGetString(value);
    g_auto(GStrv) words = g_strsplit(NULLSTR_EMPTY(signature), ",", -1);
    bool good = g_strv_length(words) == NITRO_IMAGE_SIGNATURE_VALUES;
    size_t i;

    for (i = 0; good && i < NITRO_IMAGE_SIGNATURE_VALUES; i++) {
        good = strlen(words[i]) == NITRO_IMAGE_DIGITS &&
               strspn(words[i], "0123456789abcdef") == NITRO_IMAGE_DIGITS;
    }
    if (!good) {
        *why = g_strdup(_("'signature' is not three values of SHA-384"));
        return -1;
    }
    verdict->signature = g_strdup(signature);
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
    virJSONValue *signature;
    virJSONValue *failure;

    if (len == 0 || len > NITRO_IMAGE_VERDICT_MAX ||
        memchr(output, '\n', len) != output + len - 1 || memchr(output, '\0', len)) {
        *why = g_strdup(_("it is not one line of text"));
        return -1;
    }
    line = g_strndup(output, len - 1);
    if (!(object = nitroMonitorParse(line))) {
        *why = g_strdup(_("it is no JSON object"));
        return -1;
    }

    signature = virJSONValueObjectGet(object, "signature");
    failure = virJSONValueObjectGet(object, "failure");
    if (virJSONValueObjectKeysNumber(object) > 1 ||
        (virJSONValueObjectKeysNumber(object) == 1 && !signature && !failure)) {
        *why = g_strdup(_("it has members that it cannot have"));
        return -1;
    }
    if (failure)
        return nitroImageVerdictReadFailure(failure, verdict, why);
    return signature ? nitroImageVerdictReadSignature(signature, verdict, why) : 0;
}
