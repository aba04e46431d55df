/*
 * virt_eif_container.h: images of containers, for "virt-eif build"
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "oci_image.h"
#include "rootfs_tree.h"
#include "virt_eif.h"

/* What "--max-size" is by default, in MiB */
#define VIRT_EIF_MAX_SIZE 8192

/* A TiB is more than any enclave has */
#define VIRT_EIF_MAX_SIZE_MAX (1024 * 1024)

/* What the command line says; strings are NULL where it says nothing */
typedef struct _VirtEifContainerOptions VirtEifContainerOptions;
struct _VirtEifContainerOptions {
    char *oci;
    char *rootfs;
    char *init;
    char **modules;
    char *moduleDir;
    char *cmd;
    char **env;
    char *workdir;
    char *user;
    gint64 maxSize; /* MiB */
};

/* The two ramdisks, and what they are made of */
typedef struct _VirtEifContainer VirtEifContainer;
struct _VirtEifContainer {
    ContainerLimits limits;
    VirtEifProgress progress; /* of reading archives */
    uint32_t mtime; /* of all files, seconds since 1970 */
    EifArch arch;
    int directory; /* or archive, of --rootfs; -1: none */
    RootfsSpool *spool;
    RootfsTree *bootstrap;
    RootfsTree *application;
    OciImage *image; /* NULL with --rootfs */
    char **cmd;
    char **env;
};

/* Must be called before virtEifContainerClear(), as the first thing. */
void virtEifContainerInit(VirtEifContainer *container);
void virtEifContainerClear(VirtEifContainer *container);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VirtEifContainer, virtEifContainerClear)

/*
 * Sets *@mtime to the time of images (seconds since 1970): that of the environment variable
 * SOURCE_DATE_EPOCH, or 0. Returns 0, or -1 when an error was printed.
 */
int virtEifContainerTime(uint32_t *mtime);

/*
 * Reads the image or root directory that @options names. @archName is that of --arch, or NULL;
 * @arch is what it says, or this machine's. Temporary files go to the directory @scratch. Sets
 * @container->arch. Returns 0, or -1 when an error was printed.
 */
int virtEifContainerRead(VirtEifContainer *container, const VirtEifContainerOptions *options,
                         const char *archName, EifArch arch, const char *scratch);

/*
 * Adds both ramdisks to @builder; @container must live until the image is written. Returns 0, or -1
 * when an error was printed.
 */
int virtEifContainerAdd(VirtEifContainer *container, EifBuilder *builder);

/*
 * The metadata that nitro-cli writes, as JSON (g_free): @name and @version (NULL: defaults), what
 * has built the image, of which @image (NULL: none), and @custom (NULL: none), a JSON object that
 * virtEifJsonCheck() has accepted. @kernel is the kernel's descriptor. Its time is @mtime.
 */
char *virtEifMetadata(const char *name, const char *version, uint32_t mtime, int kernel,
                      const OciImage *image, const char *custom);
