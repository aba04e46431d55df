/*
 * nitroservicesconfigtest.c: tests of src/nitro/nitro_services_config.c
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each case is a definition, nitroxml2argvdata/NAME.xml, and the configuration of its services,
 * NAME.conf, with descriptors in a row.
 */

#include <config.h>

#include "nitro_services_config.h"
#include "nitrotestutils.h"
#include "services_protocol.h"
#include "virerror.h"

#define DATADIR "nitroxml2argvdata"

#define TEST_FIRST_FD 80
#define TEST_BACKUPS 2
#define TEST_MAX_SIZE (2 * 1024 * 1024)

static virDomainXMLOption *xmlopt;

static const char *const cases[] = {
    "services", "services-health", "services-most", "channel-unix",
};

/* What the @n @services have got: descriptors for logs and listeners */
typedef struct {
    nitroServiceFds *fds;
    nitroOutput *outputs;
    int (*backups)[TEST_BACKUPS];
} TestFds;

static void
testOpen(TestFds *fds,
         const nitroServiceDef *services,
         size_t n)
{
    int next = TEST_FIRST_FD;
    size_t i;
    size_t j;

    fds->fds = g_new0(nitroServiceFds, n);
    fds->outputs = g_new0(nitroOutput, n);
    fds->backups = g_malloc0_n(n, sizeof(*fds->backups));
    for (i = 0; i < n; i++) {
        fds->fds[i].listener = services[i].type == NITRO_SERVICE_INBOUND ? next++ : -1;
        if (services[i].type != NITRO_SERVICE_LOG)
            continue;
        fds->outputs[i].fd = next++;
        for (j = 0; j < TEST_BACKUPS; j++)
            fds->backups[i][j] = next++;
        fds->outputs[i].backups = fds->backups[i];
        fds->outputs[i].nbackups = TEST_BACKUPS;
        fds->fds[i].output = &fds->outputs[i];
    }
}


static void
testClose(TestFds *fds)
{
    g_free(fds->fds);
    g_free(fds->outputs);
    g_free(fds->backups);
}


static void
testConfig(const void *opaque)
{
    const char *name = opaque;
    g_autofree char *xml = nitroTestPath(DATADIR, name, ".xml");
    g_autofree char *conf = nitroTestPath(DATADIR, name, ".conf");
    g_autoptr(virDomainDef) def = NULL;
    g_autofree nitroServiceDef *services = NULL;
    g_autofree char *text = NULL;
    TestFds fds;
    size_t n;

    def = virDomainDefParseFile(xml, xmlopt, NULL, VIR_DOMAIN_DEF_PARSE_INACTIVE);
    g_assert_nonnull(def);
    services = nitroDomainDefGetServices(def, &n);
    testOpen(&fds, services, n);

    text = nitroServicesConfigFormat(def->name, services, n, fds.fds, TEST_MAX_SIZE);
    testClose(&fds);
    g_assert_nonnull(text);
    nitroTestCompareToFile(text, conf);
}


/* Logs without a limit are not divided. */
static void
testNoLimit(void)
{
    virDomainChrDef channel = { 0 };
    const nitroServiceDef service = { .type = NITRO_SERVICE_LOG, .port = 9514, .channel = &channel };
    const nitroOutput output = { .fd = 8 };
    const nitroServiceFds fds = { .listener = -1, .output = &output };
    g_autofree char *text = nitroServicesConfigFormat("x", &service, 1, &fds, 0);

    g_assert_cmpstr(text, ==, "[log 9514]\nfd=8\n");
}


static void
testRefused(size_t n,
            char **allow)
{
    g_autofree nitroServiceDef *services = g_new0(nitroServiceDef, n);
    g_autofree nitroServiceFds *fds = g_new0(nitroServiceFds, n);
    g_autofree char *text = NULL;
    g_autofree char *error = NULL;
    size_t i;

    for (i = 0; i < n; i++) {
        services[i].type = NITRO_SERVICE_PROXY;
        services[i].port = i + 1;
        services[i].allow = allow;
    }
    text = nitroServicesConfigFormat("x", services, n, fds, 0);
    g_assert_null(text);
    error = nitroTestTakeError();
    g_assert_true(g_str_has_prefix(error, "VIR_ERR_CONFIG_UNSUPPORTED "));
}


/* What the process would not read is told before it is started. */
static void
testTooLarge(void)
{
    g_autofree char *host = g_strnfill(NITRO_SERVICES_CONFIG_MAX / 8, 'a');
    char *allow[] = { host, NULL };

    testRefused(NITRO_SERVICES_MAX + 1, NULL);
    testRefused(9, allow);
}


int
main(int argc,
     char **argv)
{
    size_t i;
    int ret;

    if (!(xmlopt = nitroTestInit(&argc, &argv)))
        return 1;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *name = g_strdup_printf("/services-config/%s", cases[i]);

        g_test_add_data_func(name, cases[i], testConfig);
    }
    g_test_add_func("/services-config/no-limit", testNoLimit);
    g_test_add_func("/services-config/too-large", testTooLarge);
    ret = g_test_run();
    virObjectUnref(xmlopt);
    return ret;
}
