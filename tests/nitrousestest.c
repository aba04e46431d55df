/*
 * nitrousestest.c: which files the running domains use, and for what
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "nitro_uses.h"
#include "virerror.h"

static const nitroFileId one = { 1, 100 };
static const nitroFileId sameInode = { 2, 100 };


static void
refuse(nitroUses *uses,
       const char *name,
       nitroUse use,
       const char *first,
       const char *second,
       const char *other)
{
    const char *message;

    g_assert_cmpint(nitroUsesTake(uses, name, &one, "/the/path", use), ==, -1);
    g_assert_cmpint(virGetLastErrorCode(), ==, VIR_ERR_CONFIG_UNSUPPORTED);
    message = virGetLastErrorMessage();
    if (!strstr(message, "'/the/path'") || !strstr(message, first) || !strstr(message, second) ||
        !strstr(message, other)) {
        g_test_message("%s", message);
        g_test_fail();
    }
    virResetLastError();
}


/* Images are shared, outputs are not: neither with images nor with each other. */
static void
testConflicts(void)
{
    nitroUses *uses = nitroUsesNew();

    g_assert_cmpint(nitroUsesTake(uses, "a", &one, "/x", NITRO_USE_KERNEL), ==, 0);
    g_assert_cmpint(nitroUsesTake(uses, "b", &one, "/x", NITRO_USE_INITRD), ==, 0);
    g_assert_cmpint(nitroUsesTake(uses, "a", &sameInode, "/y", NITRO_USE_CONSOLE), ==, 0);
    refuse(uses, "a", NITRO_USE_CONSOLE, "<source>", "<kernel>", "'a'");
    refuse(uses, "c", NITRO_USE_LOG, "log of the domain of domain 'c'", "<kernel>", "'a'");
    nitroUsesRelease(uses, "a");
    refuse(uses, "c", NITRO_USE_CONSOLE_LOG, "<log>", "<initrd>", "'b'");
    nitroUsesRelease(uses, "b");

    g_assert_cmpint(nitroUsesTake(uses, "c", &one, "/x", NITRO_USE_CONSOLE_LOG), ==, 0);
    refuse(uses, "d", NITRO_USE_KERNEL, "<kernel>", "<log>", "'c'");
    refuse(uses, "c", NITRO_USE_CONSOLE, "<source>", "<log>", "'c'");
    /* what was refused is not noted */
    nitroUsesRelease(uses, "c");
    g_assert_cmpint(nitroUsesTake(uses, "d", &one, "/x", NITRO_USE_LOG), ==, 0);
    nitroUsesFree(uses);
}


/* What runs has its files, also where they are in use twice. */
static void
testNote(void)
{
    nitroUses *uses = nitroUsesNew();

    nitroUsesNote(uses, "old", &one, NITRO_USE_CONSOLE);
    nitroUsesNote(uses, "new", &one, NITRO_USE_CONSOLE);
    nitroUsesRelease(uses, "old");
    refuse(uses, "c", NITRO_USE_LOG, "log of the domain", "<source>", "'new'");
    nitroUsesRelease(uses, "new");
    g_assert_cmpint(nitroUsesTake(uses, "c", &one, "/x", NITRO_USE_LOG), ==, 0);
    nitroUsesFree(uses);
}


/* Who has a file already, as what it is opened for again */
static void
testHas(void)
{
    nitroUses *uses = nitroUsesNew();

    g_assert_cmpint(nitroUsesTake(uses, "a", &one, "/x", NITRO_USE_SERVICE_LOG), ==, 0);
    g_assert_true(nitroUsesHas(uses, "a", &one, NITRO_USE_SERVICE_LOG));
    g_assert_false(nitroUsesHas(uses, "a", &one, NITRO_USE_LOG));
    g_assert_false(nitroUsesHas(uses, "b", &one, NITRO_USE_SERVICE_LOG));
    g_assert_false(nitroUsesHas(uses, "a", &sameInode, NITRO_USE_SERVICE_LOG));
    refuse(uses, "a", NITRO_USE_SERVICE_LOG, "log service", "log service", "'a'");
    nitroUsesRelease(uses, "a");
    g_assert_false(nitroUsesHas(uses, "a", &one, NITRO_USE_SERVICE_LOG));
    nitroUsesFree(uses);
}


/* A domain gives back all that it has, and nothing of others. */
static void
testRelease(void)
{
    nitroUses *uses = nitroUsesNew();
    nitroFileId id = { 7, 0 };
    size_t i;

    for (i = 0; i < 60; i++) {
        id.inode = i;
        g_assert_cmpint(nitroUsesTake(uses, i % 3 ? "a" : "b", &id, "/x", NITRO_USE_LOG), ==, 0);
    }
    nitroUsesRelease(uses, "a");
    nitroUsesRelease(uses, "none");
    for (i = 0; i < 60; i++) {
        id.inode = i;
        g_assert_cmpint(nitroUsesTake(uses, "c", &id, "/x", NITRO_USE_LOG), ==, i % 3 ? 0 : -1);
    }
    virResetLastError();
    nitroUsesFree(uses);
}


int
main(int argc,
     char **argv)
{
    if (virErrorInitialize() < 0)
        return 1;

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/uses/conflicts", testConflicts);
    g_test_add_func("/uses/note", testNote);
    g_test_add_func("/uses/has", testHas);
    g_test_add_func("/uses/release", testRelease);
    return g_test_run();
}
