/*
 * nitro_json.c: whether a text is a JSON object, the same with each library of libvirt's
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: text -> yajl's parser -> each name, string and number, looked at as it comes -> what is
 * wrong, and where.
 *
 * libvirt's own parser, which then makes values of the text, repeats the whole text in its
 * error, and its strings end at a NUL. With yajl, which libvirt 9.0 uses, it refuses an object
 * that has a member twice, and keeps a number as it is written. With json-c, which 11.3 uses, the
 * last of these members counts, and an integer that has more than 64 bits becomes the nearest
 * that has not, or, from json-c 0.18 on, is no JSON.
 */

#include <config.h>

#include <yajl/yajl_parse.h>

#include "internal.h"
#include "nitro_json.h"
#include "virstring.h"

/* As UTF-8 in the first bytes of a file */
#define JSON_BYTE_ORDER_MARK "\xef\xbb\xbf"

/* Length of \uXXXX, in bytes */
#define JSON_ESCAPE_LEN 6

typedef struct {
    bool plain;
    unsigned int depth; /* of objects and arrays around the next value */
    GSList *objects;    /* around it, from the inside out: sets of the names of their members */
    char *member;       /* the last of the outermost object */
    char *refusal;      /* why the parser was stopped, translated */
} nitroJson;


/* Each of yajl's callbacks returns 0 to stop the parser. */
static int
nitroJsonRefuse(nitroJson *json,
                char *refusal)
{
    g_free(json->refusal);
    json->refusal = refusal;
    return 0;
}


static int
nitroJsonCheckValue(nitroJson *json)
{
    if (json->depth > 0)
        return 1;
    return nitroJsonRefuse(json, g_strdup(_("it is not a JSON object")));
}


/* The first control character in the UTF-8 text of @len bytes; -1: there is none. */
static long
nitroJsonFindControl(const char *text,
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
nitroJsonNull(void *opaque)
{
    return nitroJsonCheckValue(opaque);
}


static int
nitroJsonBoolean(void *opaque,
                 int value G_GNUC_UNUSED)
{
    return nitroJsonCheckValue(opaque);
}


static int
nitroJsonNumber(void *opaque,
                const char *text,
                size_t len)
{
    nitroJson *json = opaque;
    g_autofree char *number = g_strndup(text, len);
    unsigned long long value;
    long long negative;

    if (!nitroJsonCheckValue(json))
        return 0;
    if (strpbrk(number, ".eE"))
        return 1;

    if (*number != '-' && virStrToLong_ullp(number, NULL, 10, &value) < 0)
        return nitroJsonRefuse(json,
                               g_strdup_printf(_("the number %s is above the highest that is "
                                                 "supported, %llu"),
                                               number, ULLONG_MAX));
    if (*number == '-' && virStrToLong_ll(number, NULL, 10, &negative) < 0)
        return nitroJsonRefuse(json,
                               g_strdup_printf(_("the number %s is below the lowest that is "
                                                 "supported, %lld"),
                                               number, LLONG_MIN));
    return 1;
}


static int
nitroJsonString(void *opaque,
                const unsigned char *text,
                size_t len)
{
    nitroJson *json = opaque;
    long control;

    if (!nitroJsonCheckValue(json))
        return 0;

    if (json->plain && (control = nitroJsonFindControl((const char *)text, len)) >= 0)
        return nitroJsonRefuse(json,
                               g_strdup_printf(_("the value of '%s' has the control "
                                                 "character U+%04lX"),
                                               json->member, control));
    return 1;
}


static int
nitroJsonStartMap(void *opaque)
{
    nitroJson *json = opaque;
    GHashTable *members = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    json->objects = g_slist_prepend(json->objects, members);
    json->depth++;
    return 1;
}


static int
nitroJsonMember(void *opaque,
                const unsigned char *text,
                size_t len)
{
    nitroJson *json = opaque;
    g_autofree char *member = g_strndup((const char *)text, len);
    long control = nitroJsonFindControl((const char *)text, len);

    if (control >= 0)
        return nitroJsonRefuse(json,
                               g_strdup_printf(_("the name of a member has the control "
                                                 "character U+%04lX"), control));
    if (!g_hash_table_add(json->objects->data, g_strdup(member)))
        return nitroJsonRefuse(json,
                               g_strdup_printf(_("the member '%s' is there a second time"),
                                               member));
    if (json->depth == 1) {
        g_free(json->member);
        json->member = g_steal_pointer(&member);
    }
    return 1;
}


static int
nitroJsonEndMap(void *opaque)
{
    nitroJson *json = opaque;

    g_hash_table_unref(json->objects->data);
    json->objects = g_slist_delete_link(json->objects, json->objects);
    json->depth--;
    return 1;
}


static int
nitroJsonStartArray(void *opaque)
{
    nitroJson *json = opaque;

    if (!nitroJsonCheckValue(json))
        return 0;
    json->depth++;
    return 1;
}


static int
nitroJsonEndArray(void *opaque)
{
    nitroJson *json = opaque;

    json->depth--;
    return 1;
}


static const yajl_callbacks jsonCallbacks = {
    .yajl_null = nitroJsonNull,
    .yajl_boolean = nitroJsonBoolean,
    .yajl_number = nitroJsonNumber,
    .yajl_string = nitroJsonString,
    .yajl_start_map = nitroJsonStartMap,
    .yajl_map_key = nitroJsonMember,
    .yajl_end_map = nitroJsonEndMap,
    .yajl_start_array = nitroJsonStartArray,
    .yajl_end_array = nitroJsonEndArray,
};


static unsigned int
nitroJsonEscape(const char *text)
{
    g_autofree char *digits = NULL;

    if (text[0] != '\\' || text[1] != 'u')
        return 0;
    digits = g_strndup(text + 2, 4);
    return g_ascii_strtoull(digits, NULL, 16);
}


/*
 * Whether each \uXXXX in @text, which yajl has read, is a character: of half of a
 * surrogate pair yajl makes a question mark.
 */
static int
nitroJsonCheckEscapes(nitroJson *json,
                      const char *text,
                      size_t *offset)
{
    const char *pos = text;

    while ((pos = strchr(pos, '\\'))) {
        unsigned int unit = nitroJsonEscape(pos);

        if (unit < 0xd800 || unit > 0xdfff) {
            pos += 2;
            continue;
        }
        if (unit < 0xdc00) {
            unsigned int next = nitroJsonEscape(pos + JSON_ESCAPE_LEN);

            if (next >= 0xdc00 && next <= 0xdfff) {
                pos += 2 * JSON_ESCAPE_LEN;
                continue;
            }
        }

        *offset = pos - text + JSON_ESCAPE_LEN;
        json->refusal = g_strdup_printf(_("'\\u%04x' is half of a character"), unit);
        return -1;
    }
    return 0;
}


/* Feeds the parser; what is wrong goes to @json, and how far it came to @offset. */
static int
nitroJsonParse(nitroJson *json,
               const char *text,
               size_t *offset)
{
    yajl_handle parser = yajl_alloc(&jsonCallbacks, NULL, json);
    size_t len = strlen(text);
    yajl_status status = yajl_parse(parser, (const unsigned char *)text, len);

    *offset = yajl_get_bytes_consumed(parser);
    if (status == yajl_status_ok) {
        status = yajl_complete_parse(parser);
        *offset = len;
    }

    if (status != yajl_status_ok && !json->refusal) {
        unsigned char *detail = yajl_get_error(parser, 0, NULL, 0);

        nitroJsonRefuse(json, g_strdup(g_strchomp((char *)detail)));
        yajl_free_error(parser, detail);
    }

    yajl_free(parser);
    return json->refusal ? -1 : 0;
}


int
nitroJsonCheck(const char *text,
               bool plain,
               size_t *offset,
               char **why)
{
    nitroJson json = { .plain = plain };
    int ret;

    *offset = 0;
    if (STRPREFIX(text, JSON_BYTE_ORDER_MARK)) {
        *why = g_strdup(_("there is a byte order mark, which JSON must not have"));
        return -1;
    }

    ret = nitroJsonParse(&json, text, offset);
    if (ret == 0 && plain)
        ret = nitroJsonCheckEscapes(&json, text, offset);
    if (ret < 0)
        *why = g_steal_pointer(&json.refusal);

    g_slist_free_full(json.objects, (GDestroyNotify)g_hash_table_unref);
    g_free(json.member);
    return ret;
}


/* Appends the character @c, which is not ASCII, to @escaped: as \uXXXX, in UTF-16. */
static void
nitroJsonAppendEscape(GString *escaped,
                      gunichar c)
{
    if (c > 0xffff)
        g_string_append_printf(escaped, "\\u%04x\\u%04x", 0xd7c0 + (c >> 10), 0xdc00 + (c & 0x3ff));
    else
        g_string_append_printf(escaped, "\\u%04x", c);
}


virJSONValue *
nitroJsonFromString(const char *text)
{
    g_autoptr(GString) escaped = NULL;
    bool literal = false; /* a backslash is before this character */
    const char *pos;

    /* What is no UTF-8 is refused there. */
    if (g_str_is_ascii(text) || !g_utf8_validate(text, -1, NULL))
        return virJSONValueFromString(text);

    escaped = g_string_new(NULL);
    for (pos = text; *pos; pos = g_utf8_next_char(pos)) {
        gunichar c = g_utf8_get_char(pos);

        if (c < 0x80 || literal)
            g_string_append_unichar(escaped, c);
        else
            nitroJsonAppendEscape(escaped, c);
        literal = c == '\\' && !literal;
    }
    return virJSONValueFromString(escaped->str);
}
