/*
 * nitro_native_json.c: whether a text is JSON that a definition can be made of
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: text -> yajl's parser -> each name and string, looked at as it comes -> one sentence
 * with line and column.
 *
 * libvirt's own parser, which then makes values of the text, repeats the whole text in its
 * error, and its strings end at a NUL. Whether it takes an object with the same member twice
 * depends on the library that libvirt was built with.
 */

#include <config.h>

#include <yajl/yajl_parse.h>

#include "nitro_json_position.h"
#include "nitro_native.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

/* As UTF-8 in the first bytes of a file */
#define JSON_BYTE_ORDER_MARK "\xef\xbb\xbf"

/* Length of \uXXXX, in bytes */
#define JSON_ESCAPE_LEN 6

typedef struct {
    unsigned int depth;  /* of objects and arrays around the next value */
    GHashTable *members; /* names in the outermost object */
    char *member;        /* the last of them */
    char *refusal;       /* why the parser was stopped, translated */
} nitroNativeJson;


/* Each of yajl's callbacks returns 0 to stop the parser. */
static int
nitroNativeJsonRefuse(nitroNativeJson *json,
                      char *refusal)
{
    g_free(json->refusal);
    json->refusal = refusal;
    return 0;
}


static int
nitroNativeJsonCheckValue(nitroNativeJson *json)
{
    if (json->depth > 0)
        return 1;
    return nitroNativeJsonRefuse(json, g_strdup(_("it is not a JSON object")));
}


/* The first control character in the UTF-8 text of @len bytes; -1: there is none. */
static long
nitroNativeJsonFindControl(const char *text,
                           size_t len)
{
    const char *pos;

    for (pos = text; pos < text + len; pos = g_utf8_next_char(pos)) {
        gunichar c = g_utf8_get_char(pos);

        if (g_unichar_iscntrl(c))
            return c;
    }
    return -1;
}


static int
nitroNativeJsonNull(void *opaque)
{
    return nitroNativeJsonCheckValue(opaque);
}


static int
nitroNativeJsonBoolean(void *opaque,
                       int value G_GNUC_UNUSED)
{
    return nitroNativeJsonCheckValue(opaque);
}


static int
nitroNativeJsonNumber(void *opaque,
                      const char *text G_GNUC_UNUSED,
                      size_t len G_GNUC_UNUSED)
{
    return nitroNativeJsonCheckValue(opaque);
}


static int
nitroNativeJsonString(void *opaque,
                      const unsigned char *text,
                      size_t len)
{
    nitroNativeJson *json = opaque;
    long control;

    if (!nitroNativeJsonCheckValue(json))
        return 0;

    if ((control = nitroNativeJsonFindControl((const char *)text, len)) >= 0)
        return nitroNativeJsonRefuse(json,
                                     g_strdup_printf(_("the value of '%s' has the control "
                                                       "character U+%04lX"),
                                                     json->member, control));
    return 1;
}


static int
nitroNativeJsonStartMap(void *opaque)
{
    nitroNativeJson *json = opaque;

    json->depth++;
    return 1;
}


static int
nitroNativeJsonMember(void *opaque,
                      const unsigned char *text,
                      size_t len)
{
    nitroNativeJson *json = opaque;
    long control = nitroNativeJsonFindControl((const char *)text, len);

    if (control >= 0)
        return nitroNativeJsonRefuse(json,
                                     g_strdup_printf(_("the name of a member has the control "
                                                       "character U+%04lX"), control));
    if (json->depth > 1)
        return 1;

    g_free(json->member);
    json->member = g_strndup((const char *)text, len);
    if (!g_hash_table_add(json->members, g_strdup(json->member)))
        return nitroNativeJsonRefuse(json,
                                     g_strdup_printf(_("the member '%s' is there a second time"),
                                                     json->member));
    return 1;
}


static int
nitroNativeJsonStartArray(void *opaque)
{
    nitroNativeJson *json = opaque;

    if (!nitroNativeJsonCheckValue(json))
        return 0;
    json->depth++;
    return 1;
}


static int
nitroNativeJsonEnd(void *opaque)
{
    nitroNativeJson *json = opaque;

    json->depth--;
    return 1;
}


static const yajl_callbacks jsonCallbacks = {
    .yajl_null = nitroNativeJsonNull,
    .yajl_boolean = nitroNativeJsonBoolean,
    .yajl_number = nitroNativeJsonNumber,
    .yajl_string = nitroNativeJsonString,
    .yajl_start_map = nitroNativeJsonStartMap,
    .yajl_map_key = nitroNativeJsonMember,
    .yajl_end_map = nitroNativeJsonEnd,
    .yajl_start_array = nitroNativeJsonStartArray,
    .yajl_end_array = nitroNativeJsonEnd,
};


/* Reports @reason, with the line and column in which @config was read up to @offset. */
static void
nitroNativeJsonReport(const char *config,
                      size_t offset,
                      const char *reason)
{
    unsigned int line;
    unsigned int column;

    nitroJsonPosition(config, offset, &line, &column);
    virReportError(VIR_ERR_INVALID_ARG,
                   _("the description for format 'nitro-cli' is wrong in line %u, column %u: %s"),
                   line, column, reason);
}


static unsigned int
nitroNativeJsonEscape(const char *text)
{
    g_autofree char *digits = NULL;

    if (text[0] != '\\' || text[1] != 'u')
        return 0;
    digits = g_strndup(text + 2, 4);
    return g_ascii_strtoull(digits, NULL, 16);
}


/*
 * Whether each \uXXXX in @config, which yajl has read, is a character: of half of a
 * surrogate pair yajl makes a question mark.
 */
static int
nitroNativeJsonCheckEscapes(const char *config)
{
    const char *pos = config;

    while ((pos = strchr(pos, '\\'))) {
        unsigned int unit = nitroNativeJsonEscape(pos);
        g_autofree char *reason = NULL;

        if (unit < 0xd800 || unit > 0xdfff) {
            pos += 2;
            continue;
        }
        if (unit < 0xdc00) {
            unsigned int next = nitroNativeJsonEscape(pos + JSON_ESCAPE_LEN);

            if (next >= 0xdc00 && next <= 0xdfff) {
                pos += 2 * JSON_ESCAPE_LEN;
                continue;
            }
        }

        reason = g_strdup_printf(_("'\\u%04x' is half of a character"), unit);
        nitroNativeJsonReport(config, pos - config + JSON_ESCAPE_LEN, reason);
        return -1;
    }
    return 0;
}


/* Feeds the parser; what is wrong goes to @json, and how far it came to @offset. */
static int
nitroNativeJsonParse(nitroNativeJson *json,
                     const char *config,
                     size_t *offset)
{
    yajl_handle parser = yajl_alloc(&jsonCallbacks, NULL, json);
    size_t len = strlen(config);
    yajl_status status = yajl_parse(parser, (const unsigned char *)config, len);

    *offset = yajl_get_bytes_consumed(parser);
    if (status == yajl_status_ok) {
        status = yajl_complete_parse(parser);
        *offset = len;
    }

    if (status != yajl_status_ok && !json->refusal) {
        unsigned char *detail = yajl_get_error(parser, 0, NULL, 0);

        nitroNativeJsonRefuse(json, g_strdup(g_strchomp((char *)detail)));
        yajl_free_error(parser, detail);
    }

    yajl_free(parser);
    return json->refusal ? -1 : 0;
}


int
nitroNativeCheckJson(const char *config)
{
    nitroNativeJson json = { 0 };
    size_t offset = 0;
    int ret;

    if (STRPREFIX(config, JSON_BYTE_ORDER_MARK)) {
        nitroNativeJsonReport(config, 0,
                              _("there is a byte order mark, which JSON must not have"));
        return -1;
    }

    json.members = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    ret = nitroNativeJsonParse(&json, config, &offset);
    if (ret < 0)
        nitroNativeJsonReport(config, offset, json.refusal);
    g_hash_table_unref(json.members);
    g_free(json.member);
    g_free(json.refusal);

    return ret < 0 ? -1 : nitroNativeJsonCheckEscapes(config);
}
