/*
 * machine.h: the emulated machine as an enclave's kernel needs it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * On aarch64 there is little to choose: a kernel finds what QEMU's machine virt has by its device
 * tree, and knows the frequency of its counter. Its console is a PL011, ttyAMA0, where that of
 * an enclave, and of most command lines, is ttyS0: console=ttyAMA0 is put before the command line,
 * so that the kernel takes what comes behind where there is such a device.
 *
 * On x86_64 QEMU's microvm has to suit kernels of different ages and configurations. What differs
 * is chosen from what the image tells: the kernel's version and its command line.
 *
 * Under TCG the guest sees the host's time stamp counter, whose frequency Linux then
 * measures against an emulated timer chip. On a busy host that fails, and with ACPI, which
 * on this machine means that there is no timer interrupt before the local APIC's is set up,
 * Linux waits for ever for a clock tick. The cures:
 *
 *   tsc_early_khz=  tells Linux the frequency. It costs nothing, but Linux knows it from 5.8
 *                   on, and the command line must have room for it.
 *   icount          the guest's clocks count its instructions, so that being interrupted by
 *                   the host does not show. Any kernel boots with it, but takes about half as
 *                   long again, and its vsock carries a third; and all vCPUs share one thread
 *                   of the host, so that a second one takes minutes to come up.
 *   without ACPI    there is the timer interrupt. It costs nothing, but a kernel must have
 *                   been built to find CPUs and devices without ACPI, as AWS's are.
 *
 * Without ACPI, chosen here or by acpi=off on the command line, Linux finds its vsock device by
 * a parameter, virtio_mmio.device=. On a machine with ACPI that would not do, for the device
 * has an interrupt there that such a kernel cannot have.
 */

#pragma once

#include <stdbool.h>

#include "common/failure.h"
#include "image.h"

/*
 * Where the vsock device of x86_64 is plugged in. Without ACPI the interrupts of the slots are 5
 * and up: 11 is nobody else's, 12 the mouse's. With it, QEMU delivers no interrupt of slot 0.
 */
#define MACHINE_VSOCK_BUS "virtio-mmio-bus.6"

/* The same for its NSM, with interrupt 10 */
#define MACHINE_NSM_BUS "virtio-mmio-bus.5"

typedef struct _Machine Machine;
struct _Machine {
    EifArch arch;
    bool acpi;     /* of x86_64 only, as the next */
    bool icount;
    char *cmdline; /* what the kernel gets */
};

/*
 * Chooses the machine for the kernel of @parts, which imageLinuxCheck() has looked at;
 * with the vsock device if @options give it a CID, and the NSM if they have one. Parameters go before the image's command
 * line: behind "--" they would be arguments of init. They are not part of the image and not
 * measured, as those are not that the Nitro Hypervisor adds for its devices.
 *
 * Returns 0, or -1 with @failure set ("image") when the command line has no room for
 * what the kernel cannot do without.
 * @machine is to be cleared in either case.
 */
int machineChoose(Machine *machine, const ImageParts *parts, const Options *options, bool tcg,
                  Failure *failure);
void machineClear(Machine *machine);

/* What a kernel needs to find the vsock device of @machine: the end of a sentence, translated. */
const char *machineVsockNeeds(const Machine *machine);
