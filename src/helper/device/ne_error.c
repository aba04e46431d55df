/*
 * ne_error.c: what a failed call of /dev/nitro_enclaves means, and what to do about it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: call and errno -> the first row of neErrors[] that fits -> its sentence, with words
 * in braces replaced by what was asked for and what this host has -> Failure.
 */

#include "device/ne_error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/nitro_enclaves.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "helper_protocol.h"
#include "nitro_cpu_list.h"
#include "nitro_gettext.h"

#define NE_POOL_FILE "/sys/module/nitro_enclaves/parameters/ne_cpus"
#define NE_SIBLINGS_FILE "/sys/devices/system/cpu/cpu0/topology/thread_siblings_list"
#define NE_CPU_LIST_MAX 4096 /* of a file that is no list */

#define KIB 1024

#define ANY_CALL -1
#define ANY_ERROR -1

typedef struct {
    int call; /* NeCall, or ANY_CALL */
    int err;
    const char *code;
    const char *text;
} NeError;

/*
 * Rows for one call come before those for any. Only what the driver's source fixes has a row:
 * its own numbers, and the few others that it returns by itself; ENOMEM can be the hypervisor's as
 * well, and its sentences say so. All else is the hypervisor's answer, which the driver hands on,
 * and means what the hypervisor likes: the last row names it and guesses at nothing.
 */
static const NeError neErrors[] = {
    {NE_CALL_CREATE_VM, NE_ERR_NO_CPUS_AVAIL_IN_POOL, NITRO_FAILURE_RESOURCE,
     N_("The enclaves' CPU pool has no free CPU ({pool}): end another enclave, or, while none "
        "runs, "
     "write a list of CPUs to {poolfile}, whole cores without that of CPU 0")},
    {NE_CALL_CREATE_VM, ENOMEM, NITRO_FAILURE_RESOURCE,
     N_("The kernel or the Nitro Hypervisor has no memory to create an enclave with: free memory "
        "of this host, or end another enclave")},
    {NE_CALL_CREATE_VM, EMFILE, NITRO_FAILURE_RESOURCE,
     N_("The enclave cannot have a descriptor, as too many are open: raise the limit of open "
        "files")},
    {NE_CALL_CREATE_VM, ENFILE, NITRO_FAILURE_RESOURCE,
     N_("The enclave cannot have a descriptor, as too many are open on this host: raise "
     "/proc/sys/fs/file-max")},

    {NE_CALL_SET_USER_MEMORY_REGION, ENOMEM, NITRO_FAILURE_RESOURCE,
     N_("The memory region of {region} cannot be given to the enclave, for the kernel or the Nitro "
        "Hypervisor has no memory to keep track of it: free memory of this host, use larger huge "
        "pages, or end another enclave")},
    {NE_CALL_SET_USER_MEMORY_REGION, EFAULT, NITRO_FAILURE_RESOURCE,
     N_("The huge pages of the memory region of {region} cannot be had, though they were reserved: "
     "look at the hugetlb limits of the control group, and reserve more huge pages")},
    {NE_CALL_ADD_VCPU, NE_ERR_NO_CPUS_AVAIL_IN_POOL, NITRO_FAILURE_RESOURCE,
     N_("The enclaves' CPU pool ({pool}) has only {got} free CPUs for the {vcpus} vCPUs: use "
        "fewer, "
     "end another enclave, or, while none runs, write a longer list to {poolfile}")},

    {ANY_CALL, NE_ERR_VCPU_ALREADY_USED, NITRO_FAILURE_CONFIG,
     N_("{cpu} is a vCPU of this enclave already: name each CPU once in <vcpu cpuset=> or "
        "<vcpupin>")},
    {ANY_CALL, NE_ERR_VCPU_NOT_IN_CPU_POOL, NITRO_FAILURE_RESOURCE,
     N_("{cpu} cannot be had: it is not in the enclaves' CPU pool ({pool}), or its core belongs to "
     "another enclave: choose another one, or leave the choice open (no <vcpu cpuset=> and no "
     "<vcpupin>)")},
    {ANY_CALL, NE_ERR_VCPU_INVALID_CPU_CORE, NITRO_FAILURE_RESOURCE,
     N_("{cpu} is of a core that the enclaves' CPU pool ({pool}) does not know: choose a CPU of "
        "the "
     "pool, or write the pool anew to {poolfile} while no enclave runs")},
    {ANY_CALL, NE_ERR_INVALID_MEM_REGION_SIZE, NITRO_FAILURE_CONFIG,
     N_("The memory region of {region} is not a multiple of 2 MiB: make <memory> one")},
    {ANY_CALL, NE_ERR_INVALID_MEM_REGION_ADDR, NITRO_FAILURE_INTERNAL,
     N_("The memory region of {region} is at an address that the driver does not take: this is an "
     "error of libvirt_nitro, report it")},
    {ANY_CALL, NE_ERR_UNALIGNED_MEM_REGION_ADDR, NITRO_FAILURE_INTERNAL,
     N_("The memory region of {region} is not aligned to 2 MiB: this is an error of libvirt_nitro, "
     "report it")},
    {ANY_CALL, NE_ERR_MEM_REGION_ALREADY_USED, NITRO_FAILURE_INTERNAL,
     N_("The memory region of {region} has been given to the enclave before: this is an error of "
     "libvirt_nitro, report it")},
    {ANY_CALL, NE_ERR_MEM_NOT_HUGE_PAGE, NITRO_FAILURE_INTERNAL,
     N_("The memory region of {region} is not made of huge pages for the driver: use another size "
     "with <hugepages><page size=>")},
    {ANY_CALL, NE_ERR_MEM_DIFFERENT_NUMA_NODE, NITRO_FAILURE_RESOURCE,
     N_("The huge pages of the memory region of {region} ({node}) are not on the NUMA node of the "
     "enclaves' CPU pool ({pool}): reserve huge pages on the pool's node, and name that node in "
     "<numatune><memory mode='strict' nodeset=>")},
    {ANY_CALL, NE_ERR_MEM_MAX_REGIONS, NITRO_FAILURE_RESOURCE,
     N_("The memory of {memory} KiB is in more pieces, {region} among them, than the device takes: "
     "reserve larger huge pages, such as of 1 GiB with the kernel parameters hugepagesz=1G "
     "hugepages={gibibytes}, or use less memory")},
    {ANY_CALL, NE_ERR_NO_MEM_REGIONS_ADDED, NITRO_FAILURE_INTERNAL,
     N_("The enclave has got no memory before its start: this is an error of libvirt_nitro, report "
     "it")},
    {ANY_CALL, NE_ERR_NO_VCPUS_ADDED, NITRO_FAILURE_INTERNAL,
     N_("The enclave has got no vCPU before its start: this is an error of libvirt_nitro, report "
     "it")},
    {ANY_CALL, NE_ERR_ENCLAVE_MEM_MIN_SIZE, NITRO_FAILURE_CONFIG,
     N_("Memory of {memory} KiB is too small: an enclave needs at least 65536 KiB (64 MiB)")},
    {ANY_CALL, NE_ERR_FULL_CORES_NOT_USED, NITRO_FAILURE_CONFIG,
     N_("The number of vCPUs, {vcpus} (CPUs {cpus}), does not make whole cores, which have "
        "{threads} "
     "threads on this host: use a multiple of {threads} vCPUs, and with <vcpu cpuset=> or "
     "<vcpupin> name all threads of each core")},
    {ANY_CALL, NE_ERR_NOT_IN_INIT_STATE, NITRO_FAILURE_INTERNAL,
     N_("The enclave has ended, or was started, before {call}: this is an error of libvirt_nitro, "
     "report it")},
    {ANY_CALL, NE_ERR_INVALID_VCPU, NITRO_FAILURE_CONFIG,
     N_("{cpu} does not exist on this host: choose CPUs of the enclaves' CPU pool ({pool})")},
    {ANY_CALL, NE_ERR_NO_CPUS_AVAIL_IN_POOL, NITRO_FAILURE_RESOURCE,
     N_("The enclaves' CPU pool ({pool}) has no free CPU: end another enclave, or, while none "
        "runs, "
     "write a longer list to {poolfile}")},
    {ANY_CALL, NE_ERR_INVALID_PAGE_SIZE, NITRO_FAILURE_CONFIG,
     N_("The huge pages of the memory region of {region} are not of a size that is a multiple of "
     "2 MiB: use another one with <hugepages><page size=>")},
    {ANY_CALL, NE_ERR_INVALID_FLAG_VALUE, NITRO_FAILURE_UNSUPPORTED,
     N_("The nitro_enclaves driver of this kernel does not know what {call} asks of it: use a "
        "newer "
     "kernel")},
    {ANY_CALL, NE_ERR_INVALID_ENCLAVE_CID, NITRO_FAILURE_CONFIG,
     N_("The enclave cannot have {cid}: choose another one from 4 on, or <cid auto='yes'/>")},

    {ANY_CALL, ENOTTY, NITRO_FAILURE_UNSUPPORTED,
     N_("The device that {call} was sent to is not that of Nitro Enclaves: set it to "
     "/dev/nitro_enclaves")},
    {ANY_CALL, ETIMEDOUT, NITRO_FAILURE_RESOURCE,
     N_("The Nitro Hypervisor has not answered {call}: try again, and if that does not help stop "
        "and "
     "start the EC2 instance")},

    {ANY_CALL, ANY_ERROR, NITRO_FAILURE_DEVICE,
     N_("The Nitro Hypervisor refused {call}: {error}: {advice}")},
};

/* What can be tried when the hypervisor refuses a call, whose reasons nobody tells */
static const char *const neAdvice[] = {
    [NE_CALL_CREATE_VM] =
        N_("an EC2 instance runs 4 enclaves at most, so end another one, or try again"),
    [NE_CALL_GET_IMAGE_LOAD_INFO] = N_("try again, or stop and start the EC2 instance"),
    [NE_CALL_SET_USER_MEMORY_REGION] =
        N_("it was to take a memory region of {region}, so make <memory> smaller, use huge pages "
           "of another size, or try again"),
    [NE_CALL_ADD_VCPU] =
        N_("it was to take {vcpu}, so choose others, use fewer vCPUs, or try again"),
    [NE_CALL_START_ENCLAVE] =
        N_("it was to start it with {cid}, so choose another CID, which no other enclave has, end "
           "another enclave, or try again"),
};

/* NE_POOL_FILE and NE_SIBLINGS_FILE; -1: they could not be opened */
static int nePoolFd = -1;
static int neSiblingsFd = -1;

/* The highest number of a CPU of this host */
static unsigned int neLastCpu;

void
neErrorOpen(void)
{
    nePoolFd = open(NE_POOL_FILE, O_RDONLY | O_CLOEXEC);
    neSiblingsFd = open(NE_SIBLINGS_FILE, O_RDONLY | O_CLOEXEC);
    neLastCpu = get_nprocs_conf() - 1;
}

/* The list of CPUs in the file @fd, see nitroCpuListExpand(); NULL if there is none (g_free). */
static char *
neReadList(int fd)
{
    g_autofree char *text = g_malloc(NE_CPU_LIST_MAX + 1);
    ssize_t n = fd < 0 ? -1 : pread(fd, text, NE_CPU_LIST_MAX + 1, 0);

    if (n < 0 || n > NE_CPU_LIST_MAX)
        return NULL;
    text[n] = '\0';
    return nitroCpuListExpand(text, neLastCpu);
}

/* How many CPUs "1-3,5" has; with @cpu not NULL, whether it holds that one. */
static size_t
neCountList(const char *list, const unsigned int *cpu)
{
    g_auto(GStrv) parts = g_strsplit(list ? list : "", ",", -1);
    size_t count = 0;
    size_t i;

    for (i = 0; parts[i]; i++) {
        const char *dash = strchr(parts[i], '-');
        guint64 first = g_ascii_strtoull(parts[i], NULL, 10);
        guint64 last = dash ? g_ascii_strtoull(dash + 1, NULL, 10) : first;

        if (!*parts[i] || last < first || last > NITRO_CPU_MAX)
            continue;
        if (!cpu)
            count += last - first + 1;
        else if (*cpu >= first && *cpu <= last)
            count++;
    }
    return count;
}

static void
neAddPool(GString *text)
{
    g_autofree char *pool = neReadList(nePoolFd);

    if (!pool)
        g_string_append_printf(text, _("%s cannot be read"), NE_POOL_FILE);
    else
        g_string_append_printf(text, *pool ? _("CPUs %s") : _("it is empty"), pool);
}

static size_t
neThreads(void)
{
    g_autofree char *siblings = neReadList(neSiblingsFd);

    return MAX(neCountList(siblings, NULL), 1);
}

static void
neAddCpus(GString *text, const NeContext *context)
{
    size_t i;

    for (i = 0; i < context->ncpus; i++)
        g_string_append_printf(text, "%s%u", i > 0 ? "," : "", context->cpus[i]);
}

static void
neAddRegion(GString *text, const EnclaveRegion *region)
{
    if (!region) {
        g_string_append(text, _("unknown size"));
        return;
    }
    g_string_append_printf(text, _("%" PRIu64 " KiB (huge pages of %" PRIu64 " KiB)"),
                           region->size / KIB, region->pageSize / KIB);
}

static void
neAddSentence(GString *text, const char *format, NeCall call, int err, const NeContext *context);

/* Replaces the word @name of a sentence. */
static void
neAddWord(GString *text, const char *name, NeCall call, int err, const NeContext *context)
{
    const Options *options = context->options;

    if (g_str_equal(name, "call"))
        g_string_append(text, neCallToString(call));
    else if (g_str_equal(name, "error"))
        g_string_append(text, g_strerror(err));
    else if (g_str_equal(name, "advice"))
        neAddSentence(text, _(neAdvice[call]), call, err, context);
    else if (g_str_equal(name, "pool"))
        neAddPool(text);
    else if (g_str_equal(name, "poolfile"))
        g_string_append(text, NE_POOL_FILE);
    else if (g_str_equal(name, "threads"))
        g_string_append_printf(text, "%zu", neThreads());
    else if (g_str_equal(name, "vcpus"))
        g_string_append_printf(text, "%u", options->vcpus);
    else if (g_str_equal(name, "got"))
        g_string_append_printf(text, "%zu", context->ncpus);
    else if (g_str_equal(name, "cpus"))
        neAddCpus(text, context);
    else if (g_str_equal(name, "cpu"))
        g_string_append_printf(text, context->cpu > 0 ? _("CPU %u") : _("A CPU of the pool"),
                               context->cpu);
    else if (g_str_equal(name, "vcpu"))
        g_string_append_printf(text, context->cpu > 0 ? _("CPU %u") : _("a CPU of the pool"),
                               context->cpu);
    else if (g_str_equal(name, "memory"))
        g_string_append_printf(text, "%" G_GUINT64_FORMAT, options->memory / KIB);
    else if (g_str_equal(name, "gibibytes"))
        g_string_append_printf(text, "%" G_GUINT64_FORMAT, (options->memory >> 30) + 1);
    else if (g_str_equal(name, "region"))
        neAddRegion(text, context->region);
    else if (g_str_equal(name, "node"))
        g_string_append_printf(text, options->numaNode >= 0 ? _("of node %d") : _("of any node"),
                               options->numaNode);
    else if (g_str_equal(name, "cid"))
        g_string_append_printf(text, context->cid > 0 ? _("the CID %" PRIu64) :
                                                        _("a CID of the hypervisor's choice"),
                               context->cid);
}

/* Appends the sentence @format with its words in braces replaced. */
static void
neAddSentence(GString *text, const char *format, NeCall call, int err, const NeContext *context)
{
    const char *open;

    while ((open = strchr(format, '{'))) {
        const char *close = strchr(open, '}');
        g_autofree char *name = g_strndup(open + 1, close - open - 1);

        g_string_append_len(text, format, open - format);
        neAddWord(text, name, call, err, context);
        format = close + 1;
    }
    g_string_append(text, format);
}

void
neSetFailure(Failure *failure, NeCall call, int err, const NeContext *context)
{
    g_autoptr(GString) text = g_string_new(NULL);
    const NeError *error = neErrors;

    while ((error->err != err && error->err != ANY_ERROR) ||
           (error->call != ANY_CALL && error->call != (int)call))
        error++;
    neAddSentence(text, _(error->text), call, err, context);
    failureSet(failure, error->code, "%s", text->str);
    failure->ioctl = neCallToString(call);
    failure->err = err;
}

bool
neIsTransient(NeCall call, int err, const NeContext *context)
{
    g_autofree char *pool = NULL;

    /* A region that the hypervisor has refused stays in the driver's list: no second try. */
    if (call == NE_CALL_SET_USER_MEMORY_REGION)
        return false;
    if (err == EBUSY)
        return true;
    if (call != NE_CALL_CREATE_VM && call != NE_CALL_ADD_VCPU)
        return false;
    if (call == NE_CALL_CREATE_VM && err == EINVAL)
        return true;
    if (err != NE_ERR_NO_CPUS_AVAIL_IN_POOL && err != NE_ERR_VCPU_NOT_IN_CPU_POOL)
        return false;

    pool = neReadList(nePoolFd);
    if (context->cpu > 0)
        return neCountList(pool, &context->cpu) > 0;
    return neCountList(pool, NULL) >= context->options->vcpus;
}

/* "5 free of 8 of 2048 KiB, ..." */
static char *
neDescribePools(const EnclavePools *pools)
{
    GString *text = g_string_new(NULL);
    size_t i;

    for (i = 0; i < pools->n; i++) {
        if (i > 0)
            g_string_append(text, ", ");
        g_string_append_printf(text, _("%" PRIu64 " of the %" PRIu64 " of %" PRIu64
                                       " KiB are free"),
                               pools->pages[i].free, pools->pages[i].total,
                               pools->pages[i].size / KIB);
    }
    return g_string_free(text, FALSE);
}

void
neSetMemoryFailure(Failure *failure, const Options *options, const EnclavePools *pools,
                   uint64_t missing)
{
    const EnclavePages *pages = pools->n > 0 ? &pools->pages[pools->n - 1] : NULL;
    g_autofree char *found = neDescribePools(pools);
    g_autofree char *where = NULL;
    g_autofree char *dir = NULL;
    uint64_t count;

    if (!pages) {
        failureSet(failure, NITRO_FAILURE_UNSUPPORTED,
                   "This host has no huge pages of 2 MiB or more, which the memory of an enclave "
                   "is made of: use a kernel with hugetlbfs");
        return;
    }

    count = missing / pages->size + (missing % pages->size != 0);
    if (options->numaNode >= 0) {
        where = g_strdup_printf(_(" on NUMA node %d"), options->numaNode);
        dir = g_strdup_printf("/sys/devices/system/node/node%d/hugepages", options->numaNode);
    } else {
        where = g_strdup("");
        dir = g_strdup("/sys/kernel/mm/hugepages");
    }
    failureSet(failure, NITRO_FAILURE_RESOURCE,
               "The memory of %" PRIu64 " KiB needs %" PRIu64 " more huge "
               "pages of %" PRIu64 " KiB%s (%s): reserve them by writing %"
               PRIu64 " to %s/hugepages-%" PRIu64 "kB/nr_hugepages, or with "
               "'virsh allocpages'", options->memory / KIB, count, pages->size / KIB, where, found,
               pages->total + count, dir, pages->size / KIB);
}
