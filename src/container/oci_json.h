/*
 * oci_json.h: the JSON texts of container images
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "container.h"

#include <yajl/yajl_tree.h>

/* The longest text that is read, in bytes; those of images have some KiB */
#define OCI_JSON_MAX (1024 * 1024)

/* The deepest nesting of values */
#define OCI_JSON_DEPTH 32

/*
 * Reads the @len bytes of @text. @what names it in errors. A NUL, also as \u0000, is refused, so
 * that all strings are C's, and so is an object with a member twice, be it in another case: that is
 * how programs in Go read them. Returns the value (yajl_tree_free()), or NULL with @error set
 * (_FORMAT).
 */
yajl_val ociJsonParse(const char *text, size_t len, const char *what, GError **error);

/* The member @name of the object @value, or NULL when there is none or @value is no object. */
yajl_val ociJsonGet(yajl_val value, const char *name);

/*
 * The string @name of the object @value, owned by it. Returns NULL when there is none or it is
 * null; with @error set too when it is not a string.
 */
const char *ociJsonGetString(yajl_val value, const char *name, const char *what, GError **error);

/*
 * Sets *@list to the strings of the array @name of the object @value (g_strfreev), or to NULL when
 * there is none or it is null. Returns 0, or -1 with @error set.
 */
int ociJsonGetStrings(yajl_val value, const char *name, const char *what, char ***list,
                      GError **error);
