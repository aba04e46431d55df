/*
 * nitrofiletest.c: files and sockets where other users can write, too
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each test has a directory of root's in /tmp, in which "theirs" belongs to another user. What
 * needs root, as files of several owners, is skipped for others.
 */

#include <config.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "nitro_file.h"
#include "virerror.h"
#include "virfile.h"

/* "nobody", as far as it matters */
#define OTHER 65534

#define RACE_SECONDS 2

static char *top;


static char *
at(const char *name)
{
    return g_strdup_printf("%s/%s", top, name);
}


static void
makeDir(const char *name,
        uid_t owner,
        mode_t mode)
{
    g_autofree char *path = at(name);

    g_assert_cmpint(mkdir(path, 0700), ==, 0);
    if (owner != geteuid())
        g_assert_cmpint(lchown(path, owner, owner), ==, 0);
    g_assert_cmpint(chmod(path, mode), ==, 0);
}


static void
makeFile(const char *name,
         uid_t owner,
         const char *text)
{
    g_autofree char *path = at(name);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    if (owner != geteuid())
        g_assert_cmpint(lchown(path, owner, owner), ==, 0);
}


static void
makeLink(const char *name,
         uid_t owner,
         const char *target)
{
    g_autofree char *path = at(name);

    g_assert_cmpint(symlink(target, path), ==, 0);
    if (owner != geteuid())
        g_assert_cmpint(lchown(path, owner, owner), ==, 0);
}


/* Opens @name below the directory, or an absolute path. Returns the descriptor or -1. */
static int
openOutput(const char *name)
{
    g_auto(nitroFilePlace) place = NITRO_FILE_PLACE_INIT;
    g_autofree char *path = *name == '/' ? g_strdup(name) : at(name);

    return nitroFileFind(path, &place) < 0 ? -1 : nitroFileOpenOutput(&place);
}


/* @name can be used: what is written to it is there. */
static void
permit(const char *name)
{
    g_autofree char *path = at(name);
    g_autofree char *text = NULL;
    int fd = openOutput(name);

    if (fd < 0) {
        g_test_message("%s: %s", name, virGetLastErrorMessage());
        g_test_fail();
        virResetLastError();
        return;
    }
    g_assert_cmpint(safewrite(fd, "mark", 4), ==, 4);
    VIR_FORCE_CLOSE(fd);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_true(g_str_has_suffix(text, "mark"));
}


/* @name is refused with the code @code and a sentence that has its path and @words. */
static void
refuse(const char *name,
       int code,
       const char *words)
{
    int fd = openOutput(name);
    const char *message = virGetLastErrorMessage();

    if (fd >= 0 || virGetLastErrorCode() != code || !strstr(message, words) ||
        !strstr(message, name)) {
        g_test_message("%s: %d, not %d with '%s': %s", name, virGetLastErrorCode(), code,
                       words, message);
        g_test_fail();
    }
    VIR_FORCE_CLOSE(fd);
    virResetLastError();
}


static bool
skipUnlessRoot(void)
{
    if (geteuid() == 0)
        return false;
    g_test_skip("root alone can make files of several owners");
    return true;
}


/* Files in a directory of one's own */
static void
testPlain(void)
{
    g_autofree char *path = at("new");
    g_autofree char *old = at("old");
    g_autofree char *fifo = at("fifo");
    struct stat sb;

    permit("new");
    g_assert_cmpint(stat(path, &sb), ==, 0);
    g_assert_cmpint(sb.st_mode & 07777, ==, 0600);
    /* nothing is emptied */
    makeFile("old", geteuid(), "text");
    permit("old");
    g_assert_cmpint(stat(old, &sb), ==, 0);
    g_assert_cmpint(sb.st_size, ==, 8);

    makeLink("link", geteuid(), "old");
    refuse("link", VIR_ERR_CONFIG_UNSUPPORTED, "is a symbolic link");
    makeLink("nowhere", geteuid(), "none");
    refuse("nowhere", VIR_ERR_CONFIG_UNSUPPORTED, "is a symbolic link");
    makeDir("dir", geteuid(), 0700);
    refuse("dir", VIR_ERR_CONFIG_UNSUPPORTED, "not a regular file");
    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    refuse("fifo", VIR_ERR_CONFIG_UNSUPPORTED, "not a regular file");
    refuse("/dev/null", VIR_ERR_CONFIG_UNSUPPORTED, "not a regular file");

    refuse("none/new", VIR_ERR_SYSTEM_ERROR, "No such file or directory");
    refuse("old/new", VIR_ERR_SYSTEM_ERROR, "Not a directory");
    refuse("dir/", VIR_ERR_CONFIG_UNSUPPORTED, "is not the absolute path of a file");
    refuse("dir/..", VIR_ERR_CONFIG_UNSUPPORTED, "is not the absolute path of a file");
}


/* Links to directories */
static void
testLinks(void)
{
    makeDir("real", geteuid(), 0700);
    makeDir("real/below", geteuid(), 0700);
    makeLink("relative", geteuid(), "real/below");
    makeLink("absolute", geteuid(), top);
    makeLink("real/up", geteuid(), "../real/./below");
    makeLink("loop", geteuid(), "loop");
    permit("relative/file");
    permit("absolute/relative/file");
    permit("real/up/file");
    permit("real/below/../../file");
    refuse("loop/file", VIR_ERR_SYSTEM_ERROR, "Too many levels");
}


/* Links that somebody else has made, or could have exchanged */
static void
testLinksOfOthers(void)
{
    if (skipUnlessRoot())
        return;

    makeDir("real", 0, 0700);
    makeDir("theirs", OTHER, 0755);
    makeDir("sticky", 0, 01777);
    makeLink("foreign", OTHER, "real");
    makeLink("theirs/link", 0, "../real");
    makeLink("theirs/own", OTHER, "../real");
    makeLink("sticky/link", OTHER, "../real");
    refuse("foreign/file", VIR_ERR_CONFIG_UNSUPPORTED, "'foreign' is a symbolic link");
    refuse("theirs/link/file", VIR_ERR_CONFIG_UNSUPPORTED, "'link' is a symbolic link");
    refuse("theirs/own/file", VIR_ERR_CONFIG_UNSUPPORTED, "'own' is a symbolic link");
    refuse("sticky/link/file", VIR_ERR_CONFIG_UNSUPPORTED, "'link' is a symbolic link");
}


/* Directories of another user, and such that all can write to */
static void
testOthers(void)
{
    g_autofree char *path = at("theirs/new");
    struct stat sb;

    if (skipUnlessRoot())
        return;

    makeDir("theirs", OTHER, 0755);
    permit("theirs/new");
    g_assert_cmpint(stat(path, &sb), ==, 0);
    g_assert_cmpint(sb.st_uid, ==, OTHER);
    g_assert_cmpint(sb.st_mode & 07777, ==, 0600);
    permit("theirs/new");
    makeDir("theirs/below", OTHER, 0700);
    permit("theirs/below/new");
    permit("theirs/below/../new");
    /* where this leads is for the owner to say, who can move the directory */
    refuse("theirs/below/../../new", VIR_ERR_CONFIG_UNSUPPORTED, "'..' belongs to user 0");

    makeFile("theirs/root", 0, "text");
    refuse("theirs/root", VIR_ERR_CONFIG_UNSUPPORTED, "'root' belongs to user 0");
    makeDir("theirs/rootdir", 0, 0700);
    refuse("theirs/rootdir/file", VIR_ERR_CONFIG_UNSUPPORTED, "'rootdir' belongs to user 0");
    makeDir("theirs/strange", 12345, 0700);
    refuse("theirs/strange/file", VIR_ERR_CONFIG_UNSUPPORTED, "'strange' belongs to user 12345");

    makeFile("foreign", OTHER, "text");
    refuse("foreign", VIR_ERR_CONFIG_UNSUPPORTED, "belongs to user 65534");
    makeDir("open", 0, 0777);
    makeDir("open/below", 0, 0700);
    refuse("open/new", VIR_ERR_CONFIG_UNSUPPORTED, "anybody can exchange 'new'");
    refuse("open/below/new", VIR_ERR_CONFIG_UNSUPPORTED, "anybody can exchange 'below'");
    makeDir("sticky", 0, 01777);
    permit("sticky/new");
    makeFile("sticky/foreign", OTHER, "text");
    refuse("sticky/foreign", VIR_ERR_CONFIG_UNSUPPORTED, "belongs to user 65534");
    makeDir("group", 0, 0775);
    permit("group/new");
}


static void
testHardLinks(void)
{
    static const struct {
        const char *dir;
        mode_t mode;
        bool good;
    } cases[] = {
        { "closed", 0755, true },
        { "grouped", 0775, false },
        { "sticky", 01777, false },
    };
    g_autofree char *target = at("target");
    size_t i;

    makeFile("target", geteuid(), "text");
    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *name = g_strdup_printf("%s/file", cases[i].dir);
        g_autofree char *path = at(name);

        makeDir(cases[i].dir, geteuid(), cases[i].mode);
        g_assert_cmpint(link(target, path), ==, 0);
        if (cases[i].good)
            permit(name);
        else
            refuse(name, VIR_ERR_CONFIG_UNSUPPORTED, "hard links");
    }
}


/* Somebody who exchanges two names of his directory all the time */
static int raceOver; /* atomic */

static void *
raceExchange(void *opaque)
{
    const char *const *names = opaque;
    g_autofree char *one = at(names[0]);
    g_autofree char *two = at(names[1]);

    while (!g_atomic_int_get(&raceOver))
        g_assert_cmpint(renameat2(AT_FDCWD, one, AT_FDCWD, two, RENAME_EXCHANGE), ==, 0);
    return NULL;
}


/* Opens, writes and removes @name while @names are exchanged. Both outcomes must be seen. */
static void
race(const char *name,
     const char *const names[2])
{
    GThread *thread;
    gint64 end = g_get_monotonic_time() + RACE_SECONDS * G_USEC_PER_SEC;
    unsigned int good = 0;
    unsigned int bad = 0;

    g_atomic_int_set(&raceOver, 0);
    thread = g_thread_new("exchange", raceExchange, (void *)names);
    while (g_get_monotonic_time() < end) {
        int fd = openOutput(name);

        if (fd >= 0) {
            good++;
            ignore_value(ftruncate(fd, 0));
            ignore_value(safewrite(fd, "guest", 5));
        } else {
            bad++;
        }
        VIR_FORCE_CLOSE(fd);
        virResetLastError();
    }
    g_atomic_int_set(&raceOver, 1);
    g_thread_join(thread);
    g_test_message("%u opened, %u refused", good, bad);
    g_assert_cmpuint(good, >, 0);
    g_assert_cmpuint(bad, >, 0);
}


static void
testRace(void)
{
    static const char *const links[] = { "theirs/dir", "theirs/link" };
    static const char *const files[] = { "theirs/file", "theirs/filelink" };
    static const char *const dirs[] = { "theirs/mine", "theirs/rootdir" };
    const char *secrets[] = { "secret/file", "theirs/rootdir/file", "theirs/mine/file" };
    size_t found = 0;
    size_t i;

    if (skipUnlessRoot())
        return;

    makeDir("secret", 0, 0700);
    makeFile("secret/file", 0, "secret");
    makeDir("theirs", OTHER, 0755);
    makeDir("theirs/dir", OTHER, 0755);
    makeLink("theirs/link", OTHER, "../secret");
    makeFile("theirs/file", OTHER, "");
    makeLink("theirs/filelink", OTHER, "../secret/file");
    makeDir("theirs/mine", OTHER, 0755);
    makeDir("theirs/rootdir", 0, 0700);
    makeFile("theirs/rootdir/file", 0, "secret");

    race("theirs/dir/file", links);
    race("theirs/file", files);
    race("theirs/mine/file", dirs);

    for (i = 0; i < G_N_ELEMENTS(secrets); i++) {
        g_autofree char *path = at(secrets[i]);
        g_autofree char *text = NULL;

        if (g_file_get_contents(path, &text, NULL, NULL) && STREQ(text, "secret"))
            found++;
    }
    g_assert_cmpuint(found, ==, 2);
}


/* Sockets */

static void
find(const char *path,
     nitroFilePlace *place)
{
    if (nitroFileFind(path, place) < 0)
        g_error("%s: %s", path, virGetLastErrorMessage());
}


static void
testSocket(void)
{
    g_auto(nitroFilePlace) place = NITRO_FILE_PLACE_INIT;
    g_auto(nitroFilePlace) aside = NITRO_FILE_PLACE_INIT;
    g_autofree char *path = at("socket");
    g_autofree char *link = at("link");
    nitroFileId id;
    nitroFileId other;
    int first;
    int second;
    int client;

    find(path, &place);
    g_assert_cmpint(nitroFileConnect(&place), ==, -ENOENT);
    g_assert_cmpint(first = nitroFileListen(&place, &id), >=, 0);
    g_assert_cmpint(client = nitroFileConnect(&place), >=, 0);
    VIR_FORCE_CLOSE(client);
    /* one that is in use stays, one that nobody listens on does not */
    g_assert_cmpint(nitroFileListen(&place, &other), ==, -EADDRINUSE);
    makeLink("link", geteuid(), "socket");
    find(link, &aside);
    g_assert_cmpint(nitroFileConnect(&aside), ==, -ELOOP);
    VIR_FORCE_CLOSE(first);
    g_assert_cmpint(second = nitroFileListen(&place, &other), >=, 0);

    /* the first one is not there any more, and the second one is not the first */
    if (!nitroFileIdEqual(&id, &other)) {
        g_assert_cmpint(nitroFileRemove(&place, &id), ==, 0);
        g_assert_true(virFileExists(path));
    }
    /* a file that is no socket stays as well */
    g_assert_cmpint(nitroFileRemove(&place, &other), ==, 0);
    makeFile("socket", geteuid(), "text");
    g_assert_cmpint(nitroFileListen(&place, &id), ==, -EADDRINUSE);
    g_assert_true(virFileExists(path));
    g_assert_cmpint(unlink(path), ==, 0);
    VIR_FORCE_CLOSE(second);
    g_assert_cmpint(second = nitroFileListen(&place, &other), >=, 0);

    /* another file under its name */
    g_assert_cmpint(nitroFileRemove(&place, &other), ==, 0);
    g_assert_false(virFileExists(path));
    g_assert_cmpint(nitroFileRemove(&place, &other), ==, 0);
    makeFile("keep", geteuid(), "text");
    makeFile("socket", geteuid(), "text");
    g_assert_cmpint(nitroFileRemove(&place, &other), ==, 0);
    g_assert_true(virFileExists(path));
    VIR_FORCE_CLOSE(second);
}


/* How long a name can be does not depend on where it is, nor on the number of a descriptor. */
static void
testSocketName(void)
{
    g_autofree char *longest = g_strnfill(NITRO_FILE_SOCKET_NAME_MAX, 'n');
    g_autofree char *tooLong = g_strnfill(NITRO_FILE_SOCKET_NAME_MAX + 1, 'n');
    g_autofree char *deep = g_strnfill(100, 'd');
    const char *names[] = { longest, tooLong };
    size_t i;

    makeDir(deep, geteuid(), 0700);
    for (i = 0; i < G_N_ELEMENTS(names); i++) {
        g_auto(nitroFilePlace) place = NITRO_FILE_PLACE_INIT;
        g_autofree char *path = g_strdup_printf("%s/%s/%s", top, deep, names[i]);
        nitroFileId id;
        int fd;

        find(path, &place);
        fd = nitroFileListen(&place, &id);
        if (i == 0)
            g_assert_cmpint(fd, >=, 0);
        else
            g_assert_cmpint(fd, ==, -ENAMETOOLONG);
        VIR_FORCE_CLOSE(fd);
    }
}


/* A place is the directory that was found, whatever has its name since. */
static void
testSocketDirectory(void)
{
    static const char *const names[] = { "dir", "other" };
    g_auto(nitroFilePlace) place = NITRO_FILE_PLACE_INIT;
    g_autofree char *path = at("dir/socket");
    g_autofree char *moved = at("other/socket");
    g_autofree char *one = at(names[0]);
    g_autofree char *two = at(names[1]);
    nitroFileId id;
    int fd;

    makeDir("dir", geteuid(), 0700);
    makeDir("other", geteuid(), 0700);
    makeFile("other/socket", geteuid(), "text");
    find(path, &place);
    g_assert_cmpint(renameat2(AT_FDCWD, one, AT_FDCWD, two, RENAME_EXCHANGE), ==, 0);
    g_assert_cmpint(fd = nitroFileListen(&place, &id), >=, 0);
    g_assert_cmpint(nitroFileRemove(&place, &id), ==, 0);
    g_assert_false(virFileExists(moved));
    g_assert_true(virFileExists(path));
    VIR_FORCE_CLOSE(fd);
}


/* Guests' output is no order for a program of somebody else's. */
static void
testSocketOfOthers(void)
{
    static const struct {
        const char *dir;
        uid_t dirOwner;
        mode_t mode;
        uid_t owner; /* of the socket */
        bool good;
    } cases[] = {
        { "ours", 0, 0755, 0, true },
        { "program", 0, 0755, OTHER, true },
        { "group", 0, 0775, OTHER, true },
        { "sticky", 0, 01777, 0, true },
        { "sticky2", 0, 01777, OTHER, false },
        { "theirs", OTHER, 0755, OTHER, true },
        { "theirs2", OTHER, 0755, 0, false },
    };
    size_t i;

    if (skipUnlessRoot())
        return;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(nitroFilePlace) place = NITRO_FILE_PLACE_INIT;
        g_autofree char *name = g_strdup_printf("%s/socket", cases[i].dir);
        g_autofree char *path = at(name);
        nitroFileId id;
        int server;
        int client;

        makeDir(cases[i].dir, cases[i].dirOwner, cases[i].mode);
        find(path, &place);
        g_assert_cmpint(server = nitroFileListen(&place, &id), >=, 0);
        g_assert_cmpint(lchown(path, cases[i].owner, cases[i].owner), ==, 0);
        client = nitroFileConnect(&place);
        if (cases[i].good)
            g_assert_cmpint(client, >=, 0);
        else
            g_assert_cmpint(client, ==, -EACCES);
        VIR_FORCE_CLOSE(client);
        VIR_FORCE_CLOSE(server);
        /* a stale one of somebody else stays */
        if (cases[i].owner != 0)
            g_assert_cmpint(nitroFileListen(&place, &id), ==, -EADDRINUSE);
    }
}


/* Runs the test with a directory of its own. */
static void
testInDirectory(const void *opaque)
{
    void (*const *test)(void) = opaque;

    top = g_dir_make_tmp("nitrofiletest-XXXXXX", NULL);
    g_assert_nonnull(top);
    g_assert_cmpint(chmod(top, 0755), ==, 0);
    (*test)();
    ignore_value(virFileDeleteTree(top));
    g_clear_pointer(&top, g_free);
}


int
main(int argc,
     char **argv)
{
    static const struct {
        const char *name;
        void (*test)(void);
    } tests[] = {
        { "/file/plain", testPlain },
        { "/file/links", testLinks },
        { "/file/links-of-others", testLinksOfOthers },
        { "/file/others", testOthers },
        { "/file/hard-links", testHardLinks },
        { "/file/race", testRace },
        { "/socket/plain", testSocket },
        { "/socket/name", testSocketName },
        { "/socket/directory", testSocketDirectory },
        { "/socket/others", testSocketOfOthers },
    };
    size_t i;

    if (virErrorInitialize() < 0)
        return 1;

    umask(022);
    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add_data_func(tests[i].name, &tests[i].test, testInDirectory);
    return g_test_run();
}
