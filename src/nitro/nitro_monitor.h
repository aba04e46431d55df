/*
 * nitro_monitor.h: the daemon's side of the control protocol
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The protocol is described in src/helper/helper_protocol.h.
 */

#pragma once

#include "internal.h"
#include "nitro_domain_conf.h"
#include "virobject.h"

typedef struct _nitroMonitor nitroMonitor;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(nitroMonitor, virObjectUnref);

/* The strings of events and of the status are the helper's words, checked for nothing
 * but their being JSON strings. */
typedef struct _nitroMonitorEvent nitroMonitorEvent;
struct _nitroMonitorEvent {
    const char *name;   /* NITRO_EVENT_*, or NULL: the connection is gone */
    long long cid;      /* "started": the enclave's CID; -1: none was told */
    const unsigned int *cpus; /* "started": host CPUs of the vCPUs; NULL: not told */
    size_t ncpus;
    const char *reason; /* "exited": NITRO_EXIT_* */
    const char *code;   /* "failed": NITRO_FAILURE_* */
    const char *text;   /* "failed": one sentence */
};

typedef struct _nitroMonitorStatus nitroMonitorStatus;
struct _nitroMonitorStatus {
    char *phase;   /* NITRO_PHASE_* */
    long long cid; /* -1: not known yet */
    unsigned int *cpus; /* host CPUs of the vCPUs; NULL: not known */
    size_t ncpus;
};

/*
 * Called in the event loop's thread without any lock of the monitor; must not
 * wait for a reply of the same helper.
 */
typedef void (*nitroMonitorCallback)(nitroMonitor *mon,
                                     const nitroMonitorEvent *event,
                                     void *opaque);

/*
 * Connects to the listening socket @path of a helper, which need not accept yet.
 * Returns the descriptor, or -1 with an error set.
 */
int nitroMonitorConnect(const char *path);

/*
 * Starts to watch the connection @fd, which the monitor takes over in any case.
 * @callback gets events until nitroMonitorClose(); @opaque is released by
 * @freecb with the last reference to the monitor.
 *
 * Returns the monitor (virObjectUnref), or NULL with an error set; then @freecb
 * is not called.
 */
nitroMonitor *nitroMonitorOpen(int fd,
                               nitroMonitorCallback callback,
                               void *opaque,
                               virFreeCallback freecb);

/* Whether the helper has closed the connection, or broken the protocol. */
bool nitroMonitorIsGone(nitroMonitor *mon);

/* Closes the connection; callbacks that are under way may still end. Idempotent. */
void nitroMonitorClose(nitroMonitor *mon);

/*
 * Asks the helper for its state. Waits @timeout ms at most; call it without the
 * lock of a domain.
 *
 * Returns 0, or -1 with an error set: VIR_ERR_OPERATION_TIMEOUT when the helper
 * does not answer. nitroMonitorStatusClear() frees what is in @status.
 */
int nitroMonitorQueryStatus(nitroMonitor *mon,
                            unsigned int timeout,
                            nitroMonitorStatus *status);
void nitroMonitorStatusClear(nitroMonitorStatus *status);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroMonitorStatus, nitroMonitorStatusClear);

/* What the loaded image measures to; hex digits, or NULL for a register that it does not set */
typedef struct _nitroMonitorMeasurements nitroMonitorMeasurements;
struct _nitroMonitorMeasurements {
    char *hash; /* "sha384" */
    char *pcr[NITRO_PCR_COUNT];
};

/*
 * Asks the helper what it has loaded. It measures while the enclave boots: a helper
 * that has not finished is asked again. Waits @timeout ms at most; call it without
 * the lock of a domain.
 *
 * Returns 0, or -1 with an error set: VIR_ERR_OPERATION_TIMEOUT when the helper does not
 * answer, or has not measured. nitroMonitorMeasurementsClear() frees what is in
 * @measurements.
 */
int nitroMonitorQueryMeasurements(nitroMonitor *mon,
                                  unsigned int timeout,
                                  nitroMonitorMeasurements *measurements);
void nitroMonitorMeasurementsClear(nitroMonitorMeasurements *measurements);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroMonitorMeasurements, nitroMonitorMeasurementsClear);

/*
 * Asks the helper to end its enclave and waits @timeout ms at most until it has
 * closed the connection. Call it without the lock of a domain.
 *
 * Returns true when the helper has ended.
 */
bool nitroMonitorTerminate(nitroMonitor *mon,
                           unsigned int timeout);
