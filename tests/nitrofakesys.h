/*
 * nitrofakesys.h: a /sys of the test's own
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The functions by which libvirt and the driver look at /sys are replaced in a test
 * that links this, as libvirt's own tests do it: paths of CPUs, NUMA nodes, huge pages
 * and the module nitro_enclaves lead to a directory, which fakeSysNew() fills.
 */

#pragma once

#include "internal.h"

/* A host: @cpus in cores of @threads, whose ids are @stride apart, evenly on @nodes */
typedef struct _FakeSys FakeSys;
struct _FakeSys {
    unsigned int cpus;
    unsigned int threads;
    unsigned int stride;
    unsigned int nodes;
    const char *pool;      /* offline; NULL: there is no module */
    unsigned int page;     /* size of base pages, KiB; 0: as on this machine */
    unsigned int sizes[4]; /* of huge pages, KiB, of which none is reserved; 0 ends them */
};

/* What each node has, MiB */
#define FAKE_SYS_NODE_TOTAL 16384
#define FAKE_SYS_NODE_FREE 4096
#define FAKE_SYS_NODE_FILES 2048 /* besides: copies of files */

/* Makes @host what is seen from now on, in place of the one before. */
void fakeSysNew(const FakeSys *host);

/* Removes the directory, at the end. */
void fakeSysFree(void);

/* Writes @value to the file @path of /sys, and reads it (g_free). */
void fakeSysWrite(const char *path, const char *value);
char *fakeSysRead(const char *path);

/* From now on a write to ne_cpus fails with @err, and empties the pool unless it is EPERM. */
void fakeSysRefusePool(int err);

/* From now on the kernel finds memory for @most huge pages of a size and node; 0: for all. */
void fakeSysLimitPages(unsigned long long most);

/* From now on no file gets any more than it has: the kernel finds no huge pages. */
void fakeSysRefuseWrites(bool refuse);
