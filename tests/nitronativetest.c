/*
 * nitronativetest.c: definitions in the formats of other tools
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The cases are files in nitronativedata. cli-NAME.json (nitro-cli) and qemu-NAME.args
 * (qemu-argv) have NAME.xml beside them, the definition that is made of them, or
 * NAME.err, the code and message with which they are refused. Cases of the kind BOTH
 * are written again from the XML, to the byte. A definition that a format cannot say is
 * NAME.xml, and NAME.err as well.
 */

#include <config.h>

#include "nitro_domain_conf.h"
#include "nitro_native.h"
#include "nitrotestutils.h"
#include "viruuid.h"

#define DATADIR "nitronativedata"

/* What a description without a UUID gets here: a new one would differ in each run. */
#define TEST_UUID "c7a5fdbd-edaf-9455-926a-d65c16db1809"

typedef enum {
    BOTH,         /* native <-> XML */
    READ,         /* native -> XML */
    READ_REFUSED, /* native -> error */
    WRITE,        /* XML -> native */
    WRITE_REFUSED, /* XML -> error */
} TestKind;

typedef struct {
    const char *name;
    TestKind kind;
} TestCase;

static virDomainXMLOption *xmlopt;


static bool
testIsCli(const TestCase *test)
{
    return g_str_has_prefix(test->name, "cli-");
}


static const char *
testFormat(const TestCase *test)
{
    return testIsCli(test) ? "nitro-cli" : "qemu-argv";
}


static char *
testNativePath(const TestCase *test)
{
    return nitroTestPath(DATADIR, test->name, testIsCli(test) ? ".json" : ".args");
}


/* Ends with a comparison, whatever has been expected. */
static void
testCompareError(const TestCase *test)
{
    g_autofree char *path = nitroTestPath(DATADIR, test->name, ".err");
    g_autofree char *text = nitroTestTakeError();

    if (test->kind != READ_REFUSED && test->kind != WRITE_REFUSED) {
        g_test_message("%s is refused: %s", test->name, text);
        g_test_fail();
        return;
    }
    nitroTestCompareToFile(text, path);
}


static void
testRead(const TestCase *test)
{
    g_autofree char *native = testNativePath(test);
    g_autofree char *path = nitroTestPath(DATADIR, test->name, ".xml");
    g_autoptr(virDomainDef) def = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *config = NULL;
    g_autofree char *xml = NULL;

    g_assert_true(g_file_get_contents(native, &config, NULL, &error));

    def = nitroNativeParse(testFormat(test), config, VIR_ARCH_X86_64, xmlopt);
    if (!def) {
        testCompareError(test);
        return;
    }
    if (test->kind == READ_REFUSED) {
        g_test_message("%s is not refused", native);
        g_test_fail();
        return;
    }

    if (!strstr(config, "-uuid"))
        g_assert_cmpint(virUUIDParse(TEST_UUID, def->uuid), ==, 0);
    xml = virDomainDefFormat(def, xmlopt, VIR_DOMAIN_DEF_FORMAT_INACTIVE);
    g_assert_nonnull(xml);
    nitroTestCompareToFile(xml, path);
}


static void
testWrite(const TestCase *test)
{
    g_autofree char *native = testNativePath(test);
    g_autofree char *path = nitroTestPath(DATADIR, test->name, ".xml");
    g_autoptr(virDomainDef) def = NULL;
    g_autofree char *text = NULL;

    def = virDomainDefParseFile(path, xmlopt, NULL, VIR_DOMAIN_DEF_PARSE_INACTIVE);
    if (!def) {
        g_test_message("%s: %s", path, virGetLastErrorMessage());
        g_test_fail();
        return;
    }

    text = nitroNativeFormat(testFormat(test), def);
    if (!text) {
        testCompareError(test);
    } else if (test->kind == WRITE_REFUSED) {
        g_test_message("%s is not refused", path);
        g_test_fail();
    } else {
        nitroTestCompareToFile(text, native);
    }
}


static void
testNative(gconstpointer opaque)
{
    const TestCase *test = opaque;

    if (test->kind != WRITE && test->kind != WRITE_REFUSED)
        testRead(test);
    if (test->kind != READ && test->kind != READ_REFUSED)
        testWrite(test);
}


static const TestCase tests[] = {
    { "cli-full", BOTH },
    { "cli-minimal", BOTH },
    { "cli-cpu-ids", BOTH },

    { "cli-documentation", READ },
    { "cli-no-name", READ },
    { "cli-null", READ },
    { "cli-cid-0", READ },
    { "cli-name-pair", READ },

    { "cli-err-empty", READ_REFUSED },
    { "cli-err-text", READ_REFUSED },
    { "cli-err-array", READ_REFUSED },
    { "cli-err-cut", READ_REFUSED },
    { "cli-err-deep", READ_REFUSED },
    { "cli-err-twice", READ_REFUSED },
    { "cli-err-trailing-comma", READ_REFUSED },
    { "cli-err-comment", READ_REFUSED },
    { "cli-err-comment-line", READ_REFUSED },
    { "cli-err-bom", READ_REFUSED },
    { "cli-err-yaml", READ_REFUSED },
    { "cli-err-quotes", READ_REFUSED },
    { "cli-err-number", READ_REFUSED },
    { "cli-err-two", READ_REFUSED },
    { "cli-err-twice-null", READ_REFUSED },
    { "cli-err-twice-nested", READ_REFUSED },
    { "cli-err-twice-escaped", READ_REFUSED },
    { "cli-err-name-nul", READ_REFUSED },
    { "cli-err-name-return", READ_REFUSED },
    { "cli-err-name-delete", READ_REFUSED },
    { "cli-err-name-c1", READ_REFUSED },
    { "cli-err-name-raw-control", READ_REFUSED },
    { "cli-err-path-nul", READ_REFUSED },
    { "cli-err-path-tab", READ_REFUSED },
    { "cli-err-member-nul", READ_REFUSED },
    { "cli-err-name-surrogate", READ_REFUSED },
    { "cli-err-name-surrogate-low", READ_REFUSED },
    { "cli-err-name-surrogate-letter", READ_REFUSED },
    { "cli-err-nested-string", READ_REFUSED },
    { "cli-err-utf8", READ_REFUSED },
    { "cli-err-member", READ_REFUSED },
    { "cli-err-member-case", READ_REFUSED },
    { "cli-err-no-eif-path", READ_REFUSED },
    { "cli-err-no-memory", READ_REFUSED },
    { "cli-err-no-cpus", READ_REFUSED },
    { "cli-err-both-cpus", READ_REFUSED },
    { "cli-err-path-relative", READ_REFUSED },
    { "cli-err-path-empty", READ_REFUSED },
    { "cli-err-path-number", READ_REFUSED },
    { "cli-err-name-slash", READ_REFUSED },
    { "cli-err-name-newline", READ_REFUSED },
    { "cli-err-memory-0", READ_REFUSED },
    { "cli-err-memory-odd", READ_REFUSED },
    { "cli-err-memory-small", READ_REFUSED },
    { "cli-err-memory-text", READ_REFUSED },
    { "cli-err-memory-negative", READ_REFUSED },
    { "cli-err-memory-fraction", READ_REFUSED },
    { "cli-err-memory-overflow", READ_REFUSED },
    { "cli-err-memory-more-digits", READ_REFUSED },
    { "cli-err-memory-negative-digits", READ_REFUSED },
    { "cli-err-cpu-count-0", READ_REFUSED },
    { "cli-err-cpu-count-many", READ_REFUSED },
    { "cli-err-cpu-count-negative", READ_REFUSED },
    { "cli-err-cpu-ids-none", READ_REFUSED },
    { "cli-err-cpu-ids-0", READ_REFUSED },
    { "cli-err-cpu-ids-twice", READ_REFUSED },
    { "cli-err-cpu-ids-large", READ_REFUSED },
    { "cli-err-cpu-ids-text", READ_REFUSED },
    { "cli-err-cpu-ids-list", READ_REFUSED },
    { "cli-err-cid-3", READ_REFUSED },
    { "cli-err-cid-large", READ_REFUSED },
    { "cli-err-debug-text", READ_REFUSED },
    { "cli-err-attach-no-debug", READ_REFUSED },

    { "cli-write-emulated", WRITE },
    { "cli-write-vcpupin", WRITE },
    { "cli-write-actions", WRITE },

    { "cli-err-write-initrd", WRITE_REFUSED },
    { "cli-err-write-cmdline", WRITE_REFUSED },
    { "cli-err-write-console-file", WRITE_REFUSED },
    { "cli-err-write-console-unix", WRITE_REFUSED },
    { "cli-err-write-console-log", WRITE_REFUSED },
    { "cli-err-write-measurement", WRITE_REFUSED },
    { "cli-err-write-heartbeat-off", WRITE_REFUSED },
    { "cli-err-write-heartbeat-timeout", WRITE_REFUSED },
    { "cli-err-write-hugepages", WRITE_REFUSED },
    { "cli-err-write-numatune", WRITE_REFUSED },
    { "cli-err-write-channel", WRITE_REFUSED },
    { "cli-err-write-services", WRITE_REFUSED },

    { "qemu-full", BOTH },
    { "qemu-eif", BOTH },
    { "qemu-aarch64", BOTH },
    { "qemu-serial-null", BOTH },
    { "qemu-serial-none", BOTH },
    { "qemu-serial-no-debug", BOTH },

    { "qemu-documentation", READ },
    { "qemu-long", READ },
    { "qemu-defaults", READ },
    { "qemu-nodefaults", READ },
    { "qemu-memory-number", READ },
    { "qemu-memory-bytes", READ },
    { "qemu-memory-0", READ },
    { "qemu-last-wins", READ },
    { "qemu-emulated-documentation", READ },
    { "qemu-emulated-full", READ },
    { "qemu-emulated-no-console", READ },
    { "qemu-quoted-shell", READ },

    { "qemu-err-empty", READ_REFUSED },
    { "qemu-err-quote", READ_REFUSED },
    { "qemu-err-program", READ_REFUSED },
    { "qemu-err-program-arch", READ_REFUSED },
    { "qemu-err-arch", READ_REFUSED },
    { "qemu-err-option", READ_REFUSED },
    { "qemu-err-option-long", READ_REFUSED },
    { "qemu-err-option-dashes", READ_REFUSED },
    { "qemu-err-option-dash", READ_REFUSED },
    { "qemu-err-disk", READ_REFUSED },
    { "qemu-err-no-value", READ_REFUSED },
    { "qemu-err-machine", READ_REFUSED },
    { "qemu-err-machine-property", READ_REFUSED },
    { "qemu-err-no-machine", READ_REFUSED },
    { "qemu-err-accel", READ_REFUSED },
    { "qemu-err-accel-property", READ_REFUSED },
    { "qemu-err-accel-empty", READ_REFUSED },
    { "qemu-err-no-accel", READ_REFUSED },
    { "qemu-err-debug-mode", READ_REFUSED },
    { "qemu-err-cid-text", READ_REFUSED },
    { "qemu-err-cid-2", READ_REFUSED },
    { "qemu-err-cid-large", READ_REFUSED },
    { "qemu-err-no-kernel", READ_REFUSED },
    { "qemu-err-kernel-relative", READ_REFUSED },
    { "qemu-err-initrd-relative", READ_REFUSED },
    { "qemu-err-memory-suffix", READ_REFUSED },
    { "qemu-err-memory-fraction", READ_REFUSED },
    { "qemu-err-memory-negative", READ_REFUSED },
    { "qemu-err-memory-odd", READ_REFUSED },
    { "qemu-err-memory-overflow", READ_REFUSED },
    { "qemu-err-memory-slots", READ_REFUSED },
    { "qemu-err-smp-0", READ_REFUSED },
    { "qemu-err-smp-topology", READ_REFUSED },
    { "qemu-err-smp-many", READ_REFUSED },
    { "qemu-err-cpu", READ_REFUSED },
    { "qemu-err-display", READ_REFUSED },
    { "qemu-err-serial", READ_REFUSED },
    { "qemu-err-serial-properties", READ_REFUSED },
    { "qemu-err-name", READ_REFUSED },
    { "qemu-err-name-property", READ_REFUSED },
    { "qemu-err-uuid", READ_REFUSED },
    { "qemu-err-shell-background", READ_REFUSED },
    { "qemu-err-shell-redirect", READ_REFUSED },
    { "qemu-err-shell-redirect-glued", READ_REFUSED },
    { "qemu-err-shell-pipe", READ_REFUSED },
    { "qemu-err-shell-and", READ_REFUSED },
    { "qemu-err-shell-semicolon", READ_REFUSED },
    { "qemu-err-shell-variable", READ_REFUSED },
    { "qemu-err-shell-variable-quoted", READ_REFUSED },
    { "qemu-err-shell-command", READ_REFUSED },
    { "qemu-err-shell-backtick", READ_REFUSED },
    { "qemu-err-shell-before", READ_REFUSED },
    { "qemu-err-control", READ_REFUSED },
    { "qemu-err-name-empty", READ_REFUSED },
    { "qemu-err-name-line", READ_REFUSED },
    { "qemu-err-append-tab", READ_REFUSED },
    { "qemu-err-utf8", READ_REFUSED },
    { "qemu-err-emulated-id-empty", READ_REFUSED },
    { "qemu-err-sudo", READ_REFUSED },
    { "qemu-err-emulated-accel", READ_REFUSED },
    { "qemu-err-emulated-accel-property", READ_REFUSED },
    { "qemu-err-emulated-no-vsock", READ_REFUSED },
    { "qemu-err-emulated-no-chardev", READ_REFUSED },
    { "qemu-err-emulated-other-chardev", READ_REFUSED },
    { "qemu-err-emulated-two-chardevs", READ_REFUSED },
    { "qemu-err-emulated-chardev-backend", READ_REFUSED },
    { "qemu-err-emulated-chardev-property", READ_REFUSED },
    { "qemu-err-emulated-role", READ_REFUSED },
    { "qemu-err-emulated-arch", READ_REFUSED },
    { "qemu-err-emulated-device", READ_REFUSED },
    { "qemu-err-emulated-cpu", READ_REFUSED },
    { "qemu-err-chardev", READ_REFUSED },
    { "qemu-err-machine-vsock", READ_REFUSED },

    { "qemu-err-write-emulated", WRITE_REFUSED },
    { "qemu-err-write-cpuset", WRITE_REFUSED },
    { "qemu-err-write-measurement", WRITE_REFUSED },
    { "qemu-err-write-console-log", WRITE_REFUSED },
    { "qemu-err-write-channel", WRITE_REFUSED },
    { "qemu-err-write-services", WRITE_REFUSED },
};


static void
testUnknownFormat(void)
{
    g_autofree char *path = nitroTestPath(DATADIR, "cli-minimal", ".xml");
    g_autoptr(virDomainDef) def = NULL;
    g_autofree char *error = NULL;

    g_assert_null(nitroNativeParse("vmx", "{}", VIR_ARCH_X86_64, xmlopt));
    error = nitroTestTakeError();
    g_assert_cmpstr(error, ==,
                    "VIR_ERR_INVALID_ARG (8)\n"
                    "invalid argument: unknown format 'vmx': "
                    "the formats of enclaves are 'nitro-cli' and 'qemu-argv'\n");

    def = virDomainDefParseFile(path, xmlopt, NULL, VIR_DOMAIN_DEF_PARSE_INACTIVE);
    g_assert_nonnull(def);
    g_assert_null(nitroNativeFormat("vmx", def));
    g_assert_cmpint(virGetLastErrorCode(), ==, VIR_ERR_INVALID_ARG);
}


static void
testTooLong(void)
{
    g_autofree char *config = g_strnfill(NITRO_NATIVE_CONFIG_MAX + 1, ' ');
    g_autofree char *error = NULL;

    g_assert_null(nitroNativeParse("nitro-cli", config, VIR_ARCH_X86_64, xmlopt));
    error = nitroTestTakeError();
    g_assert_nonnull(strstr(error, "32769 bytes"));
}


/* A new UUID for each, as two domains cannot share one. */
static void
testNewUuid(void)
{
    const char *config = "{ \"eif_path\": \"/srv/x.eif\", \"memory_mib\": 64, \"cpu_count\": 1 }";
    g_autoptr(virDomainDef) one = NULL;
    g_autoptr(virDomainDef) two = NULL;

    one = nitroNativeParse("nitro-cli", config, VIR_ARCH_X86_64, xmlopt);
    two = nitroNativeParse("nitro-cli", config, VIR_ARCH_AARCH64, xmlopt);
    g_assert_nonnull(one);
    g_assert_nonnull(two);
    g_assert_cmpint(memcmp(one->uuid, two->uuid, VIR_UUID_BUFLEN), !=, 0);
    g_assert_cmpint(two->os.arch, ==, VIR_ARCH_AARCH64);
}


/* Each file belongs to a case. */
static void
testComplete(void)
{
    g_autofree char *path = g_build_filename(NITRO_TEST_SRCDIR, DATADIR, NULL);
    g_autoptr(GHashTable) known = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) dir = g_dir_open(path, 0, &error);
    const char *file;
    size_t i;

    g_assert_no_error(error);
    for (i = 0; i < G_N_ELEMENTS(tests); i++)
        g_hash_table_add(known, (gpointer) tests[i].name);

    while ((file = g_dir_read_name(dir))) {
        g_autofree char *name = g_strndup(file, strcspn(file, "."));

        if (!g_hash_table_contains(known, name)) {
            g_test_message("%s/%s belongs to no test", DATADIR, file);
            g_test_fail();
        }
    }
}


int
main(int argc,
     char **argv)
{
    size_t i;
    int ret;

    xmlopt = nitroTestInit(&argc, &argv);

    for (i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strconcat("/native/", tests[i].name, NULL);

        g_test_add_data_func(path, &tests[i], testNative);
    }
    g_test_add_func("/native/unknown-format", testUnknownFormat);
    g_test_add_func("/native/too-long", testTooLong);
    g_test_add_func("/native/new-uuid", testNewUuid);
    g_test_add_func("/native/complete", testComplete);

    ret = g_test_run();
    virObjectUnref(xmlopt);
    return ret;
}
