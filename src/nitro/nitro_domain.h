/*
 * nitro_domain.h: what the driver keeps of a domain beside its definition
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_conf.h"
#include "nitro_console_reader.h"
#include "nitro_monitor.h"

/* Protected by the lock of the domain object */
typedef struct _nitroDomainObjPrivate nitroDomainObjPrivate;
struct _nitroDomainObjPrivate {
    nitroConsoleReader *reader; /* of the console; NULL: nobody has been it yet */

    unsigned int cid;    /* taken from the driver's; 0: none */

    bool restartPending;   /* see nitro_restart.h */
    unsigned int restarts; /* in a row, by <on_*> actions */
    gint64 runningSince;   /* us of the monotonic clock, as far as this daemon knows; 0: never */

    /* While the domain is active: */
    nitroMonitor *mon;   /* NULL while it starts, until its helper runs */
    unsigned long long helperStart; /* when its process started: ticks since boot; 0: not known */
    bool booted;         /* the helper has said so */
    bool ended;          /* the helper has said so, or is gone */
    int consoleFd;       /* nitroConsoleHold(); -1: none */
    char *exitReason;    /* NITRO_EXIT_*; NULL: the helper was lost */
    char *failureCode;   /* NITRO_FAILURE_* of a start that failed */
    char *failureText;   /* one sentence */
    unsigned int *cpus;  /* host CPUs of the vCPUs, in their order; NULL: not known */
    size_t ncpus;
    bool cpusShown;      /* as pins of the live definition, which has none of its own */
    gint64 startTime;             /* of the start, us of the monotonic clock; 0: another daemon's */
    unsigned long long bootTime;  /* ms from the start until it had booted; 0: not known */
};

extern virDomainXMLPrivateDataCallbacks nitroDomainPrivateDataCallbacks;
extern virDomainJobObjConfig nitroDomainJobConfig;

/* Forgets what the private data knows of a run that is over. */
void nitroDomainObjPrivateReset(nitroDomainObjPrivate *priv);

/*
 * The domain object of @domain, locked and with a reference: virDomainObjEndAPI().
 * NULL with VIR_ERR_NO_DOMAIN set when there is none.
 */
virDomainObj *nitroDomainObjFromDomain(virDomainPtr domain);

/* Drops @vm from the list when it is inactive and not persistent. Locked before and after. */
void nitroDomainRemoveInactive(nitroDriver *driver, virDomainObj *vm);

/* The directory of a running domain: its control socket, and more to come (g_free). */
char *nitroDomainGetRunDir(nitroDriver *driver, const virDomainDef *def);

/*
 * Removes the directory @dir of a domain that has ended, with all that is in it. The helper's
 * user may change some of it meanwhile, and is not trusted: no symbolic link is followed, and
 * nothing outside is removed.
 *
 * Returns 0, also when there is none, or -1 with an error set.
 */
int nitroDomainRemoveRunDir(const char *dir);

/*
 * Saves the status of the running domain, by which a restarted daemon finds it.
 * Returns 0, or -1 with an error set.
 */
int nitroDomainSaveStatus(nitroDriver *driver, virDomainObj *vm);

/* Queues a lifecycle event: @type is a virDomainEventType, @detail one of its details. */
void nitroDomainEventLifecycle(nitroDriver *driver, virDomainObj *vm, int type, int detail);
