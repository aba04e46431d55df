/*
 * nitro_monitor_message.c: what a helper says, checked
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: line -> nitroMonitorParse(): a scan, as parsers have no limits, and libvirt's logs what
 * it refuses -> JSON object -> greeting, event or reply, each checked for what it says and
 * for whether it may come now.
 */

#include <config.h>

#include "helper_protocol.h"
#include "nitro_json.h"
#include "nitro_monitor_message.h"
#include "virbitmap.h"
#include "virerror.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

/* Levels of objects and arrays; the protocol has three. */
#define NITRO_MONITOR_DEPTH_MAX 8

/* Of all objects of a line; libvirt's parser looks at all for each */
#define NITRO_MONITOR_MEMBERS_MAX 64

/* Commas of a line: what is longest is the list of CPUs */
#define NITRO_MONITOR_COMMAS_MAX (NITRO_VCPUS_MAX + NITRO_MONITOR_MEMBERS_MAX)

/* Bytes of names: of members, events, phases, reasons and codes */
#define NITRO_MONITOR_NAME_MAX 32

/* Bytes that are shown of a line that makes no sense */
#define NITRO_MONITOR_EXCERPT_MAX 100

#define NITRO_MONITOR_HASH "sha384"
#define NITRO_MONITOR_PCR_DIGITS 96

VIR_ENUM_IMPL(nitroMonitorEvent,
              NITRO_MONITOR_EVENT_LAST,
              NITRO_EVENT_STARTED,
              NITRO_EVENT_BOOTED,
              NITRO_EVENT_EXITED,
              NITRO_EVENT_FAILED,
);


/* Text */

/* Whether a terminal or a reader of a log takes @c for nothing but itself */
static bool
nitroMonitorIsPlain(gunichar c)
{
    GUnicodeType type = g_unichar_type(c);

    /* Formats are, for example, what changes the direction of other text. */
    return g_unichar_isprint(c) && type != G_UNICODE_LINE_SEPARATOR &&
           type != G_UNICODE_PARAGRAPH_SEPARATOR && type != G_UNICODE_PRIVATE_USE;
}


/* As nitroMonitorCleanText(), but cut after @max bytes */
static char *
nitroMonitorClean(const char *text,
                  size_t max)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    GString *clean = g_string_new(NULL);
    const char *p;

    for (p = valid; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);

        if (clean->len >= max) {
            g_string_append(clean, "...");
            break;
        }
        if (nitroMonitorIsPlain(c))
            g_string_append_unichar(clean, c);
        else
            g_string_append_c(clean, g_ascii_isspace(*p) ? ' ' : '?');
    }
    return g_strstrip(g_string_free(clean, FALSE));
}


char *
nitroMonitorCleanText(const char *text)
{
    return nitroMonitorClean(text, NITRO_MONITOR_TEXT_MAX);
}


/* Whether the @len bytes of @name are what the protocol uses as a name */
static bool
nitroMonitorIsName(const char *name,
                   size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        if (!g_ascii_isalnum(name[i]) && name[i] != '-' && name[i] != '_')
            return false;
    }
    return len > 0 && len <= NITRO_MONITOR_NAME_MAX;
}


/* The end of the string of JSON that begins at @p, behind its last quote; NULL: it has none */
static const char *
nitroMonitorSkipString(const char *p)
{
    for (p++; *p != '"'; p++) {
        if (*p == '\\')
            p++;
        if (*p == '\0')
            return NULL;
    }
    return p + 1;
}


/*
 * Whether @line can be given to parsers of JSON, which find all other faults: no more @maxMembers
 * and @maxCommas than our protocols can mean, and neither it nor the keys have what does harm to a
 * log.
 */
static bool
nitroMonitorScan(const char *line,
                 size_t maxMembers,
                 size_t maxCommas)
{
    size_t depth = 0;
    size_t members = 0;
    size_t commas = 0;
    const char *string = NULL;
    const char *end = NULL;
    const char *p;

    if (!g_utf8_validate(line, -1, NULL))
        return false;
    for (p = line; *p; p = g_utf8_next_char(p)) {
        if (!nitroMonitorIsPlain(g_utf8_get_char(p)) && *p != '\t' && *p != '\r')
            return false;
    }

    for (p = line; *p; p++) {
        if (*p == '"') {
            string = p;
            if (!(end = nitroMonitorSkipString(p)))
                return false;
            p = end - 1;
        } else if (*p == ':') {
            /* what is before it, is a key */
            if (!string || !nitroMonitorIsName(string + 1, end - string - 2) ||
                ++members > maxMembers)
                return false;
        } else if (*p == ',') {
            if (++commas > maxCommas)
                return false;
        } else if (*p == '{' || *p == '[') {
            if (++depth > NITRO_MONITOR_DEPTH_MAX)
                return false;
        } else if (*p == '}' || *p == ']') {
            depth--;
        }
    }
    return true;
}


virJSONValue *
nitroMonitorParse(const char *line)
{
    return nitroMonitorParseLarge(line, NITRO_MONITOR_MEMBERS_MAX, NITRO_MONITOR_COMMAS_MAX);
}


virJSONValue *
nitroMonitorParseLarge(const char *line,
                       size_t maxMembers,
                       size_t maxCommas)
{
    g_autoptr(virJSONValue) object = NULL;
    g_autofree char *why = NULL;
    size_t offset;

    if (!nitroMonitorScan(line, maxMembers, maxCommas) || nitroJsonCheck(line, false, &offset, &why) < 0)
        return NULL;
    if (!(object = nitroJsonFromString(line)))
        virResetLastError();
    return g_steal_pointer(&object);
}


/* Members. All of these return 1 with the value, 0 when there is none, or -1 with @why set. */

int
nitroMonitorGetNumber(virJSONValue *object,
                      const char *key,
                      long long min,
                      long long max,
                      long long *number,
                      char **why)
{
    virJSONValue *value = virJSONValueObjectGet(object, key);

    if (!value)
        return 0;
    if (virJSONValueGetNumberLong(value, number) == 0 && *number >= min && *number <= max)
        return 1;
    *why = g_strdup_printf(_("'%s' is no integer from %lld to %lld"), key, min, max);
    return -1;
}


int
nitroMonitorGetName(virJSONValue *object,
                    const char *key,
                    char **name,
                    char **why)
{
    virJSONValue *value = virJSONValueObjectGet(object, key);
    const char *string = value ? virJSONValueGetString(value) : NULL;

    if (!value)
        return 0;
    if (string && nitroMonitorIsName(string, strlen(string))) {
        *name = g_strdup(string);
        return 1;
    }
    *why = g_strdup_printf(_("'%s' is no name"), key);
    return -1;
}


static int
nitroMonitorGetText(virJSONValue *object,
                    const char *key,
                    char **text,
                    char **why)
{
    virJSONValue *value = virJSONValueObjectGet(object, key);
    const char *string = value ? virJSONValueGetString(value) : NULL;

    if (!value)
        return 0;
    if (string) {
        *text = nitroMonitorCleanText(string);
        return 1;
    }
    *why = g_strdup_printf(_("'%s' is no text"), key);
    return -1;
}


static int
nitroMonitorGetCid(virJSONValue *object,
                   const nitroMonitorEnclave *enclave,
                   long long *cid,
                   char **why)
{
    int rc = nitroMonitorGetNumber(object, "cid", NITRO_CID_MIN, UINT_MAX - 1, cid, why);

    if (rc == 1 && enclave->cid != 0 && *cid != enclave->cid) {
        *why = g_strdup_printf(_("the enclave's CID is %u, not %lld"), enclave->cid, *cid);
        return -1;
    }
    if (rc == 1 && enclave->cid == 0 && !enclave->choosesCid) {
        *why = g_strdup_printf(_("an enclave without a CID cannot have the CID %lld"), *cid);
        return -1;
    }
    return rc;
}


static int
nitroMonitorGetCpus(virJSONValue *object,
                    const nitroMonitorEnclave *enclave,
                    unsigned int **cpus,
                    size_t *ncpus,
                    char **why)
{
    virJSONValue *array = virJSONValueObjectGet(object, "cpus");
    g_autoptr(virBitmap) seen = NULL;
    long long cpu;
    size_t n;
    size_t i;

    if (!array)
        return 0;
    if (!virJSONValueIsArray(array) || (n = virJSONValueArraySize(array)) == 0 ||
        n > enclave->vcpus) {
        *why = g_strdup_printf(_("'cpus' is no list of at most %zu CPUs"), enclave->vcpus);
        return -1;
    }

    seen = virBitmapNew(VIR_DOMAIN_CPUMASK_LEN);
    *cpus = g_new0(unsigned int, n);
    *ncpus = n;
    for (i = 0; i < n; i++) {
        if (virJSONValueGetNumberLong(virJSONValueArrayGet(array, i), &cpu) < 0 ||
            cpu < 0 || cpu >= VIR_DOMAIN_CPUMASK_LEN || virBitmapIsBitSet(seen, cpu)) {
            *why = g_strdup_printf(_("element %zu of 'cpus' is no CPU, or one that it has already"),
                                   i);
            return -1;
        }
        ignore_value(virBitmapSetBit(seen, cpu));
        (*cpus)[i] = cpu;
    }
    return 1;
}


int
nitroMonitorUnprotectedRead(virJSONValue *object,
                            char ***codes,
                            char **why)
{
    virJSONValue *array = virJSONValueObjectGet(object, "unprotected");
    g_auto(GStrv) list = NULL;
    size_t n;
    size_t i;

    if (!array)
        return 0;
    if (!virJSONValueIsArray(array) ||
        (n = virJSONValueArraySize(array)) > NITRO_UNPROTECTED_MAX) {
        *why = g_strdup_printf(_("'unprotected' is no list of at most %d codes"),
                               NITRO_UNPROTECTED_MAX);
        return -1;
    }

    list = g_new0(char *, n + 1);
    for (i = 0; i < n; i++) {
        const char *code = virJSONValueGetString(virJSONValueArrayGet(array, i));

        if (!code || !nitroMonitorIsName(code, strlen(code)) ||
            g_strv_contains((const char *const *)list, code)) {
            *why = g_strdup_printf(_("element %zu of 'unprotected' is no code, or one that it has already"),
                                   i);
            return -1;
        }
        list[i] = g_strdup(code);
    }
    *codes = g_steal_pointer(&list);
    return 1;
}


/* Events */

/* Whether the event may come now. Returns 0, or -1 with @why set. */
static int
nitroMonitorCheckOrder(const nitroMonitorTalk *talk,
                       nitroMonitorEventType type,
                       char **why)
{
    const unsigned int started = 1 << NITRO_MONITOR_EVENT_STARTED;
    const unsigned int booted = 1 << NITRO_MONITOR_EVENT_BOOTED;
    const char *name = nitroMonitorEventTypeToString(type);
    bool good = true;

    if (talk->events & (1 << type)) {
        *why = g_strdup_printf(_("the event '%s' has come twice"), name);
        return -1;
    }

    if (type == NITRO_MONITOR_EVENT_BOOTED)
        good = (talk->events & started) || !talk->enclave.fromStart;
    else if (type != NITRO_MONITOR_EVENT_EXITED)
        good = !(talk->events & booted);
    if (good && !nitroMonitorTalkIsOver(talk))
        return 0;
    *why = g_strdup_printf(_("the event '%s' cannot come now"), name);
    return -1;
}


/* Which call of the device has failed, if one has. Returns 0, or -1 with @why set. */
static int
nitroMonitorReadCall(nitroMonitorEvent *event,
                     virJSONValue *data,
                     char **why)
{
    long long err = 0;
    int found = nitroMonitorGetName(data, "ioctl", &event->ioctl, why);

    if (found < 0 || nitroMonitorGetNumber(data, "errno", 1, INT_MAX, &err, why) < 0)
        return -1;
    event->err = err;
    return 0;
}


/* Reads what belongs to an event of this @type. Returns 0, or -1 with @why set. */
static int
nitroMonitorReadEvent(nitroMonitorEvent *event,
                      nitroMonitorEventType type,
                      const nitroMonitorEnclave *enclave,
                      virJSONValue *data,
                      char **why)
{
    int found = 1;

    switch (type) {
    case NITRO_MONITOR_EVENT_STARTED:
        if (nitroMonitorGetCpus(data, enclave, &event->cpus, &event->ncpus, why) < 0 ||
            nitroMonitorUnprotectedRead(data, &event->unprotected, why) < 0)
            return -1;
        found = nitroMonitorGetCid(data, enclave, &event->cid, why);
        /* Nobody else can tell which it is. */
        if (found == 0 && !enclave->choosesCid)
            return 0;
        break;
    case NITRO_MONITOR_EVENT_EXITED:
        found = nitroMonitorGetName(data, "reason", &event->reason, why);
        break;
    case NITRO_MONITOR_EVENT_FAILED:
        if ((found = nitroMonitorGetName(data, "code", &event->code, why)) == 1)
            found = nitroMonitorGetText(data, "text", &event->text, why);
        if (found == 1 && nitroMonitorReadCall(event, data, why) < 0)
            return -1;
        break;
    case NITRO_MONITOR_EVENT_BOOTED:
    case NITRO_MONITOR_EVENT_LAST:
        break;
    }
    if (found == 0)
        *why = g_strdup_printf(_("the event '%s' does not say all that it must"), event->name);
    return found == 1 ? 0 : -1;
}


/* An event that the daemon does not know, of @len bytes. Returns 0, or -1 with @why set. */
static int
nitroMonitorIgnoreEvent(nitroMonitorTalk *talk,
                        size_t len,
                        char **why)
{
    if (++talk->ignored <= NITRO_PROTOCOL_EVENTS_MAX && len < NITRO_PROTOCOL_EVENT_SIZE_MAX)
        return 0;
    *why = g_strdup_printf(_("it has sent more than %d events that nobody knows, or one of more than %d bytes"),
                           NITRO_PROTOCOL_EVENTS_MAX, NITRO_PROTOCOL_EVENT_SIZE_MAX);
    return -1;
}


static int
nitroMonitorHearEvent(nitroMonitorTalk *talk,
                      virJSONValue *object,
                      size_t len,
                      nitroMonitorMessage *message,
                      char **why)
{
    virJSONValue *data = virJSONValueObjectGetObject(object, "data");
    g_autofree char *name = NULL;
    int type;

    if (nitroMonitorGetName(object, "event", &name, why) < 0)
        return -1;
    if ((type = nitroMonitorEventTypeFromString(name)) < 0)
        return nitroMonitorIgnoreEvent(talk, len, why);
    if (!data) {
        *why = g_strdup_printf(_("the event '%s' has no 'data'"), name);
        return -1;
    }

    message->type = NITRO_MONITOR_MESSAGE_EVENT;
    message->event.name = nitroMonitorEventTypeToString(type);
    message->event.cid = -1;
    if (nitroMonitorCheckOrder(talk, type, why) < 0 ||
        nitroMonitorReadEvent(&message->event, type, &talk->enclave, data, why) < 0)
        return -1;

    talk->events |= 1 << type;
    if (message->event.cid > 0)
        talk->enclave.cid = message->event.cid;
    return 0;
}


/* Greeting and replies */

int
nitroMonitorHearGreeting(virJSONValue *object,
                         const char *name,
                         int version,
                         int *protocol,
                         char **why)
{
    virJSONValue *greeting = virJSONValueObjectGetObject(object, name);
    long long newest;
    long long oldest = 1;
    int rc = 0;

    if (!greeting ||
        (rc = nitroMonitorGetNumber(greeting, "protocol", 1, INT_MAX, &newest, why)) == 0) {
        *why = g_strdup(_("it does not begin with a greeting"));
        return -1;
    }
    if (rc < 0 ||
        nitroMonitorGetNumber(greeting, "oldest", 1, newest, &oldest, why) < 0)
        return -1;
    if (oldest > version) {
        *why = g_strdup_printf(_("it speaks the versions %lld to %lld, not %d"),
                               oldest, newest, version);
        return -1;
    }
    *protocol = newest;
    return 0;
}


/* Whether the reply has one part of the two, and an object */
static bool
nitroMonitorIsReply(virJSONValue *object)
{
    virJSONValue *ret = virJSONValueObjectGet(object, "return");
    virJSONValue *error = virJSONValueObjectGet(object, "error");

    return !ret != !error && virJSONValueIsObject(ret ? ret : error);
}


int
nitroMonitorHearReply(virJSONValue *object,
                      int *lastReply,
                      int lastCommand,
                      char **why)
{
    virJSONValue *error = virJSONValueObjectGetObject(object, "error");
    const char *text = error ? virJSONValueObjectGetString(error, "text") : NULL;
    virJSONValue *number = virJSONValueObjectGet(object, "id");
    long long id;

    if (!nitroMonitorIsReply(object)) {
        *why = g_strdup(_("it has sent what is neither an event nor a reply"));
        return -1;
    }
    /* It has not understood a line at all, and ends the connection. */
    if (text && number && virJSONValueGetType(number) == VIR_JSON_TYPE_NULL) {
        *why = nitroMonitorCleanText(text);
        return -1;
    }
    /* Commands are answered in their order. A reply may come after nobody waits for it. */
    if (!number || virJSONValueGetNumberLong(number, &id) < 0 ||
        id <= *lastReply || id > lastCommand) {
        *why = g_strdup(_("it has sent a reply to no command"));
        return -1;
    }
    *lastReply = id;
    return 0;
}


virJSONValue *
nitroMonitorHearLine(const char *line,
                     size_t len,
                     size_t maxMembers,
                     size_t maxCommas,
                     char **why)
{
    g_autofree char *text = g_strndup(line, len);
    g_autofree char *clean = NULL;
    virJSONValue *object = NULL;

    if (strlen(text) == len && (object = nitroMonitorParseLarge(text, maxMembers, maxCommas)))
        return object;

    clean = nitroMonitorClean(text, NITRO_MONITOR_EXCERPT_MAX);
    *why = g_strdup_printf(_("it has sent what is no JSON object of the protocol: '%s'"), clean);
    return NULL;
}


int
nitroMonitorTalkHear(nitroMonitorTalk *talk,
                     const char *line,
                     size_t len,
                     int lastCommand,
                     nitroMonitorMessage *message,
                     char **why)
{
    g_autoptr(virJSONValue) object = NULL;

    if (!(object = nitroMonitorHearLine(line, len, NITRO_MONITOR_MEMBERS_MAX,
                                        NITRO_MONITOR_COMMAS_MAX, why)))
        return -1;

    if (talk->protocol == 0)
        return nitroMonitorHearGreeting(object, NITRO_PROTOCOL_GREETING, NITRO_PROTOCOL_VERSION,
                                        &talk->protocol, why);
    if (virJSONValueObjectHasKey(object, "event"))
        return nitroMonitorHearEvent(talk, object, len, message, why);

    if (nitroMonitorHearReply(object, &talk->lastReply, lastCommand, why) < 0)
        return -1;
    message->id = talk->lastReply;
    message->type = NITRO_MONITOR_MESSAGE_REPLY;
    message->reply = g_steal_pointer(&object);
    return 0;
}


bool
nitroMonitorTalkIsOver(const nitroMonitorTalk *talk)
{
    return talk->events & (1 << NITRO_MONITOR_EVENT_EXITED | 1 << NITRO_MONITOR_EVENT_FAILED);
}


void
nitroMonitorMessageClear(nitroMonitorMessage *message)
{
    g_clear_pointer(&message->event.cpus, g_free);
    g_clear_pointer(&message->event.unprotected, g_strfreev);
    g_clear_pointer(&message->event.reason, g_free);
    g_clear_pointer(&message->event.code, g_free);
    g_clear_pointer(&message->event.text, g_free);
    g_clear_pointer(&message->event.ioctl, g_free);
    g_clear_pointer(&message->reply, virJSONValueFree);
}


/* What replies return */

int
nitroMonitorStatusRead(nitroMonitorStatus *status,
                       const nitroMonitorEnclave *enclave,
                       virJSONValue *data,
                       char **why)
{
    int rc = nitroMonitorGetName(data, "phase", &status->phase, why);

    status->cid = -1;
    if (rc == 0)
        *why = g_strdup(_("it has no 'phase'"));
    if (rc <= 0 ||
        nitroMonitorGetCid(data, enclave, &status->cid, why) < 0 ||
        nitroMonitorGetCpus(data, enclave, &status->cpus, &status->ncpus, why) < 0 ||
        nitroMonitorUnprotectedRead(data, &status->unprotected, why) < 0)
        return -1;
    return 0;
}


void
nitroMonitorStatusClear(nitroMonitorStatus *status)
{
    g_clear_pointer(&status->phase, g_free);
    g_clear_pointer(&status->cpus, g_free);
    g_clear_pointer(&status->unprotected, g_strfreev);
}


int
nitroMonitorMeasurementsRead(nitroMonitorMeasurements *measurements,
                             virJSONValue *data,
                             char **why)
{
    size_t i;

    if (nitroMonitorGetName(data, "hash", &measurements->hash, why) < 0)
        return -1;
    if (STRNEQ_NULLABLE(measurements->hash, NITRO_MONITOR_HASH)) {
        *why = g_strdup_printf(_("'hash' is not '%s'"), NITRO_MONITOR_HASH);
        return -1;
    }

    for (i = 0; i < NITRO_PCR_COUNT; i++) {
        g_autofree char *name = g_strdup_printf("pcr%zu", i);
        virJSONValue *value = virJSONValueObjectGet(data, name);
        const char *digits = value ? virJSONValueGetString(value) : NULL;

        /* Every image sets PCR0. */
        if (!value && i > 0)
            continue;
        if (!digits || strlen(digits) != NITRO_MONITOR_PCR_DIGITS ||
            strspn(digits, "0123456789abcdef") != NITRO_MONITOR_PCR_DIGITS) {
            *why = g_strdup_printf(_("'%s' is not %d lower-case hexadecimal digits"),
                                   name, NITRO_MONITOR_PCR_DIGITS);
            return -1;
        }
        measurements->pcr[i] = g_strdup(digits);
    }
    return 0;
}


void
nitroMonitorMeasurementsClear(nitroMonitorMeasurements *measurements)
{
    size_t i;

    g_clear_pointer(&measurements->hash, g_free);
    for (i = 0; i < NITRO_PCR_COUNT; i++)
        g_clear_pointer(&measurements->pcr[i], g_free);
}
