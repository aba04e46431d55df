/*
 * nitrocapstest.c: the capabilities of hosts and of domains, as clients see them
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A host that is not there (nitrofakesys.h), or the arguments of a client -> XML, compared
 * with nitrocapsdata/<name>.xml. VIR_TEST_REGENERATE_OUTPUT=1 writes these files anew.
 * What the test cannot choose is made the same on every machine: the architecture, the
 * UUID, and the memory of the nodes; and page sizes, where a case chooses none.
 */

#include <config.h>

#include "capabilities.h"
#include "domain_capabilities.h"
#include "nitro_capabilities.h"
#include "nitrofakesys.h"
#include "nitrotestutils.h"

#define DATA_DIR "nitrocapsdata"

typedef struct {
    const char *name;
    FakeSys host;
} HostCase;

static const HostCase hosts[] = {
    { "host-pool", { 8, 2, 4, 1, "2-3,6-7" } },
    { "host-pool-empty", { 4, 2, 2, 1, "" } },
    { "host-no-module", { 4, 1, 1, 1, NULL } },
    { "host-one-thread", { 4, 1, 1, 1, "2-3" } },
    /* kernels for aarch64 */
    { "host-pages-4k", { 4, 1, 1, 1, "2-3", 4, { 64, 2048, 32768, 1048576 } } },
    { "host-pages-16k", { 4, 1, 1, 1, "2-3", 16, { 2048, 32768, 1048576 } } },
    { "host-pages-64k", { 4, 1, 1, 1, "2-3", 64, { 2048, 524288, 16777216 } } },
};

typedef struct {
    const char *name;
    FakeSys host;
    bool device;
    const char *emulator;
    const char *machine;
    const char *virttype;
} DomainCase;

static const DomainCase domains[] = {
    { "domain-default", { 8, 2, 4, 1, NULL }, false, NULL, NULL, NULL },
    { "domain-nitro", { 8, 2, 4, 1, NULL }, false, NULL, "nitro", "nitro" },
    { "domain-nitro-device", { 8, 2, 4, 1, "1-3,5-7" }, true, NULL, "nitro", "nitro" },
    { "domain-nitro-enclave", { 8, 2, 4, 1, "1-3,5-7" }, true, NULL, "nitro-enclave", NULL },
    { "domain-emulator", { 8, 2, 4, 1, NULL }, false, "/opt/helper", "nitro-enclave", "nitro" },
};

static virDomainXMLOption *xmlopt;


static void
testCompare(const char *name,
            const char *xml)
{
    g_auto(GStrv) parts = g_strsplit(xml, virArchToString(virArchFromHost()), -1);
    g_autofree char *actual = g_strjoinv("x86_64", parts);
    g_autofree char *path = nitroTestPath(DATA_DIR, name, ".xml");

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
    caps = nitroCapabilitiesNewDomain(&config, domain->emulator, NULL, domain->machine,
                                      domain->virttype);
    g_assert_nonnull(caps);
    xml = virDomainCapsFormat(caps);
    testCompare(domain->name, xml);
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
    g_test_add_func("/capabilities/complete", testComplete);

    ret = g_test_run();
    fakeSysFree();
    virObjectUnref(xmlopt);
    return ret;
}
