/*
 * json.c: one JSON object a line, for the control protocol and QMP
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow in: line -> yajl's callbacks -> JsonParser, which keeps the path to where it
 * stands -> table path to value. Flow out: jsonWriterNew() ... jsonWriterEnd().
 */

#include "common/json.h"

#include <string.h>
#include <yajl/yajl_gen.h>
#include <yajl/yajl_parse.h>

#include "common/log.h"

#define JSON_DEPTH_MAX 32
#define JSON_PATH_MAX 128 /* bytes */

typedef struct {
    JsonType type;
    char *string;
    int64_t integer;
    GArray *integers; /* of int64_t, of an array of nothing else; or NULL */
} JsonValue;

typedef struct {
    JsonObject *object;
    unsigned int depth;      /* of objects, with those in arrays */
    unsigned int arrays;     /* that we are inside of */
    GString *path;           /* of the object we are in, with a dot behind it, or empty */
    size_t ends[JSON_DEPTH_MAX]; /* length of @path outside of each open object */
    char *key;               /* of the value to come; NULL: it is skipped */
    JsonValue *array;        /* that we are inside of; NULL: it is skipped */
} JsonParser;

static void
jsonValueFree(void *opaque)
{
    JsonValue *value = opaque;

    g_free(value->string);
    if (value->integers)
        g_array_unref(value->integers);
    g_free(value);
}

/* An element of the array that we are inside of, or of one within it */
static void
jsonStoreElement(JsonParser *parser, JsonType type, int64_t integer)
{
    JsonValue *array = parser->array;

    if (!array || !array->integers)
        return;
    if (type == JSON_INTEGER && array->integers->len < JSON_INTEGERS_MAX)
        g_array_append_val(array->integers, integer);
    else
        g_clear_pointer(&array->integers, g_array_unref);
}

/* Only the outermost value may come without a key, and it must be an object. */
static int
jsonStore(JsonParser *parser, JsonType type, const char *string, int64_t integer)
{
    JsonValue *value;

    if (parser->depth == 0)
        return 0;
    if (parser->arrays > 0) {
        jsonStoreElement(parser, type, integer);
        return 1;
    }
    parser->array = NULL;
    /* Nothing that we ask for has a path as long; many such would take much memory. */
    if (!parser->key || parser->path->len + strlen(parser->key) > JSON_PATH_MAX)
        return 1;

    value = g_new0(JsonValue, 1);
    value->type = type;
    value->string = g_strdup(string);
    value->integer = integer;
    if (type == JSON_ARRAY) {
        value->integers = g_array_new(FALSE, FALSE, sizeof(integer));
        parser->array = value;
    }
    g_hash_table_insert(parser->object, g_strconcat(parser->path->str, parser->key, NULL), value);
    return 1;
}

static int
jsonOnOther(void *opaque)
{
    return jsonStore(opaque, JSON_OTHER, NULL, 0);
}

static int
jsonOnBoolean(void *opaque, int boolean G_GNUC_UNUSED)
{
    return jsonStore(opaque, JSON_OTHER, NULL, 0);
}

static int
jsonOnInteger(void *opaque, long long integer)
{
    return jsonStore(opaque, JSON_INTEGER, NULL, integer);
}

static int
jsonOnDouble(void *opaque, double number G_GNUC_UNUSED)
{
    return jsonStore(opaque, JSON_OTHER, NULL, 0);
}

static int
jsonOnString(void *opaque, const unsigned char *string, size_t len)
{
    g_autofree char *copy = g_strndup((const char *)string, len);

    /* A NUL inside would make the string another one. */
    if (memchr(string, '\0', len))
        return jsonStore(opaque, JSON_OTHER, NULL, 0);
    return jsonStore(opaque, JSON_STRING, copy, 0);
}

static int
jsonOnKey(void *opaque, const unsigned char *key, size_t len)
{
    JsonParser *parser = opaque;

    g_clear_pointer(&parser->key, g_free);
    if (parser->arrays == 0 && !memchr(key, '.', len) && !memchr(key, '\0', len))
        parser->key = g_strndup((const char *)key, len);
    return 1;
}

static int
jsonOnObjectStart(void *opaque)
{
    JsonParser *parser = opaque;

    if (parser->depth >= JSON_DEPTH_MAX)
        return 0;
    if (parser->depth > 0)
        jsonStore(parser, JSON_OBJECT, NULL, 0);

    parser->ends[parser->depth++] = parser->path->len;
    if (parser->depth > 1 && parser->arrays == 0) {
        /* Members of an object whose own key is skipped get a path that nothing asks for. */
        g_string_append(parser->path, parser->key ? parser->key : "..");
        g_string_append_c(parser->path, '.');
    }
    g_clear_pointer(&parser->key, g_free);
    return 1;
}

static int
jsonOnObjectEnd(void *opaque)
{
    JsonParser *parser = opaque;

    g_string_truncate(parser->path, parser->ends[--parser->depth]);
    return 1;
}

static int
jsonOnArrayStart(void *opaque)
{
    JsonParser *parser = opaque;

    if (parser->arrays >= JSON_DEPTH_MAX || !jsonStore(parser, JSON_ARRAY, NULL, 0))
        return 0;
    parser->arrays++;
    return 1;
}

static int
jsonOnArrayEnd(void *opaque)
{
    ((JsonParser *)opaque)->arrays--;
    return 1;
}

static const yajl_callbacks jsonCallbacks = {
    .yajl_null = jsonOnOther,
    .yajl_boolean = jsonOnBoolean,
    .yajl_integer = jsonOnInteger,
    .yajl_double = jsonOnDouble,
    .yajl_string = jsonOnString,
    .yajl_start_map = jsonOnObjectStart,
    .yajl_map_key = jsonOnKey,
    .yajl_end_map = jsonOnObjectEnd,
    .yajl_start_array = jsonOnArrayStart,
    .yajl_end_array = jsonOnArrayEnd,
};

static char *
jsonParserError(yajl_handle handle, yajl_status status)
{
    unsigned char *text;
    char *clean;

    if (status == yajl_status_client_canceled)
        return g_strdup("not a JSON object, or nested too deeply");

    text = yajl_get_error(handle, 0, NULL, 0);
    clean = logSanitize((const char *)text, strlen((const char *)text));
    yajl_free_error(handle, text);
    return clean;
}

JsonObject *
jsonParse(const char *buf, size_t len, char **error)
{
    g_autoptr(GHashTable) object = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                                         jsonValueFree);
    JsonParser parser = {.object = object, .path = g_string_new(NULL)};
    yajl_handle handle = yajl_alloc(&jsonCallbacks, NULL, &parser);
    yajl_status status = yajl_parse(handle, (const unsigned char *)buf, len);

    if (status == yajl_status_ok)
        status = yajl_complete_parse(handle);
    if (status != yajl_status_ok)
        *error = jsonParserError(handle, status);

    yajl_free(handle);
    g_string_free(parser.path, TRUE);
    g_free(parser.key);

    return status == yajl_status_ok ? g_steal_pointer(&object) : NULL;
}

bool
jsonHas(JsonObject *object, const char *path, JsonType type)
{
    JsonValue *value = g_hash_table_lookup(object, path);

    return value && value->type == type;
}

const char *
jsonGetString(JsonObject *object, const char *path)
{
    JsonValue *value = g_hash_table_lookup(object, path);

    return value && value->type == JSON_STRING ? value->string : NULL;
}

bool
jsonGetInteger(JsonObject *object, const char *path, int64_t *number)
{
    JsonValue *value = g_hash_table_lookup(object, path);

    if (!value || value->type != JSON_INTEGER)
        return false;
    *number = value->integer;
    return true;
}

ssize_t
jsonGetIntegers(JsonObject *object, const char *path, int64_t *values, size_t max)
{
    JsonValue *value = g_hash_table_lookup(object, path);

    if (!value || !value->integers || value->integers->len > max)
        return -1;
    if (value->integers->len > 0)
        memcpy(values, value->integers->data, value->integers->len * sizeof(*values));
    return value->integers->len;
}

/* yajl's generator state is what a writer is. */
JsonWriter *
jsonWriterNew(void)
{
    yajl_gen gen = yajl_gen_alloc(NULL);

    yajl_gen_map_open(gen);
    return (JsonWriter *)gen;
}

static void
jsonAddText(JsonWriter *writer, const char *text)
{
    yajl_gen_string((yajl_gen)writer, (const unsigned char *)text, strlen(text));
}

void
jsonAddString(JsonWriter *writer, const char *key, const char *value)
{
    g_autofree char *valid = NULL;

    if (!value)
        return;
    valid = g_utf8_make_valid(value, -1);
    jsonAddText(writer, key);
    jsonAddText(writer, valid);
}

void
jsonAddInteger(JsonWriter *writer, const char *key, int64_t value)
{
    jsonAddText(writer, key);
    yajl_gen_integer((yajl_gen)writer, value);
}

void
jsonAddBoolean(JsonWriter *writer, const char *key, bool value)
{
    jsonAddText(writer, key);
    yajl_gen_bool((yajl_gen)writer, value);
}

void
jsonAddNull(JsonWriter *writer, const char *key)
{
    jsonAddText(writer, key);
    yajl_gen_null((yajl_gen)writer);
}

void
jsonBeginObject(JsonWriter *writer, const char *key)
{
    jsonAddText(writer, key);
    yajl_gen_map_open((yajl_gen)writer);
}

void
jsonEndObject(JsonWriter *writer)
{
    yajl_gen_map_close((yajl_gen)writer);
}

void
jsonBeginArray(JsonWriter *writer, const char *key)
{
    jsonAddText(writer, key);
    yajl_gen_array_open((yajl_gen)writer);
}

void
jsonEndArray(JsonWriter *writer)
{
    yajl_gen_array_close((yajl_gen)writer);
}

void
jsonBeginElement(JsonWriter *writer)
{
    yajl_gen_map_open((yajl_gen)writer);
}

void
jsonAddIntegers(JsonWriter *writer, const char *key, const unsigned int *values, size_t n)
{
    size_t i;

    jsonAddText(writer, key);
    yajl_gen_array_open((yajl_gen)writer);
    for (i = 0; i < n; i++)
        yajl_gen_integer((yajl_gen)writer, values[i]);
    yajl_gen_array_close((yajl_gen)writer);
}

void
jsonAddStrings(JsonWriter *writer, const char *key, const char *const *values, size_t n)
{
    size_t i;

    jsonAddText(writer, key);
    yajl_gen_array_open((yajl_gen)writer);
    for (i = 0; i < n; i++)
        jsonAddText(writer, values[i]);
    yajl_gen_array_close((yajl_gen)writer);
}

char *
jsonWriterEnd(JsonWriter *writer)
{
    yajl_gen gen = (yajl_gen)writer;
    const unsigned char *text = NULL;
    size_t len = 0;
    char *line;

    yajl_gen_map_close(gen);
    yajl_gen_get_buf(gen, &text, &len);
    line = g_strdup_printf("%.*s\n", (int)len, (const char *)text);
    yajl_gen_free(gen);
    return line;
}
