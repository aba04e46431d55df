/*
 * nitroxml2argvtest.c: from domain XML to the command line of libvirt_nitro
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each case is a pair of files in nitroxml2argvdata: NAME.xml and NAME.args, the
 * command line, or NAME.err, the code and message with which the XML is refused.
 */

#include <config.h>

#include "nitrotestutils.h"
#include "helper_protocol.h"
#include "nitro_command.h"
#include "nitro_domain_conf.h"

#define DATADIR "nitroxml2argvdata"

/* Descriptors are passed by number, so any will do: none is used before the fork. */
enum {
    TEST_CONTROL_FD = 40,
    TEST_IMAGE_FD,
    TEST_INITRD_FD,
    TEST_CONSOLE_FD,
    TEST_VSOCK_DIR_FD,
    TEST_VSOCK_LISTEN_FD,
    TEST_DEVICE_FD,
    TEST_BROKER_FD,
    TEST_CONSOLE_LOG_FD,
    TEST_SERVICES_LISTEN_FD,
    TEST_NSM_IDENTITY_FD = 80,
    TEST_LOG_BACKUP_FD = 50,         /* and the next one, here and below */
    TEST_CONSOLE_BACKUP_FD = 60,
    TEST_CONSOLE_LOG_BACKUP_FD = 70,
};

typedef struct {
    const char *name;
    bool refused;      /* there is an .err file in place of the .args file */
    const char *accel;
    bool rotation;     /* files have a largest size */
    bool without;      /* the host has no namespaces for users */
    bool services;     /* the helper is a switch */
    bool nsm;          /* QEMU can have one */
} TestCase;

static virDomainXMLOption *xmlopt;


/* The files that are written to, as nitroOutputsOpen() opens them; those of the last call */
static const nitroOutputs *
testOpenOutputs(const virDomainDef *def,
                bool rotation)
{
    static int backups[3][2] = {
        { TEST_LOG_BACKUP_FD, TEST_LOG_BACKUP_FD + 1 },
        { TEST_CONSOLE_BACKUP_FD, TEST_CONSOLE_BACKUP_FD + 1 },
        { TEST_CONSOLE_LOG_BACKUP_FD, TEST_CONSOLE_LOG_BACKUP_FD + 1 },
    };
    static nitroOutputs outputs;
    size_t n = rotation ? G_N_ELEMENTS(backups[0]) : 0;
    const virDomainChrDef *console = nitroDomainDefGetConsole(def);
    bool debug = nitroDomainDefIsDebug(def);
    bool file = console && debug && console->source->type == VIR_DOMAIN_CHR_TYPE_FILE;
    bool log = console && debug && console->source->logfile;

    outputs = (nitroOutputs) {
        .log = { .backups = backups[0], .nbackups = n },
        .console = { file ? TEST_CONSOLE_FD : -1, backups[1], n },
        .consoleLog = { log ? TEST_CONSOLE_LOG_FD : -1, backups[2], n },
        .maxSize = rotation ? NITRO_LOG_MAX_SIZE : 0,
    };
    return &outputs;
}


/* The context as the start of a domain prepares it. */
static const char *const testWithout[] = {
    NITRO_UNPROTECTED_NAMESPACES, NITRO_UNPROTECTED_QEMU_NAMESPACES, NULL,
};

static void
testFillContext(nitroCommandContext *ctxt,
                const virDomainDef *def,
                const TestCase *test)
{
    ctxt->controlFd = TEST_CONTROL_FD;
    ctxt->imageFd = TEST_IMAGE_FD;
    ctxt->initrdFd = def->os.initrd ? TEST_INITRD_FD : -1;
    ctxt->consoleFd = nitroDomainDefIsDebug(def) ? TEST_CONSOLE_FD : -1;
    ctxt->outputs = testOpenOutputs(def, test->rotation);
    ctxt->vsockDirFd = ctxt->vsockListenFd = ctxt->deviceFd = ctxt->brokerFd = -1;
    ctxt->servicesListenFd = ctxt->nsmIdentityFd = -1;
    ctxt->pageSize = nitroDomainDefGetPageSize(def);
    ctxt->numaNode = nitroDomainDefGetNumaNode(def);
    ctxt->without = test->without ? (char **)testWithout : NULL;

    if (nitroDomainDefGetMachine(def) == NITRO_MACHINE_NITRO) {
        ctxt->deviceFd = TEST_DEVICE_FD;
        if (nitroDomainDefHasHeartbeat(def))
            ctxt->brokerFd = TEST_BROKER_FD;
    }

    if (nitroDomainDefGetMachine(def) == NITRO_MACHINE_EMULATED) {
        ctxt->qemu = def->os.arch == VIR_ARCH_AARCH64 ? "/usr/bin/qemu-system-aarch64" :
                                                        "/usr/bin/qemu-system-x86_64";
        ctxt->accel = test->accel;
        ctxt->vsockDirFd = TEST_VSOCK_DIR_FD;
        ctxt->vsockListenFd = TEST_VSOCK_LISTEN_FD;
        if (test->services)
            ctxt->servicesListenFd = TEST_SERVICES_LISTEN_FD;
        if (test->nsm && nitroDomainDefGetNsm(def) != VIR_TRISTATE_BOOL_NO) {
            ctxt->nsm = "/usr/libexec/libvirt_nitro_nsm";
            ctxt->nsmDevice = "vhost-user-test-device";
            ctxt->nsmIdentityFd = TEST_NSM_IDENTITY_FD;
        }
    }
}


static void
testCompareArgs(virDomainDef *def,
                const TestCase *test)
{
    g_autofree char *path = nitroTestPath(DATADIR, test->name, ".args");
    g_autoptr(virCommand) cmd = NULL;
    g_autofree char *args = NULL;
    g_autofree char *text = NULL;
    nitroCommandContext ctxt = { 0 };

    testFillContext(&ctxt, def, test);
    cmd = nitroCommandBuild(def, &ctxt);
    g_assert_nonnull(cmd);

    args = virCommandToStringFull(cmd, true, false);
    g_assert_nonnull(args);
    text = g_strconcat(args, "\n", NULL);
    nitroTestCompareToFile(text, path);
}


static void
testCompareError(const TestCase *test)
{
    g_autofree char *path = nitroTestPath(DATADIR, test->name, ".err");
    g_autofree char *text = nitroTestTakeError();

    nitroTestCompareToFile(text, path);
}


static void
testXml2Argv(const void *opaque)
{
    const TestCase *test = opaque;
    g_autofree char *path = nitroTestPath(DATADIR, test->name, ".xml");
    g_autoptr(virDomainDef) def = NULL;

    def = virDomainDefParseFile(path, xmlopt, NULL, VIR_DOMAIN_DEF_PARSE_INACTIVE);

    if (!def && !test->refused) {
        g_autofree char *error = nitroTestTakeError();

        g_test_message("%s is refused: %s", path, error);
        g_test_fail();
    } else if (!def) {
        testCompareError(test);
    } else if (test->refused) {
        g_test_message("%s is not refused", path);
        g_test_fail();
    } else {
        testCompareArgs(def, test);
    }
}


static const TestCase tests[] = {
    { "minimal" },
    { "emulated", false, "tcg" },
    { "aarch64" },
    { "aarch64-emulated", false, "tcg" },
    { "emulator" },
    { "name-quoting" },
    { "kernel-initrd-cmdline" },
    { "kernel-cmdline" },
    { "memory-least" },
    { "memory-current" },
    { "memory-large" },
    { "hugepages" },
    { "hugepages-2m" },
    { "hugepages-1g" },
    { "vcpu-default" },
    { "vcpu-most-emulated" },
    { "vcpu-cpuset" },
    { "vcpu-cpuset-range" },
    { "vcpupin" },
    { "vcpupin-cpuset" },
    { "numatune-strict" },
    { "numatune-emulated" },
    { "cpu-host-passthrough" },
    { "on-actions" },
    { "metadata" },
    { "seclabel-none" },
    { "without", false, "tcg", .without = true },
    { "services-emulated", false, "tcg", .services = true },
    { "nsm", false, "tcg", .nsm = true },
    { "nsm-off", false, "tcg" },
    { "nsm-parent", false, "tcg", .nsm = true },
    { "nsm-parent-role", false, "tcg", .nsm = true },
    { "nsm-parent-id", false, "tcg", .nsm = true },
    { "nsm-parent-debug", false, "tcg", .nsm = true },
    { "nsm-not-there", false, "tcg" },
    { "vsock" },
    { "vsock-address" },
    { "vsock-address-most" },
    { "vsock-auto" },
    { "vsock-auto-address" },
    { "vsock-default" },
    { "vsock-directory" },
    { "debug" },
    { "debug-off" },
    { "console-pty" },
    { "console-file" },
    { "console-log" },
    { "console-log-null" },
    { "console-rotation", .rotation = true },
    { "log-rotation", .rotation = true },
    { "console-unix" },
    { "console-null" },
    { "console-virtio" },
    { "console-no-debug" },
    { "serial" },
    { "serial-console" },
    { "heartbeat" },
    { "heartbeat-off" },
    { "heartbeat-timeout" },
    { "measurement" },
    { "measurements" },
    { "namespace-prefix" },
    { "client-virt-install" },
    { "client-none-devices" },
    { "client-terraform" },
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
    { "memory-locked-emulated", false, "tcg" },
    { "seclabel-dynamic" },
    { "seclabel-none-model" },
    { "resource" },
    { "vsock-non-transitional" },
    { "resource-partition" },
    { "cputune-shares" },
    { "cputune-shares-emulated", false, "tcg" },
    { "tune-emulated", false, "tcg" },
    { "memtune-hugepages", false, "tcg" },
    { "stray-metadata" },
    { "enclave-comment" },
    { "text-lines" },
    { "name-long-247" },
    { "cpu-check-full" },
    { "memtune-unlimited" },
    { "clock-timer-absent-tick" },
    { "full" },

    { "name-newline", true },
    { "name-slash", true },
    { "domain-type", true },
    { "os-type", true },
    { "arch", true },
    { "machine", true },
    { "no-kernel", true },
    { "kernel-relative", true },
    { "initrd-relative", true },
    { "emulator-relative", true },
    { "os-loader", true },
    { "os-firmware", true },
    { "os-boot-dev", true },
    { "os-bootmenu", true },
    { "os-bios", true },
    { "os-dtb", true },
    { "os-smbios", true },
    { "bootloader", true },
    { "memory-0", true },
    { "memory-1k", true },
    { "memory-63m", true },
    { "memory-65m", true },
    { "memory-overflow", true },
    { "current-memory", true },
    { "max-memory", true },
    { "memory-dump-core", true },
    { "memory-source", true },
    { "memory-access", true },
    { "memory-allocation", true },
    { "memory-discard", true },
    { "memtune", true },
    { "hugepages-64k", true },
    { "hugepages-6m", true },
    { "hugepages-1g-small", true },
    { "hugepages-two", true },
    { "hugepages-nodeset", true },
    { "numa", true },
    { "numatune-preferred", true },
    { "numatune-two", true },
    { "numatune-auto", true },
    { "vcpu-0", true },
    { "vcpu-10000", true },
    { "vcpu-256-emulated", true },
    { "vcpu-current", true },
    { "vcpu-placement-auto", true },
    { "vcpu-individual", true },
    { "vcpu-cpuset-fewer", true },
    { "vcpu-cpuset-more", true },
    { "vcpu-cpuset-0", true },
    { "vcpu-cpuset-high", true },
    { "vcpupin-partial", true },
    { "vcpupin-two", true },
    { "vcpupin-same", true },
    { "vcpupin-cpuset-differ", true },
    { "cputune-emulatorpin", true },
    { "cputune-quota", true },
    { "cputune-vcpusched", true },
    { "cputune-cachetune", true },
    { "iothreads", true },
    { "cpu-model", true },
    { "cpu-host-model", true },
    { "cpu-feature", true },
    { "clock-localtime", true },
    { "clock-timer", true },
    { "on-poweroff-preserve", true },
    { "on-reboot-rename-restart", true },
    { "on-crash-coredump", true },
    { "on-lockfailure", true },
    { "perf", true },
    { "genid", true },
    { "sysinfo", true },
    { "blkiotune", true },
    { "idmap", true },
    { "launch-security", true },
    { "seclabel-static", true },
    { "device-disk", true },
    { "device-disk-ide", true },
    { "device-filesystem", true },
    { "device-interface", true },
    { "device-graphics", true },
    { "device-video", true },
    { "device-input", true },
    { "device-sound", true },
    { "device-audio", true },
    { "device-hostdev", true },
    { "device-redirdev", true },
    { "device-redirfilter", true },
    { "device-smartcard", true },
    { "device-parallel", true },
    { "device-channel", true },
    { "device-lease", true },
    { "device-hub", true },
    { "device-rng", true },
    { "device-shmem", true },
    { "device-panic", true },
    { "device-tpm", true },
    { "device-watchdog", true },
    { "device-nvram", true },
    { "device-iommu", true },
    { "device-controller", true },
    { "device-controller-usb", true },
    { "device-memballoon", true },
    { "device-memory", true },
    { "console-two", true },
    { "console-virtio-serial", true },
    { "serial-two", true },
    { "console-tcp", true },
    { "console-target", true },
    { "console-log-relative", true },
    { "console-seclabel", true },
    { "console-file-no-path", true },
    { "console-file-relative", true },
    { "console-unix-no-path", true },
    { "console-unix-reconnect", true },
    { "console-address", true },
    { "serial-usb", true },
    { "serial-model", true },
    { "vsock-cid-1", true },
    { "vsock-cid-3", true },
    { "vsock-cid-any", true },
    { "vsock-cid-overflow", true },
    { "vsock-cid-none", true },
    { "vsock-model", true },
    { "vsock-directory-none", true },
    { "vsock-directory-two", true },
    { "vsock-driver", true },
    { "vsock-pci", true },
    { "vsock-two", true },
    { "enclave-debug", true },
    { "enclave-no-debug", true },
    { "enclave-twice", true },
    { "enclave-attribute", true },
    { "heartbeat-enabled", true },
    { "heartbeat-no-enabled", true },
    { "heartbeat-twice", true },
    { "heartbeat-timeout-0", true },
    { "heartbeat-timeout-text", true },
    { "heartbeat-timeout-long", true },
    { "heartbeat-timeout-off", true },
    { "measurement-short", true },
    { "measurement-empty", true },
    { "measurement-text", true },
    { "measurement-pcr-3", true },
    { "measurement-pcr-99", true },
    { "measurement-no-pcr", true },
    { "measurement-twice", true },
    { "namespace-element", true },
    { "namespace-place", true },
    { "namespace-qemu", true },
    { "client-terraform-plain", true },
    { "seclabel-baselabel", true },
    { "stray-vsock-twice", true },
    { "stray-cpu", true },
    { "stray-memory-backing", true },
    { "memorytune", true },
    { "cputune-global", true },
    { "defaultiothread", true },
    { "iothreadids", true },
    { "perf-on", true },
    { "sysinfo-fwcfg", true },
    { "clock-utc-adjustment", true },
    { "clock-absolute", true },
    { "features-msrs", true },
    { "features-gic", true },
    { "features-pmu-off", true },
    { "features-kvm", true },
    { "features-hyperv-mode", true },
    { "serial-log-file", true },
    { "console-unix-tls", true },
    { "console-protocol", true },
    { "vsock-source", true },
    { "vsock-rom", true },
    { "vsock-boot", true },
    { "cpu-signature", true },
    { "keywrap", true },
    { "device-pstore", true },
    { "device-crypto", true },
    { "throttlegroups", true },
    { "hwuuid", true },
    { "os-acpi", true },
    { "os-root", true },
    { "os-nvram", true },
    { "os-varstore", true },
    { "os-shim", true },
    { "os-firmware-feature", true },
    { "os-initarg", true },
    { "os-init", true },
    { "serial-port", true },
    { "vsock-acpi-index", true },
    { "resource-fibrechannel", true },
    { "resource-partition-relative", true },
    { "resource-partition-dots", true },
    { "resource-partition-empty", true },
    { "resource-partition-root", true },
    { "cputune-quota-emulated", true },
    { "cputune-emulator-emulated", true },
    { "memtune-small", true },
    { "memtune-swap", true },
    { "memtune-swap-small", true },
    { "memtune-guarantee", true },
    { "seclabel-model-cr", true },
    { "seclabel-dynamic-model", true },
    { "pm-s4", true },
    { "pm-s3", true },
    { "features-vmcoreinfo", true },
    { "features-capabilities", true },
    { "features-smm", true },
    { "features-hap-off", true },
    { "features-vmport", true },
    { "features-apic-eoi", true },
    { "clock-timer-kvmclock", true },
    { "clock-timer-present", true },
    { "cpu-maximum", true },
    { "cpu-vendor", true },
    { "cpu-topology-more", true },
    { "console-log-cr", true },
    { "console-unix-cr", true },
    { "console-file-newline", true },
    { "emulator-cr", true },
    { "cmdline-cr", true },
    { "initrd-cr", true },
    { "kernel-newline", true },
    { "kernel-cr", true },
    { "description-cr", true },
    { "title-cr", true },
    { "name-long", true },
    { "name-del", true },
    { "name-tab", true },
    { "name-control", true },
    { "name-cr", true },
    { "heartbeat-content", true },
    { "measurement-child", true },
    { "enclave-attribute-other", true },
    { "enclave-attribute-namespace", true },
    { "enclave-upper-case", true },
    { "enclave-child", true },
    { "enclave-inside", true },
    { "enclave-content", true },
    { "stray-entity-attribute", true },
    { "stray-entity", true },
    { "stray-devices-twice", true },
    { "stray-devices-element", true },
    { "stray-os-twice", true },
    { "stray-os-element", true },
    { "stray-domain-twice", true },
    { "stray-domain-element", true },
    { "stray-metadata-devices", true },
    { "stray-metadata-second", true },
    { "stray-attribute-prefix", true },
    { "stray-attribute", true },
    { "stray-default-namespace", true },
    { "stray-other-hypervisor-inside", true },
    { "stray-other-namespace-inside", true },
    { "stray-other-namespace-prefix", true },
    { "stray-other-namespace", true },
    { "stray-upper-case", true },
    { "stray-no-namespace-vsock", true },
    { "stray-no-namespace-services", true },
    { "stray-no-namespace-enclave", true },
    { "stray-no-namespace-deep", true },
    { "stray-no-namespace-os", true },
    { "stray-no-namespace", true },
    { "stray-undeclared-attribute", true },
    { "stray-undeclared-other", true },
    { "stray-undeclared-devices", true },
    { "stray-undeclared-os", true },
    { "stray-undeclared", true },
    { "services" },
    { "services-health" },
    { "services-empty" },
    { "channel-unix" },
    { "channel-state" },
    { "channel-controller" },
    { "services-most" },
    { "channel-pty", true },
    { "channel-no-type", true },
    { "channel-spicevmc", true },
    { "channel-dev", true },
    { "channel-udp", true },
    { "channel-no-target", true },
    { "channel-target-xen", true },
    { "channel-target-guestfwd", true },
    { "channel-target-port", true },
    { "channel-target-no-name", true },
    { "channel-target-name", true },
    { "channel-target-name-0", true },
    { "channel-target-name-any", true },
    { "channel-target-name-zero", true },
    { "channel-target-name-sign", true },
    { "channel-target-name-space", true },
    { "channel-target-name-hex", true },
    { "channel-target-name-end", true },
    { "channel-target-name-empty", true },
    { "channel-target-name-case", true },
    { "channel-target-name-overflow", true },
    { "channel-port-heartbeat", true },
    { "channel-port-twice", true },
    { "channel-tcp-no-source", true },
    { "channel-tcp-no-host", true },
    { "channel-tcp-no-service", true },
    { "channel-tcp-host-empty", true },
    { "channel-tcp-host-short", true },
    { "channel-tcp-host-hex", true },
    { "channel-tcp-host-number", true },
    { "channel-tcp-host-octal", true },
    { "channel-tcp-host-range", true },
    { "channel-tcp-host-scope", true },
    { "channel-tcp-host-brackets", true },
    { "channel-tcp-host-separator", true },
    { "channel-tcp-host-space", true },
    { "channel-tcp-host-dot", true },
    { "channel-tcp-host-dots", true },
    { "channel-tcp-host-hyphen", true },
    { "channel-tcp-host-label", true },
    { "channel-tcp-host-long", true },
    { "channel-tcp-host-wildcard", true },
    { "channel-tcp-host-network", true },
    { "channel-tcp-host-idn", true },
    { "channel-tcp-service-0", true },
    { "channel-tcp-service-large", true },
    { "channel-tcp-service-zero", true },
    { "channel-tcp-service-letters", true },
    { "channel-tcp-service-digits", true },
    { "channel-tcp-service-long", true },
    { "channel-tcp-bind-no-host", true },
    { "channel-tcp-bind-name", true },
    { "channel-tcp-bind-service", true },
    { "channel-tcp-bind-no-service", true },
    { "channel-tcp-mode", true },
    { "channel-tcp-telnet", true },
    { "channel-tcp-tls", true },
    { "channel-tcp-path", true },
    { "channel-tcp-reconnect", true },
    { "channel-tcp-acl", true },
    { "channel-tcp-seclabel", true },
    { "channel-log", true },
    { "channel-acpi", true },
    { "channel-address", true },
    { "channel-element", true },
    { "channel-two-sources", true },
    { "channel-unix-no-path", true },
    { "channel-unix-relative", true },
    { "channel-unix-long", true },
    { "channel-unix-newline", true },
    { "channel-unix-protocol", true },
    { "channel-unix-host", true },
    { "channel-seclabel-model", true },
    { "channel-seclabel-no-group", true },
    { "channel-seclabel-empty", true },
    { "channel-seclabel-three", true },
    { "channel-seclabel-relabel", true },
    { "channel-seclabel-connect", true },
    { "channel-seclabel-no-path", true },
    { "channel-seclabel-two", true },
    { "channel-file-no-path", true },
    { "channel-file-relative", true },
    { "channel-file-append-off", true },
    { "channel-file-mode", true },
    { "channel-file-seclabel", true },
    { "channel-controller-ports", true },
    { "channel-controller-index", true },
    { "channel-many", true },
    { "nsm-nitro", true },
    { "nsm-parent-nitro", true },
    { "nsm-twice", true },
    { "nsm-enabled", true },
    { "nsm-no-enabled", true },
    { "nsm-attribute", true },
    { "nsm-content", true },
    { "nsm-parent-off", true },
    { "nsm-parent-twice", true },
    { "nsm-parent-nothing", true },
    { "nsm-parent-attribute", true },
    { "nsm-parent-content", true },
    { "nsm-parent-role-user", true },
    { "nsm-parent-role-account", true },
    { "nsm-parent-role-newline", true },
    { "nsm-parent-role-empty", true },
    { "nsm-parent-id-short", true },
    { "nsm-parent-id-upper-case", true },
    { "nsm-parent-id-newline", true },
    { "services-many", true },
    { "services-many-together", true },
    { "services-attribute", true },
    { "services-text", true },
    { "services-twice", true },
    { "services-no-namespace", true },
    { "services-unknown", true },
    { "services-outbound", true },
    { "services-case", true },
    { "services-inside", true },
    { "services-outside", true },
    { "services-in-devices", true },
    { "services-no-port", true },
    { "services-port-0", true },
    { "services-port-any", true },
    { "services-port-zero", true },
    { "services-port-heartbeat", true },
    { "services-port-privileged", true },
    { "services-port-twice", true },
    { "services-port-channel", true },
    { "services-time-attribute", true },
    { "services-time-content", true },
    { "services-exit-two", true },
    { "services-health-two", true },
    { "services-health-interval-0", true },
    { "services-health-interval-large", true },
    { "services-health-failures-0", true },
    { "services-health-failures-large", true },
    { "proxy-attribute", true },
    { "proxy-text", true },
    { "proxy-element", true },
    { "proxy-no-namespace", true },
    { "proxy-allow-content", true },
    { "proxy-allow-attribute", true },
    { "proxy-allow-no-host", true },
    { "proxy-allow-no-port", true },
    { "proxy-allow-host-empty", true },
    { "proxy-allow-host-wildcard", true },
    { "proxy-allow-host-wildcard-inside", true },
    { "proxy-allow-host-wildcard-address", true },
    { "proxy-allow-host-wildcard-part", true },
    { "proxy-allow-host-separator", true },
    { "proxy-allow-host-colon", true },
    { "proxy-allow-host-brackets", true },
    { "proxy-allow-host-scope", true },
    { "proxy-allow-host-short", true },
    { "proxy-allow-host-number", true },
    { "proxy-allow-host-hex", true },
    { "proxy-allow-host-octal", true },
    { "proxy-allow-host-network-bits", true },
    { "proxy-allow-host-network-prefix", true },
    { "proxy-allow-host-network-zero", true },
    { "proxy-allow-host-network-empty", true },
    { "proxy-allow-host-network-mask", true },
    { "proxy-allow-host-network-name", true },
    { "proxy-allow-host-network-v6-bits", true },
    { "proxy-allow-host-network-v6-prefix", true },
    { "proxy-allow-host-network-all-bits", true },
    { "proxy-allow-port-0", true },
    { "proxy-allow-port-large", true },
    { "proxy-allow-port-zero", true },
    { "proxy-allow-port-name", true },
    { "proxy-allow-port-range", true },
    { "proxy-allow-many", true },
    { "channel-made-path" },
};


static void
testComplete(void)
{
    nitroTestCheckComplete(DATADIR, tests, sizeof(tests[0]), G_N_ELEMENTS(tests));
}


/*
 * The examples of the tree are definitions that the driver takes. That of the sample enclave
 * is made by the build: test_virsh.py defines it.
 */
static void
testExamples(void)
{
    g_autofree char *path = g_build_filename(NITRO_TEST_SRCDIR, "..", "examples", NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) dir = g_dir_open(path, 0, &error);
    const char *file;
    size_t count = 0;

    g_assert_no_error(error);

    while ((file = g_dir_read_name(dir))) {
        g_autofree char *xml = g_build_filename(path, file, NULL);
        g_autoptr(virDomainDef) def = NULL;

        if (!g_str_has_suffix(file, ".xml"))
            continue;

        count++;
        def = virDomainDefParseFile(xml, xmlopt, NULL, VIR_DOMAIN_DEF_PARSE_INACTIVE);
        if (!def) {
            g_autofree char *reason = nitroTestTakeError();

            g_test_message("%s is refused: %s", xml, reason);
            g_test_fail();
        }
    }
    g_assert_cmpuint(count, >, 0);
}


static void
testNoDescriptors(void)
{
    g_autofree char *path = nitroTestPath(DATADIR, "minimal", ".xml");
    g_autoptr(virDomainDef) def = NULL;
    g_autoptr(virCommand) cmd = NULL;
    g_autofree char *error = NULL;
    nitroCommandContext ctxt = { .controlFd = -1, .imageFd = -1, .initrdFd = -1,
                                 .vsockDirFd = -1, .vsockListenFd = -1, .consoleFd = -1,
                                 .deviceFd = -1, .brokerFd = -1, .servicesListenFd = -1,
                                 .numaNode = -1 };

    def = virDomainDefParseFile(path, xmlopt, NULL, VIR_DOMAIN_DEF_PARSE_INACTIVE);
    g_assert_nonnull(def);

    cmd = nitroCommandBuild(def, &ctxt);
    g_assert_null(cmd);
    error = nitroTestTakeError();
    g_assert_true(g_str_has_prefix(error, "VIR_ERR_INTERNAL_ERROR "));
}


/* The memory is where the host says; the rest is for definitions that say nothing. */
static void
testHostDefaults(void)
{
    static const struct {
        const char *name;
        const char *words; /* in the command */
    } cases[] = {
        { "minimal", "--page-size 1073741824 --numa-node 3 " },
        { "minimal", "--heartbeat-timeout 77 " },
        { "minimal", "--signature abcdef" },
        { "hugepages-2m", "--page-size 1073741824 " },
        { "numatune-strict", "--numa-node 3 " },
        { "heartbeat-timeout", "--heartbeat-timeout 120 " },
        { "heartbeat-off", "--no-heartbeat " },
        { "measurements", "--signature abcdef --expect-pcr 0=0123" },
    };
    const TestCase plain = { 0 };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = nitroTestPath(DATADIR, cases[i].name, ".xml");
        g_autoptr(virDomainDef) def = NULL;
        g_autoptr(virCommand) cmd = NULL;
        g_autofree char *args = NULL;
        nitroCommandContext ctxt = { 0 };

        def = virDomainDefParseFile(path, xmlopt, NULL, VIR_DOMAIN_DEF_PARSE_INACTIVE);
        g_assert_nonnull(def);
        testFillContext(&ctxt, def, &plain);
        ctxt.pageSize = 1048576;
        ctxt.numaNode = 3;
        ctxt.heartbeatTimeout = 77;
        ctxt.signature = "abcdef";
        cmd = nitroCommandBuild(def, &ctxt);
        args = virCommandToString(cmd, false);
        if (!strstr(args, cases[i].words)) {
            g_test_message("'%s' is not in: %s", cases[i].words, args);
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
        g_autofree char *path = g_strdup_printf("/xml2argv/%s", tests[i].name);

        g_test_add_data_func(path, &tests[i], testXml2Argv);
    }
    g_test_add_func("/xml2argv-complete", testComplete);
    g_test_add_func("/xml2argv-no-descriptors", testNoDescriptors);
    g_test_add_func("/xml2argv-host-defaults", testHostDefaults);
    g_test_add_func("/xml2argv-examples", testExamples);

    ret = g_test_run();
    virObjectUnref(xmlopt);

    return ret;
}
