/*
 * nitro_run.h: a run of a domain: all that it has opened and taken
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A run is the life of one enclave, from the start to the end. Everything that it takes from
 * the host is in this struct, is acquired here, and is given back here.
 */

#pragma once

#include "nitro_conf.h"
#include "nitro_helper.h"
#include "nitro_image.h"
#include "nitro_monitor.h"
#include "nitro_nsm.h"
#include "nitro_outputs.h"
#include "nitro_services.h"
#include "vircgroup.h"

/* What a start opens for the helper; closed in the daemon when the helper has it */
typedef struct _nitroRunFds nitroRunFds;
struct _nitroRunFds {
    int control;   /* listening: the helper's */
    int monitor;   /* connected to it: the daemon's */
    nitroImage image;
    int vsockDir;
    int vsockListen;
    int console;
    int broker;
    int device;
    int servicesListen; /* the helper's, for links of services */
    nitroOutputs *outputs; /* with the log, where the helper's own words go */
    char *signature; /* of the image, as in a verdict on it; NULL: it is not signed */
    nitroNsm nsm;    /* likewise the helper's */
};

#define NITRO_RUN_FDS_INIT { -1, -1, NITRO_IMAGE_INIT, -1, -1, -1, -1, -1, -1, NULL, NULL, \
                             NITRO_NSM_INIT }

void nitroRunFdsClose(nitroRunFds *fds);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroRunFds, nitroRunFdsClose);

/* Part of the private data of a domain, and protected by its lock */
typedef struct _nitroRun nitroRun;
struct _nitroRun {
    unsigned int cid;    /* taken from the driver's; 0: none */
    int consoleFd;       /* nitroConsoleHold(); -1: none */
    bool cpusShown;      /* as pins of the live definition, which has none of its own */
    nitroQueuePlace *place; /* until it takes anything, which its turn comes before; its start's
                             * to give back */
    nitroHelper *helper; /* NULL until it runs */
    nitroMonitor *mon;   /* NULL until the helper runs, and while it cannot be talked to */
    char *aside;         /* why not, and the domain is left alone; NULL: it can */
    bool taken;          /* its helper is this daemon's: started by it, or taken over */
    bool ending;         /* somebody ends it on purpose */
    int watch;           /* of the helper's process meanwhile; -1: none */
    unsigned int tries;  /* to take it over, in a row, */
    gint64 tried;        /* and when the first was, us of the monotonic clock */
    unsigned int reconnects; /* as its connection has ended, in a row, */
    gint64 reconnected;  /* and when the last was, likewise */

    nitroServicesRun services; /* of its vsock */

    /* What the helper has told: */
    bool started;
    bool booted;
    bool ended;          /* or it is gone */
    char *exitReason;    /* NITRO_EXIT_*; NULL: the helper was lost */
    char *failureCode;   /* NITRO_FAILURE_* of a start that failed */
    char *failureText;   /* one sentence */
    unsigned int *cpus;  /* host CPUs of the vCPUs, in their order; NULL: not known */
    size_t ncpus;
    char **unprotected;  /* what of its confinement is missing, the driver's part of it as well;
                          * NULL: not known, as its daemon was one of an earlier version */

    char *machine;       /* the domain's name at systemd-machined; NULL: it has none */
    virCgroup *cgroup;   /* of it; NULL: none, or not found again */
    unsigned long long cpuUser;   /* ns of CPU time, as far as they have been read, */
    unsigned long long cpuSystem; /* which never go back */

    bool shortage;       /* the start failed as the host is short of something at present */
    gint64 startTime;             /* of the start, us of the monotonic clock; 0: another daemon's */
    unsigned long long bootTime;  /* ms from the start until it had booted; 0: not known */
};

/* Forgets what @run knows of a run that is over, or begins. */
void nitroRunReset(nitroRun *run);

/*
 * Whether the run @id of the locked domain @vm, which starts, is not over, as somebody may have ended it
 * while the lock was not held. Returns 0, or -1 with an error set.
 */
int nitroRunCheck(virDomainObj *vm, int id);

/*
 * What is known of the helper of @vm, which nitroHelperFind() knows of its process, and that
 * there has never been one. With NITRO_HELPER_UNKNOWN errno says why not more is.
 */
nitroHelperState nitroRunFindHelper(nitroDriver *driver, virDomainObj *vm);

/*
 * Notes that @pid is the helper of @vm, which waits for that before it begins: with what is saved
 * here, any daemon finds it. Returns 0, or -1 with an error set.
 */
int nitroRunNoteHelper(nitroDriver *driver, virDomainObj *vm, pid_t pid);

/* The path of the control socket of the run of @vm (g_free) */
char *nitroRunGetControlPath(nitroDriver *driver, virDomainObj *vm);

/*
 * Opens and takes what the enclave of the domain @vm needs, in @fds what is for its helper, where
 * the image is already: CPUs, run directory, control socket, CID, outputs, console and device.
 * What has been taken when it fails is given back with the rest: nitroRunRelease().
 *
 * Returns 0, or -1 with an error set.
 */
int nitroRunAcquire(nitroDriver *driver, virDomainObj *vm, nitroRunFds *fds);

/* The process of the helper is not watched any more: there is a monitor, or no run. */
void nitroRunUnwatch(nitroRun *run);

/*
 * Takes what the enclave of an earlier daemon has: CPUs, CID, files and console. May be repeated.
 * Returns 0, or -1 with an error set when it could not be found out which files it has.
 */
int nitroRunReserve(nitroDriver *driver, virDomainObj *vm);

/* Gives all back that the run of @vm, whose helper has ended, has taken, and removes its files. */
void nitroRunRelease(nitroDriver *driver, virDomainObj *vm);

/* The CID of an enclave that got to choose; -1: it has none yet */
void nitroRunNoteCid(virDomainDef *def, long long cid);

/* The CPUs that the enclave of @vm has: the live definition shows them until the end of the run. */
void nitroRunNoteCpus(virDomainObj *vm, const unsigned int *cpus, size_t ncpus);

/*
 * Others must not ask for the CID that the hypervisor has chosen. That an emulated enclave
 * has the same one already does no harm: the two meet nowhere.
 */
void nitroRunKeepCid(nitroDriver *driver, virDomainObj *vm);
