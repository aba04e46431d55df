/*
 * machine.c: the emulated machine as an enclave's kernel needs it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow on x86_64: the words of the command line -> with or without ACPI -> parameters for the vsock
 * device and the clock, as far as there is room -> or another cure for the clock.
 */

#include "emulated/machine.h"

#include <inttypes.h>
#include <string.h>

#include "common/log.h"
#include "emulated/tsc.h"
#include "helper_protocol.h"
#include "nitro_gettext.h"

/* What MACHINE_VSOCK_BUS is to a kernel without ACPI: size, address, interrupt */
#define MACHINE_VSOCK_PARAMETER "virtio_mmio.device=512@0xfeb00c00:11"
#define MACHINE_NSM_PARAMETER "virtio_mmio.device=512@0xfeb00a00:10"

/* The serial port of QEMU's machine virt */
#define MACHINE_PL011_PARAMETER "console=ttyAMA0"

#define MACHINE_TSC_PARAMETER "tsc_early_khz="
/* The first Linux that knows it */
#define MACHINE_TSC_LINUX_MAJOR 5
#define MACHINE_TSC_LINUX_MINOR 8

/*
 * Calls @found for each word of the kernel's command line, as Linux splits it: at blanks that
 * are not between quotation marks, which are not part of the word; up to "--".
 */
static void
machineForEachWord(const char *cmdline, void (*found)(const char *word, void *opaque),
                   void *opaque)
{
    g_autoptr(GString) word = g_string_new(NULL);
    bool quoted = false;
    const char *pos;

    for (pos = cmdline;; pos++) {
        if (*pos == '"') {
            quoted = !quoted;
        } else if (*pos != '\0' && (quoted || !g_ascii_isspace(*pos))) {
            g_string_append_c(word, *pos);
        } else {
            if (g_str_equal(word->str, "--"))
                return;
            if (word->len > 0)
                found(word->str, opaque);
            g_string_truncate(word, 0);
            if (*pos == '\0')
                return;
        }
    }
}

typedef struct {
    bool acpi;
    bool tsc; /* the frequency of the time stamp counter is there already */
} MachineWords;

static void
machineOnWord(const char *word, void *opaque)
{
    MachineWords *words = opaque;

    /* The last one is what Linux does. */
    if (g_str_equal(word, "acpi=off"))
        words->acpi = false;
    else if (g_str_equal(word, "acpi=force"))
        words->acpi = true;
    else if (g_str_has_prefix(word, MACHINE_TSC_PARAMETER))
        words->tsc = true;
}

/* Puts @parameter first if the kernel takes so much. */
static bool
machineAddParameter(Machine *machine, const ImageParts *parts, const char *parameter)
{
    g_autofree char *longer = g_strdup_printf("%s %s", parameter, machine->cmdline);

    if (strlen(longer) > parts->cmdlineMax)
        return false;
    g_free(machine->cmdline);
    machine->cmdline = g_steal_pointer(&longer);
    return true;
}

/* Returns why the kernel cannot be told the frequency of its counter (static), or NULL. */
static const char *
machineTellFrequency(Machine *machine, const ImageParts *parts, const MachineWords *words)
{
    g_autofree char *parameter = NULL;
    unsigned int khz;

    if (parts->linuxMajor < MACHINE_TSC_LINUX_MAJOR ||
        (parts->linuxMajor == MACHINE_TSC_LINUX_MAJOR &&
         parts->linuxMinor < MACHINE_TSC_LINUX_MINOR))
        return "it is older than Linux 5.8";
    if (words->tsc)
        return NULL;
    if ((khz = tscMeasureEnd()) == 0)
        return "this host's is not known";
    parameter = g_strdup_printf(MACHINE_TSC_PARAMETER "%u", khz);
    return machineAddParameter(machine, parts, parameter) ? NULL :
                                                            "its command line has no room for it";
}

/* What tells a kernel of the devices on a machine without ACPI (static), "": there are none */
static const char *
machineDevices(const Options *options)
{
    if (options->hasCid && options->nsmDevice)
        return MACHINE_VSOCK_PARAMETER " " MACHINE_NSM_PARAMETER;
    if (options->hasCid)
        return MACHINE_VSOCK_PARAMETER;
    return options->nsmDevice ? MACHINE_NSM_PARAMETER : "";
}

/* Returns whether the kernel will find its devices on a machine without ACPI. */
static bool
machineTellDevices(Machine *machine, const ImageParts *parts, const Options *options)
{
    const char *parameters = machineDevices(options);

    return !*parameters || machineAddParameter(machine, parts, parameters);
}

/* The kernel cannot be told the frequency of its counter, of which @why says the cause. */
static int
machineCureClock(Machine *machine, const ImageParts *parts, const Options *options,
                 const char *why, Failure *failure)
{
    if (options->vcpus == 1) {
        machine->icount = true;
        logInfo("The kernel cannot be told the frequency of its time stamp counter, as %s: its "
                "clocks count instructions, and it runs slower", why);
        return 0;
    }

    machine->acpi = false;
    if (machineTellDevices(machine, parts, options)) {
        logInfo("The kernel cannot be told the frequency of its time stamp counter, as %s: its "
                "machine has no ACPI", why);
        return 0;
    }
    failureSet(failure, NITRO_FAILURE_IMAGE,
               "The command line has %zu bytes, of which this kernel takes no more than %" PRIu64
               ", and with %u vCPUs that are emulated without KVM it needs %zu more: make it "
               "shorter, or take one vCPU", parts->cmdline->len, parts->cmdlineMax,
               options->vcpus, strlen(machineDevices(options)) + 1);
    return -1;
}

static int
machineChooseAarch64(Machine *machine, const ImageParts *parts, Failure *failure)
{
    if (machineAddParameter(machine, parts, MACHINE_PL011_PARAMETER))
        return 0;
    failureSet(failure, NITRO_FAILURE_IMAGE,
               "The command line has %zu bytes, of which this kernel takes no more than %" PRIu64
               ", and %zu more are needed for '%s', the console of the emulated machine: make it "
               "shorter", parts->cmdline->len, parts->cmdlineMax,
               strlen(MACHINE_PL011_PARAMETER) + 1, MACHINE_PL011_PARAMETER);
    return -1;
}

static int
machineChooseX86(Machine *machine, const ImageParts *parts, const Options *options, bool tcg,
                 Failure *failure)
{
    MachineWords words = {.acpi = true};
    const char *why;

    machineForEachWord(parts->cmdline->str, machineOnWord, &words);
    machine->acpi = words.acpi;

    if (!machine->acpi && !machineTellDevices(machine, parts, options)) {
        failureSet(failure, NITRO_FAILURE_IMAGE,
                   "The command line has %zu bytes, of which this kernel takes no more than %"
                   PRIu64 ", and %zu more are needed for its virtio devices, which a kernel "
                   "with acpi=off does not find by itself: make it shorter, or leave acpi=off out",
                   parts->cmdline->len, parts->cmdlineMax, strlen(machineDevices(options)) + 1);
        return -1;
    }

    why = tcg ? machineTellFrequency(machine, parts, &words) : NULL;
    return why && machine->acpi ? machineCureClock(machine, parts, options, why, failure) : 0;
}

int
machineChoose(Machine *machine, const ImageParts *parts, const Options *options, bool tcg,
              Failure *failure)
{
    *machine = (Machine){.arch = options->arch, .cmdline = g_strdup(parts->cmdline->str)};
    return options->arch == EIF_ARCH_AARCH64 ?
        machineChooseAarch64(machine, parts, failure) :
        machineChooseX86(machine, parts, options, tcg, failure);
}

void
machineClear(Machine *machine)
{
    g_clear_pointer(&machine->cmdline, g_free);
}

const char *
machineVsockNeeds(const Machine *machine)
{
    if (machine->arch == EIF_ARCH_AARCH64)
        return _("a kernel finds the device if it has drivers for virtio-mmio and vsock");
    return machine->acpi ?
        _("a kernel finds the device if it has drivers for virtio-mmio and vsock, and ACPI; one "
          "without ACPI needs acpi=off on its command line, CONFIG_X86_MPPARSE and "
          "CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES") :
        _("a kernel finds the device on a machine without ACPI if it has drivers for virtio-mmio "
          "and vsock, CONFIG_X86_MPPARSE and CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES");
}
