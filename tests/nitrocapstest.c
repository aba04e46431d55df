/*
 * nitrocapstest.c: the capabilities of hosts and of domains, as clients see them
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A host that is not there (nitrofakesys.h), or the arguments of a client -> XML, compared
 * with nitrocapsdata/<name>.xml or what nitroTestOutPath() has beside it.
 * VIR_TEST_REGENERATE_OUTPUT=1 writes these files anew.
 * What the test cannot choose is made the same on every machine: the architecture, the
 * UUID, and the memory of the nodes; and page sizes, where a case chooses none.
 */

#include <config.h>

#include <sys/stat.h>
#include <unistd.h>

#include "capabilities.h"
#include "domain_capabilities.h"
#include "nitro_capabilities.h"
#include "nitrofakesys.h"
#include "nitrotestutils.h"

#define DATA_DIR "nitrocapsdata"

/* For which architectures there is a QEMU */
typedef enum {
    QEMU_NONE = 0,
    QEMU_HOST = 1 << 0,  /* that of the host */
    QEMU_OTHER = 1 << 1, /* the other one that enclaves have */
} Qemus;

typedef struct {
    const char *name;
    FakeSys host;
    Qemus qemus;
} HostCase;

static const HostCase hosts[] = {
    { "host-pool", { 8, 2, 4, 1, "2-3,6-7" }, QEMU_HOST },
    { "host-pool-empty", { 4, 2, 2, 1, "" }, QEMU_HOST | QEMU_OTHER },
    { "host-no-module", { 4, 1, 1, 1, NULL }, QEMU_HOST },
    { "host-one-thread", { 4, 1, 1, 1, "2-3" }, QEMU_HOST },
    { "host-no-qemu", { 4, 1, 1, 1, "2-3" }, QEMU_NONE },
    { "host-other-qemu", { 4, 1, 1, 1, "2-3" }, QEMU_OTHER },
    /* kernels for aarch64 */
    { "host-pages-4k", { 4, 1, 1, 1, "2-3", 4, { 64, 2048, 32768, 1048576 } }, QEMU_HOST },
    { "host-pages-16k", { 4, 1, 1, 1, "2-3", 16, { 2048, 32768, 1048576 } }, QEMU_HOST },
    { "host-pages-64k", { 4, 1, 1, 1, "2-3", 64, { 2048, 524288, 16777216 } }, QEMU_HOST },
};

typedef struct {
    const char *name;
    FakeSys host;
    bool device;
    const char *emulator;
    const char *machine;
    const char *virttype;
    bool other; /* not the architecture of the host */
    virTristateBool nsm; /* QEMU can have one */
} DomainCase;

static const DomainCase domains[] = {
    { "domain-default", { 8, 2, 4, 1, NULL }, false, NULL, NULL, NULL },
    { "domain-nitro", { 8, 2, 4, 1, NULL }, false, NULL, "nitro", "nitro" },
    { "domain-nitro-device", { 8, 2, 4, 1, "1-3,5-7" }, true, NULL, "nitro", "nitro" },
    { "domain-nitro-enclave", { 8, 2, 4, 1, "1-3,5-7" }, true, NULL, "nitro-enclave", NULL },
    { "domain-emulator", { 8, 2, 4, 1, NULL }, false, "/opt/helper", "nitro-enclave", "nitro" },
    { "domain-nsm", { 8, 2, 4, 1, "1-3,5-7" }, true, NULL, "nitro-enclave", NULL,
      .nsm = VIR_TRISTATE_BOOL_YES },
    { "domain-no-nsm", { 8, 2, 4, 1, "1-3,5-7" }, true, NULL, "nitro-enclave", NULL,
      .nsm = VIR_TRISTATE_BOOL_NO },
    { "domain-other-arch", { 8, 2, 4, 1, "1-3,5-7" }, true, NULL, NULL, NULL, .other = true },
};

static virDomainXMLOption *xmlopt;
static char *programs; /* directory that is the PATH */


static const char *
testGetOther(void)
{
    return virArchFromHost() == VIR_ARCH_AARCH64 ? "x86_64" : "aarch64";
}


static void
testSetQemu(const char *arch,
            bool there)
{
    g_autofree char *path = g_strdup_printf("%s/qemu-system-%s", programs, arch);

    unlink(path);
    if (!there)
        return;
    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    g_assert_cmpint(chmod(path, 0755), ==, 0);
}


static void
testSetQemus(Qemus qemus)
{
    testSetQemu(virArchToString(virArchFromHost()), qemus & QEMU_HOST);
    testSetQemu(testGetOther(), qemus & QEMU_OTHER);
}


static char *
testReplace(const char *text,
            const char *from,
            const char *to)
{
    g_auto(GStrv) parts = g_strsplit(text, from, -1);

    return g_strjoinv(to, parts);
}


static void
testCompare(const char *name,
            const char *xml)
{
    g_autofree char *marked = testReplace(xml, virArchToString(virArchFromHost()), "@host@");
    g_autofree char *other = testReplace(marked, testGetOther(), "aarch64");
    g_autofree char *actual = testReplace(other, "@host@", "x86_64");
    g_autofree char *path = nitroTestOutPath(DATA_DIR, name);

    nitroTestCompareToFile(actual, path);
}


/* libnuma tells of the real nodes, of which there is one at least. */
static void
testMakeSame(virCaps *caps,
             const FakeSys *host)
{
    virCapsHostNUMACell *cell = g_ptr_array_index(caps->host.numa->cells, 0);

    memset(caps->host.host_uuid, 0, sizeof(caps->host.host_uuid));
    g_ptr_array_set_size(caps->host.numa->cells, 1);
    cell->mem = 16 * 1024 * 1024;
    g_clear_pointer(&cell->distances, g_free);
    cell->ndistances = 0;
    if (host->page > 0)
        return;
    g_clear_pointer(&cell->pageinfo, g_free);
    cell->npageinfo = 0;
    g_clear_pointer(&caps->host.pagesSize, g_free);
    caps->host.nPagesSize = 0;
}


static void
testHost(const void *data)
{
    const HostCase *host = data;
    const nitroDriverConfig config = { .helper = (char *) NITRO_TEST_EMULATOR };
    g_autoptr(virCaps) caps = NULL;
    g_autofree char *xml = NULL;

    fakeSysNew(&host->host);
    testSetQemus(host->qemus);
    caps = nitroCapabilitiesNew(&config);
    g_assert_nonnull(caps);
    testMakeSame(caps, &host->host);
    xml = virCapabilitiesFormatXML(caps);
    testCompare(host->name, xml);
}


static void
testDomain(const void *data)
{
    const DomainCase *domain = data;
    const nitroDriverConfig config = {
        .helper = (char *) NITRO_TEST_EMULATOR,
        .device = (char *) (domain->device ? "/dev/null" : "/dev/nothing"),
    };
    g_autoptr(virDomainCaps) caps = NULL;
    g_autofree char *xml = NULL;

    fakeSysNew(&domain->host);
    testSetQemus(QEMU_HOST | QEMU_OTHER);
    caps = nitroCapabilitiesNewDomain(&config, domain->emulator,
                                      domain->other ? testGetOther() : NULL, domain->machine,
                                      domain->virttype);
    g_assert_nonnull(caps);
    xml = nitroCapabilitiesFormatDomain(caps, domain->nsm);
    testCompare(domain->name, xml);
}


/* What is not there, and what no host has */
static void
testDomainRefused(void)
{
    const nitroDriverConfig config = {
        .helper = (char *) NITRO_TEST_EMULATOR,
        .device = (char *) "/dev/null",
    };
    const struct {
        const char *arch;
        const char *machine;
        int code;
        const char *word;
    } cases[] = {
        { NULL, "nitro-enclave", VIR_ERR_OPERATION_UNSUPPORTED, "QEMU" },
        { testGetOther(), NULL, VIR_ERR_OPERATION_UNSUPPORTED, "QEMU" },
        { testGetOther(), "nitro", VIR_ERR_CONFIG_UNSUPPORTED, "use machine 'nitro-enclave'" },
        { "riscv64", NULL, VIR_ERR_CONFIG_UNSUPPORTED, "'riscv64' is not supported" },
        { "vax", NULL, VIR_ERR_CONFIG_UNSUPPORTED, "'vax' is not supported" },
    };
    size_t i;

    testSetQemus(QEMU_NONE);
    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_assert_null(nitroCapabilitiesNewDomain(&config, NULL, cases[i].arch, cases[i].machine,
                                                 NULL));
        g_assert_cmpint(virGetLastErrorCode(), ==, cases[i].code);
        g_assert_nonnull(strstr(virGetLastErrorMessage(), cases[i].word));
        virResetLastError();
    }
}


/* No file is without a case. */
static void
testComplete(void)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(hosts); i++)
        g_ptr_array_add(names, (void *) hosts[i].name);
    for (i = 0; i < G_N_ELEMENTS(domains); i++)
        g_ptr_array_add(names, (void *) domains[i].name);
    nitroTestCheckComplete(DATA_DIR, names->pdata, sizeof(names->pdata[0]), names->len);
}


int
main(int argc,
     char **argv)
{
    size_t i;
    int ret;

    xmlopt = nitroTestInit(&argc, &argv);

    for (i = 0; i < G_N_ELEMENTS(hosts); i++) {
        g_autofree char *path = g_strconcat("/capabilities/", hosts[i].name, NULL);
        g_test_add_data_func(path, &hosts[i], testHost);
    }
    for (i = 0; i < G_N_ELEMENTS(domains); i++) {
        g_autofree char *path = g_strconcat("/capabilities/", domains[i].name, NULL);
        g_test_add_data_func(path, &domains[i], testDomain);
    }
    g_test_add_func("/capabilities/domain-refused", testDomainRefused);
    g_test_add_func("/capabilities/complete", testComplete);

    programs = g_dir_make_tmp("nitrocapstest-XXXXXX", NULL);
    g_assert_nonnull(programs);
    g_setenv("PATH", programs, TRUE);
    ret = g_test_run();
    testSetQemus(QEMU_NONE);
    rmdir(programs);
    g_free(programs);
    fakeSysFree();
    virObjectUnref(xmlopt);
    return ret;
}
