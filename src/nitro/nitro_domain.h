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
#include "nitro_run.h"

/* Protected by the lock of the domain object */
typedef struct _nitroDomainObjPrivate nitroDomainObjPrivate;
struct _nitroDomainObjPrivate {
    nitroConsoleReader *reader; /* of the console; NULL: nobody has been it yet */

    bool restartPending;   /* see nitro_restart.h; nitroDomainSetRestart() alone changes it */
    gint64 restartDue;     /* when, us of the monotonic clock */
    unsigned int restarts; /* in a row, by <on_*> actions */
    gint64 runningSince;   /* us of the monotonic clock, as far as this daemon knows; 0: never */

    nitroRun run; /* while the domain is active */
};

extern virDomainXMLPrivateDataCallbacks nitroDomainPrivateDataCallbacks;
extern virDomainJobObjConfig nitroDomainJobConfig;

/*
 * The domain object of @domain, locked and with a reference: virDomainObjEndAPI().
 * NULL with VIR_ERR_NO_DOMAIN set when there is none.
 */
virDomainObj *nitroDomainObjFromDomain(virDomainPtr domain);

/*
 * The locked domain @vm is about to be restarted, or not any more. Meanwhile the daemon is not shut
 * down for idleness, and a transient domain stays in the list. Returns what it was before.
 */
bool nitroDomainSetRestart(nitroDriver *driver, virDomainObj *vm, bool pending);

/* Drops @vm from the list when it is inactive and not persistent. Locked before and after. */
void nitroDomainRemoveInactive(nitroDriver *driver, virDomainObj *vm);

/* The directory of a running domain: its control socket, and more to come (g_free). */
char *nitroDomainGetRunDir(nitroDriver *driver, const virDomainDef *def);

/*
 * Saves the status of the running domain, by which a restarted daemon finds it.
 * Returns 0, or -1 with an error set.
 */
int nitroDomainSaveStatus(nitroDriver *driver, virDomainObj *vm);

/*
 * Removes what daemons have left that ended while they saved the status of a domain; libvirt's
 * virFileRewrite() has such files. To be called before this one saves any. What cannot be removed is a
 * warning in the log.
 */
void nitroDomainRemoveUnsaved(nitroDriver *driver);

/* Moves the run that the status @from, an object of nobody else's, tells of to the locked domain @vm,
 * which was inactive. Others may know the private data of @vm, so that they stay where they are. */
void nitroDomainObjMoveRun(virDomainObj *vm, virDomainObj *from);

/* Queues a lifecycle event: @type is a virDomainEventType, @detail one of its details. */
void nitroDomainEventLifecycle(nitroDriver *driver, virDomainObj *vm, int type, int detail);
