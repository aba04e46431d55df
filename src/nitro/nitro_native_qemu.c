/*
 * nitro_native_qemu.c: definitions as the command line of QEMU
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The command line of QEMU's machine "nitro" (QEMU 11.0 and later), in the form of a
 * shell command, from and to a definition:
 *
 *   qemu-system-x86_64 -accel nitro,debug-mode=on,enclave-cid=16 -M nitro -nographic
 *       -name hello -smp 2 -m 512M -kernel X -initrd Y -append Z
 *
 * and, for reading only, that of its machine "nitro-enclave" (QEMU 9.2 and later):
 *
 *   qemu-system-x86_64 -M nitro-enclave,vsock=c,id=hello -enable-kvm -cpu host -nographic
 *       -chardev socket,id=c,path=P -m 4G -kernel X
 *
 * There the vsock is another program's, at the socket P, which in libvirt_nitro is a part of
 * the machine; and how a machine is emulated is a setting of the host, not of the domain.
 *
 * Reading: the words of the command (nitro_native_shell.c) -> each option is found in
 * qemuOptions and read into the definition -> what follows from several of them. Options
 * that cannot change an enclave are accepted with the one value that says so; all others
 * are refused.
 */

#include <config.h>

#include "nitro_domain_conf.h"
#include "nitro_native.h"
#include "vircommand.h"
#include "virerror.h"
#include "virqemu.h"
#include "virstring.h"
#include "virutil.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

#define QEMU_PREFIX "qemu-system-"
#define QEMU_MEMORY_DEFAULT_KIB (128 * 1024)

typedef struct {
    virDomainDef *def;
    virDomainXMLOption *xmlopt;
    const char *option;      /* that is being read, as it was written */
    int machine;             /* value of -M, as a nitroMachineType; -1: it was not there */
    bool accel;              /* -accel nitro was there */
    char *emulation;         /* another accelerator, or NULL */
    const char *emulationOption; /* that has named it */
    bool nodefaults;
    char *serial;            /* value of the last -serial, or NULL */
    char *vsock;             /* of the machine nitro-enclave: the name of its -chardev, or NULL */
    char *enclaveId;         /* likewise: how QEMU's NSM device calls it, or NULL */
    char *chardev;           /* name of the -chardev, or NULL */
} nitroQemuArgs;

/* Reads the property @key of the present option. Returns 0; -1 with an error set; 1: unknown. */
typedef int (*nitroQemuProperty)(nitroQemuArgs *args, const char *key, const char *value);


static void
nitroQemuArgsClear(nitroQemuArgs *args)
{
    g_free(args->emulation);
    g_free(args->serial);
    g_free(args->vsock);
    g_free(args->enclaveId);
    g_free(args->chardev);
}


static int
nitroQemuReportValue(const nitroQemuArgs *args,
                     const char *value,
                     const char *wanted)
{
    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("value '%s' of QEMU's option '%s' is not supported: an enclave needs %s"),
                   value, args->option, wanted);
    return -1;
}


/* Takes one key or value off @text; a doubled comma is a comma. Moves @text behind it. */
static char *
nitroQemuTakeWord(const char **text,
                  const char *ends)
{
    g_auto(virBuffer) word = VIR_BUFFER_INITIALIZER;
    const char *pos;

    for (pos = *text; *pos; pos++) {
        if (pos[0] == ',' && pos[1] == ',')
            pos++;
        else if (strchr(ends, *pos))
            break;
        virBufferAddChar(&word, *pos);
    }

    *text = pos;
    return g_strdup(virBufferCurrentContent(&word));
}


/*
 * Calls @property for each of the "key=value,..." in @text. The first may be a value of
 * the key @implied alone; any other key without a value is switched on.
 */
static int
nitroQemuParseProperties(nitroQemuArgs *args,
                         const char *text,
                         const char *implied,
                         nitroQemuProperty property)
{
    bool first = true;

    while (*text) {
        g_autofree char *key = nitroQemuTakeWord(&text, "=,");
        g_autofree char *value = NULL;
        int rc;

        if (*text == '=') {
            text++;
            value = nitroQemuTakeWord(&text, ",");
        } else if (first) {
            value = g_steal_pointer(&key);
            key = g_strdup(implied);
        } else {
            value = g_strdup("on");
        }
        if (*text == ',')
            text++;

        if ((rc = property(args, key, value)) < 0)
            return -1;
        if (rc > 0) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("property '%s' of QEMU's option '%s' is not supported for an enclave"),
                           key, args->option);
            return -1;
        }
        first = false;
    }
    return 0;
}


static int
nitroQemuParseBool(const nitroQemuArgs *args,
                   const char *value,
                   bool *boolean)
{
    const char *const on[] = { "on", "yes", "true", "y", NULL };
    const char *const off[] = { "off", "no", "false", "n", NULL };

    *boolean = g_strv_contains(on, value);
    if (!*boolean && !g_strv_contains(off, value))
        return nitroQemuReportValue(args, value, _("'on' or 'off'"));
    return 0;
}


static int
nitroQemuParseNumber(const nitroQemuArgs *args,
                     const char *value,
                     unsigned long long *number)
{
    if (virStrToLong_ullp(value, NULL, 10, number) < 0)
        return nitroQemuReportValue(args, value, _("a whole number"));
    return 0;
}


/* Which accelerator goes with which machine is known in the end: nitroQemuCheckAccel() */
static int
nitroQemuSetAccel(nitroQemuArgs *args,
                  const char *value)
{
    if (STREQ(value, "nitro")) {
        args->accel = true;
        return 0;
    }
    if (STRNEQ(value, "kvm") && STRNEQ(value, "tcg"))
        return nitroQemuReportValue(args, value, "'nitro'");

    g_free(args->emulation);
    args->emulation = g_strdup(value);
    args->emulationOption = args->option;
    return 0;
}


static int
nitroQemuAccelProperty(nitroQemuArgs *args,
                       const char *key,
                       const char *value)
{
    unsigned long long cid;
    bool debug;

    if (STREQ(key, "accel"))
        return nitroQemuSetAccel(args, value);

    if (!args->accel)
        return 1;
    if (STREQ(key, "debug-mode")) {
        if (nitroQemuParseBool(args, value, &debug) < 0)
            return -1;
        if (debug)
            nitroNativeSetDebug(args->def);
        return 0;
    }
    if (STREQ(key, "enclave-cid")) {
        if (nitroQemuParseNumber(args, value, &cid) < 0)
            return -1;
        return nitroNativeSetCid(args->def, cid);
    }
    return 1;
}


static int
nitroQemuParseAccel(nitroQemuArgs *args,
                    const char *value)
{
    return nitroQemuParseProperties(args, value, "accel", nitroQemuAccelProperty);
}


static int
nitroQemuMachineProperty(nitroQemuArgs *args,
                         const char *key,
                         const char *value)
{
    char **text = NULL;

    if (STREQ(key, "type")) {
        if ((args->machine = nitroMachineTypeFromString(value)) < 0)
            return nitroQemuReportValue(args, value, _("'nitro' or 'nitro-enclave'"));
        return 0;
    }
    if (STREQ(key, "accel"))
        return nitroQemuSetAccel(args, value);

    if (args->machine != NITRO_MACHINE_EMULATED)
        return 1;
    if (!*value)
        return nitroQemuReportValue(args, value, _("a name"));
    if (STREQ(key, "vsock"))
        text = &args->vsock;
    else if (STREQ(key, "id"))
        text = &args->enclaveId;
    else
        return 1;

    g_free(*text);
    *text = g_strdup(value);
    return 0;
}


static int
nitroQemuParseMachine(nitroQemuArgs *args,
                      const char *value)
{
    return nitroQemuParseProperties(args, value, "type", nitroQemuMachineProperty);
}


/* A size in QEMU's manner: one letter as the suffix, MiB without one. */
static int
nitroQemuMemoryProperty(nitroQemuArgs *args,
                        const char *key,
                        const char *value)
{
    unsigned long long size;
    char *suffix;

    if (STRNEQ(key, "size"))
        return 1;

    if (virStrToLong_ullp(value, &suffix, 10, &size) < 0 ||
        (*suffix && (!strchr("bkmgtpeBKMGTPE", *suffix) || suffix[1])))
        return nitroQemuReportValue(args, value,
                                    _("a whole number, with one of K, M, G, T behind it"));

    if (virScaleInteger(&size, suffix, 1024 * 1024, ULLONG_MAX) < 0)
        return -1;
    if (size % (NITRO_MEMORY_STEP_KIB * 1024ULL) != 0)
        return nitroQemuReportValue(args, value, _("a multiple of 2 MiB"));

    nitroNativeSetMemory(args->def, size / 1024);
    return 0;
}


static int
nitroQemuParseMemory(nitroQemuArgs *args,
                     const char *value)
{
    return nitroQemuParseProperties(args, value, "size", nitroQemuMemoryProperty);
}


static int
nitroQemuSmpProperty(nitroQemuArgs *args,
                     const char *key,
                     const char *value)
{
    unsigned long long vcpus;

    if (STRNEQ(key, "cpus"))
        return 1;

    if (nitroQemuParseNumber(args, value, &vcpus) < 0)
        return -1;
    return nitroNativeSetVcpus(args->def, vcpus, args->xmlopt);
}


static int
nitroQemuParseSmp(nitroQemuArgs *args,
                  const char *value)
{
    return nitroQemuParseProperties(args, value, "cpus", nitroQemuSmpProperty);
}


/* These three are plain strings: QEMU knows no doubled commas in them. */

static int
nitroQemuParsePath(const nitroQemuArgs *args,
                   const char *value,
                   char **path)
{
    if (!g_path_is_absolute(value))
        return nitroQemuReportValue(args, value, _("an absolute path"));
    g_free(*path);
    *path = g_strdup(value);
    return 0;
}


static int
nitroQemuParseKernel(nitroQemuArgs *args,
                     const char *value)
{
    return nitroQemuParsePath(args, value, &args->def->os.kernel);
}


static int
nitroQemuParseInitrd(nitroQemuArgs *args,
                     const char *value)
{
    return nitroQemuParsePath(args, value, &args->def->os.initrd);
}


static int
nitroQemuParseAppend(nitroQemuArgs *args,
                     const char *value)
{
    g_free(args->def->os.cmdline);
    args->def->os.cmdline = g_strdup(value);
    return 0;
}


static int
nitroQemuNameProperty(nitroQemuArgs *args,
                      const char *key,
                      const char *value)
{
    /* The name of QEMU's own process and threads is no matter of the enclave. */
    if (STREQ(key, "process") || STREQ(key, "debug-threads"))
        return 0;
    if (STRNEQ(key, "guest"))
        return 1;
    if (!*value)
        return nitroQemuReportValue(args, value, _("a name"));

    g_free(args->def->name);
    args->def->name = g_strdup(value);
    return 0;
}


static int
nitroQemuParseName(nitroQemuArgs *args,
                   const char *value)
{
    return nitroQemuParseProperties(args, value, "guest", nitroQemuNameProperty);
}


static int
nitroQemuParseUuid(nitroQemuArgs *args,
                   const char *value)
{
    if (virUUIDParse(value, args->def->uuid) < 0)
        return nitroQemuReportValue(args, value, _("a UUID"));
    return 0;
}


static int
nitroQemuParseSerial(nitroQemuArgs *args,
                     const char *value)
{
    g_free(args->serial);
    args->serial = g_strdup(value);
    return 0;
}


static int
nitroQemuParseKvm(nitroQemuArgs *args,
                  const char *value G_GNUC_UNUSED)
{
    return nitroQemuSetAccel(args, "kvm");
}


/* The socket of the program that is the vsock's other end: libvirt_nitro is that itself. */
static int
nitroQemuChardevProperty(nitroQemuArgs *args,
                         const char *key,
                         const char *value)
{
    if (STREQ(key, "backend")) {
        if (STRNEQ(value, "socket"))
            return nitroQemuReportValue(args, value, "'socket'");
        return 0;
    }
    if (STREQ(key, "path"))
        return 0;
    if (STRNEQ(key, "id"))
        return 1;

    if (args->chardev) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("QEMU's option '%s' with id '%s' is not supported: an enclave has one "
                         "for its vsock, here '%s'"),
                       args->option, value, args->chardev);
        return -1;
    }
    args->chardev = g_strdup(value);
    return 0;
}


static int
nitroQemuParseChardev(nitroQemuArgs *args,
                      const char *value)
{
    return nitroQemuParseProperties(args, value, "backend", nitroQemuChardevProperty);
}


static int
nitroQemuParseDevice(nitroQemuArgs *args,
                     const char *value)
{
    g_autofree char *device = nitroQemuTakeWord(&value, ",");

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("device '%s' of QEMU's option '%s' is not supported: an enclave has a vsock, "
                     "which its machine brings along, and no other device"),
                   device, args->option);
    return -1;
}


static int
nitroQemuParseNodefaults(nitroQemuArgs *args,
                         const char *value G_GNUC_UNUSED)
{
    args->nodefaults = true;
    return 0;
}


static const struct {
    const char *name;
    bool hasValue;
    int (*parse)(nitroQemuArgs *args, const char *value); /* NULL: no matter of the enclave */
    const char *only; /* the one value that is accepted; NULL: parse() decides */
} qemuOptions[] = {
    { "accel", true, nitroQemuParseAccel, NULL },
    { "M", true, nitroQemuParseMachine, NULL },
    { "machine", true, nitroQemuParseMachine, NULL },
    { "name", true, nitroQemuParseName, NULL },
    { "uuid", true, nitroQemuParseUuid, NULL },
    { "smp", true, nitroQemuParseSmp, NULL },
    { "m", true, nitroQemuParseMemory, NULL },
    { "kernel", true, nitroQemuParseKernel, NULL },
    { "initrd", true, nitroQemuParseInitrd, NULL },
    { "append", true, nitroQemuParseAppend, NULL },
    { "serial", true, nitroQemuParseSerial, NULL },
    { "enable-kvm", false, nitroQemuParseKvm, NULL },
    { "chardev", true, nitroQemuParseChardev, NULL },
    { "device", true, nitroQemuParseDevice, NULL },
    { "nodefaults", false, nitroQemuParseNodefaults, NULL },
    { "nographic", false, NULL, NULL },
    { "no-user-config", false, NULL, NULL },
    { "daemonize", false, NULL, NULL },
    { "cpu", true, NULL, "host" },
    { "display", true, NULL, "none" },
    { "monitor", true, NULL, "none" },
    { "parallel", true, NULL, "none" },
    { "vga", true, NULL, "none" },
    { "net", true, NULL, "none" },
    { "nic", true, NULL, "none" },
};


/*
 * Reads the option @argv[0] and its value, if it has one.
 * Returns the number of words that this were, or -1 with an error set.
 */
static int
nitroQemuParseOption(nitroQemuArgs *args,
                     char **argv)
{
    const char *name = argv[0];
    size_t i;

    if (*name != '-') {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("'%s' on the command line of QEMU is not supported: an enclave has no "
                         "disk"),
                       name);
        return -1;
    }
    name += name[1] == '-' ? 2 : 1;

    for (i = 0; i < G_N_ELEMENTS(qemuOptions); i++) {
        if (STREQ(qemuOptions[i].name, name))
            break;
    }
    if (i == G_N_ELEMENTS(qemuOptions)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("QEMU's option '%s' is not supported for an enclave"), argv[0]);
        return -1;
    }
    if (qemuOptions[i].hasValue && !argv[1]) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("QEMU's option '%s' lacks its value"), argv[0]);
        return -1;
    }

    args->option = argv[0];
    if (qemuOptions[i].only && STRNEQ(argv[1], qemuOptions[i].only)) {
        g_autofree char *wanted = g_strdup_printf("'%s'", qemuOptions[i].only);

        return nitroQemuReportValue(args, argv[1], wanted);
    }
    if (qemuOptions[i].parse &&
        qemuOptions[i].parse(args, qemuOptions[i].hasValue ? argv[1] : NULL) < 0)
        return -1;
    return qemuOptions[i].hasValue ? 2 : 1;
}


/*
 * Without -serial there is the debug console of an enclave that has one. The emulated one of
 * QEMU always has; here that is what debug mode means.
 */
static int
nitroQemuCompleteConsole(nitroQemuArgs *args)
{
    bool emulated = args->machine == NITRO_MACHINE_EMULATED;
    bool shown = emulated || nitroDomainDefIsDebug(args->def);
    const char *serial = args->serial;

    if (!serial)
        serial = shown && !args->nodefaults ? "pty" : "none";

    if (STREQ(serial, "none"))
        return 0;
    if (emulated)
        nitroNativeSetDebug(args->def);
    if (STREQ(serial, "pty") || STREQ(serial, "stdio") || STREQ(serial, "mon:stdio")) {
        return nitroNativeAddConsole(args->def, VIR_DOMAIN_CHR_TYPE_PTY, NULL, args->xmlopt);
    }
    if (STREQ(serial, "null"))
        return nitroNativeAddConsole(args->def, VIR_DOMAIN_CHR_TYPE_NULL, NULL, args->xmlopt);
    if (STRPREFIX(serial, "file:")) {
        const char *rest = serial + strlen("file:");
        g_autofree char *path = nitroQemuTakeWord(&rest, ",");

        if (*rest == '\0')
            return nitroNativeAddConsole(args->def, VIR_DOMAIN_CHR_TYPE_FILE, path, args->xmlopt);
    }

    args->option = "-serial";
    return nitroQemuReportValue(args, serial, _("'none', 'null', 'pty', 'stdio' or 'file:PATH'"));
}


static int
nitroQemuCheckAccel(nitroQemuArgs *args)
{
    if (args->machine == NITRO_MACHINE_EMULATED && args->accel) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("QEMU's accelerator 'nitro' is not for its machine 'nitro-enclave', which "
                         "is emulated: remove it, or use machine 'nitro'"));
        return -1;
    }
    if (args->machine != NITRO_MACHINE_EMULATED && args->emulation) {
        args->option = args->emulationOption;
        return nitroQemuReportValue(args, args->emulation, "'nitro'");
    }
    if (args->machine < 0 || (args->machine == NITRO_MACHINE_NITRO && !args->accel)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("QEMU's command line has no '%s': it describes no enclave of the Nitro "
                         "Hypervisor"),
                       args->machine < 0 ? "-M nitro" : "-accel nitro");
        return -1;
    }
    return 0;
}


/* The machine nitro-enclave needs a -chardev for its vsock, and no machine has another. */
static int
nitroQemuCheckVsock(const nitroQemuArgs *args)
{
    if (args->machine != NITRO_MACHINE_EMULATED && !args->chardev)
        return 0;

    if (args->machine != NITRO_MACHINE_EMULATED) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("QEMU's option '-chardev' is not supported for machine 'nitro'"));
        return -1;
    }
    if (!args->vsock) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("QEMU's machine 'nitro-enclave' lacks its property 'vsock', the id of a "
                         "-chardev"));
        return -1;
    }
    if (STRNEQ_NULLABLE(args->chardev, args->vsock)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("property 'vsock' of QEMU's machine 'nitro-enclave' names the -chardev "
                         "'%s', which is not there"),
                       args->vsock);
        return -1;
    }
    return 0;
}


static int
nitroQemuCompleteMachine(nitroQemuArgs *args)
{
    virDomainDef *def = args->def;

    if (nitroQemuCheckAccel(args) < 0 ||
        nitroQemuCheckVsock(args) < 0)
        return -1;
    if (args->machine != NITRO_MACHINE_EMULATED)
        return 0;

    if (def->os.arch != VIR_ARCH_X86_64) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("QEMU's machine 'nitro-enclave' is x86_64, not %s: use '%sx86_64', or write the domain's XML with arch '%s' by hand"),
                       virArchToString(def->os.arch), QEMU_PREFIX,
                       virArchToString(def->os.arch));
        return -1;
    }
    g_free(def->os.machine);
    def->os.machine = g_strdup(nitroMachineTypeToString(NITRO_MACHINE_EMULATED));
    if (!def->name)
        def->name = g_steal_pointer(&args->enclaveId);
    return 0;
}


static int
nitroQemuComplete(nitroQemuArgs *args)
{
    if (nitroQemuCompleteMachine(args) < 0)
        return -1;
    if (!args->def->os.kernel) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("QEMU's command line has no '-kernel': an enclave boots from an EIF file "
                         "or a Linux kernel"));
        return -1;
    }

    /* QEMU's own defaults */
    if (virDomainDefGetVcpusMax(args->def) == 0 &&
        nitroNativeSetVcpus(args->def, 1, args->xmlopt) < 0)
        return -1;
    if (virDomainDefGetMemoryTotal(args->def) == 0)
        nitroNativeSetMemory(args->def, QEMU_MEMORY_DEFAULT_KIB);

    return nitroQemuCompleteConsole(args);
}


/* The architecture is in the name of the program. */
static int
nitroQemuParseProgram(nitroQemuArgs *args,
                      const char *path)
{
    g_autofree char *program = g_path_get_basename(path);
    virArch arch = VIR_ARCH_NONE;

    if (STRPREFIX(program, QEMU_PREFIX))
        arch = virArchFromString(program + strlen(QEMU_PREFIX));

    if (arch == VIR_ARCH_NONE) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("the command line of QEMU starts with '%s', not with qemu-system-x86_64 "
                         "or qemu-system-aarch64"),
                       path);
        return -1;
    }
    args->def->os.arch = arch;
    return 0;
}


int
nitroNativeParseQemu(const char *config,
                     virDomainDef *def,
                     virDomainXMLOption *xmlopt)
{
    nitroQemuArgs args = { .def = def, .xmlopt = xmlopt, .machine = -1 };
    g_auto(GStrv) argv = NULL;
    int ret = -1;
    int n = 1;
    size_t i;

    if (!(argv = nitroNativeSplitShell(config)) ||
        nitroQemuParseProgram(&args, argv[0]) < 0)
        return -1;

    for (i = 1; argv[i] && n > 0; i += n) {
        if ((n = nitroQemuParseOption(&args, argv + i)) < 0)
            break;
    }
    if (n > 0)
        ret = nitroQemuComplete(&args);

    nitroQemuArgsClear(&args);
    return ret;
}


/* What nitro-cli has a word for, and QEMU has not. */
static int
nitroQemuCheckFormat(const virDomainDef *def)
{
    size_t ncpus;
    g_autofree unsigned int *cpus = nitroDomainDefGetCpus(def, &ncpus);

    if (cpus) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("format 'qemu-argv' has no counterpart of the CPUs of a pool: remove "
                         "cpuset= of <vcpu>, and <vcpupin>"));
        return -1;
    }
    if (nitroDomainDefGetMachine(def) != NITRO_MACHINE_NITRO) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("machine '%s' has no counterpart in format 'qemu-argv': the vsock of "
                         "that machine is libvirt_nitro's, not QEMU's"),
                       def->os.machine);
        return -1;
    }
    return 0;
}


static void
nitroQemuAddAccel(virCommand *cmd,
                  const virDomainDef *def)
{
    g_auto(virBuffer) accel = VIR_BUFFER_INITIALIZER;
    unsigned int cid = nitroNativeGetCid(def);

    virBufferAddLit(&accel, "nitro");
    if (nitroDomainDefIsDebug(def))
        virBufferAddLit(&accel, ",debug-mode=on");
    if (cid > 0)
        virBufferAsprintf(&accel, ",enclave-cid=%u", cid);

    virCommandAddArg(cmd, "-accel");
    virCommandAddArgBuffer(cmd, &accel);
    virCommandAddArgList(cmd, "-M", def->os.machine, NULL);
}


static void
nitroQemuAddName(virCommand *cmd,
                 const virDomainDef *def)
{
    g_auto(virBuffer) name = VIR_BUFFER_INITIALIZER;
    char uuid[VIR_UUID_STRING_BUFLEN];

    virBufferAddLit(&name, "guest=");
    virQEMUBuildBufferEscapeComma(&name, def->name);
    virCommandAddArg(cmd, "-name");
    virCommandAddArgBuffer(cmd, &name);

    virUUIDFormat(def->uuid, uuid);
    virCommandAddArgList(cmd, "-uuid", uuid, NULL);
}


/* QEMU shows the debug console, and no other, on its own standard output. */
static void
nitroQemuAddConsole(virCommand *cmd,
                    const virDomainDef *def)
{
    const virDomainChrDef *console = nitroDomainDefGetConsole(def);
    virDomainChrType type = console ? console->source->type : VIR_DOMAIN_CHR_TYPE_LAST;
    g_auto(virBuffer) file = VIR_BUFFER_INITIALIZER;

    virCommandAddArg(cmd, "-nographic");

    if (type == VIR_DOMAIN_CHR_TYPE_FILE) {
        virBufferAddLit(&file, "file:");
        virQEMUBuildBufferEscapeComma(&file, console->source->data.file.path);
        virCommandAddArg(cmd, "-serial");
        virCommandAddArgBuffer(cmd, &file);
    } else if (type == VIR_DOMAIN_CHR_TYPE_NULL) {
        virCommandAddArgList(cmd, "-serial", "null", NULL);
    } else if (type == VIR_DOMAIN_CHR_TYPE_PTY && !nitroDomainDefIsDebug(def)) {
        virCommandAddArgList(cmd, "-serial", "mon:stdio", NULL);
    } else if (!console && nitroDomainDefIsDebug(def)) {
        virCommandAddArgList(cmd, "-serial", "none", NULL);
    }
}


char *
nitroNativeFormatQemu(virDomainDef *def)
{
    g_autofree char *program = NULL;
    g_autoptr(virCommand) cmd = NULL;
    g_auto(virBuffer) text = VIR_BUFFER_INITIALIZER;

    if (nitroQemuCheckFormat(def) < 0)
        return NULL;

    program = g_strconcat(QEMU_PREFIX, virArchToString(def->os.arch), NULL);
    cmd = virCommandNew(program);

    nitroQemuAddAccel(cmd, def);
    nitroQemuAddConsole(cmd, def);
    nitroQemuAddName(cmd, def);
    virCommandAddArg(cmd, "-smp");
    virCommandAddArgFormat(cmd, "%u", virDomainDefGetVcpus(def));
    virCommandAddArg(cmd, "-m");
    virCommandAddArgFormat(cmd, "%lluM", virDomainDefGetMemoryTotal(def) / 1024);
    virCommandAddArgList(cmd, "-kernel", def->os.kernel, NULL);
    if (def->os.initrd)
        virCommandAddArgList(cmd, "-initrd", def->os.initrd, NULL);
    if (def->os.cmdline)
        virCommandAddArgList(cmd, "-append", def->os.cmdline, NULL);

    if (virCommandToStringBuf(cmd, &text, true, false) < 0)
        return NULL;
    virBufferAddChar(&text, '\n');
    return virBufferContentAndReset(&text);
}
