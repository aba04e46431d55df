/*
 * nitro_outputs.h: the files that a run of a domain writes to
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * They are the domain's log, the file of its console, the log of its console, the log of its services
 * process, and the files of its log services. The daemon opens
 * them, and for each the files that the helper moves old output to when it is full: PATH.0,
 * the newest, PATH.1 and so on, as virtlogd names them. The helper has their descriptors alone
 * and rotates by copying, so that output stays bounded with the daemon gone, too.
 */

#pragma once

#include "domain_conf.h"
#include "nitro_conf.h"
#include "nitro_image.h"

/* One file. Descriptors are the struct's. */
typedef struct _nitroOutput nitroOutput;
struct _nitroOutput {
    int fd;       /* for reading and appending; -1: there is no such output */
    int *backups; /* for reading and writing: old output, the newest first */
    size_t nbackups;
    bool empty;   /* the run begins with an empty file */
    char *path;
};

typedef struct _nitroOutputs nitroOutputs;
struct _nitroOutputs {
    nitroOutput log;
    nitroOutput console;    /* of type file */
    nitroOutput consoleLog;
    nitroOutput servicesLog; /* where the services process's own words go */
    nitroOutput *services; /* of the log services, in the order of nitroDomainDefGetServices() */
    size_t nservices;
    unsigned long long maxSize; /* bytes, of each file; 0: without limit */
};

/*
 * Opens the outputs of the live definition @def, whose run directory exists, and takes them and the
 * @image, which nitroImageOpen() has opened, in the register of @driver. Nothing is written to them yet.
 *
 * Returns the outputs (nitroOutputsFree), or NULL with an error set: VIR_ERR_CONFIG_UNSUPPORTED
 * for a file that is in use already, or that nitro_file.h refuses. nitroOutputsRelease() is due
 * in both cases.
 */
nitroOutputs *nitroOutputsOpen(nitroDriver *driver,
                               const virDomainDef *def,
                               const nitroImage *image);

/*
 * Opens the outputs of the services process anew, which the run of @def has had before. A file that has
 * taken the place of another one is taken in the register.
 *
 * Returns the outputs (nitroOutputsFree), or NULL with an error set as above.
 */
nitroOutputs *nitroOutputsReopenServices(nitroDriver *driver, const virDomainDef *def);

/* Closes the descriptors. The register keeps the files. */
void nitroOutputsFree(nitroOutputs *outputs);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(nitroOutputs, nitroOutputsFree);

/*
 * Empties those that begin so, and writes a line to the log that tells the runs apart: what was
 * there is lost, so this is the last thing before the helper begins.
 * Returns 0, or -1 with an error set.
 */
int nitroOutputsBegin(const nitroOutputs *outputs);

/*
 * The enclave of the domain @name, with the run directory @rundir, runs, and an earlier daemon has
 * started it: its files are taken again. Notes of that daemon that are missing are a
 * warning in the log. May be repeated. Returns 0, or -1 with an error set when they cannot be read.
 */
int nitroOutputsRetake(nitroDriver *driver, const char *name, const char *rundir);

/*
 * The run is over, and its run directory still exists: gives back all that the register has for
 * @name, and removes old output that is empty. Does nothing when there is nothing.
 */
void nitroOutputsRelease(nitroDriver *driver, const char *name, const char *rundir);
