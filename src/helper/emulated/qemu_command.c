/*
 * qemu_command.c: the command line of QEMU, and what it sees of the host
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * There is no pvpanic device: Nitro has none, so that images have no driver built in.
 */

#include "emulated/qemu_command.h"

#include <stdlib.h>
#include <string.h>

#include "emulated/machine.h"

#define QEMU_PATH_KERNEL "/proc/self/fd/10"
#define QEMU_PATH_RAMDISK "/proc/self/fd/11"
#define QEMU_PATH_SERIAL "/proc/self/fd/12"

/*
 * What differs between the architectures. Of x86_64 TCG has the CPU with all that it can do. Of
 * aarch64 that one is slow, by its pointer authentication, and no Linux 4.14 boots on it, which is
 * the kernel of many of AWS's images: there it is the CPU of Graviton2 instances.
 */
static const struct {
    const char *machine;
    const char *cpu; /* of TCG */
    const char *vsockBus;
    const char *nsmBus;
} qemuArchs[] = {
    [EIF_ARCH_X86_64] = {
        .machine = "microvm,auto-kernel-cmdline=off,isa-serial=on,rtc=on",
        .cpu = "max",
        .vsockBus = MACHINE_VSOCK_BUS,
        .nsmBus = MACHINE_NSM_BUS,
    },
    [EIF_ARCH_AARCH64] = {
        /* the newest interrupt controller: an older one has eight vCPUs at most */
        .machine = "virt,gic-version=max",
        .cpu = "neoverse-n1",
        .vsockBus = "virtio-mmio-bus.0",
        .nsmBus = "virtio-mmio-bus.1",
    },
};

/* QEMU's own options are comma-separated lists, in which a comma is written twice. */
static char *
qemuEscape(const char *value)
{
    g_auto(GStrv) parts = g_strsplit(value, ",", -1);

    return g_strjoinv(",,", parts);
}

static void
qemuAdd(GPtrArray *argv, const char *option, char *value)
{
    g_ptr_array_add(argv, g_strdup(option));
    if (value)
        g_ptr_array_add(argv, value);
}

/* Whether the memory is shared with whoever is a device's other side: its buffers are in it. */
static bool
qemuSharesMemory(const Options *options)
{
    return options->hasCid || options->nsmDevice;
}

static void
qemuAddMemory(const Options *options, GPtrArray *argv)
{
    g_autoptr(GString) object = g_string_new("memory-backend-memfd,id=memory,seal=on");

    if (!qemuSharesMemory(options) && options->pageSize == 0)
        return;
    g_string_append_printf(object, ",size=%" G_GUINT64_FORMAT ",share=%s", options->memory,
                           qemuSharesMemory(options) ? "on" : "off");
    if (options->pageSize > 0)
        g_string_append_printf(object, ",hugetlb=on,hugetlbsize=%" G_GUINT64_FORMAT ",prealloc=on",
                               options->pageSize);
    qemuAdd(argv, "-object", g_strdup(object->str));
    if (options->lockMemory)
        qemuAdd(argv, "-overcommit", g_strdup("mem-lock=on"));
}

static void
qemuAddVsock(const Options *options, GPtrArray *argv)
{
    if (!options->hasCid)
        return;
    qemuAdd(argv, "-chardev", g_strdup_printf("socket,id=vsock,fd=%d", QEMU_FD_VSOCK));
    qemuAdd(argv, "-device", g_strdup_printf("vhost-user-vsock-device,chardev=vsock,bus=%s",
                                             qemuArchs[options->arch].vsockBus));
}

/* QEMU knows no NSM by this: the generic device of another process, with an NSM's id and one queue */
static void
qemuAddNsm(const Options *options, GPtrArray *argv)
{
    if (!options->nsmDevice)
        return;
    qemuAdd(argv, "-chardev", g_strdup_printf("socket,id=nsm,fd=%d", QEMU_FD_NSM));
    qemuAdd(argv, "-device", g_strdup_printf("%s,virtio-id=33,num_vqs=1,vq_size=16,chardev=nsm,bus=%s",
                                             options->nsmDevice, qemuArchs[options->arch].nsmBus));
}

static void
qemuAddDevices(const Options *options, GPtrArray *argv)
{
    if (qemuSharesMemory(options))
        qemuAdd(argv, "-global", g_strdup("virtio-mmio.force-legacy=false"));
    qemuAddVsock(options, argv);
    qemuAddNsm(options, argv);
}

/*
 * On x86_64 ACPI is how a guest powers off and how distribution kernels find virtio devices; the
 * keyboard controller is how one restarts that was told reboot=k, as AWS's command line does. On
 * aarch64 the device tree and PSCI are for all that.
 */
static void
qemuAddMachine(const QemuCommand *command, GPtrArray *argv)
{
    const Options *options = command->options;

    qemuAdd(argv, "-machine",
                g_strdup_printf("%s,acpi=%s,dump-guest-core=off%s",
                                qemuArchs[options->arch].machine, command->acpi ? "on" : "off",
                                qemuSharesMemory(options) || options->pageSize > 0 ?
                                    ",memory-backend=memory" : ""));
    qemuAdd(argv, "-accel", g_strdup(command->kvm ? "kvm" : "tcg"));
    if (command->icount)
        qemuAdd(argv, "-icount", g_strdup("shift=auto"));
    if (options->arch == EIF_ARCH_X86_64)
        qemuAdd(argv, "-device", g_strdup("i8042"));
}

GPtrArray *
qemuCommandBuild(const QemuCommand *command)
{
    const Options *options = command->options;
    GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *name = qemuEscape(options->name);

    qemuAdd(argv, command->qemu, NULL);
    /* The daemon finds the threads of vCPUs by their names. */
    qemuAdd(argv, "-name", g_strdup_printf("guest=%s,debug-threads=on", name));
    qemuAdd(argv, "-uuid", g_strdup(options->uuid));
    qemuAdd(argv, "-nodefaults", NULL);
    qemuAdd(argv, "-no-user-config", NULL);
    qemuAdd(argv, "-display", g_strdup("none"));
    qemuAdd(argv, "-no-reboot", NULL);
    qemuAdd(argv, "-S", NULL);
    qemuAdd(argv, "-sandbox",
                g_strdup("on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
                         "resourcecontrol=deny"));

    qemuAddMachine(command, argv);
    qemuAdd(argv, "-cpu", g_strdup(command->kvm ? "host" : qemuArchs[options->arch].cpu));
    qemuAdd(argv, "-smp", g_strdup_printf("%u", options->vcpus));
    qemuAdd(argv, "-m", g_strdup_printf("%" G_GUINT64_FORMAT "B", options->memory));
    qemuAddMemory(options, argv);

    qemuAdd(argv, "-kernel", g_strdup(QEMU_PATH_KERNEL));
    if (command->ramdisk)
        qemuAdd(argv, "-initrd", g_strdup(QEMU_PATH_RAMDISK));
    qemuAdd(argv, "-append", g_strdup(command->cmdline));

    qemuAdd(argv, "-chardev", g_strdup("file,id=serial,path=" QEMU_PATH_SERIAL));
    qemuAdd(argv, "-serial", g_strdup("chardev:serial"));
    qemuAdd(argv, "-chardev", g_strdup_printf("socket,id=monitor,fd=%d", QEMU_FD_QMP));
    /* not -mon, of which QEMU 11.1 says that it will go */
    qemuAdd(argv, "-qmp", g_strdup("chardev:monitor"));
    qemuAddDevices(options, argv);

    g_ptr_array_add(argv, NULL);
    return argv;
}

/* What is missing is passed over: distributions differ. */
static const char *const qemuPaths[] = {
    /* libraries, and modules of QEMU */
    "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64", "/lib", "/lib64",
    "/etc/ld.so.cache",
    /* firmware */
    "/usr/share/qemu", "/usr/share/seabios", "/usr/local/share/qemu",
};

/* Of a QEMU that is installed elsewhere, below the directory above its own */
static const char *const qemuPathsBeside[] = {"lib", "lib64", "share/qemu"};

char **
qemuCommandGetPaths(const char *qemu)
{
    g_autofree char *bin = g_path_get_dirname(qemu);
    g_autofree char *prefix = g_path_get_dirname(bin);
    GPtrArray *paths = g_ptr_array_new();
    size_t i;

    g_ptr_array_add(paths, g_strdup(qemu));
    for (i = 0; i < G_N_ELEMENTS(qemuPaths); i++)
        g_ptr_array_add(paths, g_strdup(qemuPaths[i]));
    if (!g_str_equal(prefix, "/usr") && !g_str_equal(prefix, "/usr/local") &&
        !g_str_equal(prefix, "/")) {
        for (i = 0; i < G_N_ELEMENTS(qemuPathsBeside); i++)
            g_ptr_array_add(paths, g_build_filename(prefix, qemuPathsBeside[i], NULL));
    }
    g_ptr_array_add(paths, NULL);
    return (char **)g_ptr_array_free(paths, FALSE);
}

/*
 * As process 1 of its namespace QEMU ends all that is in it, and bubblewrap ends with it, or with
 * us.
 */
void
qemuCommandConfine(GPtrArray *argv, bool kvm, bool filtered)
{
    static const char *const namespaces[] = {
        NITRO_BWRAP, "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net",
        "--unshare-uts", "--unshare-cgroup-try", "--die-with-parent", "--new-session",
        "--as-pid-1", "--cap-drop", "ALL", "--proc", "/proc",
    };
    g_auto(GStrv) paths = qemuCommandGetPaths(g_ptr_array_index(argv, 0));
    g_autoptr(GPtrArray) before = g_ptr_array_new();
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(namespaces); i++)
        g_ptr_array_add(before, g_strdup(namespaces[i]));
    for (i = 0; paths[i]; i++) {
        g_ptr_array_add(before, g_strdup("--ro-bind-try"));
        g_ptr_array_add(before, g_strdup(paths[i]));
        g_ptr_array_add(before, g_strdup(paths[i]));
    }
    if (kvm) {
        g_ptr_array_add(before, g_strdup("--dev-bind"));
        g_ptr_array_add(before, g_strdup(QEMU_KVM_DEVICE));
        g_ptr_array_add(before, g_strdup(QEMU_KVM_DEVICE));
    }
    if (filtered) {
        g_ptr_array_add(before, g_strdup("--seccomp"));
        g_ptr_array_add(before, g_strdup_printf("%d", QEMU_FD_FILTER));
    }
    g_ptr_array_add(before, g_strdup("--remount-ro"));
    g_ptr_array_add(before, g_strdup("/"));
    g_ptr_array_add(before, g_strdup("--chdir"));
    g_ptr_array_add(before, g_strdup("/"));
    g_ptr_array_add(before, g_strdup("--"));

    for (i = before->len; i-- > 0;)
        g_ptr_array_insert(argv, 0, g_ptr_array_index(before, i));
}
