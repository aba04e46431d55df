/*
 * options.c: the command line of libvirt_nitro
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: argv -> optionsParse() finds each option in optionTable and calls its
 * setter -> optionsCheck() for what several options mean together.
 * getopt_long() is not used: it takes abbreviations and repeated options.
 */

#include "options.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "common/options_values.h"
#include "sandbox/unprotected.h"

typedef struct {
    const char *name;
    bool hasValue;
    bool repeats;
    /* Stores @value; returns NULL, or what is wrong with it as the end of a sentence. */
    char *(*set)(Options *options, const char *value);
} Option;

static char *
optionsSetHelp(Options *options, const char *value G_GNUC_UNUSED)
{
    options->action = OPTIONS_HELP;
    return NULL;
}

static char *
optionsSetVersion(Options *options, const char *value G_GNUC_UNUSED)
{
    options->action = OPTIONS_VERSION;
    return NULL;
}

static char *
optionsSetProbe(Options *options, const char *value G_GNUC_UNUSED)
{
    options->action = OPTIONS_PROBE;
    return NULL;
}

static char *
optionsSetBroker(Options *options, const char *value G_GNUC_UNUSED)
{
    options->action = OPTIONS_BROKER;
    return NULL;
}

static char *
optionsSetName(Options *options, const char *value)
{
    if (!*value)
        return g_strdup("is empty");
    options->name = g_strdup(value);
    return NULL;
}

static char *
optionsSetUuid(Options *options, const char *value)
{
    if (!g_uuid_string_is_valid(value))
        return g_strdup("is not a UUID");
    options->uuid = g_strdup(value);
    return NULL;
}

static char *
optionsSetMachine(Options *options, const char *value)
{
    if (g_str_equal(value, "nitro"))
        options->machine = OPTIONS_MACHINE_NITRO;
    else if (g_str_equal(value, "nitro-enclave"))
        options->machine = OPTIONS_MACHINE_EMULATED;
    else
        return g_strdup("is neither 'nitro' nor 'nitro-enclave'");
    return NULL;
}

static char *
optionsSetArchitecture(Options *options, const char *value)
{
    return optionsSetArch(&options->arch, value);
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
optionsSetListener(int *listener, const char *value)
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

    *listener = fd;
    return NULL;
}

static char *
optionsSetControlFd(Options *options, const char *value)
{
    return optionsSetListener(&options->controlFd, value);
}

/* Whether it is the right device its first ioctl tells. */
static char *
optionsSetDeviceFd(Options *options, const char *value)
{
    return optionsSetFd(&options->deviceFd, value);
}

static char *
optionsSetImageFd(Options *options, const char *value)
{
    return optionsSetFd(&options->imageFd, value);
}

static char *
optionsSetInitrdFd(Options *options, const char *value)
{
    return optionsSetFd(&options->initrdFd, value);
}

static char *
optionsSetCmdline(Options *options, const char *value)
{
    options->cmdline = g_strdup(value);
    return NULL;
}

static char *
optionsSetMemory(Options *options, const char *value)
{
    if (!optionsParseNumber(value, 0, G_MAXINT64, &options->memory))
        return g_strdup("is not a size in bytes");
    return NULL;
}

static char *
optionsSetPageSize(Options *options, const char *value)
{
    uint64_t size;

    if (!optionsParseNumber(value, 0, G_MAXINT64, &size))
        return g_strdup("is not a size in bytes");
    if (size < 2 * 1024 * 1024 || (size & (size - 1)) != 0)
        return g_strdup("is not the size of a huge page: use a power of two from 2 MiB on");
    options->pageSize = size;
    return NULL;
}

static char *
optionsSetNumaNode(Options *options, const char *value)
{
    uint64_t number;

    if (!optionsParseNumber(value, 0, OPTIONS_NUMA_NODE_MAX, &number))
        return g_strdup_printf("is not a NUMA node from 0 to %d", OPTIONS_NUMA_NODE_MAX);
    options->numaNode = (int)number;
    return NULL;
}

static char *
optionsSetVcpus(Options *options, const char *value)
{
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
optionsSetCpus(Options *options, const char *value)
{
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
optionsSetCid(Options *options, const char *value)
{
    uint64_t number;

    /* Below 4: hypervisor, local, host, parent. The highest one means "any". */
    if (!optionsParseNumber(value, NITRO_CID_MIN, G_MAXUINT32 - 1, &number))
        return g_strdup_printf("is not a CID from %d to %u", NITRO_CID_MIN, G_MAXUINT32 - 1);
    options->cid = (uint32_t)number;
    options->hasCid = true;
    return NULL;
}

static char *
optionsSetVsockDirFd(Options *options, const char *value)
{
    struct stat st;
    int fd = -1;
    char *error = optionsSetFd(&fd, value);

    if (error)
        return error;
    if (fstat(fd, &st) < 0 || !S_ISDIR(st.st_mode))
        return g_strdup("is not a directory");

    options->vsockDirFd = fd;
    return NULL;
}

/* accept() is called when a client was there, which may have left: it must not block then. */
static char *
optionsSetVsockListenFd(Options *options, const char *value)
{
    char *error = optionsSetListener(&options->vsockListenFd, value);

    if (!error && !g_unix_set_fd_nonblocking(options->vsockListenFd, TRUE, NULL))
        return g_strdup_printf("cannot be used: %s", g_strerror(errno));
    return error;
}

static char *
optionsSetServicesListenFd(Options *options, const char *value)
{
    return optionsSetListener(&options->servicesListenFd, value);
}

static char *
optionsSetDebug(Options *options, const char *value G_GNUC_UNUSED)
{
    options->debug = true;
    return NULL;
}

static char *
optionsSetEndWithClient(Options *options, const char *value G_GNUC_UNUSED)
{
    options->endWithClient = true;
    return NULL;
}

static char *
optionsSetConsoleType(Options *options, const char *value)
{
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
optionsSetConsoleFd(Options *options, const char *value)
{
    return optionsSetFd(&options->consoleFd, value);
}

static char *
optionsSetConsoleLogFd(Options *options, const char *value)
{
    return optionsSetFd(&options->consoleLogFd, value);
}

static char *
optionsSetConsoleBackupFds(Options *options, const char *value)
{
    return optionsSetFds(&options->consoleBackupFds, value);
}

static char *
optionsSetConsoleLogBackupFds(Options *options, const char *value)
{
    return optionsSetFds(&options->consoleLogBackupFds, value);
}

static char *
optionsSetLogBackupFds(Options *options, const char *value)
{
    return optionsSetFds(&options->logBackupFds, value);
}

static char *
optionsSetLogMaxSize(Options *options, const char *value)
{
    if (!optionsParseNumber(value, NITRO_LOG_SIZE_MIN, G_MAXINT64, &options->logMaxSize))
        return g_strdup_printf("is not a number of bytes from %d on", NITRO_LOG_SIZE_MIN);
    return NULL;
}

static char *
optionsSetLockMemory(Options *options, const char *value G_GNUC_UNUSED)
{
    options->lockMemory = true;
    return NULL;
}

static char *
optionsSetNoHeartbeat(Options *options, const char *value G_GNUC_UNUSED)
{
    options->heartbeat = false;
    return NULL;
}

static char *
optionsSetHeartbeatTimeout(Options *options, const char *value)
{
    uint64_t number;

    if (!optionsParseNumber(value, 1, NITRO_HEARTBEAT_TIMEOUT_MAX, &number))
        return g_strdup_printf("is not a number of seconds from 1 to %d",
                               NITRO_HEARTBEAT_TIMEOUT_MAX);
    options->heartbeatTimeout = (unsigned int)number;
    return NULL;
}

/* The broker may have left meanwhile, which is no error of the command line. */
static char *
optionsSetBrokerFd(Options *options, const char *value)
{
    int fd = -1;
    char *error = optionsSetFd(&fd, value);

    if (error)
        return error;
    if (!optionsIsUnixStream(fd))
        return g_strdup("is not a UNIX stream socket");

    options->brokerFd = fd;
    return NULL;
}

static char *
optionsSetListenFd(Options *options, const char *value)
{
    return optionsSetListener(&options->listenFd, value);
}

static char *
optionsSetExpectPcr(Options *options, const char *value)
{
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
optionsSetSignature(Options *options, const char *value)
{
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
optionsSetQemu(Options *options, const char *value)
{
    if (!g_path_is_absolute(value))
        return g_strdup("is not an absolute path");
    options->qemu = g_strdup(value);
    return NULL;
}

static char *
optionsSetAccel(Options *options, const char *value)
{
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

static char *
optionsSetWithout(Options *options, const char *value)
{
    return unprotectedParse(value, &options->without);
}

static const Option optionTable[] = {
    {"--name", true, false, optionsSetName},
    {"--uuid", true, false, optionsSetUuid},
    {"--machine", true, false, optionsSetMachine},
    {"--arch", true, false, optionsSetArchitecture},
    {"--control-fd", true, false, optionsSetControlFd},
    {"--end-with-client", false, false, optionsSetEndWithClient},
    {"--device-fd", true, false, optionsSetDeviceFd},
    {"--image-fd", true, false, optionsSetImageFd},
    {"--initrd-fd", true, false, optionsSetInitrdFd},
    {"--cmdline", true, false, optionsSetCmdline},
    {"--memory", true, false, optionsSetMemory},
    {"--page-size", true, false, optionsSetPageSize},
    {"--numa-node", true, false, optionsSetNumaNode},
    {"--lock-memory", false, false, optionsSetLockMemory},
    {"--vcpus", true, false, optionsSetVcpus},
    {"--cpus", true, false, optionsSetCpus},
    {"--cid", true, false, optionsSetCid},
    {"--vsock-dir-fd", true, false, optionsSetVsockDirFd},
    {"--vsock-listen-fd", true, false, optionsSetVsockListenFd},
    {"--services-listen-fd", true, false, optionsSetServicesListenFd},
    {"--debug", false, false, optionsSetDebug},
    {"--console-type", true, false, optionsSetConsoleType},
    {"--console-fd", true, false, optionsSetConsoleFd},
    {"--console-backup-fds", true, false, optionsSetConsoleBackupFds},
    {"--console-log-fd", true, false, optionsSetConsoleLogFd},
    {"--console-log-backup-fds", true, false, optionsSetConsoleLogBackupFds},
    {"--log-backup-fds", true, false, optionsSetLogBackupFds},
    {"--log-max-size", true, false, optionsSetLogMaxSize},
    {"--no-heartbeat", false, false, optionsSetNoHeartbeat},
    {"--heartbeat-timeout", true, false, optionsSetHeartbeatTimeout},
    {"--broker-fd", true, false, optionsSetBrokerFd},
    {"--expect-pcr", true, true, optionsSetExpectPcr},
    {"--signature", true, false, optionsSetSignature},
    {"--qemu", true, false, optionsSetQemu},
    {"--accel", true, false, optionsSetAccel},
    {"--without", true, false, optionsSetWithout},
    {"--broker", false, false, optionsSetBroker},
    {"--listen-fd", true, false, optionsSetListenFd},
    {"--probe", false, false, optionsSetProbe},
    {"--help", false, false, optionsSetHelp},
    {"--version", false, false, optionsSetVersion},
};

typedef struct {
    Options *options;
    bool seen[G_N_ELEMENTS(optionTable)];
} OptionsParser;

static bool
optionsSeen(const OptionsParser *parser, const char *name)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(optionTable); i++) {
        if (g_str_equal(optionTable[i].name, name))
            return parser->seen[i];
    }
    return false;
}

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
optionsCheck(const OptionsParser *parser)
{
    static const char *const required[] = {
        "--name", "--uuid", "--machine", "--control-fd", "--image-fd", "--memory",
    };
    const Options *options = parser->options;
    char *error;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(required); i++) {
        if (!optionsSeen(parser, required[i]))
            return g_strdup_printf("Option %s is missing", required[i]);
    }

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
        error = optionsCheckDevice(options);
    if (!error)
        error = optionsCheckArch(options);
    return error ? error : optionsCheckBroker(options);
}

/* The broker has few options. */
static char *
optionsCheckBrokerOnly(const OptionsParser *parser)
{
    size_t i;

    if (!optionsSeen(parser, "--listen-fd"))
        return g_strdup("Option --broker needs --listen-fd");
    for (i = 0; i < G_N_ELEMENTS(optionTable); i++) {
        if (parser->seen[i] && !g_str_equal(optionTable[i].name, "--broker") &&
            !g_str_equal(optionTable[i].name, "--listen-fd"))
            return g_strdup_printf("Options --broker and %s exclude each other",
                                   optionTable[i].name);
    }
    return NULL;
}

/* Handles the option at argv[*@i], and moves *@i to the last word that it took. */
static char *
optionsParseOne(OptionsParser *parser, int argc, char **argv, int *i)
{
    const char *word = argv[*i];
    const char *equals = strchr(word, '=');
    g_autofree char *name = equals ? g_strndup(word, equals - word) : g_strdup(word);
    const char *value = equals ? equals + 1 : NULL;
    g_autofree char *error = NULL;
    size_t n;

    for (n = 0; n < G_N_ELEMENTS(optionTable); n++) {
        if (g_str_equal(optionTable[n].name, name))
            break;
    }
    if (n == G_N_ELEMENTS(optionTable))
        return g_strdup_printf(*word == '-' ? "Option %s is unknown" :
                                              "Argument '%s' is not an option", name);
    if (parser->seen[n] && !optionTable[n].repeats)
        return g_strdup_printf("Option %s is given twice", name);
    parser->seen[n] = true;

    if (!optionTable[n].hasValue && value)
        return g_strdup_printf("Option %s takes no value, not '%s'", name, value);
    if (optionTable[n].hasValue && !value) {
        if (*i + 1 >= argc)
            return g_strdup_printf("Option %s lacks its value", name);
        value = argv[++*i];
    }

    error = optionTable[n].set(parser->options, value);
    return error ? g_strdup_printf("Value '%s' of option %s %s", value, name, error) : NULL;
}

Options *
optionsParse(int argc, char **argv, char **error)
{
    g_autoptr(Options) options = g_new0(Options, 1);
    OptionsParser parser = {.options = options};
    int i;

    options->arch = EIF_ARCH_NATIVE;
    options->deviceFd = options->numaNode = -1;
    options->controlFd = options->imageFd = options->initrdFd = options->consoleFd = -1;
    options->vsockDirFd = options->vsockListenFd = options->consoleLogFd = -1;
    options->servicesListenFd = options->brokerFd = options->listenFd = -1;
    options->heartbeat = true;

    for (i = 1; i < argc; i++) {
        *error = optionsParseOne(&parser, argc, argv, &i);
        if (*error)
            return NULL;
        if (options->action == OPTIONS_HELP || options->action == OPTIONS_VERSION)
            return g_steal_pointer(&options);
    }

    if (options->action == OPTIONS_PROBE) {
        if (argc > 2) {
            *error = g_strdup("Option --probe goes with no other option");
            return NULL;
        }
        return g_steal_pointer(&options);
    }

    if (options->action == OPTIONS_BROKER) {
        *error = optionsCheckBrokerOnly(&parser);
        return *error ? NULL : g_steal_pointer(&options);
    }

    *error = optionsCheck(&parser);
    if (*error)
        return NULL;
    if (options->cpus)
        options->vcpus = options->cpus->len;
    return g_steal_pointer(&options);
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

const char *
optionsHelp(void)
{
    return "Usage: libvirt_nitro OPTION...\n"
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
           "  --without CODES          protections that this host lacks, as --probe prints them\n"
           "  --broker                 be the host's heartbeat broker, with --listen-fd alone\n"
           "  --listen-fd FD           listening UNIX stream socket for its clients\n"
           "  --probe                  print what --accel auto means here and which protections\n"
           "                           this host lacks, and exit\n"
           "  --help                   print this text, and exit\n"
           "  --version                print the version, and exit\n";
}
