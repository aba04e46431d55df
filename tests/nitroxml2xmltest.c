/*
 * nitroxml2xmltest.c: domain XML through the parser and back
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A file of nitroxml2argvdata is read as a stored definition, a file of
 * nitroxml2xmlindata as that of a running enclave; what comes out is compared with
 * the file of the same name in nitroxml2xmloutdata, and read once more: a second
 * round trip must change nothing. What an older libvirt writes in another way is in
 * NAME.libvirt-VERSION.xml there.
 */

#include <config.h>

#include "nitrotestutils.h"
#include "nitro_domain_conf.h"

#define OUTDIR "nitroxml2xmloutdata"

typedef struct {
    const char *name;
    bool live;
} TestCase;

static virDomainXMLOption *xmlopt;


static char *
testFormat(virDomainDef *def,
           const TestCase *test)
{
    unsigned int flags = VIR_DOMAIN_DEF_FORMAT_SECURE;

    if (!test->live)
        flags |= VIR_DOMAIN_DEF_FORMAT_INACTIVE;

    return virDomainDefFormat(def, xmlopt, flags);
}


static void
testXml2Xml(const void *opaque)
{
    const TestCase *test = opaque;
    const char *indir = test->live ? "nitroxml2xmlindata" : "nitroxml2argvdata";
    unsigned int flags = test->live ? 0 : VIR_DOMAIN_DEF_PARSE_INACTIVE;
    g_autofree char *in = nitroTestPath(indir, test->name, ".xml");
    g_autofree char *out = nitroTestOutPath(OUTDIR, test->name);
    g_autoptr(virDomainDef) def = NULL;
    g_autoptr(virDomainDef) again = NULL;
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;

    def = virDomainDefParseFile(in, xmlopt, NULL, flags);
    g_assert_nonnull(def);
    first = testFormat(def, test);
    g_assert_nonnull(first);
    nitroTestCompareToFile(first, out);

    again = virDomainDefParseString(first, xmlopt, NULL, flags);
    g_assert_nonnull(again);
    second = testFormat(again, test);
    g_assert_cmpstr(first, ==, second);
}


static const TestCase tests[] = {
    { "minimal" },
    { "emulated" },
    { "aarch64" },
    { "emulator" },
    { "name-quoting" },
    { "kernel-initrd-cmdline" },
    { "hugepages" },
    { "hugepages-2m" },
    { "vcpu-default" },
    { "vcpu-cpuset-range" },
    { "vcpupin" },
    { "numatune-strict" },
    { "cpu-host-passthrough" },
    { "on-actions" },
    { "metadata" },
    { "vsock" },
    { "vsock-auto-address" },
    { "vsock-default" },
    { "vsock-directory" },
    { "debug-off" },
    { "console-pty" },
    { "console-file" },
    { "console-unix" },
    { "console-null" },
    { "console-virtio" },
    { "serial" },
    { "serial-console" },
    { "heartbeat" },
    { "heartbeat-timeout" },
    { "measurements" },
    { "namespace-prefix" },
    { "client-virt-install" },
    { "client-none-devices" },
    { "cpu-empty" },
    { "cpu-topology" },
    { "cpu-topology-open" },
    { "pm" },
    { "perf-off" },
    { "clock-timer-absent" },
    { "audio-none" },
    { "video-none" },
    { "features-off" },
    { "features-acpi" },
    { "memory-nosharepages" },
    { "memory-locked" },
    { "memory-locked-emulated" },
    { "seclabel-dynamic" },
    { "seclabel-none-model" },
    { "resource" },
    { "vsock-non-transitional" },
    { "resource-partition" },
    { "cputune-shares" },
    { "cputune-shares-emulated" },
    { "tune-emulated" },
    { "memtune-hugepages" },
    { "stray-metadata" },
    { "enclave-comment" },
    { "text-lines" },
    { "name-long-247" },
    { "nsm" },
    { "nsm-off" },
    { "nsm-parent" },
    { "nsm-parent-role" },
    { "nsm-parent-id" },
    { "services" },
    { "services-health" },
    { "services-empty" },
    { "channel-unix" },
    { "channel-state" },
    { "channel-controller" },
    { "services-most" },
    { "channel-made-path" },
    { "full" },
    { "live-channel", true },
    { "live-console", true },
    { "live-console-virtio", true },
    { "live-vsock-auto", true },
};


static void
testComplete(void)
{
    nitroTestCheckComplete(OUTDIR, tests, sizeof(tests[0]), G_N_ELEMENTS(tests));
}


int
main(int argc,
     char **argv)
{
    size_t i;
    int ret;

    xmlopt = nitroTestInit(&argc, &argv);

    for (i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strdup_printf("/xml2xml/%s", tests[i].name);

        g_test_add_data_func(path, &tests[i], testXml2Xml);
    }
    g_test_add_func("/xml2xml-complete", testComplete);

    ret = g_test_run();
    virObjectUnref(xmlopt);

    return ret;
}
