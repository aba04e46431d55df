/*
 * nitro_json.h: whether a text is a JSON object, the same with each library of libvirt's
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "virjson.h"

/*
 * Checks that @text is one JSON object, that no object in it has a member twice, that no name of a
 * member has a control character, and that no integer is below LLONG_MIN or above ULLONG_MAX. With
 * @plain also that no string has a control character or half of a character.
 *
 * To be asked before nitroJsonFromString(), which may take the last of two members, and change or
 * refuse such an integer.
 *
 * Returns 0, or -1 with @why set to a new text that says what is wrong, and @offset to the bytes
 * of @text up to there. Sets no error of libvirt's.
 */
int nitroJsonCheck(const char *text,
                   bool plain,
                   size_t *offset,
                   char **why);

/*
 * The value of the JSON @text, which was checked (virJSONValueFree); NULL with an error set. To be
 * called in the place of virJSONValueFromString(), which takes nothing but ASCII with json-c 0.18,
 * the one of Debian 13: strict as libvirt has it, it takes other bytes for control characters.
 */
virJSONValue *nitroJsonFromString(const char *text);
