/*
 * nitrofakesys.c: a /sys of the test's own
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>

#include "nitrofakesys.h"
#include "virbitmap.h"
#include "virfile.h"
#include "virnuma.h"
#include "virutil.h"

#define CPU_DIR "/sys/devices/system/cpu"
#define POOL_FILE "/sys/module/nitro_enclaves/parameters/ne_cpus"

static char *root;
static FakeSys current;
static int poolError;
static bool writesRefused;
static unsigned long long pagesMost; /* 0: no limit */


/* What is replaced */

/* The path to use for @path (g_free) */
static char *
redirect(const char *path)
{
    static const char *const prefixes[] = {
        CPU_DIR, "/sys/devices/system/node", "/sys/kernel/mm/hugepages",
        "/sys/module/nitro_enclaves",
    };
    size_t i;

    for (i = 0; root && i < G_N_ELEMENTS(prefixes); i++) {
        if (g_str_has_prefix(path, prefixes[i]))
            return g_strconcat(root, path, NULL);
    }
    return g_strdup(path);
}


int
access(const char *path,
       int mode)
{
    static int (*real)(const char *, int);
    g_autofree char *other = redirect(path);

    if (!real)
        real = (int (*)(const char *, int))dlsym(RTLD_NEXT, "access");
    return real(other, mode);
}


/* What was written to a file of /sys is read back with a line end. */
static void
endLine(const char *file)
{
    int fd = openat(AT_FDCWD, file, O_RDWR | O_APPEND | O_CLOEXEC);
    char last;

    if (fd < 0)
        return;
    if (lseek(fd, -1, SEEK_END) >= 0 && read(fd, &last, 1) == 1 && last != '\n')
        g_assert_cmpint(write(fd, "\n", 1), ==, 1);
    close(fd);
}


/* A kernel that has not found more than so much memory */
static void
limitPages(const char *path)
{
    g_autofree char *value = NULL;
    g_autofree char *most = g_strdup_printf("%llu", pagesMost);

    if (pagesMost == 0 || !g_str_has_prefix(path, "/sys/") ||
        !g_str_has_suffix(path, "/nr_hugepages"))
        return;
    value = fakeSysRead(path);
    if (g_ascii_strtoull(value, NULL, 10) > pagesMost)
        fakeSysWrite(path, most);
}


int
open(const char *path,
     int flags,
     ...)
{
    g_autofree char *other = redirect(path);
    mode_t mode = 0;
    va_list args;

    va_start(args, flags);
    if (flags & O_CREAT)
        mode = va_arg(args, unsigned int);
    va_end(args);

    if (g_str_equal(path, POOL_FILE) && (flags & O_ACCMODE) != O_RDONLY && poolError != 0) {
        if (poolError != EPERM)
            fakeSysWrite(POOL_FILE, "");
        errno = poolError;
        return -1;
    }
    if (g_str_has_prefix(path, "/sys/") && (flags & O_ACCMODE) != O_RDONLY && writesRefused)
        return openat(AT_FDCWD, "/dev/null", O_WRONLY | O_CLOEXEC);
    if (!g_str_equal(path, other)) {
        endLine(other);
        if ((flags & O_ACCMODE) == O_RDONLY)
            limitPages(path);
    }
    return openat(AT_FDCWD, other, flags, mode);
}


DIR *
opendir(const char *path)
{
    static DIR *(*real)(const char *);
    g_autofree char *other = redirect(path);

    if (!real)
        real = (DIR *(*)(const char *))dlsym(RTLD_NEXT, "opendir");
    return real(other);
}


bool
virNumaIsAvailable(void)
{
    return true;
}


int
virNumaGetMaxNode(void)
{
    return current.nodes - 1;
}


bool
virNumaNodeIsAvailable(int node)
{
    return node >= 0 && node < (int)current.nodes;
}


long
virGetSystemPageSize(void)
{
    return current.page > 0 ? current.page * 1024L : sysconf(_SC_PAGESIZE);
}


int
virNumaGetNodeMemory(int node G_GNUC_UNUSED,
                     unsigned long long *memsize,
                     unsigned long long *memfree)
{
    if (memsize)
        *memsize = 1ULL << 32;
    if (memfree)
        *memfree = 1ULL << 31;
    return 0;
}


/* The directory */

void
fakeSysWrite(const char *path,
             const char *value)
{
    g_autofree char *full = g_strconcat(root, path, NULL);
    g_autofree char *dir = g_path_get_dirname(full);
    FILE *file;

    g_assert_cmpint(g_mkdir_with_parents(dir, 0700), ==, 0);
    g_assert_nonnull((file = fopen(full, "w")));
    fprintf(file, "%s\n", value);
    fclose(file);
}


char *
fakeSysRead(const char *path)
{
    g_autofree char *full = g_strconcat(root, path, NULL);
    char *value = NULL;

    g_assert_true(g_file_get_contents(full, &value, NULL, NULL));
    return g_strchomp(value);
}


static void
makeMemory(unsigned int node)
{
    g_autofree char *path = g_strdup_printf("/sys/devices/system/node/node%u/meminfo", node);
    g_autofree char *text = NULL;

    text = g_strdup_printf("Node %u MemTotal: %d kB\nNode %u MemFree: %d kB\n"
                           "Node %u Active: 99999999 kB\nNode %u Active(file): %d kB\n"
                           "Node %u Inactive(file): %d kB\nNode %u SReclaimable: 0 kB",
                           node, FAKE_SYS_NODE_TOTAL * 1024, node, FAKE_SYS_NODE_FREE * 1024,
                           node, node, FAKE_SYS_NODE_FILES * 512, node,
                           FAKE_SYS_NODE_FILES * 512, node);
    fakeSysWrite(path, text);
}


/* No huge pages of the size @size, below the directory @top */
static void
makePages(const char *top,
          unsigned int size)
{
    static const char *const files[] = { "nr_hugepages", "free_hugepages", "surplus_hugepages" };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = g_strdup_printf("%s/hugepages-%ukB/%s", top, size, files[i]);

        fakeSysWrite(path, "0");
    }
}


static unsigned int
coreOf(unsigned int cpu)
{
    unsigned int block = current.stride * current.threads;

    return cpu / block * current.stride + cpu % current.stride;
}


static void
makeCpu(unsigned int cpu,
        virBitmap *online)
{
    g_autofree char *dir = g_strdup_printf(CPU_DIR "/cpu%u", cpu);
    g_autofree char *hotplug = g_strconcat(dir, "/online", NULL);
    g_autofree char *node = g_strdup_printf("%s/node%u/is", dir, coreOf(cpu) * current.nodes /
                                            (current.cpus / current.threads));
    g_autofree char *siblings = g_strconcat(dir, "/topology/thread_siblings_list", NULL);
    g_autoptr(virBitmap) list = virBitmapNew(current.cpus);
    g_autofree char *text = NULL;
    unsigned int other;

    fakeSysWrite(node, "");
    if (cpu > 0)
        fakeSysWrite(hotplug, virBitmapIsBitSet(online, cpu) ? "1" : "0");
    if (!virBitmapIsBitSet(online, cpu))
        return;

    for (other = 0; other < current.cpus; other++) {
        if (coreOf(other) == coreOf(cpu) && virBitmapIsBitSet(online, other))
            ignore_value(virBitmapSetBit(list, other));
    }
    text = virBitmapFormat(list);
    fakeSysWrite(siblings, text);
}


void
fakeSysNew(const FakeSys *host)
{
    g_autoptr(virBitmap) online = virBitmapNew(host->cpus);
    g_autoptr(virBitmap) pool = NULL;
    g_autofree char *present = g_strdup_printf("0-%u", host->cpus - 1);
    g_autofree char *list = NULL;
    unsigned int cpu;
    unsigned int node;
    size_t i;

    fakeSysFree();
    /* In memory, as sysfs is: a disk would be waited for at each file that is written again. */
    root = g_mkdtemp(g_strdup("/dev/shm/nitrofakesys-XXXXXX"));
    g_assert_nonnull(root);
    current = *host;
    poolError = 0;
    writesRefused = false;
    pagesMost = 0;

    virBitmapSetAll(online);
    if (host->pool) {
        fakeSysWrite(POOL_FILE, host->pool);
        if (*host->pool) {
            pool = virBitmapParseUnlimited(host->pool);
            virBitmapSubtract(online, pool);
        }
    }

    list = virBitmapFormat(online);
    fakeSysWrite(CPU_DIR "/present", present);
    fakeSysWrite(CPU_DIR "/online", list);
    for (cpu = 0; cpu < host->cpus; cpu++)
        makeCpu(cpu, online);
    for (node = 0; node < host->nodes; node++) {
        g_autofree char *pages = g_strdup_printf("/sys/devices/system/node/node%u/hugepages", node);

        makeMemory(node);
        for (i = 0; i < G_N_ELEMENTS(host->sizes) && host->sizes[i] > 0; i++)
            makePages(pages, host->sizes[i]);
    }
    for (i = 0; i < G_N_ELEMENTS(host->sizes) && host->sizes[i] > 0; i++)
        makePages("/sys/kernel/mm/hugepages", host->sizes[i]);
}


void
fakeSysFree(void)
{
    if (root)
        ignore_value(virFileDeleteTree(root));
    g_clear_pointer(&root, g_free);
}


void
fakeSysRefusePool(int err)
{
    poolError = err;
}


void
fakeSysLimitPages(unsigned long long most)
{
    pagesMost = most;
}


void
fakeSysRefuseWrites(bool refuse)
{
    writesRefused = refuse;
}
