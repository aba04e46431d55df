/*
 * kvm_probe.c: whether KVM works on this host
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: kvmProbe() forks; the child makes a virtual machine with one vCPU in 64-bit
 * mode with paging, lets it count down and write to a port, and writes its verdict to
 * a pipe; the parent reads it, or kills the child when the time is up.
 *
 * The guest's loop has so many rounds that hardware needs about two milliseconds and an
 * interpreter two seconds. Real mode would not do: an interpreter is expected there on
 * old hardware, and hosts are known that run it well and then fail in 64-bit mode.
 */

#include "emulated/kvm_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nitro_gettext.h"

#if defined(__x86_64__)

# include <linux/kvm.h>
# include <sys/ioctl.h>
# include <sys/mman.h>
# include <sys/prctl.h>
# include <sys/syscall.h>

# define PROBE_DEVICE "/dev/kvm"

/* Guest physical memory: page tables for the first 2 MiB, then code */
# define PROBE_MEMORY 0x10000
# define PROBE_PML4 0x1000
# define PROBE_PDPT 0x2000
# define PROBE_PD 0x3000
# define PROBE_CODE 0x4000
# define PROBE_PORT 0x80
# define PROBE_VALUE 0x42

# define PAGE_PRESENT 0x001ULL
# define PAGE_WRITE 0x002ULL
# define PAGE_LARGE 0x080ULL

# define CR0_PE 0x00000001ULL
# define CR0_ET 0x00000010ULL
# define CR0_NE 0x00000020ULL
# define CR0_PG 0x80000000ULL
# define CR4_PAE 0x00000020ULL
# define EFER_LME 0x00000100ULL
# define EFER_LMA 0x00000400ULL

static const uint8_t probeCode[] = {
    0xb9, 0x00, 0x09, 0x3d, 0x00, /* mov $4000000, %ecx */
    0xff, 0xc9,                   /* dec %ecx */
    0x75, 0xfc,                   /* jnz back to dec */
    0xb0, PROBE_VALUE,            /* mov $PROBE_VALUE, %al */
    0xe6, PROBE_PORT,             /* out %al, $PROBE_PORT */
    0xf4,                         /* hlt */
};

/* Returns the vCPU's descriptor, or -1 with errno set and *@step naming the call. */
static int
probeCreate(int kvm, uint8_t *memory, const char **step)
{
    struct kvm_userspace_memory_region region = {
        .memory_size = PROBE_MEMORY,
        .userspace_addr = (uintptr_t)memory,
    };
    int vm;

    *step = "KVM_GET_API_VERSION";
    if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
        return -1;
    *step = "KVM_CREATE_VM";
    if ((vm = ioctl(kvm, KVM_CREATE_VM, 0)) < 0)
        return -1;
    /* Intel CPUs without unrestricted guests want it, above all memory; others ignore it. */
    *step = "KVM_SET_TSS_ADDR";
    if (ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000UL) < 0)
        return -1;
    *step = "KVM_SET_USER_MEMORY_REGION";
    if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
        return -1;
    *step = "KVM_CREATE_VCPU";
    return ioctl(vm, KVM_CREATE_VCPU, 0);
}

/* Puts the vCPU in 64-bit mode before the code. */
static int
probeSetUp(int vcpu, uint8_t *memory, const char **step)
{
    struct kvm_segment code = {
        .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1,
    };
    struct kvm_segment data = {
        .limit = 0xffffffff, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1,
    };
    struct kvm_regs regs = {.rip = PROBE_CODE, .rsp = PROBE_MEMORY, .rflags = 2};
    struct kvm_sregs sregs;

    *(uint64_t *)(memory + PROBE_PML4) = PROBE_PDPT | PAGE_PRESENT | PAGE_WRITE;
    *(uint64_t *)(memory + PROBE_PDPT) = PROBE_PD | PAGE_PRESENT | PAGE_WRITE;
    *(uint64_t *)(memory + PROBE_PD) = PAGE_PRESENT | PAGE_WRITE | PAGE_LARGE;
    memcpy(memory + PROBE_CODE, probeCode, sizeof(probeCode));

    *step = "KVM_GET_SREGS";
    if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
        return -1;
    sregs.cr3 = PROBE_PML4;
    sregs.cr4 = CR4_PAE;
    sregs.cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG;
    sregs.efer = EFER_LME | EFER_LMA;
    sregs.cs = code;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
    *step = "KVM_SET_SREGS";
    if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0)
        return -1;
    *step = "KVM_SET_REGS";
    return ioctl(vcpu, KVM_SET_REGS, &regs);
}

/* Lets the vCPU run to its write. A signal may interrupt it; the parent limits the time. */
static int
probeRunVcpu(int kvm, int vcpu, const char **step)
{
    int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    struct kvm_run *run;

    *step = "KVM_GET_VCPU_MMAP_SIZE";
    if (size < (int)sizeof(*run))
        return -1;
    *step = "mmap of the vCPU";
    run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (run == MAP_FAILED)
        return -1;

    *step = "KVM_RUN";
    while (ioctl(vcpu, KVM_RUN, 0) < 0) {
        if (errno != EINTR && errno != EAGAIN)
            return -1;
    }

    *step = "the guest code";
    errno = EPROTO;
    if (run->exit_reason != KVM_EXIT_IO || run->io.direction != KVM_EXIT_IO_OUT ||
        run->io.port != PROBE_PORT || run->io.data_offset >= (uint64_t)size ||
        ((uint8_t *)run)[run->io.data_offset] != PROBE_VALUE)
        return -1;
    return 0;
}

typedef struct {
    int err;       /* 0: the guest code has run */
    char step[48]; /* that failed */
} ProbeVerdict;

/* The child; it holds nothing of the enclave, for it may turn out that it cannot be killed. */
static void
probeChild(int kvm, int pipeFd, pid_t parent)
{
    ProbeVerdict verdict = {0};
    const char *step = "mmap";
    uint8_t *memory;
    int vcpu;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    if (dup2(kvm, 0) < 0 || dup2(pipeFd, 1) < 0)
        _exit(1);
    syscall(SYS_close_range, 2U, ~0U, 0U); /* Linux 5.9; only tidies up */

    memory = mmap(NULL, PROBE_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED ||
        (vcpu = probeCreate(0, memory, &step)) < 0 ||
        probeSetUp(vcpu, memory, &step) < 0 ||
        probeRunVcpu(0, vcpu, &step) < 0)
        verdict.err = errno ? errno : EPROTO;

    strncpy(verdict.step, step, sizeof(verdict.step) - 1);
    _exit(write(1, &verdict, sizeof(verdict)) == sizeof(verdict) ? 0 : 1);
}

static bool
probeAwait(int pipeFd, char **reason)
{
    gint64 end = g_get_monotonic_time() + KVM_PROBE_LIMIT_MS * 1000;
    struct pollfd pfd = {.fd = pipeFd, .events = POLLIN};
    ProbeVerdict verdict;
    int n;

    do {
        n = poll(&pfd, 1, MAX(0, (int)((end - g_get_monotonic_time()) / 1000)));
    } while (n < 0 && errno == EINTR);

    if (n == 0) {
        *reason = g_strdup_printf(_("KVM did not run a short piece of 64-bit code within %d ms: "
                                    "this host has no hardware virtualization for it"),
                                  KVM_PROBE_LIMIT_MS);
        return false;
    }
    if (n < 0 || read(pipeFd, &verdict, sizeof(verdict)) != sizeof(verdict)) {
        *reason = g_strdup(_("The process that tried KVM died"));
        return false;
    }
    if (verdict.err != 0) {
        verdict.step[sizeof(verdict.step) - 1] = '\0';
        *reason = g_strdup_printf(_("KVM does not work: %s failed: %s"), verdict.step,
                                  g_strerror(verdict.err));
        return false;
    }
    *reason = g_strdup(_("KVM ran a piece of 64-bit code"));
    return true;
}

/*
 * A child that is stuck in the kernel cannot be waited for: it is left to die when it can,
 * and then stays as a zombie until we end, which is all that can be done about it.
 */
static void
probeReap(pid_t pid)
{
    int tries;

    kill(pid, SIGKILL);
    for (tries = 0; tries < 100; tries++) {
        pid_t rc = waitpid(pid, NULL, WNOHANG);

        if (rc == pid || (rc < 0 && errno != EINTR))
            return;
        g_usleep(tries < 10 ? 200 : 2000);
    }
}

bool
kvmProbe(char **reason)
{
    int kvm = open(PROBE_DEVICE, O_RDWR | O_CLOEXEC);
    pid_t parent = getpid();
    int fds[2] = {-1, -1};
    pid_t pid;
    bool works;

    if (kvm < 0) {
        *reason = g_strdup_printf(_("%s cannot be opened: %s"), PROBE_DEVICE, g_strerror(errno));
        return false;
    }
    if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
        *reason = g_strdup_printf(_("KVM cannot be tried: %s"), g_strerror(errno));
        if (fds[0] >= 0) {
            close(fds[0]);
            close(fds[1]);
        }
        close(kvm);
        return false;
    }
    if (pid == 0)
        probeChild(kvm, fds[1], parent);

    close(kvm);
    close(fds[1]);
    works = probeAwait(fds[0], reason);
    close(fds[0]);
    probeReap(pid);
    return works;
}

#else /* not x86_64 */

bool
kvmProbe(char **reason)
{
    *reason = g_strdup(_("KVM is used on x86_64 hosts only"));
    return false;
}

#endif
