/*
 * nitroconftest.c: nitro.conf, each key with what it can be and what it cannot
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "nitro_conf.h"
#include "nitrofakesys.h"
#include "nitrotestutils.h"
#include "virerror.h"
#include "virlog.h"
#include "virutil.h"

static char *path; /* of the file under test */

/* The limit of locked memory that this process is told to have, in bytes; 0: its own */
static rlim_t lockable;

/* What a process sets it to, also a child; 0: it does not */
static rlim_t *locked;


/* What is replaced */

int
getrlimit(__rlimit_resource_t resource,
          struct rlimit *limit)
{
    if (resource == RLIMIT_MEMLOCK && lockable) {
        limit->rlim_cur = limit->rlim_max = lockable;
        return 0;
    }
    return syscall(SYS_prlimit64, 0, resource, NULL, limit);
}


int
prlimit(pid_t pid,
        __rlimit_resource_t resource,
        const struct rlimit *set,
        struct rlimit *old)
{
    if (resource == RLIMIT_MEMLOCK && lockable && set && !old) {
        *locked = set->rlim_cur == set->rlim_max ? set->rlim_max : 1;
        return 0;
    }
    return syscall(SYS_prlimit64, pid, resource, set, old);
}


static void
testWrite(const char *text)
{
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}


/*
 * Reads @text, which must be good, as the system's daemon when it is @privileged. Returns the
 * configuration (nitroDriverConfigFree).
 */
static nitroDriverConfig *
testLoadAs(const char *text,
           bool privileged)
{
    nitroDriverConfig *config = nitroDriverConfigNew(privileged);

    testWrite(text);
    if (nitroDriverConfigLoadFile(config, path) < 0) {
        g_test_message("%s: %s", text, virGetLastErrorMessage());
        g_test_fail();
        virResetLastError();
    }
    return config;
}


static nitroDriverConfig *
testLoad(const char *text)
{
    return testLoadAs(text, false);
}


static void
testDefaults(void)
{
    nitroDriverConfig *config = testLoad("# nothing\n");

    g_assert_cmpstr(config->device, ==, "/dev/nitro_enclaves");
    g_assert_cmpint(config->user, ==, (uid_t)-1);
    g_assert_cmpint(config->group, ==, (gid_t)-1);
    g_assert_false(config->securityRequired);
    g_assert_cmpuint(config->pageSize, ==, 0);
    g_assert_cmpuint(config->heartbeatTimeout, ==, 0);
    g_assert_cmpuint(config->logMaxSize, ==, 2 * 1024 * 1024);
    g_assert_cmpuint(config->logMaxBackups, ==, 3);
    g_assert_false(config->manage);
    g_assert_null(config->poolCpus);
    g_assert_cmpuint(config->npoolPages, ==, 0);
    nitroDriverConfigFree(config);
}


/*
 * The system's daemon without a file, or with one that names nobody: helpers are not root's. Where
 * there is no such user, an error says so. @text is what the file is to have; NULL: none.
 */
static void
testDefaultUser(const void *text)
{
    nitroDriverConfig *config = nitroDriverConfigNew(true);
    g_autofree char *message = NULL;
    uid_t user;
    int rc;

    if (text)
        testWrite(text);
    rc = nitroDriverConfigLoadFile(config, text ? path : "/nonexistent/nitro.conf");
    message = g_strdup(virGetLastErrorMessage());
    if (virGetUserID(NITRO_USER, &user) == 0) {
        g_assert_cmpint(rc, ==, 0);
        g_assert_cmpint(config->user, ==, user);
        g_assert_cmpint(config->group, !=, 0);
        g_assert_false(nitroDriverConfigIsRoot(config));
    } else {
        g_assert_cmpint(rc, ==, -1);
        g_assert_nonnull(strstr(message, "no user 'libvirt-nitro'"));
        g_assert_nonnull(strstr(message, "systemd-sysusers"));
        g_assert_nonnull(strstr(message, "nitro.conf"));
    }
    virResetLastError();
    nitroDriverConfigFree(config);
}


static void
testMissing(void)
{
    nitroDriverConfig *config = nitroDriverConfigNew(false);

    g_assert_cmpint(nitroDriverConfigLoadFile(config, "/nonexistent/nitro.conf"), ==, 0);
    nitroDriverConfigFree(config);
}


/* All that the installed file shows is good, and is the default. */
static void
testInstalled(void)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    g_autoptr(GString) conf = g_string_new(NULL);
    nitroDriverConfig *config;
    size_t i;

    g_assert_true(g_file_get_contents(NITRO_TEST_SRCDIR "/../src/nitro/nitro.conf.in",
                                      &text, NULL, NULL));
    config = testLoad(text);
    nitroDriverConfigFree(config);

    lines = g_strsplit(text, "\n", -1);
    for (i = 0; lines[i]; i++) {
        if (g_str_has_prefix(lines[i], "#") && g_ascii_isalpha(lines[i][1]) &&
            !strstr(lines[i], "user =") && !strstr(lines[i], "group ="))
            g_string_append_printf(conf, "%s\n", lines[i] + 1);
    }
    config = testLoad(conf->str);
    g_assert_cmpstr(config->device, ==, "/dev/nitro_enclaves");
    g_assert_cmpuint(config->pageSize, ==, 0);
    g_assert_cmpuint(config->heartbeatTimeout, ==, 0);
    g_assert_cmpuint(config->logMaxSize, ==, 2 * 1024 * 1024);
    g_assert_cmpuint(config->logMaxBackups, ==, 3);
    g_assert_false(config->manage);
    g_assert_cmpuint(config->npoolPages, ==, 2);
    nitroDriverConfigFree(config);
}


static void
testValues(void)
{
    nitroDriverConfig *config = testLoad("device = \"/dev/other\"\n"
                                         "huge_page_size = \"1G\"\n"
                                         "heartbeat_timeout = 86400\n"
                                         "max_starts = 3\n"
                                         "log_max_size = 5000000000\n"
                                         "log_max_backups = 100\n"
                                         "pool_cpus = \"2-3,7\"\n"
                                         "pool_huge_pages = [ \"64x2M\", \"4x1g\", \"1x32M\" ]\n");
    g_autofree char *cpus = virBitmapFormat(config->poolCpus);

    g_assert_cmpstr(config->device, ==, "/dev/other");
    g_assert_cmpuint(config->pageSize, ==, 1048576);
    g_assert_cmpuint(config->heartbeatTimeout, ==, 86400);
    g_assert_cmpuint(config->maxStarts, ==, 3);
    g_assert_cmpuint(config->logMaxSize, ==, 5000000000);
    g_assert_cmpuint(config->logMaxBackups, ==, 100);
    g_assert_cmpstr(cpus, ==, "2-3,7");
    g_assert_cmpuint(config->npoolPages, ==, 3);
    g_assert_cmpuint(config->poolPages[0].count, ==, 64);
    g_assert_cmpuint(config->poolPages[0].size, ==, 2048);
    g_assert_cmpuint(config->poolPages[1].count, ==, 4);
    g_assert_cmpuint(config->poolPages[1].size, ==, 1048576);
    g_assert_cmpuint(config->poolPages[2].size, ==, 32768);
    nitroDriverConfigFree(config);

    config = testLoad("log_max_size = 0\nlog_max_backups = 0\n");
    g_assert_cmpuint(config->logMaxSize, ==, 0);
    g_assert_cmpuint(config->logMaxBackups, ==, 0);
    nitroDriverConfigFree(config);

    config = testLoad("security_required = 1\n");
    g_assert_true(config->securityRequired);
    nitroDriverConfigFree(config);

    config = testLoad("log_max_size = 4096\n");
    g_assert_cmpuint(config->logMaxSize, ==, 4096);
    nitroDriverConfigFree(config);

    config = testLoad("huge_page_size = \"auto\"\npool_huge_pages = \"8x2M\"\n");
    g_assert_cmpuint(config->pageSize, ==, 0);
    g_assert_cmpuint(config->npoolPages, ==, 1);
    nitroDriverConfigFree(config);
}


static void
testRoot(void)
{
    nitroDriverConfig *config;

    if (geteuid() != 0) {
        g_test_skip("root alone may choose a user and manage the pool");
        return;
    }

    config = testLoadAs("user = \"root\"\n", true);
    g_assert_cmpint(config->user, ==, 0);
    g_assert_cmpint(config->group, ==, 0);
    g_assert_true(nitroDriverConfigIsRoot(config));
    nitroDriverConfigFree(config);

    config = testLoadAs("user = \"daemon\"\n", true);
    g_assert_cmpint(config->user, ==, 1);
    g_assert_cmpint(config->group, ==, 1);
    g_assert_false(nitroDriverConfigIsRoot(config));
    nitroDriverConfigFree(config);

    config = testLoadAs("user = \"daemon\"\ngroup = \"root\"\n", true);
    g_assert_cmpint(config->user, ==, 1);
    g_assert_true(nitroDriverConfigIsRoot(config));
    nitroDriverConfigFree(config);

    config = testLoad("user = \"daemon\"\n");
    g_assert_cmpint(config->user, ==, 1);
    g_assert_cmpint(config->group, ==, 1);
    nitroDriverConfigFree(config);

    config = testLoad("user = \"+12345\"\ngroup = \"daemon\"\n");
    g_assert_cmpint(config->user, ==, 12345);
    g_assert_cmpint(config->group, ==, 1);
    nitroDriverConfigFree(config);

    config = testLoad("group = \"daemon\"\n");
    g_assert_cmpint(config->user, ==, (uid_t)-1);
    g_assert_cmpint(config->group, ==, 1);
    nitroDriverConfigFree(config);

    config = testLoad("manage_pool = 1\npool_cpus = \"1\"\n");
    g_assert_true(config->manage);
    nitroDriverConfigFree(config);
}


/* Each is refused with a sentence that has the file, the key, and what is wrong. */
static const struct {
    const char *text;
    const char *key;
    const char *words;
    bool root; /* as root only */
} wrong[] = {
    { "device = \"dev/x\"", "'device'", "'dev/x', which is no absolute path" },
    { "device = \"\"", "'device'", "no absolute path" },
    { "device = 1", "'device'", "expected a string" },
    { "device = [ \"/dev/x\" ]", "'device'", "expected a string" },
    { "devices = \"/dev/x\"", "'devices'", "unknown parameter" },
    { "huge_page_size = 2", "'huge_page_size'", "expected a string" },
    { "huge_page_size = \"3M\"", "'huge_page_size'", "'3M', and must be" },
    { "huge_page_size = \"1M\"", "'huge_page_size'", "multiple of 2 MiB" },
    { "huge_page_size = \"0M\"", "'huge_page_size'", "'0M'" },
    { "huge_page_size = \"2\"", "'huge_page_size'", "M or G behind it" },
    { "huge_page_size = \"2MB\"", "'huge_page_size'", "'2MB'" },
    { "huge_page_size = \"-2M\"", "'huge_page_size'", "'-2M'" },
    { "huge_page_size = \"99999999999999G\"", "'huge_page_size'", "99999999999999G" },
    { "huge_page_size = \"\"", "'huge_page_size'", "''" },
    { "heartbeat_timeout = \"90\"", "'heartbeat_timeout'", "expected an unsigned integer" },
    { "heartbeat_timeout = -1", "'heartbeat_timeout'", "expected an unsigned integer" },
    { "heartbeat_timeout = 86401", "'heartbeat_timeout'", "must be at most 86400" },
    { "heartbeat_timeout = 4294967296", "'heartbeat_timeout'", "must be in range" },
    { "max_starts = 0", "'max_starts'", "1 to 64" },
    { "max_starts = 65", "'max_starts'", "1 to 64" },
    { "log_max_size = \"2M\"", "'log_max_size'", "expected an unsigned integer" },
    { "log_max_size = 4095", "'log_max_size'", "at least 4096, or 0" },
    { "log_max_size = -1", "'log_max_size'", "expected an unsigned integer" },
    { "log_max_backups = 101", "'log_max_backups'", "must be at most 100" },
    { "log_max_backups = -1", "'log_max_backups'", "expected an unsigned integer" },
    { "pool_cpus = 3", "'pool_cpus'", "expected a string" },
    { "pool_cpus = \"\"", "'pool_cpus'", "a list of CPUs" },
    { "pool_cpus = \"1-\"", "'pool_cpus'", "'1-', and must be a list of CPUs" },
    { "pool_cpus = \"a\"", "'pool_cpus'", "'a'" },
    { "pool_cpus = \"1-99999999\"", "'pool_cpus'", "'1-99999999'" },
    { "pool_huge_pages = 64", "'pool_huge_pages'", "expected a string" },
    { "pool_huge_pages = [ 64 ]", "'pool_huge_pages'", "string list" },
    { "pool_huge_pages = [ \"64x2M\", \"2M\" ]", "'pool_huge_pages'", "has '2M'" },
    { "pool_huge_pages = \"0x2M\"", "'pool_huge_pages'", "has '0x2M'" },
    { "pool_huge_pages = \"1x3M\"", "'pool_huge_pages'", "has '1x3M'" },
    { "pool_huge_pages = \"99999999999x2M\"", "'pool_huge_pages'", "has '99999999999x2M'" },
    { "manage_pool = \"yes\"", "'manage_pool'", "expected a bool for" },
    { "manage_pool = 2", "'manage_pool'", "must be 0 or 1" },
    { "manage_pool = 1", "'manage_pool'", "neither 'pool_cpus' nor 'pool_huge_pages'" },
    { "security_required = 2", "'security_required'", "must be 0 or 1" },
    { "security_required = \"yes\"", "'security_required'", "expected a bool for" },
    { "user = 1000", "'user'", "expected a string" },
    { "group = 1000", "'group'", "expected a string" },
    { "user = \"no such user\"", "'user'", "'no such user', and there is no such user", true },
    { "group = \"no such group\"", "'group'", "and there is no such group", true },
    { "user = \"+12345\"", "'user'", "set 'group', too", true },
    { "device = ", "", "expecting a value" },
    { "\"device\"", "", "expecting a name" },
};

static void
testWrong(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(wrong); i++) {
        nitroDriverConfig *config;
        g_autofree char *text = g_strconcat(wrong[i].text, "\n", NULL);
        const char *message;

        if (wrong[i].root && geteuid() != 0)
            continue;

        config = nitroDriverConfigNew(false);
        testWrite(text);
        if (nitroDriverConfigLoadFile(config, path) == 0) {
            g_test_message("accepted: %s", wrong[i].text);
            g_test_fail();
        } else {
            message = virGetLastErrorMessage();
            if (!strstr(message, path) || !strstr(message, wrong[i].key) ||
                !strstr(message, wrong[i].words)) {
                g_test_message("%s: %s", wrong[i].text, message);
                g_test_fail();
            }
        }
        virResetLastError();
        nitroDriverConfigFree(config);
    }
}


static void
testWrongUser(void)
{
    nitroDriverConfig *config = nitroDriverConfigNew(false);

    if (geteuid() == 0) {
        g_test_skip("root may choose a user");
        nitroDriverConfigFree(config);
        return;
    }

    testWrite("user = \"root\"\n");
    g_assert_cmpint(nitroDriverConfigLoadFile(config, path), ==, -1);
    g_assert_nonnull(strstr(virGetLastErrorMessage(), "'user' cannot be chosen"));
    testWrite("manage_pool = 1\npool_cpus = \"1\"\n");
    g_assert_cmpint(nitroDriverConfigLoadFile(config, path), ==, -1);
    g_assert_nonnull(strstr(virGetLastErrorMessage(), "the daemon is not root's"));
    virResetLastError();
    nitroDriverConfigFree(config);
}


/* Sets up what it is told to, as far as it can, and nothing when it is told not to. */
static void
testManage(void)
{
    static const FakeSys host = { 8, 2, 4, 1, "" };
    const char *nr = "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages";
    const char *pool = "/sys/module/nitro_enclaves/parameters/ne_cpus";
    g_autoptr(virBitmap) cpus = virBitmapParseUnlimited("3,7");
    nitroHugepages pages[] = { { 1048576, 4 }, { 2048, 64 } };
    nitroDriverConfig config = { .poolCpus = cpus, .poolPages = pages, .npoolPages = 2 };
    g_autofree char *off = NULL;
    g_autofree char *on = NULL;
    g_autofree char *onPool = NULL;

    fakeSysNew(&host);
    fakeSysWrite(nr, "10");
    nitroDriverConfigManage(&config);
    off = fakeSysRead(nr);
    g_assert_cmpstr(off, ==, "10");

    /* there are no pages of 1 GiB; the others are reserved all the same */
    config.manage = true;
    nitroDriverConfigManage(&config);
    on = fakeSysRead(nr);
    g_assert_cmpstr(on, ==, "64");
    onPool = fakeSysRead(pool);
    g_assert_cmpstr(onPool, ==, "3,7");
    g_assert_null(virGetLastError());
}


/* What has nothing to lock has a limit, which is never a higher one than the daemon's. */
static void
testLocking(void)
{
    static const struct {
        rlim_t own;
        rlim_t expected;
    } cases[] = {
        { RLIM_INFINITY, 8 << 20 },
        { 64 << 20, 8 << 20 },
        { 8 << 20, 0 },
        { 64 << 10, 0 },
    };
    size_t i;

    locked = mmap(NULL, sizeof(*locked), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    g_assert_true(locked != MAP_FAILED);
    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(virCommand) cmd = virCommandNewArgList("true", NULL);

        *locked = 0;
        lockable = cases[i].own;
        nitroDriverConfigLimitLocking(cmd);
        g_assert_cmpint(virCommandRun(cmd, NULL), ==, 0);
        lockable = 0;
        g_assert_cmpuint(*locked, ==, cases[i].expected);
    }
    g_assert_cmpint(munmap(locked, sizeof(*locked)), ==, 0);
}


int
main(int argc,
     char **argv)
{
    g_autofree char *dir = g_dir_make_tmp("nitroconftest-XXXXXX", NULL);
    virDomainXMLOption *xmlopt;
    int ret;

    xmlopt = nitroTestInit(&argc, &argv);
    virLogSetDefaultOutput("nitroconftest", false, false);
    path = g_build_filename(dir, "nitro.conf", NULL);

    g_test_add_func("/defaults", testDefaults);
    g_test_add_data_func("/default-user/no-file", NULL, testDefaultUser);
    g_test_add_data_func("/default-user/empty", "# nothing\n", testDefaultUser);
    g_test_add_data_func("/default-user/other", "max_starts = 3\n", testDefaultUser);
    g_test_add_func("/missing", testMissing);
    g_test_add_func("/installed", testInstalled);
    g_test_add_func("/values", testValues);
    g_test_add_func("/root", testRoot);
    g_test_add_func("/wrong", testWrong);
    g_test_add_func("/wrong-user", testWrongUser);
    g_test_add_func("/manage", testManage);
    g_test_add_func("/locking", testLocking);

    ret = g_test_run();
    fakeSysFree();
    unlink(path);
    rmdir(dir);
    g_free(path);
    virObjectUnref(xmlopt);
    return ret;
}
