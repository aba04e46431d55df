/*
 * rotationtest.c: a file that does not grow beyond a size
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "common/rotation.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE 10000
#define BACKUPS 3

/* The file, and what its old output goes to; without names, as the helper needs none */
typedef struct {
    int fd;
    GArray *backups;
    Rotation *rotation;
} Fixture;

static int
makeFile(int flags)
{
    g_autofree char *path = g_build_filename(g_get_tmp_dir(), "rotationtest-XXXXXX", NULL);
    int fd = g_mkstemp_full(path, O_RDWR | flags, 0600);

    g_assert_cmpint(fd, >=, 0);
    unlink(path);
    return fd;
}

static void
setUp(Fixture *fixture, gconstpointer opaque)
{
    int i;

    fixture->fd = makeFile(O_APPEND);
    fixture->backups = g_array_new(FALSE, FALSE, sizeof(int));
    for (i = 0; i < GPOINTER_TO_INT(opaque); i++) {
        int fd = makeFile(0);

        g_array_append_val(fixture->backups, fd);
    }
    fixture->rotation = rotationNew(fixture->fd, fixture->backups, SIZE);
}

static void
tearDown(Fixture *fixture, gconstpointer opaque G_GNUC_UNUSED)
{
    guint i;

    rotationFree(fixture->rotation);
    for (i = 0; i < fixture->backups->len; i++)
        close(g_array_index(fixture->backups, int, i));
    g_array_unref(fixture->backups);
    close(fixture->fd);
}

static void
addContents(GString *text, int fd)
{
    char buf[2 * SIZE];
    ssize_t n = pread(fd, buf, sizeof(buf), 0);

    g_assert_cmpint(n, >=, 0);
    g_assert_cmpint(n, <=, SIZE);
    g_string_append_len(text, buf, n);
}

/* All that is kept, the oldest first (g_string_free) */
static GString *
contents(const Fixture *fixture)
{
    GString *text = g_string_new(NULL);
    guint i;

    for (i = fixture->backups->len; i-- > 0;)
        addContents(text, g_array_index(fixture->backups, int, i));
    addContents(text, fixture->fd);
    return text;
}

static void
writeAll(Fixture *fixture, const char *text, size_t len)
{
    while (len > 0) {
        bool lost = false;
        ssize_t n = rotationWrite(fixture->rotation, text, len, &lost);

        g_assert_cmpint(n, >, 0);
        g_assert_false(lost);
        text += n;
        len -= n;
    }
}

static off_t
size(int fd)
{
    struct stat st;

    g_assert_cmpint(fstat(fd, &st), ==, 0);
    return st.st_size;
}

/* The end of the output is kept, without a hole, in files of the right size. */
static void
testStream(Fixture *fixture, gconstpointer opaque)
{
    g_autoptr(GString) all = g_string_new(NULL);
    g_autoptr(GString) kept = NULL;
    unsigned int i;

    for (i = 0; i < 3000; i++) {
        g_autofree char *line = g_strdup_printf("%u: %.*s\n", i, (int)(i % 70),
                                                "......................................................................");

        g_string_append(all, line);
        writeAll(fixture, line, strlen(line));
        g_assert_cmpint(size(fixture->fd), <=, SIZE);
    }
    kept = contents(fixture);
    g_assert_cmpuint(kept->len, >=, GPOINTER_TO_INT(opaque) * (SIZE - 100));
    g_assert_cmpstr(kept->str, ==, all->str + all->len - kept->len);
    /* each begins with a line */
    g_assert_true(kept->len == all->len || all->str[all->len - kept->len - 1] == '\n');
}

/* Large and small parts, with lines and without any */
static void
testParts(Fixture *fixture, gconstpointer opaque)
{
    static char text[7 * SIZE];
    g_autoptr(GString) kept = NULL;
    size_t done = 0;
    size_t len = 1;
    size_t i;

    for (i = 0; i < sizeof(text); i++)
        text[i] = (i / SIZE) % 2 ? 'a' + i % 26 : (i % 100 ? 'A' + i % 26 : '\n');
    while (done < sizeof(text)) {
        len = MIN(len * 3 % 16381 + 1, sizeof(text) - done);
        writeAll(fixture, text + done, len);
        done += len;
    }
    kept = contents(fixture);
    g_assert_cmpuint(kept->len, >, GPOINTER_TO_INT(opaque) > 0 ? SIZE : 0);
    g_assert_cmpint(memcmp(kept->str, text + sizeof(text) - kept->len, kept->len), ==, 0);
}

/* A file that was larger before, or that others write to */
static void
testTooLarge(Fixture *fixture, gconstpointer opaque G_GNUC_UNUSED)
{
    static char text[5 * SIZE];
    g_autoptr(GString) kept = NULL;

    memset(text, 'x', sizeof(text));
    g_assert_cmpint(write(fixture->fd, text, sizeof(text)), ==, sizeof(text));
    g_assert_true(rotationMakeRoom(fixture->rotation, 0));
    g_assert_cmpint(size(fixture->fd), ==, 0);
    g_assert_cmpint(size(g_array_index(fixture->backups, int, 0)), ==, SIZE);
    g_assert_cmpint(size(g_array_index(fixture->backups, int, 1)), ==, 0);

    /* what has room stays */
    writeAll(fixture, "line\n", 5);
    g_assert_true(rotationMakeRoom(fixture->rotation, SIZE - 5));
    g_assert_cmpint(size(fixture->fd), ==, 5);
    g_assert_true(rotationMakeRoom(fixture->rotation, SIZE - 4));
    g_assert_cmpint(size(fixture->fd), ==, 0);
    kept = contents(fixture);
    g_assert_cmpuint(kept->len, ==, SIZE + 5);
    g_assert_true(g_str_has_suffix(kept->str, "xline\n"));
}

/* Old output that has no room is lost, and said to be; the file goes on. */
static void
testNoRoom(Fixture *fixture, gconstpointer opaque G_GNUC_UNUSED)
{
    struct rlimit limit;
    struct rlimit small;
    bool lost = false;

    writeAll(fixture, "old\n", 4);
    g_assert_cmpint(ftruncate(fixture->fd, SIZE), ==, 0);
    signal(SIGXFSZ, SIG_IGN);
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    small = limit;
    small.rlim_cur = SIZE / 2;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &small), ==, 0);
    g_assert_cmpint(rotationWrite(fixture->rotation, "new\n", 4, &lost), ==, 4);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    g_assert_true(lost);
    g_assert_cmpint(size(fixture->fd), ==, 4);
    g_assert_cmpint(size(g_array_index(fixture->backups, int, 0)), ==, 0);
}

int
main(int argc, char **argv)
{
    static const int backups[] = {0, 1, BACKUPS};
    size_t i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < G_N_ELEMENTS(backups); i++) {
        g_autofree char *stream = g_strdup_printf("/rotation/stream/%d", backups[i]);
        g_autofree char *parts = g_strdup_printf("/rotation/parts/%d", backups[i]);

        g_test_add(stream, Fixture, GINT_TO_POINTER(backups[i]), setUp, testStream, tearDown);
        g_test_add(parts, Fixture, GINT_TO_POINTER(backups[i]), setUp, testParts, tearDown);
    }
    g_test_add("/rotation/too-large", Fixture, GINT_TO_POINTER(BACKUPS), setUp, testTooLarge,
               tearDown);
    g_test_add("/rotation/no-room", Fixture, GINT_TO_POINTER(BACKUPS), setUp, testNoRoom,
               tearDown);
    return g_test_run();
}
