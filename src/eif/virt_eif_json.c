/*
 * virt_eif_json.c: checking and copying the JSON text of an image's metadata
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: text -> yajl's parser -> each event straight to a yajl generator, so
 * that no tree is kept. A check is a copy to nowhere.
 */

#include "virt_eif.h"
#include "nitro_json_position.h"

#include <stdio.h>
#include <string.h>
#include <yajl/yajl_parse.h>
#include <yajl/yajl_tree.h>

/*
 * Levels of nesting that are accepted. yajl's generator has room for 128, and
 * the text may be copied to a place some levels down.
 */
#define DEPTH_MAX 100

typedef struct _CopyState CopyState;
struct _CopyState {
    yajl_gen gen;
    size_t depth;
    bool isObject; /* the outermost value is one */
    bool open;     /* its begin and end are the caller's to write */
    const char *refusal; /* static; NULL while all is well */
};

/* Each value at the outermost level must be the object. Returns 0 to stop the parser. */
static int
checkValue(CopyState *state)
{
    if (state->depth > 0)
        return 1;

    state->refusal = "it is not a JSON object";
    return 0;
}

static int
checkGen(CopyState *state, yajl_gen_status status)
{
    if (status == yajl_gen_status_ok)
        return 1;

    state->refusal = "it cannot be copied";
    return 0;
}

static int
checkDepth(CopyState *state)
{
    if (++state->depth <= DEPTH_MAX)
        return 1;

    state->refusal = "it is nested more than " G_STRINGIFY(DEPTH_MAX) " levels deep";
    return 0;
}

static int
onNull(void *opaque)
{
    CopyState *state = opaque;

    return checkValue(state) && checkGen(state, yajl_gen_null(state->gen));
}

static int
onBoolean(void *opaque, int value)
{
    CopyState *state = opaque;

    return checkValue(state) && checkGen(state, yajl_gen_bool(state->gen, value));
}

/* Numbers are copied as they are written, whatever their size. */
static int
onNumber(void *opaque, const char *value, size_t len)
{
    CopyState *state = opaque;

    return checkValue(state) && checkGen(state, yajl_gen_number(state->gen, value, len));
}

static int
onString(void *opaque, const unsigned char *value, size_t len)
{
    CopyState *state = opaque;

    return checkValue(state) && checkGen(state, yajl_gen_string(state->gen, value, len));
}

static int
onStartMap(void *opaque)
{
    CopyState *state = opaque;

    state->isObject = true;
    if (!checkDepth(state))
        return 0;
    return (state->open && state->depth == 1) || checkGen(state, yajl_gen_map_open(state->gen));
}

static int
onKey(void *opaque, const unsigned char *key, size_t len)
{
    CopyState *state = opaque;

    return checkGen(state, yajl_gen_string(state->gen, key, len));
}

static int
onEndMap(void *opaque)
{
    CopyState *state = opaque;

    state->depth--;
    return (state->open && state->depth == 0) || checkGen(state, yajl_gen_map_close(state->gen));
}

static int
onStartArray(void *opaque)
{
    CopyState *state = opaque;

    return checkValue(state) && checkDepth(state) &&
        checkGen(state, yajl_gen_array_open(state->gen));
}

static int
onEndArray(void *opaque)
{
    CopyState *state = opaque;

    state->depth--;
    return checkGen(state, yajl_gen_array_close(state->gen));
}

static const yajl_callbacks copyCallbacks = {
    .yajl_null = onNull,
    .yajl_boolean = onBoolean,
    .yajl_number = onNumber,
    .yajl_string = onString,
    .yajl_start_map = onStartMap,
    .yajl_map_key = onKey,
    .yajl_end_map = onEndMap,
    .yajl_start_array = onStartArray,
    .yajl_end_array = onEndArray,
};

/* @reason, with the line and column in which @text was read up to @offset (g_free) */
static char *
formatPosition(const char *text, size_t offset, const char *reason)
{
    unsigned int line;
    unsigned int column;

    nitroJsonPosition(text, offset, &line, &column);
    return g_strdup_printf("it is not JSON in line %u, column %u: %s", line, column, reason);
}

/* Returns NULL, or what is wrong with @text (g_free). With @open only the members are copied. */
static char *
copyJson(yajl_gen gen, const char *text, size_t len, bool open)
{
    CopyState state = { .gen = gen, .open = open };
    yajl_handle parser = yajl_alloc(&copyCallbacks, NULL, &state);
    char *message = NULL;
    yajl_status status = yajl_parse(parser, (const unsigned char *)text, len);
    size_t offset = yajl_get_bytes_consumed(parser);

    if (status == yajl_status_ok) {
        status = yajl_complete_parse(parser);
        offset = len;
    }

    if (state.refusal) {
        message = g_strdup(state.refusal);
    } else if (status != yajl_status_ok) {
        unsigned char *detail = yajl_get_error(parser, 0, NULL, 0);

        message = formatPosition(text, offset, g_strchomp((char *)detail));
        yajl_free_error(parser, detail);
    } else if (!state.isObject) {
        message = g_strdup("it is empty");
    }

    yajl_free(parser);
    return message;
}

static void
discard(void *opaque, const char *text, size_t len)
{
}

char *
virtEifJsonCheck(const char *text, size_t len)
{
    yajl_gen gen = yajl_gen_alloc(NULL);
    char *message;

    yajl_gen_config(gen, yajl_gen_print_callback, discard, NULL);
    message = copyJson(gen, text, len, false);
    yajl_gen_free(gen);
    return message;
}

static void
printRaw(void *opaque, const char *text, size_t len)
{
    fwrite(text, 1, len, stdout);
}

yajl_gen
virtEifJsonPrinter(void)
{
    yajl_gen gen = yajl_gen_alloc(NULL);

    yajl_gen_config(gen, yajl_gen_beautify, 1);
    yajl_gen_config(gen, yajl_gen_indent_string, "  ");
    yajl_gen_config(gen, yajl_gen_print_callback, printRaw, NULL);
    return gen;
}

void
virtEifJsonCopy(yajl_gen gen, const char *text, size_t len)
{
    g_autofree char *message = copyJson(gen, text, len, false);

    g_assert(!message);
}

/* A text that virtEifJsonCheck() has accepted (yajl_tree_free) */
static yajl_val
parseTree(const char *text)
{
    char wrong[1];
    yajl_val tree = yajl_tree_parse(text, wrong, sizeof(wrong));

    g_assert(tree);
    return tree;
}

/* The texts in the object @from, but for those whose name is in @tree as well */
static void
copyTexts(yajl_gen gen, yajl_val tree, yajl_val from)
{
    size_t i;

    for (i = 0; i < from->u.object.len; i++) {
        const char *path[] = { from->u.object.keys[i], NULL };
        const char *value = YAJL_GET_STRING(from->u.object.values[i]);

        if (!value || yajl_tree_get(tree, path, yajl_t_any))
            continue;
        yajl_gen_string(gen, (const unsigned char *)path[0], strlen(path[0]));
        yajl_gen_string(gen, (const unsigned char *)value, strlen(value));
    }
}

void
virtEifJsonCopyFlat(yajl_gen gen, const char *text, const char *member)
{
    const char *path[] = { member, NULL };
    yajl_val tree = parseTree(text);
    yajl_val from = yajl_tree_get(tree, path, yajl_t_object);
    g_autofree char *message = NULL;

    yajl_gen_map_open(gen);
    message = copyJson(gen, text, strlen(text), true);
    g_assert(!message);
    if (from)
        copyTexts(gen, tree, from);
    yajl_gen_map_close(gen);
    yajl_tree_free(tree);
}

char *
virtEifJsonGetString(const char *text, const char *key)
{
    const char *path[] = { key, NULL };
    yajl_val tree = parseTree(text);
    char *value;

    value = g_strdup(YAJL_GET_STRING(yajl_tree_get(tree, path, yajl_t_string)));
    yajl_tree_free(tree);
    return value;
}
