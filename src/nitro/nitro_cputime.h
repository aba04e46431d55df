/*
 * nitro_cputime.h: the CPU time of an emulated enclave, from its processes
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

/* What is known of a vCPU, which is a thread of QEMU's with a name of its own */
typedef struct _nitroCpuTimeVcpu nitroCpuTimeVcpu;
struct _nitroCpuTimeVcpu {
    bool known;              /* whether its thread has been found; else what follows is 0 */
    unsigned long long time; /* ns */
    int cpu;                 /* of the host, where it ran last */
};

typedef struct _nitroCpuTime nitroCpuTime;
struct _nitroCpuTime {
    unsigned long long user;   /* ns, of the helper and all below it, */
    unsigned long long system; /* and with those of them that have ended and been reaped */
    nitroCpuTimeVcpu *vcpus;   /* as many as were asked for */
};

void nitroCpuTimeClear(nitroCpuTime *time);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroCpuTime, nitroCpuTimeClear);

/*
 * Reads into @time, which is all zero, the CPU time of the helper, process @pid, which has started
 * @start ticks after the boot of the host (0: not known), and of what descends from it: QEMU, and
 * what may be between the two. @nvcpus is the number of vCPUs, whose threads are those that QEMU
 * names "CPU N/..." (its option -name debug-threads=on). Where all vCPUs share one thread ("ALL
 * CPUs/TCG") each counts for an equal part of it. @proc is where proc(5) is mounted.
 *
 * A process that ends meanwhile is no error. Returns 0, or -errno when the time could not be found
 * out: -ESRCH when the helper itself has ended.
 */
int nitroCpuTimeRead(const char *proc,
                     pid_t pid,
                     unsigned long long start,
                     size_t nvcpus,
                     nitroCpuTime *time);
