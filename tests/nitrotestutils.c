/*
 * nitrotestutils.c: what the tests of the XML model share
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "nitrotestutils.h"
#include "nitro_domain_conf.h"
#include "virerror.h"


static void
nitroTestIgnoreError(void *opaque G_GNUC_UNUSED,
                     virErrorPtr err G_GNUC_UNUSED)
{
}


virDomainXMLOption *
nitroTestInit(int *argc,
              char ***argv)
{
    g_test_init(argc, argv, NULL);
    g_assert_cmpint(virInitialize(), ==, 0);
    virSetErrorFunc(NULL, nitroTestIgnoreError);

    return nitroDomainXMLOptionNew(NITRO_TEST_EMULATOR, NULL, NULL);
}


char *
nitroTestPath(const char *dir,
              const char *name,
              const char *suffix)
{
    g_autofree char *file = g_strconcat(name, suffix, NULL);

    return g_build_filename(NITRO_TEST_SRCDIR, dir, file, NULL);
}


char *
nitroTestOutPath(const char *dir,
                 const char *name)
{
    g_autofree char *own = nitroTestPath(dir, name, ".libvirt-" VERSION ".xml");

    if (g_file_test(own, G_FILE_TEST_EXISTS))
        return g_steal_pointer(&own);

    return nitroTestPath(dir, name, ".xml");
}


void
nitroTestCompareToFile(const char *actual,
                       const char *path)
{
    g_autofree char *expected = NULL;
    g_autoptr(GError) error = NULL;

    if (g_getenv("VIR_TEST_REGENERATE_OUTPUT")) {
        g_file_set_contents(path, actual, -1, &error);
        g_assert_no_error(error);
        return;
    }

    if (!g_file_get_contents(path, &expected, NULL, &error)) {
        g_test_message("%s", error->message);
        g_test_fail();
        return;
    }

    if (strcmp(actual, expected) != 0) {
        g_test_message("%s differs\nexpected:\n%s\nactual:\n%s", path, expected, actual);
        g_test_fail();
    }
}


/* The codes that the checks use; another one is a mistake, so it shows as a bare number. */
static const char *
nitroTestErrorCodeToString(int code)
{
    switch (code) {
    case VIR_ERR_INTERNAL_ERROR:
        return "VIR_ERR_INTERNAL_ERROR";
    case VIR_ERR_INVALID_ARG:
        return "VIR_ERR_INVALID_ARG";
    case VIR_ERR_XML_ERROR:
        return "VIR_ERR_XML_ERROR";
    case VIR_ERR_XML_DETAIL:
        return "VIR_ERR_XML_DETAIL";
    case VIR_ERR_OVERFLOW:
        return "VIR_ERR_OVERFLOW";
    case VIR_ERR_CONFIG_UNSUPPORTED:
        return "VIR_ERR_CONFIG_UNSUPPORTED";
    default:
        return "?";
    }
}


char *
nitroTestTakeError(void)
{
    virErrorPtr err = virGetLastError();
    char *text;

    g_assert_nonnull(err);
    text = g_strdup_printf("%s (%d)\n%s\n",
                           nitroTestErrorCodeToString(err->code), err->code, err->message);
    virResetLastError();

    return text;
}


void
nitroTestCheckComplete(const char *dir,
                       const void *names,
                       size_t stride,
                       size_t ncases)
{
    g_autofree char *path = g_build_filename(NITRO_TEST_SRCDIR, dir, NULL);
    g_autoptr(GHashTable) known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) handle = NULL;
    const char *file;
    size_t i;

    for (i = 0; i < ncases; i++) {
        const char *const *name = (const void *) ((const char *) names + i * stride);

        g_hash_table_add(known, g_strdup(*name));
    }

    handle = g_dir_open(path, 0, &error);
    g_assert_no_error(error);

    while ((file = g_dir_read_name(handle))) {
        g_autofree char *name = g_strndup(file, strcspn(file, "."));

        if (g_str_has_suffix(file, ".xml") && !g_hash_table_contains(known, name)) {
            g_test_message("%s/%s belongs to no test", dir, file);
            g_test_fail();
        }
    }
}
