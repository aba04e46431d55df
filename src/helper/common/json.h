/*
 * json.h: one JSON object a line, for the control protocol and QMP
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Input is hostile: it is parsed by callbacks without a tree, into a flat table
 * of its scalar members, with a limit on nesting. Output is built by yajl's
 * generator through small wrappers.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef enum {
    JSON_OBJECT, /* the member is an object; its members have entries of their own */
    JSON_ARRAY,  /* the member is an array: see jsonGetIntegers() */
    JSON_STRING,
    JSON_INTEGER,
    JSON_OTHER, /* null, true, false, fractions */
} JsonType;

/* A parsed object: "a.b" finds member b of member a. Keys that hold a dot are skipped. */
typedef GHashTable JsonObject;

/*
 * Parses @len bytes as one JSON object. Returns it (g_hash_table_unref), or NULL with
 * *@error set to a new one-line text when that is no JSON object.
 */
JsonObject *jsonParse(const char *buf, size_t len, char **error);

/* Whether the member at @path is there, and of @type. */
bool jsonHas(JsonObject *object, const char *path, JsonType type);

/* The string at @path, or NULL; owned by @object. */
const char *jsonGetString(JsonObject *object, const char *path);

/* Reads the integer at @path. Returns false when there is none. */
bool jsonGetInteger(JsonObject *object, const char *path, int64_t *value);

/*
 * Reads the array at @path, of up to @max integers, into @values. Returns their number, or -1 when
 * there is no array of nothing but so many integers.
 */
ssize_t jsonGetIntegers(JsonObject *object, const char *path, int64_t *values, size_t max);

/* Elements of an array that are kept: one that is longer counts as none of integers. */
#define JSON_INTEGERS_MAX 256

typedef struct _JsonWriter JsonWriter;

/* A new writer in which one object has been opened; ended by jsonWriterEnd(). */
JsonWriter *jsonWriterNew(void);

/* Add one member. @value may be NULL in jsonAddString: then nothing is added. */
void jsonAddString(JsonWriter *writer, const char *key, const char *value);
void jsonAddInteger(JsonWriter *writer, const char *key, int64_t value);
void jsonAddBoolean(JsonWriter *writer, const char *key, bool value);
void jsonAddNull(JsonWriter *writer, const char *key);

/* Opens the object, or closes the innermost one, that is the value of @key. */
void jsonBeginObject(JsonWriter *writer, const char *key);
void jsonEndObject(JsonWriter *writer);

/*
 * Opens the array, or closes the innermost one, that is the value of @key; jsonBeginElement() opens
 * an object in it, which jsonEndObject() closes.
 */
void jsonBeginArray(JsonWriter *writer, const char *key);
void jsonEndArray(JsonWriter *writer);
void jsonBeginElement(JsonWriter *writer);

/* Adds the array of the @n unsigned integers @values. */
void jsonAddIntegers(JsonWriter *writer, const char *key, const unsigned int *values, size_t n);

/* Adds the array of the @n texts @values. */
void jsonAddStrings(JsonWriter *writer, const char *key, const char *const *values, size_t n);

/* Closes the object and frees @writer. Returns the text with a newline, owned by the caller. */
char *jsonWriterEnd(JsonWriter *writer);
