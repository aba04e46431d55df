/*
 * nitrorundirtest.c: tests of src/nitro/nitro_rundir.c
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <glib/gstdio.h>
#include <sys/stat.h>

#include "nitro_rundir.h"
#include "nitro_socket.h"

#define SYSTEM_DIR "/run/libvirt/nitro"
#define LONGEST "vsock/vsock_4294967295"
#define CJK "\xe9\xa3\x9b\xe5\x9c\xb0" /* two characters of three bytes */
#define EMOJI "\xf0\x9f\x98\x80"       /* one of four */
#define CYRILLIC "\xd0\xb6"            /* one of two */


static void
testNames(void)
{
    static const struct {
        int id;
        const char *name;
        const char *dir;
    } cases[] = {
        { 1, "hello", "domain-1-hello" },
        { 1, "a name of 20 bytes!!", "domain-1-a name of 20 bytes!!" },
        { 2147483647, "a name of 21 bytes!!!", "domain-2147483647-a name of 21 bytes!!" },
        { 2, CJK CJK CJK CJK, "domain-2-" CJK CJK CJK },
        { 3, EMOJI EMOJI EMOJI EMOJI EMOJI, "domain-3-" EMOJI EMOJI EMOJI EMOJI EMOJI },
        { 3, EMOJI EMOJI EMOJI EMOJI EMOJI EMOJI, "domain-3-" EMOJI EMOJI EMOJI EMOJI EMOJI },
        { 4, "x" EMOJI EMOJI EMOJI EMOJI EMOJI, "domain-4-x" EMOJI EMOJI EMOJI EMOJI },
        { 5, CYRILLIC CYRILLIC CYRILLIC "x", "domain-5-" CYRILLIC CYRILLIC CYRILLIC "x" },
        /* of an older version: no text at all, and so no end of a character */
        { 6, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
          "domain-6" },
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *dir = nitroRunDirName(SYSTEM_DIR, cases[i].id, cases[i].name);

        g_assert_cmpstr(dir, ==, cases[i].dir);
    }
}


/* Whatever the name, and the state directory up to what leaves no room for any name. */
static void
testRoom(void)
{
    static const char *names[] = {
        "a name of 20 bytes!!", CJK CJK CJK CJK CJK CJK CJK "x",
        EMOJI EMOJI EMOJI EMOJI EMOJI EMOJI,
        "x" CYRILLIC CYRILLIC CYRILLIC CYRILLIC CYRILLIC CYRILLIC CYRILLIC CYRILLIC CYRILLIC,
    };
    size_t most = NITRO_SOCKET_PATH_MAX - strlen("/domain-2147483647/" LONGEST);
    size_t len;
    size_t i;

    g_assert_cmpuint(NITRO_SOCKET_PATH_MAX, ==, 107);

    for (len = 1; len <= most + 20; len++) {
        g_autofree char *state = g_strnfill(len, 's');

        for (i = 0; i < G_N_ELEMENTS(names); i++) {
            g_autofree char *dir = nitroRunDirName(state, 2147483647, names[i]);
            g_autofree char *path = g_strdup_printf("%s/%s/" LONGEST, state, dir);

            g_assert_true(g_str_has_prefix(dir, "domain-2147483647"));
            g_assert_true(g_utf8_validate(dir, -1, NULL));
            if (len <= most)
                g_assert_cmpuint(strlen(path), <=, NITRO_SOCKET_PATH_MAX);
            else
                g_assert_cmpstr(dir, ==, "domain-2147483647");
        }
    }
}


static void
testMakeDir(const char *state,
            const char *name)
{
    g_autofree char *path = g_build_filename(state, name, NULL);

    g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
}


static void
testCheckPath(const char *state,
              int id,
              const char *name,
              const char *dir)
{
    g_autofree char *expected = g_build_filename(state, dir, NULL);
    g_autofree char *path = nitroRunDirPath(state, id, name);

    g_assert_cmpstr(path, ==, expected);
}


/* Enclaves that an older version has started: the daemon looks for their directories. */
static void
testOlder(void)
{
    const char *emoji = EMOJI EMOJI EMOJI EMOJI EMOJI EMOJI;
    const char *mixed = "abc" EMOJI EMOJI EMOJI EMOJI EMOJI EMOJI;
    g_autofree char *cut = g_strndup(mixed, 20); /* as in the locale "C": in a character */
    g_autofree char *cutDir = g_strdup_printf("domain-8-%s", cut);
    g_autofree char *state = g_dir_make_tmp("nitrorundirtest-XXXXXX", NULL);
    g_autofree char *line = NULL;

    g_assert_nonnull(state);

    testCheckPath(state, 7, emoji, "domain-7-" EMOJI EMOJI EMOJI EMOJI EMOJI);
    testMakeDir(state, "domain-7-" EMOJI EMOJI EMOJI EMOJI EMOJI EMOJI);
    testCheckPath(state, 7, emoji, "domain-7-" EMOJI EMOJI EMOJI EMOJI EMOJI EMOJI);
    /* another run, another name */
    testCheckPath(state, 17, emoji, "domain-17-" EMOJI EMOJI EMOJI EMOJI EMOJI);
    testCheckPath(state, 7, EMOJI, "domain-7-" EMOJI);
    /* what this version has made comes first */
    testMakeDir(state, "domain-7-" EMOJI EMOJI EMOJI EMOJI EMOJI);
    testCheckPath(state, 7, emoji, "domain-7-" EMOJI EMOJI EMOJI EMOJI EMOJI);

    testMakeDir(state, cutDir);
    testCheckPath(state, 8, mixed, cutDir);

    line = g_strdup_printf("rm -r %s", state);
    g_assert_true(g_spawn_command_line_sync(line, NULL, NULL, NULL, NULL));
}


int
main(int argc,
     char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/rundir/names", testNames);
    g_test_add_func("/rundir/room", testRoom);
    g_test_add_func("/rundir/older", testOlder);

    return g_test_run();
}
