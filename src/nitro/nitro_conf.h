/*
 * nitro_conf.h: the state of the driver and where it keeps its files
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "domain_event.h"
#include "driver.h"
#include "nitro_cid.h"
#include "nitro_cpus.h"
#include "nitro_hugepages.h"
#include "vircommand.h"
#include "virdomainobjlist.h"
#include "virthread.h"
#include "virthreadpool.h"

/* What virConnectGetType() answers; the patched remote daemon knows it */
#define NITRO_DRIVER_NAME "nitro"

/* virConnectGetVersion() of version 0.1.0, in libvirt's form */
#define NITRO_DRIVER_VERSION (0 * 1000000 + 1 * 1000 + 0)

/* The device of the Nitro Hypervisor, unless nitro.conf says otherwise */
#define NITRO_DEVICE "/dev/nitro_enclaves"

/* Directories and programs, and what nitro.conf says; immutable once made */
typedef struct _nitroDriverConfig nitroDriverConfig;
struct _nitroDriverConfig {
    char *configDir;    /* definitions */
    char *autostartDir; /* links to definitions */
    char *stateDir;     /* status files, a directory for each running domain */
    char *logDir;       /* a log for each domain */
    char *helper;       /* path of libvirt_nitro */

    /* nitro.conf */
    char *device;                  /* path of the Nitro Hypervisor's device */
    uid_t user;                    /* helpers run as; -1: as the daemon */
    gid_t group;                   /* likewise */
    unsigned int pageSize;         /* KiB, of domains on the device that name none; 0: any */
    unsigned int heartbeatTimeout; /* seconds, of domains that name none; 0: by size */
    bool manage;                   /* set up what follows when the driver starts */
    virBitmap *poolCpus;           /* NULL: leave the CPU pool as it is */
    nitroHugepages *poolPages;     /* to reserve; @npoolPages of them */
    size_t npoolPages;
};

typedef struct _nitroDriver nitroDriver;
struct _nitroDriver {
    virMutex lock; /* protects what is below under "Under lock" */

    /* Immutable once the driver runs */
    bool privileged;
    int lockFD; /* pid file: two daemons must not share a state directory */
    nitroDriverConfig *config;
    virDomainXMLOption *xmlopt;
    virStateInhibitCallback inhibitCallback;
    void *inhibitOpaque;

    /* Immutable pointers, self-locking */
    virDomainObjList *domains;
    virObjectEventState *domainEventState;
    nitroCids *cids;
    nitroCpus *cpus;
    virThreadPool *workers; /* ends of enclaves, which need jobs, are handled here */

    /* The main thread's */
    virThread quitThread; /* wakes what waits when the daemon ends; joined at the very end */
    bool quitThreadRuns;

    /* Atomic */
    int lastDomainId;
    int quitting; /* the daemon ends: wait for nothing that may take long */

    /* Under sysinfoLock, which is held while dmidecode runs */
    virMutex sysinfoLock;
    char *sysinfo; /* the host's SMBIOS information as XML; NULL: not read yet */

    /* Under lock */
    char *accel; /* what --probe of the helper found; NULL: not asked yet */
    size_t nactive;
    size_t autostartable; /* domains to be started with the daemon, */
    size_t autostarting;  /* of which so many are not done yet, */
    size_t autostarted;   /* and so many run */
    size_t nthreads;    /* of nitroDriverRunThread(), running */
    virCond threadDone; /* nthreads has become less */
};

/*
 * The directories of a privileged (system) or session driver, and where the
 * helper is: in the build tree for a daemon that runs from there.
 * Returns the configuration (nitroDriverConfigFree); never NULL.
 */
nitroDriverConfig *nitroDriverConfigNew(bool privileged);
void nitroDriverConfigFree(nitroDriverConfig *config);

/*
 * Reads the configuration file @path into @config, if there is one; src/nitro/nitro.conf.in
 * describes it. Returns 0, or -1 with an error set that names the file and the key: for
 * what cannot be parsed, unknown keys, wrong types, and values that can never work.
 */
int nitroDriverConfigLoadFile(nitroDriverConfig *config, const char *path);

/* The path of nitro.conf of a privileged (system) or session driver (g_free). */
char *nitroDriverConfigFile(bool privileged);

/*
 * Sets the CPU pool and reserves the huge pages of @config, if it is to, and writes
 * to the log what there is now. What cannot be had is an error in the log: domains
 * that need it will fail with a reason of their own.
 */
void nitroDriverConfigManage(const nitroDriverConfig *config);

/* Makes @cmd run as the user and the group of helpers, if nitro.conf names them. */
void nitroDriverConfigSetUser(const nitroDriverConfig *config, virCommand *cmd);

/*
 * Creates the directories of @config. Returns 0, or -1 with an error set.
 */
int nitroDriverConfigMakeDirs(const nitroDriverConfig *config);

/* The next domain id: positive, never given twice by one daemon. */
int nitroDriverNextDomainId(nitroDriver *driver);

/* A running domain of the past has @id: later ones are above it. */
void nitroDriverReserveDomainId(nitroDriver *driver, int id);

/*
 * Counts the running domains, so that the daemon is not shut down for idleness
 * while there are any.
 */
void nitroDriverDomainStarted(nitroDriver *driver);
void nitroDriverDomainStopped(nitroDriver *driver);

/*
 * Runs @func with @vm, for which it gets a reference of its own, in a new thread.
 * @name is for debuggers. Returns 0, or -1 with an error set.
 */
typedef void (*nitroDriverThreadFunc)(nitroDriver *driver, virDomainObj *vm);
int nitroDriverRunThread(nitroDriver *driver,
                         virDomainObj *vm,
                         nitroDriverThreadFunc func,
                         const char *name);

/* Waits until all such threads have ended. */
void nitroDriverWaitThreads(nitroDriver *driver);
