/*
 * nitrohosttest.c: the CPU pool, who has its CPUs, huge pages, the device, and directories
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * On hosts that are not there: see nitrofakesys.h.
 */

#include <config.h>

#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "datatypes.h"
#include "nitro_capabilities.h"
#include "nitro_cpus.h"
#include "nitro_device.h"
#include "nitro_gone.h"
#include "nitro_driver_node.h"
#include "nitro_host_check.h"
#include "nitro_hugepages.h"
#include "nitro_pool.h"
#include "nitro_socket.h"
#include "nitrofakesys.h"
#include "nitrotestutils.h"
#include "viraccessmanager.h"
#include "virerror.h"
#include "virfile.h"

static virDomainXMLOption *xmlopt;

/* Two threads a core, CPU n + 4 beside CPU n, as EC2 has it */
static const FakeSys small = { 8, 2, 4, 1, "2-3,6-7" };


/* The last error has @code and all of @words (NULL ends them), and is forgotten. */
static void
testError(int code,
          ...)
{
    const char *message = virGetLastErrorMessage();
    const char *word;
    va_list words;

    va_start(words, code);
    while ((word = va_arg(words, const char *))) {
        if (!strstr(message, word)) {
            g_test_message("'%s' is not in: %s", word, message);
            g_test_fail();
        }
    }
    va_end(words);
    g_assert_cmpint(virGetLastErrorCode(), ==, code);
    virResetLastError();
}


static void
testTopology(void)
{
    static const struct {
        FakeSys host;
        const char *pool;     /* as read */
        unsigned int threads;
        const char *siblings; /* of the first CPU of the pool, or of CPU 1 */
        int node;
    } cases[] = {
        { { 8, 2, 4, 1, "2-3,6-7" }, "2-3,6-7", 2, "2,6", 0 },
        { { 8, 2, 1, 1, "2-5" }, "2-5", 2, "2-3", 0 },
        { { 64, 1, 1, 2, "32-63" }, "32-63", 1, "32", 1 },
        { { 96, 2, 48, 2, "24-47,72-95" }, "24-47,72-95", 2, "24,72", 1 },
        { { 96, 2, 48, 2, "1,49" }, "1,49", 2, "1,49", 0 },
        { { 192, 2, 96, 4, "95,191" }, "95,191", 2, "95,191", 3 },
        { { 12, 3, 4, 1, "3,7,11" }, "3,7,11", 3, "3,7,11", 0 },
        { { 8, 4, 1, 1, "4-7" }, "4-7", 4, "4-7", 0 },
        { { 2, 1, 1, 1, "1" }, "1", 1, "1", 0 },
        { { 8, 2, 4, 1, "" }, "", 2, "1,5", -1 },
        { { 8, 2, 4, 1, NULL }, "", 2, "1,5", -1 },
        /* no pool of the kernel's: nothing is made up */
        { { 8, 2, 4, 1, "2" }, "2", 0, "", 0 },
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(nitroPool) pool = NULL;
        g_autoptr(virBitmap) siblings = NULL;
        g_autofree char *list = NULL;
        g_autofree char *text = NULL;
        ssize_t cpu;

        fakeSysNew(&cases[i].host);
        pool = nitroPoolRead();
        g_assert_nonnull(pool);
        list = virBitmapFormat(pool->cpus);
        cpu = virBitmapNextSetBit(pool->cpus, -1);
        siblings = nitroPoolGetSiblings(pool, cpu < 0 ? 1 : cpu);
        text = virBitmapFormat(siblings);

        g_assert_cmpstr(list, ==, cases[i].pool);
        g_assert_cmpuint(pool->threads, ==, cases[i].threads);
        g_assert_cmpstr(text, ==, cases[i].siblings);
        g_assert_cmpint(pool->node, ==, cases[i].node);
    }
}


/* The kernel shows the pool as it was written. */
static void
testWritten(void)
{
    static const struct {
        FakeSys host;
        const char *text;
    } cases[] = {
        { { 8, 2, 4, 1, "2-3,6-7" }, "2,,3 6\t7,\n" },
        { { 8, 2, 1, 1, "2-7" }, "2-N\n" },
        { { 8, 2, 4, 1, "2-3,6-7" }, "2-N:2/4\n" },
        { { 8, 2, 4, 1, "1,5" }, "1-7:1/4\n" },
        { { 8, 2, 4, 1, "" }, ", \n" },
    };
    static const char *const wrong[] = { "2-", "a", "3-2", "2;3", "2-7:3/2", "2-7:1/0", "2-7:1",
                                         "2-N1", "-3", "10000" };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(nitroPool) pool = NULL;
        g_autofree char *list = NULL;

        fakeSysNew(&cases[i].host);
        fakeSysWrite(NITRO_POOL_PATH, cases[i].text);
        pool = nitroPoolRead();
        g_assert_nonnull(pool);
        list = virBitmapFormat(pool->cpus);
        g_assert_cmpstr(list, ==, cases[i].host.pool);
    }

    for (i = 0; i < G_N_ELEMENTS(wrong); i++) {
        fakeSysWrite(NITRO_POOL_PATH, wrong[i]);
        g_assert_null(nitroPoolRead());
        testError(VIR_ERR_INTERNAL_ERROR, NITRO_POOL_PATH, wrong[i], NULL);
    }
}


/* CPUs that are numbered in no way that could be continued */
static void
testIrregular(void)
{
    g_autoptr(nitroPool) pool = NULL;
    g_autoptr(virBitmap) cpus = virBitmapParseUnlimited("3,7");

    fakeSysNew(&small);
    fakeSysWrite("/sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "1,4");
    pool = nitroPoolRead();
    g_assert_nonnull(pool);
    g_assert_cmpuint(pool->threads, ==, 0);
    g_assert_cmpint(nitroPoolCheck(pool, cpus), ==, -1);
    testError(VIR_ERR_CONFIG_UNSUPPORTED, "by hand", NULL);
}


static void
testCheck(void)
{
    static const FakeSys two = { 16, 2, 8, 2, "" };
    static const struct {
        const FakeSys *host;
        const char *cpus;
        const char *words; /* of the error; NULL: it is good */
    } cases[] = {
        { &small, "1,5", NULL },
        { &small, "1-3,5-7", NULL },
        { &small, "3,7", NULL },
        { &two, "4-7,12-15", NULL },
        { &small, "0,4", "CPU 0 cannot be in the CPU pool" },
        { &small, "1,4-5", "CPU 4 cannot be in the CPU pool" },
        { &small, "1", "CPU 1 needs all of CPUs 1,5" },
        { &small, "1-2,6", "CPU 1 needs all of CPUs 1,5" },
        /* offline, so that the kernel does not tell */
        { &small, "2-3,6", "CPU 3 needs all of CPUs 3,7" },
        { &small, "3,7-8", "CPU 8 cannot be in the CPU pool: this host has no such CPU" },
        { &two, "3-4,11-12", "CPU 4 is of node 1, CPU 3 of node 0" },
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(virBitmap) cpus = virBitmapParseUnlimited(cases[i].cpus);
        g_autoptr(nitroPool) pool = NULL;

        fakeSysNew(cases[i].host);
        pool = nitroPoolRead();
        g_assert_nonnull(pool);
        g_assert_cmpint(nitroPoolCheck(pool, cpus), ==, cases[i].words ? -1 : 0);
        if (cases[i].words)
            testError(VIR_ERR_CONFIG_UNSUPPORTED, cases[i].words, NULL);
    }
}


static void
testSet(void)
{
    static const FakeSys none = { 8, 2, 4, 1, NULL };
    g_autoptr(virBitmap) cpus = virBitmapParseUnlimited("1,5");
    g_autoptr(virBitmap) same = virBitmapParseUnlimited("2,3,6,7");
    g_autoptr(virBitmap) half = virBitmapParseUnlimited("1");
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;
    g_autofree char *third = NULL;

    fakeSysNew(&small);
    fakeSysRefusePool(EINVAL);
    g_assert_cmpint(nitroPoolSet(same), ==, 0); /* nothing is written */
    g_assert_cmpint(nitroPoolSet(half), ==, -1); /* nor here: it would empty the pool */
    testError(VIR_ERR_CONFIG_UNSUPPORTED, "whole cores", NULL);
    first = fakeSysRead(NITRO_POOL_PATH);
    g_assert_cmpstr(first, ==, "2-3,6-7");

    fakeSysRefusePool(EPERM);
    g_assert_cmpint(nitroPoolSet(cpus), ==, -1);
    testError(VIR_ERR_OPERATION_FAILED, "stays 2-3,6-7", "1,5", "enclaves", NULL);

    fakeSysRefusePool(EINVAL);
    g_assert_cmpint(nitroPoolSet(cpus), ==, -1);
    testError(VIR_ERR_SYSTEM_ERROR, "1,5", "it is now: empty", "Invalid argument", NULL);

    fakeSysRefusePool(0);
    g_assert_cmpint(nitroPoolSet(cpus), ==, 0);
    second = fakeSysRead(NITRO_POOL_PATH);
    g_assert_cmpstr(second, ==, "1,5");

    /* a write that goes well and does nothing is not believed */
    fakeSysNew(&small);
    fakeSysRefuseWrites(true);
    g_assert_cmpint(nitroPoolSet(cpus), ==, -1);
    testError(VIR_ERR_SYSTEM_ERROR, "it is now: 2-3,6-7", NULL);

    fakeSysNew(&none);
    g_assert_cmpint(nitroPoolSet(cpus), ==, -1);
    testError(VIR_ERR_OPERATION_UNSUPPORTED, "load the kernel module nitro_enclaves", NULL);
}


static virDomainDef *
testDomain(const char *name,
           const char *vcpu)
{
    g_autofree char *xml = g_strdup_printf("<domain type='nitro'><name>%s</name>"
                                           "<memory unit='MiB'>64</memory>%s<os><type>hvm</type>"
                                           "<kernel>/image.eif</kernel></os></domain>", name, vcpu);
    virDomainDef *def = virDomainDefParseString(xml, xmlopt, NULL,
                                                VIR_DOMAIN_DEF_PARSE_INACTIVE);

    g_assert_nonnull(def);
    return def;
}


/* Takes CPUs for a new domain; @words are of the error, NULL: none. */
static void
testTake(nitroCpus *cpus,
         const char *name,
         const char *vcpu,
         int code,
         const char *words)
{
    g_autoptr(virDomainDef) def = testDomain(name, vcpu);
    g_autoptr(nitroPool) pool = nitroPoolRead();

    g_assert_nonnull(pool);
    g_assert_cmpint(nitroCpusTake(cpus, pool, def), ==, words ? -1 : 0);
    if (words)
        testError(code, words, NULL);
}


static void
testCpus(void)
{
    static const FakeSys empty = { 8, 2, 4, 1, "" };
    static const FakeSys single = { 8, 1, 1, 1, "5-7" };
    static const FakeSys six = { 8, 2, 4, 1, "1-3,5-7" };
    g_autoptr(virDomainDef) old = testDomain("old", "<vcpu>4</vcpu>");
    nitroCpus *cpus = nitroCpusNew();

    fakeSysNew(&empty);
    testTake(cpus, "a", "<vcpu>2</vcpu>", VIR_ERR_OPERATION_UNSUPPORTED, NITRO_POOL_PATH);

    fakeSysNew(&six);
    testTake(cpus, "a", "<vcpu>8</vcpu>", VIR_ERR_CONFIG_UNSUPPORTED,
             "has 8 vCPUs, but the CPU pool has 6 CPUs (1-3,5-7)");
    testTake(cpus, "a", "<vcpu>3</vcpu>", VIR_ERR_CONFIG_UNSUPPORTED,
             "has 3 vCPUs, but an enclave has whole cores, and a core of this host has 2 threads");
    testTake(cpus, "a", "<vcpu cpuset='3-4'>2</vcpu>", VIR_ERR_CONFIG_UNSUPPORTED,
             "CPU 4 of domain 'a' is not in the CPU pool, which is 1-3,5-7");
    testTake(cpus, "a", "<vcpu cpuset='2-3'>2</vcpu>", VIR_ERR_CONFIG_UNSUPPORTED,
             "has CPU 2 without CPU 6 of the same core");
    testTake(cpus, "a", "<vcpu cpuset='2,6'>2</vcpu>", 0, NULL);
    testTake(cpus, "b", "<vcpu cpuset='2-3,6-7'>4</vcpu>", VIR_ERR_OPERATION_FAILED,
             "the running domain 'a' has: choose others than 2,6");
    testTake(cpus, "b", "<vcpu>2</vcpu>", 0, NULL);
    testTake(cpus, "c", "<vcpu>4</vcpu>", VIR_ERR_OPERATION_FAILED,
             "needs 4 CPUs, but of the 6 in the CPU pool the running domains have 4");
    g_assert_false(nitroCpusReleasedLately(cpus));
    nitroCpusRelease(cpus, "nobody");
    g_assert_false(nitroCpusReleasedLately(cpus));
    nitroCpusRelease(cpus, "b");
    g_assert_true(nitroCpusReleasedLately(cpus));
    testTake(cpus, "c", "<vcpu>4</vcpu>", 0, NULL);
    nitroCpusRelease(cpus, "c");

    /* those of an earlier daemon count, whatever the pool is now */
    nitroCpusNote(cpus, old);
    testTake(cpus, "d", "<vcpu>2</vcpu>", VIR_ERR_OPERATION_FAILED, "the running domains have 6");
    nitroCpusRelease(cpus, "old");
    nitroCpusRelease(cpus, "a");

    fakeSysNew(&single);
    testTake(cpus, "e", "<vcpu>3</vcpu>", 0, NULL);
    nitroCpusFree(cpus);
}


/* Pages on a node: how many there are, and how many of them are free */
static void
testMakePages(unsigned int node,
              unsigned int size,
              const char *count,
              const char *unused)
{
    g_autofree char *dir = g_strdup_printf("/sys/devices/system/node/node%u/hugepages/"
                                           "hugepages-%ukB", node, size);
    g_autofree char *nr = g_strconcat(dir, "/nr_hugepages", NULL);
    g_autofree char *left = g_strconcat(dir, "/free_hugepages", NULL);

    fakeSysWrite(nr, count);
    fakeSysWrite(left, unused);
}


static void
testHugepages(void)
{
    static const FakeSys two = { 16, 2, 8, 2, "4-7,12-15" };
    const unsigned int mib = 1024;

    fakeSysNew(&two);
    testMakePages(0, 2048, "100", "100");
    testMakePages(0, 64, "100", "100"); /* of a size that enclaves cannot have */
    testMakePages(1, 2048, "40", "32");
    testMakePages(1, 1048576, "1", "0");

    g_assert_cmpint(nitroHugepagesCheck("d", 200 * mib, 0, 0), ==, 0);
    g_assert_cmpint(nitroHugepagesCheck("d", 64 * mib, 0, 1), ==, 0);
    g_assert_cmpint(nitroHugepagesCheck("d", 66 * mib, 0, 1), ==, -1);
    testError(VIR_ERR_OPERATION_FAILED, "'d' needs 66 MiB of huge pages on NUMA node 1",
              "32 of 2 MiB, 0 of 1024 MiB", "allocpages 2048 1 --cellno 1 --add", NULL);
    g_assert_cmpint(nitroHugepagesCheck("d", 64 * mib, 1048576, 1), ==, -1);
    testError(VIR_ERR_OPERATION_FAILED, "free are 0 of 1024 MiB",
              "allocpages 1048576 1 --cellno 1", NULL);
    g_assert_cmpint(nitroHugepagesCheck("d", 64 * mib, 1048576, 0), ==, -1);
    testError(VIR_ERR_CONFIG_UNSUPPORTED, "huge pages of 1024 MiB", "none of that size", NULL);

    /* of the whole host, and whether or not any are there */
    fakeSysWrite("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0");
    fakeSysWrite("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "0");
    g_assert_cmpint(nitroHugepagesCheckSize("d", 0), ==, 0);
    g_assert_cmpint(nitroHugepagesCheckSize("d", 2 * mib), ==, 0);
    g_assert_cmpint(nitroHugepagesCheckSize("d", 4 * mib), ==, -1);
    testError(VIR_ERR_CONFIG_UNSUPPORTED, "'d'", "huge pages of 4 MiB", "choose another <page size>",
              NULL);
    /* no number is cut off: 4 TiB */
    g_assert_cmpint(nitroHugepagesCheckSize("d", 4ULL << 30), ==, -1);
    testError(VIR_ERR_CONFIG_UNSUPPORTED, "huge pages of 4194304 MiB", NULL);

    /* a page that is too large is better than none */
    testMakePages(1, 1048576, "1", "1");
    g_assert_cmpint(nitroHugepagesCheck("d", 66 * mib, 0, 1), ==, 0);
    g_assert_cmpint(nitroHugepagesCheck("d", 66 * mib, 1048576, 1), ==, 0);
    g_assert_cmpint(nitroHugepagesCheck("d", 1024 * mib + 64 * mib, 0, 1), ==, 0);
    g_assert_cmpint(nitroHugepagesCheck("d", 1024 * mib + 66 * mib, 0, 1), ==, -1);
    testError(VIR_ERR_OPERATION_FAILED, "32 of 2 MiB, 1 of 1024 MiB", NULL);

    /* the kernel makes more when it is asked to */
    fakeSysWrite("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages", "5");
    fakeSysWrite("/sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages", "4");
    g_assert_cmpint(nitroHugepagesCheck("d", 1024 * mib + 66 * mib, 0, 1), ==, 0);
}


/* Kernels for aarch64 with base pages of 4, 16 and 64 KiB: arch/arm64/mm/hugetlbpage.c */
static const struct {
    FakeSys host;
    unsigned int largest; /* KiB */
    const char *words;    /* what is said of their sizes when there is nothing of each */
} gravitons[] = {
    { { 16, 1, 1, 1, "8-15", 4, { 64, 2048, 32768, 1048576 } }, 1048576,
      "0 of 2 MiB, 0 of 32 MiB, 0 of 1024 MiB" },
    { { 16, 1, 1, 1, "8-15", 16, { 2048, 32768, 1048576 } }, 1048576,
      "0 of 2 MiB, 0 of 32 MiB, 0 of 1024 MiB" },
    { { 16, 1, 1, 1, "8-15", 64, { 2048, 524288, 16777216 } }, 16777216,
      "0 of 2 MiB, 0 of 512 MiB, 0 of 16384 MiB" },
};


static void
testGravitons(void)
{
    const unsigned int mib = 1024;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(gravitons); i++) {
        const unsigned int *sizes = gravitons[i].host.sizes;
        const unsigned int large = sizes[0] == 64 ? sizes[2] : sizes[1];
        const nitroHugepages some = { large, 4 };
        const nitroHugepages tooMany = { gravitons[i].largest, 6 };
        unsigned long long found;

        fakeSysNew(&gravitons[i].host);
        g_assert_cmpint(nitroHugepagesCheck("d", 64 * mib, 0, 0), ==, -1);
        testError(VIR_ERR_OPERATION_FAILED, gravitons[i].words,
                  "allocpages 2048 32 --cellno 0 --add", NULL);
        g_assert_cmpint(nitroHugepagesCheck("d", 64 * mib, large, 0), ==, -1);
        testError(VIR_ERR_OPERATION_FAILED, "needs 64 MiB", "'virsh -c nitro:///system allocpages",
                  NULL);
        g_assert_cmpint(nitroHugepagesCheck("d", 64 * mib, 16384, 0), ==, -1);
        testError(VIR_ERR_CONFIG_UNSUPPORTED, "16 MiB, and this host has none of that size", NULL);

        g_assert_cmpint(nitroHugepagesReserve(&some, 0, &found), ==, 0);
        g_assert_cmpuint(found, ==, 4);
        g_assert_cmpint(nitroHugepagesReserve(&tooMany, 0, &found), ==, -1);
        testError(VIR_ERR_OPERATION_FAILED, "6 more huge pages of", "5120 MiB", NULL);
        testMakePages(0, large, "4", "4");
        g_assert_cmpint(nitroHugepagesCheck("d", 64 * mib, 0, 0), ==, 0);
        g_assert_cmpint(nitroHugepagesCheck("d", 64 * mib, large, 0), ==, 0);
        g_assert_cmpint(nitroHugepagesCheck("d", 4ULL * large + 2 * mib, 0, 0), ==, -1);
        testError(VIR_ERR_OPERATION_FAILED, "allocpages 2048 1 --cellno 0", NULL);

        /* a page that is too large is better than none */
        testMakePages(0, gravitons[i].largest, "1", "1");
        g_assert_cmpint(nitroHugepagesCheck("d", 4ULL * large + 2 * mib, 0, 0), ==, 0);
    }
}


static void
testReserve(void)
{
    static const FakeSys host = { 8, 2, 4, 1, "3,7" };
    const nitroHugepages fewer = { 2048, 30 };
    const nitroHugepages more = { 2048, 50 };
    const nitroHugepages other = { 1048576, 1 };
    unsigned long long found;
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;
    const char *nr = "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages";

    fakeSysNew(&host);
    testMakePages(0, 2048, "40", "10");
    g_assert_cmpint(nitroHugepagesReserve(&fewer, 0, &found), ==, 0);
    g_assert_cmpuint(found, ==, 40);
    first = fakeSysRead(nr);
    g_assert_cmpstr(first, ==, "40");

    fakeSysRefuseWrites(true);
    g_assert_cmpint(nitroHugepagesReserve(&more, 0, &found), ==, -1);
    testError(VIR_ERR_OPERATION_FAILED, "50", "40", NULL);
    g_assert_cmpuint(found, ==, 40);

    fakeSysRefuseWrites(false);
    g_assert_cmpint(nitroHugepagesReserve(&more, 0, &found), ==, 0);
    g_assert_cmpuint(found, ==, 50);
    second = fakeSysRead(nr);
    g_assert_cmpstr(second, ==, "50");

    g_assert_cmpint(nitroHugepagesReserve(&other, 0, &found), ==, -1);
    testError(VIR_ERR_OPERATION_FAILED, "1048576", NULL);
    g_assert_cmpuint(found, ==, 0);
}


/* More than the node has without the host's part is not even tried. */
static void
testReserveTooMuch(void)
{
    static const FakeSys host = { 8, 2, 4, 1, "3,7" };
    const char *nr = "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages";
    /* 1 GiB stays, which is less than an eighth */
    unsigned long long fit = (FAKE_SYS_NODE_FREE + FAKE_SYS_NODE_FILES - 1024) / 2;
    nitroHugepages pages[] = {
        { 2048, 40 + fit + 1 }, { 2048, 100000 }, { 2048, 1ULL << 32 },
        { 4294965248, 1ULL << 32 }, /* in KiB this is 0 again */
    };
    unsigned long long found;
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;
    size_t i;

    fakeSysNew(&host);
    testMakePages(0, 2048, "40", "10");
    testMakePages(0, 4294965248, "0", "0");
    for (i = 0; i < G_N_ELEMENTS(pages); i++) {
        g_assert_cmpint(nitroHugepagesReserve(&pages[i], 0, &found), ==, -1);
        testError(VIR_ERR_OPERATION_FAILED, "the 5120 MiB that", "node 0: 1024 MiB stay", NULL);
        g_assert_cmpuint(found, ==, pages[i].size == 2048 ? 40 : 0);
    }
    first = fakeSysRead(nr);
    g_assert_cmpstr(first, ==, "40");

    pages[0].count--;
    g_assert_cmpint(nitroHugepagesReserve(&pages[0], 0, &found), ==, 0);
    g_assert_cmpuint(found, ==, 40 + fit);
    second = fakeSysRead(nr);
    g_assert_cmpint(strtol(second, NULL, 10), ==, 40 + fit);

    /* how much there is cannot be found out: that is not "enough" */
    fakeSysWrite("/sys/devices/system/node/node0/meminfo", "nonsense");
    pages[0].count++;
    g_assert_cmpint(nitroHugepagesReserve(&pages[0], 0, &found), ==, -1);
    testError(VIR_ERR_INTERNAL_ERROR, "node0/meminfo", NULL);
}


/* What the kernel has found of the whole goes back. */
static void
testReservePart(void)
{
    static const FakeSys host = { 8, 2, 4, 1, "3,7" };
    const char *nr = "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages";
    const nitroHugepages pages = { 2048, 100 };
    unsigned long long found;
    g_autofree char *count = NULL;

    fakeSysNew(&host);
    testMakePages(0, 2048, "40", "10");
    fakeSysLimitPages(70);
    g_assert_cmpint(nitroHugepagesReserve(&pages, 0, &found), ==, -1);
    testError(VIR_ERR_OPERATION_FAILED, "100", "70", NULL);
    g_assert_cmpuint(found, ==, 40);
    count = fakeSysRead(nr);
    g_assert_cmpstr(count, ==, "40");
}


/* More numbers than the caller has room for, whose product in 32 bits is 1 */
static void
testFreePages(void)
{
    static virHypervisorDriver driver = { .name = "nitro" };
    virAccessManager *manager = virAccessManagerNew("none");
    g_autoptr(virConnect) conn = virGetConnect();
    unsigned int pages[901];
    unsigned long long counts[1024 + 901] = { 0 };
    size_t i;

    g_assert_nonnull(manager);
    virAccessManagerSetDefault(manager);
    virObjectUnref(manager);
    conn->driver = &driver;
    for (i = 0; i < G_N_ELEMENTS(pages); i++)
        pages[i] = 4;

    fakeSysNew(&small);

    g_assert_cmpint(nitroNodeGetFreePages(conn, 1, pages, 0, 1, counts, 0), ==, 1);
    g_assert_cmpuint(counts[1], ==, 0);
    g_assert_cmpint(nitroNodeGetFreePages(conn, 901, pages, 0, 643530061, counts, 0), ==, -1);
    testError(VIR_ERR_INVALID_ARG, "901 page sizes of 643530061 NUMA nodes", "1024", NULL);
    g_assert_cmpint(nitroNodeGetFreePages(conn, 513, pages, 0, 2, counts, 0), ==, -1);
    testError(VIR_ERR_INVALID_ARG, "513 page sizes of 2 NUMA nodes", NULL);
    for (i = 1; i < G_N_ELEMENTS(counts); i++)
        g_assert_cmpuint(counts[i], ==, 0);

    /* which would be closed with the connection */
    conn->driver = NULL;
}


/* The page size and the NUMA node of the memory */
static void
testMemory(void)
{
    static const FakeSys two = { 16, 2, 8, 2, "4-7,12-15" };
    static const FakeSys empty = { 16, 2, 8, 2, "" };
    g_autoptr(virDomainDef) def = testDomain("d", "");
    g_autoptr(virDomainDef) own = testDomain("d", "<memoryBacking><hugepages>"
                                             "<page size='2' unit='MiB'/></hugepages></memoryBacking>"
                                             "<numatune><memory mode='strict' nodeset='0'/></numatune>");
    g_autoptr(virDomainDef) emulated = testDomain("d", "");
    nitroDriverConfig config = { .pageSize = 1048576 };

    g_free(emulated->os.machine);
    emulated->os.machine = g_strdup("nitro-enclave");

    fakeSysNew(&two);
    g_assert_cmpuint(nitroHostGetPageSize(&config, def), ==, 1048576);
    g_assert_cmpuint(nitroHostGetPageSize(&config, own), ==, 2048);
    g_assert_cmpuint(nitroHostGetPageSize(&config, emulated), ==, 0);
    g_assert_cmpint(nitroHostGetNumaNode(def), ==, 1);
    g_assert_cmpint(nitroHostGetNumaNode(own), ==, 0);
    g_assert_cmpint(nitroHostGetNumaNode(emulated), ==, -1);

    fakeSysNew(&empty);
    g_assert_cmpint(nitroHostGetNumaNode(def), ==, -1);

    fakeSysWrite(NITRO_POOL_PATH, "nonsense");
    g_assert_cmpint(nitroHostGetNumaNode(def), ==, -1);
    g_assert_null(virGetLastError());

    fakeSysNew(&small);
    g_assert_cmpint(nitroHostGetNumaNode(def), ==, -1);
}


static void
testDevice(void)
{
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("nitrohosttest-XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    close(fd);

    fd = nitroDeviceOpen(path);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
    g_assert_cmpint(nitroDeviceCheck(path), ==, 0);

    /* root may open it all the same */
    g_assert_cmpint(chmod(path, 0), ==, 0);
    if ((fd = nitroDeviceOpen(path)) < 0) {
        testError(VIR_ERR_OPERATION_DENIED, path, "usermod -aG", NULL);
        g_assert_cmpint(nitroDeviceCheck(path), ==, -1);
        testError(VIR_ERR_OPERATION_DENIED, path, "usermod -aG", NULL);
    } else {
        close(fd);
    }

    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_cmpint(nitroDeviceOpen(path), ==, -1);
    testError(VIR_ERR_OPERATION_UNSUPPORTED, path, "machine 'nitro-enclave'", NULL);
    g_assert_cmpint(nitroDeviceCheck(path), ==, -1);
    testError(VIR_ERR_OPERATION_UNSUPPORTED, path, "machine 'nitro-enclave'", NULL);
    g_assert_cmpint(nitroDeviceOpen("/dev/null/nothing"), ==, -1);
    testError(VIR_ERR_OPERATION_UNSUPPORTED, "/dev/null/nothing", NULL);
}


#define TEST_REMOVE_SECONDS 1

/* Directories in each other, with names that make far more than PATH_MAX */
#define TEST_DEPTH 1000

typedef struct _TestExchange TestExchange;
struct _TestExchange {
    const char *one;
    const char *other;
    int done; /* atomic */
};

/* What the owner of a directory can do while another removes it */
static gpointer
testExchange(gpointer opaque)
{
    TestExchange *exchange = opaque;

    while (!g_atomic_int_get(&exchange->done))
        syscall(SYS_renameat2, AT_FDCWD, exchange->one, AT_FDCWD, exchange->other,
                2 /* RENAME_EXCHANGE */);
    return NULL;
}


/*
 * What nobody can name by a path: directories in each other, each with a file and another
 * directory that cannot be listed, and the names that removal uses for its own.
 */
static void
testMakeDeep(const char *dir)
{
    int fd;
    int i;

    g_assert_cmpint(g_mkdir(dir, 0700), ==, 0);
    g_assert_cmpint(fd = open(dir, O_RDONLY | O_DIRECTORY), >=, 0);
    g_assert_cmpint(mkdirat(fd, "removed-0", 0700), ==, 0);
    for (i = 0; i < TEST_DEPTH; i++) {
        int next;
        int file;

        g_assert_cmpint(mkdirat(fd, "a-directory-with-a-name", 0700), ==, 0);
        g_assert_cmpint(next = openat(fd, "a-directory-with-a-name", O_RDONLY), >=, 0);
        g_assert_cmpint(file = openat(next, "file", O_WRONLY | O_CREAT, 0000), >=, 0);
        g_assert_cmpint(mkdirat(next, "removed-1", 0000), ==, 0);
        close(file);
        close(fd);
        fd = next;
    }
    close(fd);
}


/* Removes the run directory @dir of the state directory @top, in as many tries as it takes. */
static void
testRemoveAll(const char *top,
              const char *dir)
{
    while (nitroGoneTake(dir) < 0)
        virResetLastError();
    while (nitroGoneEmpty(top) != 0)
        virResetLastError();
}


/* Nothing but @expected (NULL ends it) is in @top. */
static void
testTop(const char *top,
        const char *const *expected)
{
    g_autoptr(GDir) dir = g_dir_open(top, 0, NULL);
    const char *name;
    size_t n = 0;

    while ((name = g_dir_read_name(dir))) {
        n++;
        if (!g_strv_contains(expected, name)) {
            g_test_message("'%s' is left", name);
            g_test_fail();
        }
    }
    g_assert_cmpuint(n, ==, g_strv_length((char **)expected));
}


static void
testRemoveRunDir(void)
{
    static const char *const left[] = { "outside", NULL };
    g_autofree char *top = g_dir_make_tmp("nitrohosttest-XXXXXX", NULL);
    g_autofree char *outside = g_build_filename(top, "outside", NULL);
    g_autofree char *precious = g_build_filename(outside, "precious", NULL);
    g_autofree char *dir = g_build_filename(top, "domain-1-d", NULL);
    g_autofree char *sub = g_build_filename(dir, "vsock", "sub", NULL);
    g_autofree char *link = g_build_filename(dir, "vsock", "link", NULL);
    g_autofree char *file = g_build_filename(dir, "pid", NULL);
    TestExchange exchange = { sub, link, 0 };
    GThread *thread = g_thread_new("exchange", testExchange, &exchange);
    gint64 end = g_get_monotonic_time() + TEST_REMOVE_SECONDS * G_USEC_PER_SEC;

    g_assert_cmpint(g_mkdir(outside, 0700), ==, 0);
    g_assert_true(g_file_set_contents(precious, "x", -1, NULL));
    g_assert_cmpint(nitroGoneTake(dir), ==, 0);

    while (g_get_monotonic_time() < end && g_file_test(precious, G_FILE_TEST_EXISTS)) {
        g_assert_cmpint(g_mkdir_with_parents(sub, 0700), ==, 0);
        g_assert_cmpint(symlink(outside, link), ==, 0);
        g_assert_true(g_file_set_contents(file, "1", -1, NULL));
        /* It may find the one in place of the other. */
        testRemoveAll(top, dir);
    }
    g_atomic_int_set(&exchange.done, 1);
    g_thread_join(thread);
    g_assert_true(g_file_test(precious, G_FILE_TEST_EXISTS));
    testTop(top, left);

    /* a link in its place is not followed */
    g_assert_cmpint(symlink(outside, dir), ==, 0);
    g_assert_cmpint(nitroGoneTake(dir), ==, -1);
    testError(VIR_ERR_SYSTEM_ERROR, dir, NULL);
    g_assert_true(g_file_test(precious, G_FILE_TEST_EXISTS));
    g_assert_cmpint(unlink(dir), ==, 0);

    testMakeDeep(dir);
    testRemoveAll(top, dir);
    testTop(top, left);

    /* the file of a domain with such a name is none of them */
    g_free(file);
    file = g_build_filename(top, "gone-5.xml", NULL);
    g_assert_true(g_file_set_contents(file, "x", -1, NULL));
    g_assert_cmpint(nitroGoneEmpty(top), ==, 0);
    g_assert_true(g_file_test(file, G_FILE_TEST_EXISTS));
    virFileDeleteTree(top);
}


/* What is quick goes at once, the rest gets a name of its own, also beside an earlier one. */
static void
testTakeRunDir(void)
{
    static const char *const first[] = { "gone-7", NULL };
    static const char *const both[] = { "gone-7", "gone-7-1", NULL };
    static const char *const none[] = { NULL };
    g_autofree char *top = g_dir_make_tmp("nitrohosttest-XXXXXX", NULL);
    g_autofree char *dir = g_build_filename(top, "domain-7-d", NULL);
    g_autofree char *vsock = g_build_filename(dir, "vsock", NULL);
    g_autofree char *file = g_build_filename(vsock, "file", NULL);
    g_autofree char *path = g_build_filename(vsock, "vsock", NULL);
    int fd;

    g_assert_cmpint(g_mkdir_with_parents(vsock, 0700), ==, 0);
    g_assert_cmpint(fd = nitroSocketListen(path), >=, 0);
    close(fd);
    g_assert_cmpint(nitroGoneTake(dir), ==, 0);
    testTop(top, none);

    g_assert_cmpint(g_mkdir_with_parents(vsock, 0700), ==, 0);
    g_assert_true(g_file_set_contents(file, "x", -1, NULL));
    g_assert_cmpint(nitroGoneTake(dir), ==, 1);
    testTop(top, first);
    g_assert_cmpint(g_mkdir_with_parents(vsock, 0700), ==, 0);
    g_assert_true(g_file_set_contents(file, "x", -1, NULL));
    g_assert_cmpint(nitroGoneTake(dir), ==, 1);
    testTop(top, both);
    g_assert_cmpint(nitroGoneEmpty(top), ==, 0);
    testTop(top, none);
    g_assert_cmpint(g_rmdir(top), ==, 0);
}


/* Levels that the one is ahead, so that he is never caught up with in a try; and when he stops, as all
 * is to be removed in the end */
#define TEST_LEAD (NITRO_GONE_BUDGET * 2)
#define TEST_LEVELS_MAX (TEST_LEAD + NITRO_GONE_BUDGET)

/* s: far longer than a try takes */
#define TEST_TRY_SECONDS 10

typedef struct _TestDigger TestDigger;
struct _TestDigger {
    int fd;       /* of the deepest directory */
    int levels;   /* atomic: made so far */
    int done;     /* atomic */
};

/*
 * What a member of the helpers' group does with a descriptor of the deepest directory: goes on
 * deeper. Where root takes a directory away before it is read, he has gone on already; here, where
 * both are one user, each level is made in the open before it is.
 */
static gpointer
testDig(gpointer opaque)
{
    TestDigger *digger = opaque;

    while (!g_atomic_int_get(&digger->done) &&
           g_atomic_int_get(&digger->levels) < TEST_LEVELS_MAX) {
        int next;

        if (mkdirat(digger->fd, "d", 0700) < 0 ||
            mkdirat(digger->fd, "e", 0700) < 0 ||
            (next = openat(digger->fd, "d", O_RDONLY | O_DIRECTORY)) < 0)
            break;
        close(digger->fd);
        digger->fd = next;
        g_atomic_int_inc(&digger->levels);
    }
    close(digger->fd);
    return NULL;
}


static void
testRemoveBusy(void)
{
    static const char *const none[] = { NULL };
    /* of the kind of /run: no disk is waited for */
    g_autofree char *top = g_mkdtemp(g_strdup("/dev/shm/nitrohosttest-XXXXXX"));
    g_autofree char *dir = g_build_filename(top, "domain-3-d", NULL);
    g_autofree char *vsock = g_build_filename(dir, "vsock", NULL);
    TestDigger digger = { -1, 0, 0 };
    GThread *thread;
    gint64 begin;
    int left;
    int tries = 0;

    g_assert_nonnull(top);
    g_assert_cmpint(g_mkdir_with_parents(vsock, 0700), ==, 0);
    g_assert_cmpint(digger.fd = open(vsock, O_RDONLY | O_DIRECTORY), >=, 0);
    thread = g_thread_new("dig", testDig, &digger);
    while (g_atomic_int_get(&digger.levels) < TEST_LEAD)
        g_usleep(1000);

    /* with a domain's lock: the path is free at once */
    begin = g_get_monotonic_time();
    g_assert_cmpint(nitroGoneTake(dir), ==, 1);
    g_test_message("taken away after %lld us", (long long) (g_get_monotonic_time() - begin));
    g_assert_cmpint(g_get_monotonic_time() - begin, <, G_USEC_PER_SEC);
    g_assert_false(g_file_test(dir, G_FILE_TEST_EXISTS));

    begin = g_get_monotonic_time();
    g_assert_cmpint(nitroGoneEmpty(top), ==, 1);
    g_test_message("a try: %lld us", (long long) (g_get_monotonic_time() - begin));
    g_assert_cmpint(g_get_monotonic_time() - begin, <, TEST_TRY_SECONDS * G_USEC_PER_SEC);

    g_atomic_int_set(&digger.done, 1);
    g_thread_join(thread);
    while ((left = nitroGoneEmpty(top)) == 1)
        tries++;
    g_assert_cmpint(left, ==, 0);
    /* each has removed not much less than it may */
    g_assert_cmpint(tries, <, g_atomic_int_get(&digger.levels) * 6 / NITRO_GONE_BUDGET + 2);
    testTop(top, none);
    g_assert_cmpint(g_rmdir(top), ==, 0);
}


/* What is mounted in it is detached and not looked into. */
static void
testRemoveMounted(void)
{
    static const char *const none[] = { NULL };
    g_autofree char *top = g_dir_make_tmp("nitrohosttest-XXXXXX", NULL);
    g_autofree char *outside = g_dir_make_tmp("nitrohosttest-XXXXXX", NULL);
    g_autofree char *precious = g_build_filename(outside, "precious", NULL);
    g_autofree char *dir = g_build_filename(top, "domain-4-d", NULL);
    g_autofree char *vsock = g_build_filename(dir, "vsock", NULL);
    g_autofree char *on = g_build_filename(vsock, "on", NULL);
    g_autofree char *file = g_build_filename(vsock, "file", NULL);

    g_assert_cmpint(g_mkdir_with_parents(on, 0700), ==, 0);
    g_assert_true(g_file_set_contents(precious, "x", -1, NULL));
    g_assert_true(g_file_set_contents(file, "x", -1, NULL));
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount(outside, on, NULL, MS_BIND, NULL) < 0) {
        g_test_skip("mounts are refused here");
    } else {
        g_assert_cmpint(mount(outside, on, NULL, MS_BIND, NULL), ==, 0);
        g_assert_cmpint(mount(precious, file, NULL, MS_BIND, NULL), ==, 0);
        g_assert_cmpint(mount(outside, vsock, NULL, MS_BIND, NULL), ==, 0);
        testRemoveAll(top, dir);
        testTop(top, none);
        g_assert_true(g_file_test(precious, G_FILE_TEST_EXISTS));
    }
    virFileDeleteTree(top);
    virFileDeleteTree(outside);
}


static void
testNodeInfo(void)
{
    static const FakeSys two = { 16, 2, 8, 2, "4-7,12-15" };
    static const FakeSys graviton = { 16, 1, 1, 1, "4-7" };
    static const FakeSys graviton2 = { 16, 1, 1, 2, "12-15" }; /* as the largest ones */
    /* what libvirt makes of them */
    virNodeInfo info = { .cpus = 4, .nodes = 1, .sockets = 1, .cores = 8, .threads = 1 };
    virNodeInfo wide = { .cpus = 8, .nodes = 1, .sockets = 1, .cores = 16, .threads = 1 };
    virNodeInfo good = { .cpus = 8, .nodes = 1, .sockets = 2, .cores = 2, .threads = 2 };
    virNodeInfo arm = { .cpus = 12, .nodes = 1, .sockets = 1, .cores = 16, .threads = 1 };

    fakeSysNew(&small);
    g_assert_cmpint(nitroCapabilitiesFixNodeInfo(&info), ==, 0);
    g_assert_cmpuint(info.cpus, ==, 4);
    g_assert_cmpuint(info.cores, ==, 4);
    g_assert_cmpuint(info.threads, ==, 2);
    g_assert_cmpint(nitroCapabilitiesFixNodeInfo(&good), ==, 0);
    g_assert_cmpuint(good.cores * good.threads * good.sockets, ==, 8);

    fakeSysNew(&two);
    g_assert_cmpint(nitroCapabilitiesFixNodeInfo(&wide), ==, 0);
    g_assert_cmpuint(wide.nodes, ==, 2);
    g_assert_cmpuint(wide.cores, ==, 4);
    g_assert_cmpuint(wide.threads, ==, 2);

    fakeSysNew(&graviton);
    g_assert_cmpint(nitroCapabilitiesFixNodeInfo(&arm), ==, 0);
    g_assert_cmpuint(arm.nodes, ==, 1);
    g_assert_cmpuint(arm.cores, ==, 16);
    g_assert_cmpuint(arm.threads, ==, 1);

    fakeSysNew(&graviton2);
    g_assert_cmpint(nitroCapabilitiesFixNodeInfo(&arm), ==, 0);
    g_assert_cmpuint(arm.nodes, ==, 2);
    g_assert_cmpuint(arm.cores, ==, 8);
    g_assert_cmpuint(arm.threads, ==, 1);
}


int
main(int argc,
     char **argv)
{
    int ret;

    xmlopt = nitroTestInit(&argc, &argv);

    g_test_add_func("/pool/topology", testTopology);
    g_test_add_func("/pool/written", testWritten);
    g_test_add_func("/pool/irregular", testIrregular);
    g_test_add_func("/pool/check", testCheck);
    g_test_add_func("/pool/set", testSet);
    g_test_add_func("/cpus", testCpus);
    g_test_add_func("/hugepages/check", testHugepages);
    g_test_add_func("/hugepages/gravitons", testGravitons);
    g_test_add_func("/hugepages/reserve", testReserve);
    g_test_add_func("/hugepages/free-pages", testFreePages);
    g_test_add_func("/hugepages/reserve-too-much", testReserveTooMuch);
    g_test_add_func("/hugepages/reserve-part", testReservePart);
    g_test_add_func("/memory", testMemory);
    g_test_add_func("/device", testDevice);
    g_test_add_func("/rundir", testRemoveRunDir);
    g_test_add_func("/rundir/taken", testTakeRunDir);
    g_test_add_func("/rundir/busy", testRemoveBusy);
    g_test_add_func("/rundir/mounted", testRemoveMounted);
    g_test_add_func("/nodeinfo", testNodeInfo);

    ret = g_test_run();
    fakeSysFree();
    virObjectUnref(xmlopt);
    return ret;
}
