/*
 * nitro_services.h: the process of the vsock services of a domain
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * It is started before the enclave, and gets its link with the switch (src/services/services_protocol.h)
 * as soon as the enclave has started. When it dies it is started again, and the enclave runs on. It
 * outlives the daemon, and ends with the enclave.
 */

#pragma once

#include "nitro_conf.h"
#include "nitro_helper.h"
#include "nitro_outputs.h"
#include "nitro_services_monitor.h"

/* Part of a nitroRun, protected by the lock of the domain */
typedef struct _nitroServicesRun nitroServicesRun;
struct _nitroServicesRun {
    nitroHelper *process;      /* NULL: none has been started */
    nitroServicesMonitor *mon; /* NULL: it cannot be talked to */
    bool met;                  /* this daemon has had a connection with this process */
    int link;     /* made by the start and not handed over yet; -1: none */
    bool linked;  /* the process has its link */
    unsigned int cid; /* taken by nitroServicesTakeCid(); 0: none */
    char *down;   /* why they do not work; NULL: they do, or are not there */
    bool mending; /* a task is on its way that is to make them work again */
    unsigned int tries;  /* to do so, in a row, */
    gint64 worked;       /* and since when they have worked before, us of the monotonic clock */
    unsigned int silent; /* how often in a row it has not answered in time */
    bool unhealthy;      /* a health service has said so */
    int exitCode;        /* of the enclave's application; -1: not told */
    nitroServicesStatus status; /* of nitroServicesQuery() */
};

#define NITRO_SERVICES_RUN_INIT { .link = -1, .exitCode = -1 }

/* Forgets what is known of a run that is over, or begins. */
void nitroServicesRunReset(nitroServicesRun *run);

/* Whether the definition @def has services */
bool nitroServicesAreThere(const virDomainDef *def);

/* The path of the socket on which the helper of the emulated machine takes links (g_free) */
char *nitroServicesGetLinkPath(nitroDriver *driver, virDomainObj *vm);

/*
 * Starts the services process of @vm, if its definition has services, before its helper is, with the
 * files in @outputs. Makes the link, of the emulated machine with the listening socket that is stored
 * in *@listener (-1: none is needed), which is for the helper. The lock of @vm is released meanwhile,
 * so that the run may be over then.
 *
 * Returns 0, or -1 with an error set. What was started is ended with the run: nitroServicesEnd().
 */
int nitroServicesStart(nitroDriver *driver,
                       virDomainObj *vm,
                       const nitroOutputs *outputs,
                       int *listener);

/* Puts the process into the cgroup of @vm, if both are there. Returns 0, or -1 with an error set. */
int nitroServicesJoinCgroup(virDomainObj *vm);

/*
 * Takes the CID of the running enclave of the locked domain @vm, which its helper has told, for its
 * services: on the device the broker gives them all connections of this CID, and there the helper alone
 * knows it. Another domain with services that has it keeps it, so that a helper that lies gets nothing.
 * Returns 0, or -1 with an error set that names that domain.
 */
int nitroServicesTakeCid(nitroDriver *driver, virDomainObj *vm);

/*
 * Gives the link to the process, if the enclave of @vm, which starts, has started, and that was not done
 * yet. The lock of @vm is released meanwhile. Returns 0, or -1 with an error set, also when the process
 * has ended before the enclave has booted.
 */
int nitroServicesFollowStart(nitroDriver *driver, virDomainObj *vm);

/*
 * What is known of the process of the locked domain @vm; with NITRO_HELPER_UNKNOWN an error is set. What
 * is not known to be ours is never ended.
 */
nitroHelperState nitroServicesFind(virDomainObj *vm);

/*
 * Ends the living process of @vm, by words if it listens to @mon, which may be NULL. The lock of @vm is
 * released meanwhile. Returns whether it is gone, or another call's business; false with an error set.
 */
bool nitroServicesKill(nitroDriver *driver, virDomainObj *vm, nitroServicesMonitor *mon);

/*
 * Ends the process of @vm, whose enclave has ended, when all that is under way is delivered. The lock
 * of @vm is released meanwhile. Returns 0, also when there is none or another call has ended it; or -1
 * with an error set, when it cannot be ended or it cannot be found out whether it runs.
 */
int nitroServicesEnd(nitroDriver *driver, virDomainObj *vm);

/* Removes what the services of @vm, which have ended, have left, but for the run directory. */
void nitroServicesRelease(nitroDriver *driver, virDomainObj *vm);

/*
 * Asks the process of the locked domain @vm how things are, @timeout ms at most, without the lock.
 * Returns whether it has answered: then priv->run.services.status has it.
 */
bool nitroServicesQuery(virDomainObj *vm, unsigned int timeout);
