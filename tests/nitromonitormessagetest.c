/*
 * nitromonitormessagetest.c: tests of src/nitro/nitro_monitor_message.c
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Conversations, a line each for what a helper says, of which all but the last one are good. What
 * becomes of a helper that says such things is tested by e2e/test_hostile.py.
 */

#include <config.h>

#include "helper_protocol.h"
#include "nitro_monitor_message.h"
#include "virerror.h"
#include "virstring.h"

#define GREETING "{\"libvirt-nitro\": {\"protocol\": 1, \"version\": \"0.1.0\"}}"
#define CODES_16 "\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", " \
                 "\"i\", \"j\", \"k\", \"l\", \"m\", \"n\", \"o\", \"p\""
#define STARTED "{\"event\": \"started\", \"data\": {}}"
#define BOOTED "{\"event\": \"booted\", \"data\": {}}"
#define EXITED "{\"event\": \"exited\", \"data\": {\"reason\": \"poweroff\"}}"
#define DATA_FAILED(more) \
    "{\"event\": \"failed\", \"data\": {\"code\": \"device\", \"text\": \"no\", " more "}}"
#define FAILED "{\"event\": \"failed\", \"data\": {\"code\": \"image\", \"text\": \"no\"}}"

#define DATA_STARTED(data) "{\"event\": \"started\", \"data\": {" data "}}"

static const nitroMonitorEnclave emulated = { .cid = 16, .vcpus = 2, .fromStart = true };
static const nitroMonitorEnclave device = { .choosesCid = true, .vcpus = 2, .fromStart = true };
static const nitroMonitorEnclave later = { .cid = 16, .vcpus = 2 };
static const nitroMonitorEnclave none = { .vcpus = 2, .fromStart = true };

typedef struct {
    const nitroMonitorEnclave *enclave;
    const char *why; /* a part of it; NULL: all is well */
    const char *lines[8];
} Conversation;

static const Conversation conversations[] = {
    /* good ones */
    { &emulated, NULL,
      { GREETING, DATA_STARTED("\"cid\": 16, \"accel\": \"tcg\""), BOOTED, EXITED } },
    { &emulated, NULL, { GREETING, DATA_STARTED("\"cid\": 16, \"cpus\": [3, 1]"), FAILED } },
    { &device, NULL,
      { GREETING, DATA_STARTED("\"cid\": 4294967294, \"cpus\": [3]"), BOOTED, EXITED } },
    { &emulated, NULL, { GREETING, STARTED, EXITED } },
    { &emulated, NULL, { GREETING, EXITED } },
    { &later, NULL, { GREETING, BOOTED, EXITED } },
    { &later, NULL, { GREETING, EXITED, "{\"return\": {}, \"id\": 1}" } },
    { &later, NULL, { GREETING, "{\"return\": {}, \"id\": 1}", "{\"error\": {}, \"id\": 3}" } },
    { &later, NULL, { "\t{\"libvirt-nitro\":{\"protocol\":7,\"oldest\":1,\"new\":[[{}]]}}\r",
                      "{\"event\": \"paused\"}",
                      "{\"event\": \"booted\", \"data\": {\"x\": 1}}" } },

    /* greetings */
    { &later, "greeting", { BOOTED } },
    { &later, "greeting", { "{\"libvirt-nitro\": 1}" } },
    { &later, "greeting", { "{\"libvirt-nitro\": {}}" } },
    { &later, "'protocol'", { "{\"libvirt-nitro\": {\"protocol\": 0}}" } },
    { &later, "'protocol'", { "{\"libvirt-nitro\": {\"protocol\": \"1\"}}" } },
    { &later, "'protocol'", { "{\"libvirt-nitro\": {\"protocol\": 4294967297}}" } },
    { &later, "'oldest'", { "{\"libvirt-nitro\": {\"protocol\": 2, \"oldest\": 3}}" } },
    { &later, "versions 2 to 5", { "{\"libvirt-nitro\": {\"protocol\": 5, \"oldest\": 2}}" } },
    { &later, "neither an event nor a reply", { GREETING, GREETING } },

    /* CIDs */
    { &emulated, "CID is 16, not 17", { GREETING, DATA_STARTED("\"cid\": 17") } },
    { &emulated, "'cid'", { GREETING, DATA_STARTED("\"cid\": 0") } },
    { &emulated, "'cid'", { GREETING, DATA_STARTED("\"cid\": \"16\"") } },
    { &none, "without a CID", { GREETING, DATA_STARTED("\"cid\": 16") } },
    { &device, "'cid'", { GREETING, DATA_STARTED("\"cid\": 3") } },
    { &device, "'cid'", { GREETING, DATA_STARTED("\"cid\": 4294967295") } },
    { &device, "'cid'", { GREETING, DATA_STARTED("\"cid\": 4294967312") } },
    { &device, "'cid'", { GREETING, DATA_STARTED("\"cid\": 18446744073709551615") } },
    { &device, "no JSON", { GREETING, DATA_STARTED("\"cid\": 18446744073709551632") } },
    { &device, "'cid'", { GREETING, DATA_STARTED("\"cid\": -1") } },
    { &device, "'cid'", { GREETING, DATA_STARTED("\"cid\": -9223372036854775808") } },
    { &device, "no JSON", { GREETING, DATA_STARTED("\"cid\": -9223372036854775809") } },
    { &device, "'cid'", { GREETING, DATA_STARTED("\"cid\": 1e20") } },
    { &device, "'cid'", { GREETING, DATA_STARTED("\"cid\": 16.5") } },
    { &device, "'cid'", { GREETING, DATA_STARTED("\"cid\": null") } },
    { &device, "'cid'", { GREETING, DATA_STARTED("\"cid\": [16]") } },
    { &device, "does not say all", { GREETING, STARTED } },

    /* CPUs */
    { &emulated, "'cpus'", { GREETING, DATA_STARTED("\"cpus\": []") } },
    { &emulated, "'cpus'", { GREETING, DATA_STARTED("\"cpus\": [1, 2, 3]") } },
    { &emulated, "'cpus'", { GREETING, DATA_STARTED("\"cpus\": [1, 1]") } },
    { &emulated, "'cpus'", { GREETING, DATA_STARTED("\"cpus\": [1, -1]") } },
    { &emulated, "'cpus'", { GREETING, DATA_STARTED("\"cpus\": [\"1\"]") } },
    { &emulated, "'cpus'", { GREETING, DATA_STARTED("\"cpus\": [16384]") } },
    { &emulated, "'cpus'", { GREETING, DATA_STARTED("\"cpus\": {}") } },

    /* what is missing */
    { &emulated, NULL, { GREETING, DATA_STARTED("\"unprotected\": []") } },
    { &emulated, NULL,
      { GREETING, DATA_STARTED("\"unprotected\": [\"landlock\", \"from-tomorrow\"]"), BOOTED } },
    { &emulated, NULL, { GREETING, DATA_STARTED("\"unprotected\": [" CODES_16 "]") } },
    { &emulated, "'unprotected'",
      { GREETING, DATA_STARTED("\"unprotected\": [" CODES_16 ", \"q\"]") } },
    { &emulated, "'unprotected'", { GREETING, DATA_STARTED("\"unprotected\": \"landlock\"") } },
    { &emulated, "'unprotected'", { GREETING, DATA_STARTED("\"unprotected\": {}") } },
    { &emulated, "'unprotected'", { GREETING, DATA_STARTED("\"unprotected\": null") } },
    { &emulated, "element 0", { GREETING, DATA_STARTED("\"unprotected\": [1]") } },
    { &emulated, "element 0", { GREETING, DATA_STARTED("\"unprotected\": [\"\"]") } },
    { &emulated, "element 0", { GREETING, DATA_STARTED("\"unprotected\": [[\"landlock\"]]") } },
    { &emulated, "element 1",
      { GREETING, DATA_STARTED("\"unprotected\": [\"user\", \"a b\"]") } },
    { &emulated, "element 0", { GREETING, DATA_STARTED("\"unprotected\": [\"\\u001b[1m\"]") } },
    { &emulated, "element 0",
      { GREETING, DATA_STARTED("\"unprotected\": [\"a-code-that-is-longer-than-32-bytes\"]") } },
    { &emulated, "element 1",
      { GREETING, DATA_STARTED("\"unprotected\": [\"landlock\", \"landlock\"]") } },

    /* events: what is in them, how often and when they come */
    { &later, "no 'data'", { GREETING, "{\"event\": \"booted\"}" } },
    { &later, "no 'data'", { GREETING, "{\"event\": \"booted\", \"data\": []}" } },
    { &later, "'event'", { GREETING, "{\"event\": 1, \"data\": {}}" } },
    { &later, "'event'", { GREETING, "{\"event\": \"\", \"data\": {}}" } },
    { &later, "'event'", { GREETING, "{\"event\": \"boo\\u001bted\"}" } },
    { &later, "'event'", { GREETING, "{\"event\": \"a-name-that-is-longer-than-32-bytes\"}" } },
    { &later, "does not say all", { GREETING, "{\"event\": \"exited\", \"data\": {}}" } },
    { &later, "'reason'",
      { GREETING, "{\"event\": \"exited\", \"data\": {\"reason\": \"a b\"}}" } },
    { &later, "does not say all",
      { GREETING, "{\"event\": \"failed\", \"data\": {\"code\": \"x\"}}" } },
    { &device, NULL, { GREETING, DATA_FAILED("\"ioctl\": \"NE_ADD_VCPU\", \"errno\": 257") } },
    { &device, "'ioctl'", { GREETING, DATA_FAILED("\"ioctl\": \"NE ADD\", \"errno\": 257") } },
    { &device, "'ioctl'", { GREETING, DATA_FAILED("\"ioctl\": 1, \"errno\": 257") } },
    { &device, "'errno'", { GREETING, DATA_FAILED("\"errno\": 0") } },
    { &device, "'errno'", { GREETING, DATA_FAILED("\"errno\": \"EIO\"") } },
    { &device, "'errno'", { GREETING, DATA_FAILED("\"errno\": 4294967297") } },
    { &emulated, "twice", { GREETING, STARTED, STARTED } },
    { &emulated, "twice", { GREETING, STARTED, BOOTED, BOOTED } },
    { &later, "twice", { GREETING, EXITED, EXITED } },
    { &emulated, "cannot come now", { GREETING, BOOTED } },
    { &later, "cannot come now", { GREETING, BOOTED, STARTED } },
    { &emulated, "cannot come now", { GREETING, STARTED, BOOTED, FAILED } },
    { &emulated, "cannot come now", { GREETING, STARTED, FAILED, EXITED } },
    { &later, "cannot come now", { GREETING, EXITED, BOOTED } },
    { &emulated, "cannot come now", { GREETING, EXITED, STARTED } },

    /* replies; three commands have been sent */
    { &later, "neither", { GREETING, "{}" } },
    { &later, "neither", { GREETING, "{\"id\": 1}" } },
    { &later, "neither", { GREETING, "{\"return\": 1, \"id\": 1}" } },
    { &later, "neither", { GREETING, "{\"return\": {}, \"error\": {}, \"id\": 1}" } },
    { &later, "no command", { GREETING, "{\"return\": {}}" } },
    { &later, "no command", { GREETING, "{\"return\": {}, \"id\": 0}" } },
    { &later, "no command", { GREETING, "{\"return\": {}, \"id\": 4}" } },
    { &later, "no command", { GREETING, "{\"return\": {}, \"id\": \"1\"}" } },
    { &later, "no command", { GREETING, "{\"return\": {}, \"id\": 1e300}" } },
    { &later, "no command",
      { GREETING, "{\"return\": {}, \"id\": 2}", "{\"return\": {}, \"id\": 2}" } },
    { &later, "no command",
      { GREETING, "{\"return\": {}, \"id\": 2}", "{\"return\": {}, \"id\": 1}" } },
    { &later, "too long",
      { GREETING, "{\"error\": {\"text\": \"\\u001btoo long\"}, \"id\": null}" } },

    /* what is no JSON, and what its parser is not to see */
    { &later, "no JSON", { GREETING, "" } },
    { &later, "no JSON", { GREETING, "1" } },
    { &later, "no JSON", { GREETING, "[]" } },
    { &later, "no JSON", { GREETING, "{" } },
    { &later, "no JSON", { GREETING, "{}{}" } },
    { &later, "no JSON", { GREETING, "{\"event\": \"booted" } },
    { &later, "no JSON", { GREETING, "{\"event\": \"booted\\" } },
    { &later, "no JSON", { GREETING, "{\"event\": \"booted\", \"event\": \"exited\"}" } },
    { &later, "no JSON", { GREETING, "{\"event\": \"x\", \"data\": {\"a\": 1, \"a\": 1}}" } },
    { &later, "no JSON", { GREETING, "{\"event\": \"x\", \"data\": [{\"a\": {}, \"a\": 1}]}" } },
    { &later, "no JSON",
      { GREETING, "{\"event\": \"x\", \"data\": {\"a\": {\"b\": 1}, \"b\": 1, \"a\": 1}}" } },
    { &later, NULL,
      { GREETING, "{\"event\": \"x\", \"data\": [{\"event\": 1, \"a\": {\"a\": 1}}, {\"a\": 1}]}" } },
    { &later, "no JSON", { GREETING, "{\"event\": \"booted\", \"\\u0065vent\": \"exited\"}" } },
    { &later, "no JSON", { GREETING, "{\"event\": \"booted\",}" } },
    { &later, "no JSON", { GREETING, "{'event': \"booted\"}" } },
    { &later, "no JSON", { GREETING, "{\"x\\u001b\": 1, \"x\\u001b\": 2}" } },
    { &later, "no JSON", { GREETING, "{\"event\": \"\x1b[31m\"}" } },
    { &later, "no JSON", { GREETING, "{\"event\": \"\xff\"}" } },
    { &later, "no JSON", { GREETING, "{\"\xf0" } },
    { &later, "no JSON", { GREETING, "{\"event\": \"\xe2\x80\xae\"}" } },
    { &later, "no JSON", { GREETING, "{\"event\": \"x\", \"data\": [[[[[[[[1]]]]]]]]}" } },
};


/*
 * Says the lines of @conversation. Each is cut off exactly behind its end, so that a sanitizer sees
 * who reads on.
 */
static int
testTalk(nitroMonitorTalk *talk,
         const Conversation *conversation,
         char **why)
{
    size_t i;

    for (i = 0; conversation->lines[i]; i++) {
        g_auto(nitroMonitorMessage) message = { 0 };
        size_t len = strlen(conversation->lines[i]);
        g_autofree char *line = g_malloc(MAX(len, 1));
        int rc;

        memcpy(line, conversation->lines[i], len);
        rc = nitroMonitorTalkHear(talk, line, len, 3, &message, why);
        if (rc < 0) {
            g_assert_null(conversation->lines[i + 1]);
            return rc;
        }
        g_assert_null(*why);
    }
    return 0;
}


static void
testConversation(const void *opaque)
{
    const Conversation *conversation = opaque;
    nitroMonitorTalk talk = { .enclave = *conversation->enclave };
    g_autofree char *why = NULL;
    int rc = testTalk(&talk, conversation, &why);
    const char *p;

    if (!conversation->why) {
        g_assert_cmpstr(why, ==, NULL);
        g_assert_cmpint(rc, ==, 0);
        return;
    }
    g_assert_cmpint(rc, ==, -1);
    g_assert_nonnull(why);
    g_test_message("%s", why);
    g_assert_nonnull(strstr(why, conversation->why));
    g_assert_true(g_utf8_validate(why, -1, NULL));
    for (p = why; *p; p++)
        g_assert_true(!g_ascii_iscntrl(*p));
}


static void
testStarted(void)
{
    const char *line = DATA_STARTED("\"cid\": 77, \"cpus\": [5, 4]");
    nitroMonitorTalk talk = { .enclave = device };
    g_auto(nitroMonitorMessage) message = { 0 };
    g_autofree char *why = NULL;

    g_assert_cmpint(nitroMonitorTalkHear(&talk, GREETING, strlen(GREETING), 0, &message, &why),
                    ==, 0);
    g_assert_cmpint(message.type, ==, NITRO_MONITOR_MESSAGE_NONE);
    g_assert_cmpint(talk.protocol, ==, 1);
    g_assert_cmpint(nitroMonitorTalkHear(&talk, line, strlen(line), 0, &message, &why), ==, 0);
    g_assert_cmpint(message.type, ==, NITRO_MONITOR_MESSAGE_EVENT);
    g_assert_cmpstr(message.event.name, ==, NITRO_EVENT_STARTED);
    g_assert_cmpint(message.event.cid, ==, 77);
    g_assert_cmpuint(message.event.ncpus, ==, 2);
    g_assert_cmpuint(message.event.cpus[0], ==, 5);
    g_assert_cmpuint(message.event.cpus[1], ==, 4);
    g_assert_cmpuint(talk.enclave.cid, ==, 77);
    g_assert_false(nitroMonitorTalkIsOver(&talk));
}


/* The call that has failed is told with its errno, which may be one of the driver's own. */
static void
testFailed(void)
{
    const char *line = DATA_FAILED("\"ioctl\": \"NE_ADD_VCPU\", \"errno\": 257");
    nitroMonitorTalk talk = { .enclave = device, .protocol = 1 };
    g_auto(nitroMonitorMessage) message = { 0 };
    g_autofree char *why = NULL;

    g_assert_cmpint(nitroMonitorTalkHear(&talk, line, strlen(line), 0, &message, &why), ==, 0);
    g_assert_cmpstr(message.event.name, ==, NITRO_EVENT_FAILED);
    g_assert_cmpstr(message.event.code, ==, "device");
    g_assert_cmpstr(message.event.ioctl, ==, "NE_ADD_VCPU");
    g_assert_cmpint(message.event.err, ==, 257);
    g_assert_true(nitroMonitorTalkIsOver(&talk));
}


/* Events of a newer helper are ignored, but not without end. */
static void
testManyEvents(void)
{
    const char *line = "{\"event\": \"news\"}";
    nitroMonitorTalk talk = { .enclave = later, .protocol = 2 };
    g_autofree char *why = NULL;
    size_t i;

    for (i = 0; i <= NITRO_PROTOCOL_EVENTS_MAX; i++) {
        g_auto(nitroMonitorMessage) message = { 0 };
        int rc = nitroMonitorTalkHear(&talk, line, strlen(line), 0, &message, &why);

        g_assert_cmpint(rc, ==, i < NITRO_PROTOCOL_EVENTS_MAX ? 0 : -1);
        g_assert_cmpint(message.type, ==, NITRO_MONITOR_MESSAGE_NONE);
    }
    g_assert_nonnull(strstr(why, "256 events"));
}


/* Lines that are too long or too deep, or have a NUL, for which the table has no room */
static void
testMuch(void)
{
    g_autoptr(GString) members = g_string_new("{");
    g_autoptr(GString) deep = g_string_new("{\"a\":");
    g_autoptr(GString) list = g_string_new("{\"event\": \"booted\", \"data\": {\"a\": [1");
    g_autoptr(GString) news = g_string_new("{\"event\": \"news\", \"text\": \"");
    const char nul[] = BOOTED "\0}";
    size_t i;
    struct {
        const char *line;
        size_t len;
    } lines[5];

    for (i = 0; i < 8000; i++)
        g_string_append_printf(members, "\"m%zu\":1,", i);
    g_string_append(members, "\"event\":\"x\"}");
    for (i = 0; i < 60000; i++)
        g_string_append_c(deep, '[');
    lines[0].line = members->str;
    lines[0].len = members->len;
    lines[1].line = deep->str;
    lines[1].len = deep->len;
    lines[2].line = nul;
    lines[2].len = sizeof(nul) - 1;
    for (i = 0; i < NITRO_VCPUS_MAX + 64; i++)
        g_string_append(list, ",1");
    g_string_append(list, "]}}");
    lines[3].line = list->str;
    lines[3].len = list->len;
    while (news->len < NITRO_PROTOCOL_EVENT_SIZE_MAX - 2)
        g_string_append_c(news, 'x');
    g_string_append(news, "\"}");
    lines[4].line = news->str;
    lines[4].len = news->len;

    for (i = 0; i < G_N_ELEMENTS(lines); i++) {
        nitroMonitorTalk talk = { .enclave = later, .protocol = 1 };
        g_auto(nitroMonitorMessage) message = { 0 };
        g_autofree char *why = NULL;

        g_assert_cmpint(nitroMonitorTalkHear(&talk, lines[i].line, lines[i].len, 0, &message, &why),
                        ==, -1);
        g_assert_cmpuint(strlen(why), <, 300);
    }
}


static void
testCleanText(void)
{
    static const struct {
        const char *text;
        const char *clean;
    } texts[] = {
        { "plain", "plain" },
        { "Gr\xc3\xb6\xc3\x9f" "e \xe2\x82\xac", "Gr\xc3\xb6\xc3\x9f" "e \xe2\x82\xac" },
        { " two\nlines\t\r\n", "two lines" },
        { "\x1b[31mred\x1b[0m", "?[31mred?[0m" },
        { "bell\a\x7f", "bell??" },
        { "\xc2\x9b" "31m", "?31m" },                      /* CSI in one character */
        { "x\xe2\x80\xaey", "x?y" },                       /* from right to left */
        { "x\xe2\x81\xa6y\xe2\x80\x8by", "x?y?y" },        /* isolate, zero width space */
        { "x\xe2\x80\xa8y", "x?y" },                       /* line separator */
        { "\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd" },        /* no UTF-8: U+FFFD */
        { "", "" },
    };
    g_autofree char *much = g_strnfill(100000, 'x');
    g_autofree char *cut = nitroMonitorCleanText(much);
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree char *clean = nitroMonitorCleanText(texts[i].text);

        g_assert_cmpstr(clean, ==, texts[i].clean);
    }
    g_assert_cmpuint(strlen(cut), ==, NITRO_MONITOR_TEXT_MAX + 3);
}


/* Data of replies; @pcr stands for 96 digits, @PCR for such that are no lower-case ones */
static void
testReplies(void)
{
    static const struct {
        const char *data;
        bool measurements;
        bool good;
    } replies[] = {
        { "{\"phase\": \"image\"}", false, true },
        { "{\"phase\": \"running\", \"cid\": 16, \"cpus\": [1, 2], \"accel\": \"kvm\"}",
          false, true },
        { "{}", false, false },
        { "{\"phase\": \"\\u001b\"}", false, false },
        { "{\"phase\": 1}", false, false },
        { "{\"phase\": \"running\", \"cid\": 4294967295}", false, false },
        { "{\"phase\": \"running\", \"cid\": 17}", false, false },
        { "{\"phase\": \"running\", \"cpus\": [1, 2, 3]}", false, false },
        { "{\"phase\": \"running\", \"unprotected\": [\"landlock\"]}", false, true },
        { "{\"phase\": \"running\", \"unprotected\": [\"a b\"]}", false, false },
        { "{\"phase\": \"running\", \"unprotected\": 1}", false, false },
        { "{\"hash\": \"sha384\", \"pcr0\": \"@pcr\", \"pcr8\": \"@pcr\", \"pcr9\": 1}",
          true, true },
        { "{\"hash\": \"sha384\", \"pcr1\": \"@pcr\"}", true, false },
        { "{\"hash\": \"sha1\", \"pcr0\": \"@pcr\"}", true, false },
        { "{\"pcr0\": \"@pcr\"}", true, false },
        { "{\"hash\": \"sha384\", \"pcr0\": \"@pcr0\"}", true, false },
        { "{\"hash\": \"sha384\", \"pcr0\": \"@pcr\", \"pcr1\": \"abc\"}", true, false },
        { "{\"hash\": \"sha384\", \"pcr0\": \"@pcr\", \"pcr2\": null}", true, false },
        { "{\"hash\": \"sha384\", \"pcr0\": \"@PCR\"}", true, false },
    };
    g_autofree char *pcr = g_strnfill(96, 'a');
    g_autofree char *capital = g_strnfill(96, 'A');
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(replies); i++) {
        g_autofree char *lower = virStringReplace(replies[i].data, "@pcr", pcr);
        g_autofree char *text = virStringReplace(lower, "@PCR", capital);
        g_autoptr(virJSONValue) data = NULL;
        g_auto(nitroMonitorStatus) status = { 0 };
        g_auto(nitroMonitorMeasurements) measurements = { 0 };
        g_autofree char *why = NULL;
        int rc;

        data = virJSONValueFromString(text);
        if (replies[i].measurements)
            rc = nitroMonitorMeasurementsRead(&measurements, data, &why);
        else
            rc = nitroMonitorStatusRead(&status, &emulated, data, &why);
        g_test_message("%s: %s", replies[i].data, NULLSTR(why));
        g_assert_cmpint(rc, ==, replies[i].good ? 0 : -1);
        g_assert_true(!why == replies[i].good);
    }
}


int
main(int argc,
     char **argv)
{
    size_t i;

    if (virErrorInitialize() < 0)
        return 1;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < G_N_ELEMENTS(conversations); i++) {
        g_autofree char *name = g_strdup_printf("/monitor-message/conversation/%zu", i);

        g_test_add_data_func(name, &conversations[i], testConversation);
    }
    g_test_add_func("/monitor-message/started", testStarted);
    g_test_add_func("/monitor-message/failed", testFailed);
    g_test_add_func("/monitor-message/many-events", testManyEvents);
    g_test_add_func("/monitor-message/much", testMuch);
    g_test_add_func("/monitor-message/clean-text", testCleanText);
    g_test_add_func("/monitor-message/replies", testReplies);
    return g_test_run();
}
