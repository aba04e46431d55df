/*
 * filter_generate.c: makes the seccomp filters, when this project is built
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Usage: filter_generate ARCH filters|names: writes a C header to stdout, for processes of ARCH,
 * as Meson calls it (x86_64, aarch64): the filters of all processes and stages as the
 * instructions that the kernel takes; or the names of all system calls. So a process that starts
 * neither needs libseccomp nor waits for it.
 *
 * Flow: the tables of a process -> generateRules() -> libseccomp -> generateWrite().
 */

#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check_calls.h"
#include "common/common_calls.h"
#include "console_calls.h"
#include "device/device_calls.h"
#include "emulated/emulated_calls.h"
#include "emulated/qemu_calls.h"
#include "heartbeat/broker_calls.h"
#include "nsm_calls.h"
#ifdef NITRO_SANITIZED
# include "sandbox/sanitizer_calls.h"
#endif
#include "services_calls.h"
#include "vsock/vsock_calls.h"

#define N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

/* No architecture has as many calls. */
#define CALLS_MAX 1024

#define TABLES_MAX 4

typedef struct {
    const FilterRule *rules; /* NULL: the end */
    size_t n;
} Table;

#define TABLE(rules) {rules, N_ELEMENTS(rules)}

static const struct {
    const char *name; /* of the array in C */
    uint32_t others;  /* what becomes of calls that no table has */
    unsigned int stage;
    Table tables[TABLES_MAX + 1];
} filters[] = {
    {"filterDeviceSetup", SCMP_ACT_TRAP, FILTER_SETUP,
     {TABLE(commonCalls), TABLE(consoleCalls), TABLE(deviceCalls)}},
    {"filterDeviceRun", SCMP_ACT_TRAP, FILTER_RUN,
     {TABLE(commonCalls), TABLE(consoleCalls), TABLE(deviceCalls)}},
    {"filterEmulatedSetup", SCMP_ACT_TRAP, FILTER_SETUP,
     {TABLE(commonCalls), TABLE(consoleCalls), TABLE(emulatedCalls), TABLE(vsockCalls)}},
    {"filterEmulatedRun", SCMP_ACT_TRAP, FILTER_RUN,
     {TABLE(commonCalls), TABLE(consoleCalls), TABLE(emulatedCalls), TABLE(vsockCalls)}},
    {"filterBroker", SCMP_ACT_TRAP, FILTER_RUN, {TABLE(commonCalls), TABLE(brokerCalls)}},
    {"filterCheck", SCMP_ACT_TRAP, FILTER_RUN, {TABLE(checkCalls)}},
    {"filterNsm", SCMP_ACT_TRAP, FILTER_RUN, {TABLE(commonCalls), TABLE(nsmCalls)}},
    {"filterServices", SCMP_ACT_TRAP, FILTER_RUN, {TABLE(commonCalls), TABLE(servicesCalls)}},
    {"filterServicesUnix", SCMP_ACT_TRAP, FILTER_RUN,
     {TABLE(commonCalls), TABLE(servicesCalls), TABLE(servicesUnixCalls)}},
    {"filterQemu", SCMP_ACT_ALLOW, FILTER_RUN, {TABLE(qemuCalls)}},
    {"filterQemuSignals", SCMP_ACT_ALLOW, FILTER_RUN, {TABLE(qemuSignalCalls)}},
};

static void __attribute__((noreturn, format(printf, 2, 3)))
generateFail(int err, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    fputs("filter_generate: ", stderr);
    vfprintf(stderr, format, ap);
    fprintf(stderr, ": %s\n", strerror(err < 0 ? -err : err));
    va_end(ap);
    exit(EXIT_FAILURE);
}

static void
generateRule(scmp_filter_ctx filter, const FilterRule *rule)
{
    struct scmp_arg_cmp checks[FILTER_CHECKS_MAX];
    unsigned int n = 0;
    int number = seccomp_syscall_resolve_name(rule->call);
    size_t i;
    int rc;

    if (number == __NR_SCMP_ERROR)
        generateFail(ENOSYS, "%s", rule->call);
    for (i = 0; i < FILTER_CHECKS_MAX; i++) {
        const FilterCheck *check = &rule->checks[i];

        if (check->differs)
            checks[n++] = SCMP_CMP64(check->argument, SCMP_CMP_NE, check->value);
        else if (check->mask != 0)
            checks[n++] = SCMP_CMP64(check->argument, SCMP_CMP_MASKED_EQ, check->mask,
                                     check->value);
    }
    /* A call that this architecture has not got is left out by libseccomp. */
    rc = seccomp_rule_add_array(filter, rule->error ? SCMP_ACT_ERRNO(rule->error) : SCMP_ACT_ALLOW,
                                number, n, checks);
    if (rc < 0 && rc != -EDOM)
        generateFail(rc, "%s", rule->call);
}

static void
generateRules(scmp_filter_ctx filter, const Table *table, unsigned int stage)
{
    size_t i;

    for (i = 0; i < table->n; i++) {
        if (table->rules[i].stages & stage)
            generateRule(filter, &table->rules[i]);
    }
}

/* Writes the instructions in the file @fd as the array @name. */
static void
generateWrite(int fd, const char *name)
{
    struct sock_filter instruction;
    ssize_t got;

    if (lseek(fd, 0, SEEK_SET) < 0)
        generateFail(errno, "%s", name);
    printf("static const struct sock_filter %s[] = {\n", name);
    while ((got = read(fd, &instruction, sizeof(instruction))) == sizeof(instruction))
        printf("    {0x%02x, %u, %u, 0x%08x},\n", instruction.code, instruction.jt,
               instruction.jf, instruction.k);
    if (got != 0)
        generateFail(got < 0 ? errno : EIO, "%s", name);
    printf("};\n\n");
}

static void
generateFilter(uint32_t arch, size_t number)
{
    scmp_filter_ctx filter = seccomp_init(filters[number].others);
    const Table *table;
    int fd = memfd_create("filter", MFD_CLOEXEC);
    int rc;

    if (!filter || fd < 0)
        generateFail(fd < 0 ? errno : ENOMEM, "%s", filters[number].name);
    if ((rc = seccomp_arch_add(filter, arch)) < 0 && rc != -EEXIST)
        generateFail(rc, "%s", filters[number].name);
    if (arch != seccomp_arch_native() &&
        (rc = seccomp_arch_remove(filter, seccomp_arch_native())) < 0)
        generateFail(rc, "%s", filters[number].name);
    if ((rc = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)) < 0 ||
        (rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2)) < 0)
        generateFail(rc, "%s", filters[number].name);

    for (table = filters[number].tables; table->rules; table++)
        generateRules(filter, table, filters[number].stage);
#ifdef NITRO_SANITIZED
    if (filters[number].others == SCMP_ACT_TRAP)
        generateRules(filter, &(Table)TABLE(sanitizerCalls), filters[number].stage);
#endif

    if ((rc = seccomp_export_bpf(filter, fd)) < 0)
        generateFail(rc, "%s", filters[number].name);
    generateWrite(fd, filters[number].name);
    close(fd);
    seccomp_release(filter);
}

/* So that the end of a process that has broken its filter can say by which call. */
static void
generateNames(uint32_t arch)
{
    int i;

    printf("static const char *const filterCallNames[] = {\n");
    for (i = 0; i < CALLS_MAX; i++) {
        char *name = seccomp_syscall_resolve_num_arch(arch, i);

        if (name)
            printf("    [%d] = \"%s\",\n", i, name);
        free(name);
    }
    printf("};\n");
}

int
main(int argc, char **argv)
{
    uint32_t arch = argc == 3 ? seccomp_arch_resolve_name(argv[1]) : 0;
    size_t i;

    if (arch == 0) {
        fprintf(stderr, "Usage: filter_generate ARCH filters|names\n");
        return EXIT_FAILURE;
    }

    printf("/* Made by filter_generate for %s: do not edit */\n\n", argv[1]);
    if (strcmp(argv[2], "names") == 0) {
        generateNames(arch);
    } else {
        printf("#include <linux/filter.h>\n\n");
        for (i = 0; i < N_ELEMENTS(filters); i++)
            generateFilter(arch, i);
    }
    return fflush(stdout) == 0 && !ferror(stdout) ? EXIT_SUCCESS : EXIT_FAILURE;
}
