/*
 * options.c: the command line of libvirt_nitro
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: argv -> optionsTableRead() -> the setters of optionEntries -> optionsCheck() for what
 * several options mean together.
 */

#include "options.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "common/options_values.h"
#include "sandbox/unprotected.h"

static char *
optionsSetProbe(void *opaque, const char *value G_GNUC_UNUSED)
{
    Options *options = opaque;

    options->action = OPTIONS_PROBE;
    return NULL;
}

static char *
optionsSetBroker(void *opaque, const char *value G_GNUC_UNUSED)
{
    Options *options = opaque;

    options->action = OPTIONS_BROKER;
    return NULL;
}

static char *
optionsSetUuid(void *uuid, const char *value)
{
    return g_uuid_string_is_valid(value) ? optionsSetText(uuid, value) : g_strdup("is not a UUID");
}

static char *
optionsSetMachine(void *opaque, const char *value)
{
    Options *options = opaque;

    if (g_str_equal(value, "nitro"))
        options->machine = OPTIONS_MACHINE_NITRO;
    else if (g_str_equal(value, "nitro-enclave"))
        options->machine = OPTIONS_MACHINE_EMULATED;
    else
        return g_strdup("is neither 'nitro' nor 'nitro-enclave'");
    return NULL;
}

static bool
optionsIsUnixStream(int fd)
{
    int domain = 0;
    int type = 0;
    socklen_t len = sizeof(int);

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

/* The daemon listens on it; it must not be anything that accept() could block or fail on. */
static char *
optionsSetListener(void *listener, const char *value)
{
    int listening = 0;
    int fd = -1;
    socklen_t len = sizeof(int);
    char *error = optionsSetFd(&fd, value);

    if (error)
        return error;
    if (!optionsIsUnixStream(fd) ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 || !listening)
        return g_strdup("is not a listening UNIX stream socket");

    *(int *)listener = fd;
    return NULL;
}

static char *
optionsSetPageSize(void *bytes, const char *value)
{
    char *error = optionsSetSize(bytes, value);
    uint64_t size = *(uint64_t *)bytes;

    if (!error && (size < 2 * 1024 * 1024 || (size & (size - 1)) != 0))
        error = g_strdup("is not the size of a huge page: use a power of two from 2 MiB on");
    return error;
}

static char *
optionsSetNumaNode(void *opaque, const char *value)
{
    Options *options = opaque;
    uint64_t number;

    if (!optionsParseNumber(value, 0, OPTIONS_NUMA_NODE_MAX, &number))
        return g_strdup_printf("is not a NUMA node from 0 to %d", OPTIONS_NUMA_NODE_MAX);
    options->numaNode = (int)number;
    return NULL;
}

static char *
optionsSetVcpus(void *opaque, const char *value)
{
    Options *options = opaque;
    uint64_t number;

    if (!optionsParseNumber(value, 1, NITRO_VCPUS_MAX, &number))
        return g_strdup_printf("is not a number of vCPUs from 1 to %d", NITRO_VCPUS_MAX);
    options->vcpus = (unsigned int)number;
    return NULL;
}

/* Adds "3" or "1-3". Returns NULL, or what is wrong with @part. */
static char *
optionsAddCpus(GArray *cpus, const char *part)
{
    g_auto(GStrv) ends = g_strsplit(part, "-", 2);
    uint64_t first;
    uint64_t last;

    if (!ends[0] || !optionsParseNumber(ends[0], 0, NITRO_CPU_MAX, &first) ||
        !optionsParseNumber(ends[1] ? ends[1] : ends[0], first, NITRO_CPU_MAX, &last))
        return g_strdup_printf("is not a list of CPU ids such as '1,3' or '2-5' (part '%s')", part);

    for (; first <= last; first++) {
        unsigned int cpu = (unsigned int)first;
        size_t i;

        for (i = 0; i < cpus->len; i++) {
            if (g_array_index(cpus, unsigned int, i) == cpu)
                return g_strdup_printf("names CPU %u twice", cpu);
        }
        g_array_append_val(cpus, cpu);
    }
    return NULL;
}

static char *
optionsSetCpus(void *opaque, const char *value)
{
    Options *options = opaque;
    g_auto(GStrv) parts = g_strsplit(value, ",", -1);
    size_t i;

    options->cpus = g_array_new(FALSE, FALSE, sizeof(unsigned int));
    for (i = 0; parts[i]; i++) {
        char *error = optionsAddCpus(options->cpus, parts[i]);

        if (error)
            return error;
    }
    if (options->cpus->len == 0)
        return g_strdup("names no CPU");
    return NULL;
}

static char *
optionsSetCid(void *opaque, const char *value)
{
    Options *options = opaque;
    uint64_t number;

    /* Below 4: hypervisor, local, host, parent. The highest one means "any". */
    if (!optionsParseNumber(value, NITRO_CID_MIN, G_MAXUINT32 - 1, &number))
        return g_strdup_printf("is not a CID from %d to %u", NITRO_CID_MIN, G_MAXUINT32 - 1);
    options->cid = (uint32_t)number;
    options->hasCid = true;
    return NULL;
}

static char *
optionsSetDirFd(void *dirFd, const char *value)
{
    struct stat st;
    int fd = -1;
    char *error = optionsSetFd(&fd, value);

    if (error)
        return error;
    if (fstat(fd, &st) < 0 || !S_ISDIR(st.st_mode))
        return g_strdup("is not a directory");

    *(int *)dirFd = fd;
    return NULL;
}

/* accept() is called when a client was there, which may have left: it must not block then. */
static char *
optionsSetVsockListener(void *listener, const char *value)
{
    char *error = optionsSetListener(listener, value);

    if (!error && !g_unix_set_fd_nonblocking(*(int *)listener, TRUE, NULL))
        return g_strdup_printf("cannot be used: %s", g_strerror(errno));
    return error;
}

static char *
optionsSetConsoleType(void *opaque, const char *value)
{
    Options *options = opaque;

    if (g_str_equal(value, "pty"))
        options->consoleType = OPTIONS_CONSOLE_PTY;
    else if (g_str_equal(value, "file"))
        options->consoleType = OPTIONS_CONSOLE_FILE;
    else if (g_str_equal(value, "unix"))
        options->consoleType = OPTIONS_CONSOLE_UNIX;
    else
        return g_strdup("is none of 'pty', 'file' and 'unix'");
    return NULL;
}

static char *
optionsSetNoHeartbeat(void *opaque, const char *value G_GNUC_UNUSED)
{
    Options *options = opaque;

    options->heartbeat = false;
    return NULL;
}

static char *
optionsSetHeartbeatTimeout(void *opaque, const char *value)
{
    Options *options = opaque;
    uint64_t number;

    if (!optionsParseNumber(value, 1, NITRO_HEARTBEAT_TIMEOUT_MAX, &number))
        return g_strdup_printf("is not a number of seconds from 1 to %d",
                               NITRO_HEARTBEAT_TIMEOUT_MAX);
    options->heartbeatTimeout = (unsigned int)number;
    return NULL;
}

/* The broker may have left meanwhile, which is no error of the command line. */
static char *
optionsSetBrokerFd(void *brokerFd, const char *value)
{
    int fd = -1;
    char *error = optionsSetFd(&fd, value);

    if (error)
        return error;
    if (!optionsIsUnixStream(fd))
        return g_strdup("is not a UNIX stream socket");

    *(int *)brokerFd = fd;
    return NULL;
}

static char *
optionsSetExpectPcr(void *opaque, const char *value)
{
    Options *options = opaque;
    const char *hex = strchr(value, '=');
    g_autofree char *index = NULL;
    uint64_t pcr;

    if (!hex)
        return g_strdup("is not of the form INDEX=HEX");
    index = g_strndup(value, hex - value);

    if (!optionsParseNumber(index, 0, EIF_PCR_COUNT - 1, &pcr) || (pcr > 2 && pcr != 8))
        return g_strdup("names none of the registers 0, 1, 2 and 8, which come from the image");
    if (options->expected.valid[pcr])
        return g_strdup_printf("names register %u again", (unsigned int)pcr);

    options->expected.valid[pcr] = true;
    options->expectsPcr = true;
    return optionsParsePcr(hex + 1, options->expected.pcr[pcr]);
}

static char *
optionsSetSignature(void *opaque, const char *value)
{
    Options *options = opaque;
    EifSigned *signature = options->signature = g_new0(EifSigned, 1);
    uint8_t *const values[] = {signature->pcr0, signature->pcr8, signature->section};
    g_auto(GStrv) words = g_strsplit(value, ",", -1);
    char *error = NULL;
    size_t i;

    if (g_strv_length(words) != G_N_ELEMENTS(values))
        return g_strdup("is not of the form PCR0,PCR8,DIGEST");

    for (i = 0; i < G_N_ELEMENTS(values) && !error; i++)
        error = optionsParsePcr(words[i], values[i]);
    options->expectsPcr = true;
    return error;
}

static char *
optionsSetPath(void *path, const char *value)
{
    return g_path_is_absolute(value) ? optionsSetText(path, value) :
                                       g_strdup("is not an absolute path");
}

static char *
optionsSetProbeQemu(void *opaque, const char *value)
{
    Options *options = opaque;

    options->action = OPTIONS_PROBE_QEMU;
    return optionsSetPath(&options->qemu, value);
}

static char *
optionsSetAccel(void *opaque, const char *value)
{
    Options *options = opaque;

    if (g_str_equal(value, "auto"))
        options->accel = OPTIONS_ACCEL_AUTO;
    else if (g_str_equal(value, "kvm"))
        options->accel = OPTIONS_ACCEL_KVM;
    else if (g_str_equal(value, "tcg"))
        options->accel = OPTIONS_ACCEL_TCG;
    else
        return g_strdup("is none of 'auto', 'kvm' and 'tcg'");
    return NULL;
}

/* QEMU's names of the generic vhost-user device, of versions from 10.2 on and before */
static char *
optionsSetNsmDevice(void *device, const char *value)
{
    if (!g_str_equal(value, "vhost-user-test-device") && !g_str_equal(value, "vhost-user-device"))
        return g_strdup("is neither 'vhost-user-test-device' nor 'vhost-user-device'");
    return optionsSetText(device, value);
}

static char *
optionsSetWithout(void *without, const char *value)
{
    return unprotectedParse(value, without);
}

#define FIELD(name) offsetof(Options, name)

static const OptionsTableEntry optionEntries[] = {
    {"--name", true, optionsSetWord, FIELD(name), .required = true},
    {"--uuid", true, optionsSetUuid, FIELD(uuid), .required = true},
    {"--machine", true, optionsSetMachine, .required = true},
    {"--arch", true, optionsSetArch, FIELD(arch)},
    {"--control-fd", true, optionsSetListener, FIELD(controlFd), .required = true},
    {"--end-with-client", false, optionsSetFlag, FIELD(endWithClient)},
    {"--device-fd", true, optionsSetFd, FIELD(deviceFd)}, /* its first ioctl tells whether it is that */
    {"--image-fd", true, optionsSetFd, FIELD(imageFd), .required = true},
    {"--initrd-fd", true, optionsSetFd, FIELD(initrdFd)},
    {"--cmdline", true, optionsSetText, FIELD(cmdline)},
    {"--memory", true, optionsSetSize, FIELD(memory), .required = true},
    {"--page-size", true, optionsSetPageSize, FIELD(pageSize)},
    {"--numa-node", true, optionsSetNumaNode},
    {"--lock-memory", false, optionsSetFlag, FIELD(lockMemory)},
    {"--vcpus", true, optionsSetVcpus},
    {"--cpus", true, optionsSetCpus},
    {"--cid", true, optionsSetCid},
    {"--vsock-dir-fd", true, optionsSetDirFd, FIELD(vsockDirFd)},
    {"--vsock-listen-fd", true, optionsSetVsockListener, FIELD(vsockListenFd)},
    {"--services-listen-fd", true, optionsSetListener, FIELD(servicesListenFd)},
    {"--debug", false, optionsSetFlag, FIELD(debug)},
    {"--console-type", true, optionsSetConsoleType},
    {"--console-fd", true, optionsSetFd, FIELD(consoleFd)},
    {"--console-backup-fds", true, optionsSetFds, FIELD(consoleBackupFds)},
    {"--console-log-fd", true, optionsSetFd, FIELD(consoleLogFd)},
    {"--console-log-backup-fds", true, optionsSetFds, FIELD(consoleLogBackupFds)},
    {"--log-backup-fds", true, optionsSetFds, FIELD(logBackupFds)},
    {"--log-max-size", true, optionsSetLogSize, FIELD(logMaxSize)},
    {"--no-heartbeat", false, optionsSetNoHeartbeat},
    {"--heartbeat-timeout", true, optionsSetHeartbeatTimeout},
    {"--broker-fd", true, optionsSetBrokerFd, FIELD(brokerFd)},
    {"--expect-pcr", true, optionsSetExpectPcr, .repeats = true},
    {"--signature", true, optionsSetSignature},
    {"--qemu", true, optionsSetPath, FIELD(qemu)},
    {"--accel", true, optionsSetAccel},
    {"--nsm", true, optionsSetPath, FIELD(nsmProgram)},
    {"--nsm-device", true, optionsSetNsmDevice, FIELD(nsmDevice)},
    {"--nsm-identity-fd", true, optionsSetFd, FIELD(nsmIdentityFd)},
    {"--nsm-role", true, optionsSetWord, FIELD(nsmRole)},
    {"--nsm-instance", true, optionsSetWord, FIELD(nsmInstance)},
    {"--without", true, optionsSetWithout, FIELD(without)},
    {"--broker", false, optionsSetBroker},
    {"--listen-fd", true, optionsSetListener, FIELD(listenFd)},
    {"--probe", false, optionsSetProbe},
    {"--probe-qemu", true, optionsSetProbeQemu},
    {NULL},
};

static char *
optionsCheckDevice(const Options *options)
{
    bool nitro = options->machine == OPTIONS_MACHINE_NITRO;

    if (nitro && options->deviceFd < 0)
        return g_strdup("Option --machine nitro needs --device-fd");
    if (!nitro && options->deviceFd >= 0)
        return g_strdup("Option --device-fd needs --machine nitro");
    if (!nitro && options->numaNode >= 0)
        return g_strdup("Option --numa-node needs --machine nitro");
    if (nitro && options->lockMemory)
        return g_strdup("Option --lock-memory needs --machine nitro-enclave");
    if (nitro && options->servicesListenFd >= 0)
        return g_strdup("Option --services-listen-fd needs --machine nitro-enclave");
    return NULL;
}

/* The hypervisor, and KVM, run guests of the host's own architecture. */
static char *
optionsCheckArch(const Options *options)
{
    bool nitro = options->machine == OPTIONS_MACHINE_NITRO;

    if (options->arch == EIF_ARCH_NATIVE || (!nitro && options->accel != OPTIONS_ACCEL_KVM))
        return NULL;
    return g_strdup_printf("Option %s needs --arch %s, which is this host's",
                           nitro ? "--machine nitro" : "--accel kvm",
                           eifArchToString(EIF_ARCH_NATIVE));
}

/* The device's heartbeats come by way of the broker, the emulated machine's do not. */
static char *
optionsCheckBroker(const Options *options)
{
    bool needed = options->machine == OPTIONS_MACHINE_NITRO && options->heartbeat;

    if (needed && options->brokerFd < 0)
        return g_strdup("Option --machine nitro needs --broker-fd or --no-heartbeat");
    if (!needed && options->brokerFd >= 0)
        return g_strdup("Option --broker-fd needs --machine nitro, without --no-heartbeat");
    if (options->listenFd >= 0)
        return g_strdup("Option --listen-fd needs --broker");
    return NULL;
}

/* An NSM is a program, what QEMU has for it, and what it is given. */
static char *
optionsCheckNsm(const Options *options)
{
    bool needed = options->nsmDevice || options->nsmIdentityFd >= 0 || options->nsmRole ||
                  options->nsmInstance;

    if (!options->nsmProgram)
        return needed ? g_strdup("Options --nsm-device, --nsm-identity-fd, --nsm-role and "
                                 "--nsm-instance need --nsm") : NULL;
    if (options->machine != OPTIONS_MACHINE_EMULATED)
        return g_strdup("Option --nsm needs --machine nitro-enclave");
    if (!options->nsmDevice || options->nsmIdentityFd < 0)
        return g_strdup("Option --nsm needs --nsm-device and --nsm-identity-fd");
    return NULL;
}

/* Nothing is ever moved to a backup without a limit. */
static char *
optionsCheckRotation(const Options *options)
{
    if (options->consoleBackupFds && options->consoleType != OPTIONS_CONSOLE_FILE)
        return g_strdup("Option --console-backup-fds needs --console-type file");
    if (options->consoleLogBackupFds && options->consoleLogFd < 0)
        return g_strdup("Option --console-log-backup-fds needs --console-log-fd");
    if (options->logMaxSize == 0 && (options->consoleBackupFds || options->consoleLogBackupFds ||
                                     options->logBackupFds))
        return g_strdup("Option --log-max-size is missing, which backups need");
    return NULL;
}

/* What one enclave cannot do without, and what excludes what. */
static char *
optionsCheckRun(const Options *options, const bool *seen)
{
    char *error = optionsTableCheckRequired(optionEntries, seen);

    if (error)
        return error;
    if (!options->cpus && options->vcpus == 0)
        return g_strdup("One of the options --vcpus and --cpus is missing");
    if (options->cpus && options->vcpus > 0)
        return g_strdup("Options --vcpus and --cpus exclude each other");
    if (options->consoleType != OPTIONS_CONSOLE_NONE && options->consoleFd < 0)
        return g_strdup("Option --console-type needs --console-fd");
    if (options->consoleType == OPTIONS_CONSOLE_NONE && options->consoleFd >= 0)
        return g_strdup("Option --console-fd needs --console-type");
    if (!options->hasCid && options->vsockDirFd >= 0)
        return g_strdup("Option --vsock-dir-fd needs --cid");
    if (!options->hasCid && options->vsockListenFd >= 0)
        return g_strdup("Option --vsock-listen-fd needs --cid");
    if (!options->hasCid && options->servicesListenFd >= 0)
        return g_strdup("Option --services-listen-fd needs --cid");
    if (!options->heartbeat && options->heartbeatTimeout > 0)
        return g_strdup("Options --no-heartbeat and --heartbeat-timeout exclude each other");
    error = optionsCheckRotation(options);
    if (!error)
        error = optionsCheckNsm(options);
    if (!error)
        error = optionsCheckDevice(options);
    if (!error)
        error = optionsCheckArch(options);
    return error ? error : optionsCheckBroker(options);
}

/* What finds something out goes alone. */
static char *
optionsCheckProbe(const char *probe, const bool *seen)
{
    size_t i;

    for (i = 0; optionEntries[i].name; i++) {
        if (seen[i] && !g_str_equal(optionEntries[i].name, probe))
            return g_strdup_printf("Option %s goes with no other option", probe);
    }
    return NULL;
}

/* The broker has few options. */
static char *
optionsCheckBrokerOnly(const Options *options, const bool *seen)
{
    size_t i;

    if (options->listenFd < 0)
        return g_strdup("Option --broker needs --listen-fd");
    for (i = 0; optionEntries[i].name; i++) {
        if (seen[i] && !g_str_equal(optionEntries[i].name, "--broker") &&
            !g_str_equal(optionEntries[i].name, "--listen-fd"))
            return g_strdup_printf("Options --broker and %s exclude each other",
                                   optionEntries[i].name);
    }
    return NULL;
}

static char *
optionsCheck(void *opaque, const bool *seen)
{
    Options *options = opaque;
    char *error;

    switch (options->action) {
    case OPTIONS_PROBE:
        return optionsCheckProbe("--probe", seen);
    case OPTIONS_PROBE_QEMU:
        return optionsCheckProbe("--probe-qemu", seen);
    case OPTIONS_BROKER:
        return optionsCheckBrokerOnly(options, seen);
    case OPTIONS_RUN:
        break;
    }
    error = optionsCheckRun(options, seen);
    if (options->cpus)
        options->vcpus = options->cpus->len;
    return error;
}

Options *
optionsNew(void)
{
    Options *options = g_new0(Options, 1);

    options->arch = EIF_ARCH_NATIVE;
    options->deviceFd = options->numaNode = -1;
    options->controlFd = options->imageFd = options->initrdFd = options->consoleFd = -1;
    options->vsockDirFd = options->vsockListenFd = options->consoleLogFd = -1;
    options->servicesListenFd = options->brokerFd = options->listenFd = -1;
    options->nsmIdentityFd = -1;
    options->heartbeat = true;
    return options;
}

void
optionsFree(Options *options)
{
    if (!options)
        return;
    g_free(options->name);
    g_free(options->uuid);
    g_free(options->cmdline);
    g_free(options->signature);
    g_free(options->qemu);
    g_free(options->nsmProgram);
    g_free(options->nsmDevice);
    g_free(options->nsmRole);
    g_free(options->nsmInstance);
    if (options->cpus)
        g_array_unref(options->cpus);
    if (options->consoleBackupFds)
        g_array_unref(options->consoleBackupFds);
    if (options->consoleLogBackupFds)
        g_array_unref(options->consoleLogBackupFds);
    if (options->logBackupFds)
        g_array_unref(options->logBackupFds);
    g_free(options);
}

const OptionsTable optionsTable = {
    .program = "libvirt_nitro",
    .help = "Usage: libvirt_nitro OPTION...\n"
            "\n"
            "Runs one enclave for virtnitrod; not meant to be called by hand.\n"
            "\n"
            "  --name NAME              name of the domain\n"
            "  --uuid UUID              UUID of the domain\n"
            "  --machine TYPE           nitro, or nitro-enclave (emulated)\n"
            "  --arch ARCH              x86_64 or aarch64, by default that of this host\n"
            "  --control-fd FD          listening UNIX stream socket for the control protocol\n"
            "  --end-with-client        end when the last client of that has gone\n"
            "  --device-fd FD           /dev/nitro_enclaves, for --machine nitro\n"
            "  --image-fd FD            EIF file, or Linux kernel\n"
            "  --initrd-fd FD           ramdisk that goes with a Linux kernel\n"
            "  --cmdline TEXT           command line that goes with a Linux kernel\n"
            "  --memory BYTES           memory of the enclave\n"
            "  --page-size BYTES        size of the huge pages that the memory is made of\n"
            "  --numa-node NODE         NUMA node that the huge pages are taken from\n"
            "  --lock-memory            keep the memory from being swapped out\n"
            "  --vcpus NUMBER           number of vCPUs\n"
            "  --cpus LIST              ids of the CPUs to use, such as 1,3 or 2-5\n"
            "  --cid CID                context id of the enclave\n"
            "  --vsock-dir-fd FD        directory of the sockets that the enclave connects to\n"
            "  --vsock-listen-fd FD     listening UNIX stream socket to connect to the enclave\n"
            "  --services-listen-fd FD  listening UNIX stream socket for the link of its services\n"
            "  --debug                  start in debug mode\n"
            "  --console-type TYPE      pty, file or unix\n"
            "  --console-fd FD          pty master, file, or UNIX stream socket\n"
            "  --console-backup-fds FDS files for old output of a console of type file\n"
            "  --console-log-fd FD      file that gets the console output as well\n"
            "  --console-log-backup-fds FDS\n"
            "                           files for old output of that one\n"
            "  --log-backup-fds FDS     files for old output of stderr\n"
            "  --log-max-size BYTES     size of these files, above which they are rotated\n"
            "  --no-heartbeat           do not wait for the boot heartbeat\n"
            "  --heartbeat-timeout S    seconds to wait for it\n"
            "  --broker-fd FD           connection with the heartbeat broker\n"
            "  --expect-pcr INDEX=HEX   refuse an image that measures differently\n"
            "  --signature PCR0,PCR8,DIGEST\n"
            "                           what was checked: refuse an image that it is not of\n"
            "  --qemu PATH              QEMU of the emulated machine\n"
            "  --accel KIND             auto, kvm or tcg\n"
            "  --nsm PATH               libvirt_nitro_nsm, the machine's NSM\n"
            "  --nsm-device NAME        vhost-user-test-device or vhost-user-device: as QEMU calls it\n"
            "  --nsm-identity-fd FD     what that is given of itself\n"
            "  --nsm-role ARN           the parent's IAM role, for register 3\n"
            "  --nsm-instance ID        the parent's instance, for register 4\n"
            "  --without CODES          protections that this host lacks, as --probe prints them\n"
            "  --broker                 be the host's heartbeat broker, with --listen-fd alone\n"
            "  --listen-fd FD           listening UNIX stream socket for its clients\n"
            "  --probe                  print what --accel auto means here and which protections\n"
            "                           this host lacks, and exit\n"
            "  --probe-qemu PATH        print whether this QEMU can have an NSM, and exit\n"
            "  --help                   print this text, and exit\n"
            "  --version                print the version, and exit\n",
    .entries = optionEntries,
    .check = optionsCheck,
};
