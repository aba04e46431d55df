/*
 * nitroservicesmessagetest.c: tests of src/nitro/nitro_services_message.c
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Conversations, a line each for what a services process says, of which all but the last one are good.
 */

#include <config.h>

#include "nitro_services_message.h"
#include "services_protocol.h"
#include "virerror.h"
#include "virstring.h"

#define GREETING "{\"libvirt-nitro-services\": {\"protocol\": 1, \"version\": \"0.1.0\"}}"
#define EVENT(name, data) "{\"event\": \"" name "\", \"data\": {" data "}}"

static const nitroServiceDef services[] = {
    { .type = NITRO_SERVICE_OUTBOUND, .port = 8443 },
    { .type = NITRO_SERVICE_HEALTH, .port = 5002, .interval = 10, .failures = 3 },
    { .type = NITRO_SERVICE_EXIT, .port = 9001 },
};

/* Their reply, with @more at the end of each */
#define STATUS(outbound, health, exit) \
    "{\"link\": true, \"services\": [" \
    "{\"type\": \"outbound\", \"port\": 8443" outbound "}, " \
    "{\"type\": \"health\", \"port\": 5002" health "}, " \
    "{\"type\": \"exit\", \"port\": 9001" exit "}]}"

typedef struct {
    const char *why; /* a part of it; NULL: all is well */
    const char *lines[8];
} Conversation;

static const Conversation conversations[] = {
    { NULL, { GREETING, EVENT("link-lost", ""), EVENT("link-lost", "\"new\": [[{}]]") } },
    { NULL, { GREETING, EVENT("health", "\"port\": 5002, \"healthy\": false"),
              EVENT("health", "\"port\": 5002, \"healthy\": true") } },
    { NULL, { GREETING, EVENT("exit", "\"port\": 9001, \"code\": 255") } },
    { NULL, { GREETING, "{\"event\": \"of-tomorrow\"}", "{\"return\": {}, \"id\": 1}",
              "{\"error\": {\"code\": \"bad-request\", \"text\": \"no\"}, \"id\": 3}" } },

    { "greeting", { EVENT("link-lost", "") } },
    { "greeting", { "{\"libvirt-nitro\": {\"protocol\": 1}}" } },
    { "'protocol'", { "{\"libvirt-nitro-services\": {\"protocol\": 0}}" } },
    { "versions 2 to 5", { "{\"libvirt-nitro-services\": {\"protocol\": 5, \"oldest\": 2}}" } },
    { "neither an event nor a reply", { GREETING, GREETING } },
    { "no JSON object", { GREETING, "{" } },
    { "no JSON object", { GREETING, "{\"event\": \"health\", \"event\": \"health\"}" } },

    { "no 'data'", { GREETING, "{\"event\": \"health\"}" } },
    { "no 'data'", { GREETING, "{\"event\": \"exit\", \"data\": []}" } },
    { "names no port", { GREETING, EVENT("health", "\"healthy\": false") } },
    { "names no port", { GREETING, EVENT("health", "\"port\": 9001, \"healthy\": false") } },
    { "'port'", { GREETING, EVENT("health", "\"port\": -1, \"healthy\": false") } },
    { "'port'", { GREETING, EVENT("health", "\"port\": 4294967296, \"healthy\": false") } },
    { "does not say all", { GREETING, EVENT("health", "\"port\": 5002") } },
    { "'healthy'", { GREETING, EVENT("health", "\"port\": 5002, \"healthy\": 1") } },
    { "names no port", { GREETING, EVENT("exit", "\"port\": 5002, \"code\": 0") } },
    { "does not say all", { GREETING, EVENT("exit", "\"port\": 9001") } },
    { "'code'", { GREETING, EVENT("exit", "\"port\": 9001, \"code\": 256") } },
    { "'code'", { GREETING, EVENT("exit", "\"port\": 9001, \"code\": -1") } },
    { "'code'", { GREETING, EVENT("exit", "\"port\": 9001, \"code\": \"1\"") } },
    { "twice", { GREETING, EVENT("exit", "\"port\": 9001, \"code\": 0"),
                 EVENT("exit", "\"port\": 9001, \"code\": 0") } },

    { "a reply to no command", { GREETING, "{\"return\": {}, \"id\": 4}" } },
    { "a reply to no command", { GREETING, "{\"return\": {}, \"id\": 2}",
                                 "{\"return\": {}, \"id\": 1}" } },
    { "neither an event nor a reply", { GREETING, "{\"return\": {}, \"error\": {}, \"id\": 1}" } },
};

#define LAST_COMMAND 3


static void
testConversation(const void *opaque)
{
    const Conversation *conversation = opaque;
    nitroServicesTalk talk;
    size_t i;

    nitroServicesTalkInit(&talk, services, G_N_ELEMENTS(services));
    for (i = 0; conversation->lines[i]; i++) {
        const char *line = conversation->lines[i];
        bool last = i + 1 == G_N_ELEMENTS(conversation->lines) || !conversation->lines[i + 1];
        g_auto(nitroServicesMessage) message = { 0 };
        g_autofree char *why = NULL;
        int rc = nitroServicesTalkHear(&talk, line, strlen(line), 1, LAST_COMMAND, &message, &why);

        g_test_message("%s: %s", line, NULLSTR(why));
        g_assert_cmpint(rc, ==, last && conversation->why ? -1 : 0);
        if (rc < 0)
            g_assert_nonnull(strstr(why, conversation->why));
    }
    nitroServicesTalkClear(&talk);
}


static void
testMessages(void)
{
    const char *lines[] = {
        GREETING,
        EVENT("health", "\"port\": 5002, \"healthy\": true"),
        EVENT("exit", "\"port\": 9001, \"code\": 7"),
        "{\"return\": {\"x\": 1}, \"id\": 2}",
    };
    nitroServicesMessage message[G_N_ELEMENTS(lines)] = { { 0 } };
    nitroServicesTalk talk;
    size_t i;

    nitroServicesTalkInit(&talk, services, G_N_ELEMENTS(services));
    for (i = 0; i < G_N_ELEMENTS(lines); i++) {
        g_autofree char *why = NULL;

        g_assert_cmpint(nitroServicesTalkHear(&talk, lines[i], strlen(lines[i]), 1, LAST_COMMAND,
                                              &message[i], &why), ==, 0);
    }
    g_assert_cmpint(message[0].type, ==, NITRO_SERVICES_TOLD_NOTHING);
    g_assert_cmpint(message[1].type, ==, NITRO_SERVICES_TOLD_HEALTH);
    g_assert_true(message[1].healthy);
    g_assert_cmpuint(message[1].port, ==, 5002);
    g_assert_cmpint(message[2].type, ==, NITRO_SERVICES_TOLD_EXIT);
    g_assert_cmpint(message[2].code, ==, 7);
    g_assert_cmpint(message[3].type, ==, NITRO_SERVICES_TOLD_REPLY);
    g_assert_cmpint(message[3].id, ==, 2);
    g_assert_nonnull(virJSONValueObjectGetObject(message[3].reply, "return"));
    for (i = 0; i < G_N_ELEMENTS(lines); i++)
        nitroServicesMessageClear(&message[i]);
    nitroServicesTalkClear(&talk);
}


/* A process that talks without end is not listened to; one that talks for long is. */
static void
testManyEvents(void)
{
    const char *line = EVENT("link-lost", "");
    nitroServicesTalk talk;
    gint64 now = 1;
    size_t i;
    int rc = 0;

    nitroServicesTalkInit(&talk, services, G_N_ELEMENTS(services));
    for (i = 0; i < 3 * NITRO_SERVICES_EVENTS_MAX; i++) {
        g_auto(nitroServicesMessage) message = { 0 };
        g_autofree char *why = NULL;

        if (i == 0)
            g_assert_cmpint(nitroServicesTalkHear(&talk, GREETING, strlen(GREETING), now, 0,
                                                  &message, &why), ==, 0);
        now += NITRO_SERVICES_EVENTS_TIME / NITRO_SERVICES_EVENTS_MAX + 1;
        g_assert_cmpint(nitroServicesTalkHear(&talk, line, strlen(line), now, 0, &message, &why),
                        ==, 0);
    }

    now += NITRO_SERVICES_EVENTS_TIME;
    for (i = 0; i <= NITRO_SERVICES_EVENTS_MAX; i++) {
        g_auto(nitroServicesMessage) message = { 0 };
        g_autofree char *why = NULL;

        g_assert_cmpint(rc, ==, 0);
        rc = nitroServicesTalkHear(&talk, line, strlen(line), now, 0, &message, &why);
    }
    g_assert_cmpint(rc, ==, -1);
    nitroServicesTalkClear(&talk);
}


/* The answer of a process with as many services as there can be is no more than may be said. */
static void
testLargeStatus(void)
{
    g_autofree nitroServiceDef *many = g_new0(nitroServiceDef, NITRO_SERVICES_MAX);
    g_autoptr(GString) line = g_string_new("{\"return\": {\"link\": false, \"services\": [");
    g_auto(nitroServicesMessage) greeting = { 0 };
    g_auto(nitroServicesMessage) message = { 0 };
    g_auto(nitroServicesStatus) status = { 0 };
    g_autofree char *why = NULL;
    nitroServicesTalk talk;
    size_t i;

    for (i = 0; i < NITRO_SERVICES_MAX; i++) {
        many[i].type = NITRO_SERVICE_INBOUND;
        many[i].port = UINT_MAX - 1 - i;
        g_string_append_printf(line,
                               "%s{\"type\": \"inbound\", \"port\": %u, \"current\": 1, "
                               "\"total\": 9223372036854775807, \"received\": 9223372036854775807, "
                               "\"sent\": 9223372036854775807, \"refused\": 9223372036854775807, "
                               "\"failed\": 9223372036854775807, \"lost\": 9223372036854775807}",
                               i > 0 ? ", " : "", many[i].port);
    }
    g_string_append(line, "]}, \"id\": 1}");

    nitroServicesTalkInit(&talk, many, NITRO_SERVICES_MAX);
    g_assert_cmpint(nitroServicesTalkHear(&talk, GREETING, strlen(GREETING), 1, 0, &greeting, &why),
                    ==, 0);
    g_assert_cmpint(nitroServicesTalkHear(&talk, line->str, line->len, 1, 1, &message, &why), ==, 0);
    g_assert_cmpint(nitroServicesStatusRead(&status, &talk,
                                            virJSONValueObjectGetObject(message.reply, "return"),
                                            &why), ==, 0);
    g_assert_cmpuint(status.n, ==, NITRO_SERVICES_MAX);
    g_assert_cmpuint(status.services[3].lost, ==, LLONG_MAX);
    g_assert_cmpuint(status.services[3].port, ==, UINT_MAX - 4);
    nitroServicesTalkClear(&talk);
}


static void
testStatus(void)
{
    static const struct {
        const char *data;
        const char *why; /* a part of it; NULL: it is good */
    } replies[] = {
        { STATUS("", "", ""), NULL },
        { STATUS(", \"current\": 2, \"total\": 2, \"new\": {}", ", \"healthy\": true",
                 ", \"code\": 3"), NULL },
        { STATUS(", \"current\": 3, \"total\": 2", "", ""), "more connections now" },
        { STATUS(", \"total\": -1", "", ""), "'total'" },
        { STATUS(", \"sent\": 9223372036854775808", "", ""), "'sent'" },
        { STATUS(", \"received\": 1.5", "", ""), "'received'" },
        { STATUS(", \"lost\": \"1\"", "", ""), "'lost'" },
        { STATUS("", ", \"healthy\": 1", ""), "'healthy'" },
        { STATUS("", "", ", \"code\": 256"), "'code'" },
        { "{\"link\": 1, \"services\": []}", "'link'" },
        { "{\"link\": true}", "'services'" },
        { "{\"link\": true, \"services\": []}", "'services'" },
        { "{\"link\": true, \"services\": {}}", "'services'" },
        { "{\"link\": true, \"services\": [1, 2, 3]}", "element 0" },
        { "{\"link\": true, \"services\": [{}, {}, {}]}", "service 8443" },
        { "{\"link\": true, \"services\": [{\"type\": \"outbound\", \"port\": 8444}, {}, {}]}",
          "service 8443" },
        { "{\"link\": true, \"services\": [{\"type\": \"inbound\", \"port\": 8443}, {}, {}]}",
          "service 8443" },
    };
    nitroServicesTalk talk;
    size_t i;

    nitroServicesTalkInit(&talk, services, G_N_ELEMENTS(services));
    for (i = 0; i < G_N_ELEMENTS(replies); i++) {
        g_autoptr(virJSONValue) data = virJSONValueFromString(replies[i].data);
        g_auto(nitroServicesStatus) status = { 0 };
        g_autofree char *why = NULL;
        int rc = nitroServicesStatusRead(&status, &talk, data, &why);

        g_test_message("%s: %s", replies[i].data, NULLSTR(why));
        g_assert_cmpint(rc, ==, replies[i].why ? -1 : 0);
        if (replies[i].why)
            g_assert_nonnull(strstr(why, replies[i].why));
        if (i == 1) {
            g_assert_true(status.link);
            g_assert_cmpuint(status.services[0].current, ==, 2);
            g_assert_cmpint(status.services[0].healthy, ==, -1);
            g_assert_cmpint(status.services[1].healthy, ==, 1);
            g_assert_cmpint(status.services[1].code, ==, -1);
            g_assert_cmpint(status.services[2].code, ==, 3);
        }
    }
    nitroServicesTalkClear(&talk);
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
        g_autofree char *name = g_strdup_printf("/services-message/conversation/%zu", i);

        g_test_add_data_func(name, &conversations[i], testConversation);
    }
    g_test_add_func("/services-message/messages", testMessages);
    g_test_add_func("/services-message/many-events", testManyEvents);
    g_test_add_func("/services-message/large-status", testLargeStatus);
    g_test_add_func("/services-message/status", testStatus);
    return g_test_run();
}
