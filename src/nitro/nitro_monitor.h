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
#include "nitro_monitor_message.h"
#include "virobject.h"

typedef struct _nitroMonitor nitroMonitor;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(nitroMonitor, virObjectUnref);

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
 * Starts to watch the connection @fd, which the monitor takes over in any case. It is with the
 * helper of the domain @name, which runs, or is to run, the @enclave. @callback gets events
 * until nitroMonitorClose(); @opaque is released by @freecb with the last reference to the
 * monitor.
 *
 * Each event comes once at most, and in the order of the protocol. A helper that breaks the
 * protocol before it has told its end is made to say that it "failed" (NITRO_FAILURE_INTERNAL);
 * then the connection is gone. So it is when a helper that has told its end does not close it.
 *
 * Returns the monitor (virObjectUnref), or NULL with an error set; then @freecb
 * is not called.
 */
nitroMonitor *nitroMonitorOpen(int fd,
                               const char *name,
                               const nitroMonitorEnclave *enclave,
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
 * does not answer, VIR_ERR_INTERNAL_ERROR when its answer makes no sense.
 * nitroMonitorStatusClear() frees what is in @status.
 */
int nitroMonitorQueryStatus(nitroMonitor *mon,
                            unsigned int timeout,
                            nitroMonitorStatus *status);

/*
 * Asks the helper what it has loaded. It measures while the enclave boots: a helper
 * that has not finished is asked again. Waits @timeout ms at most; call it without
 * the lock of a domain.
 *
 * Returns 0, or -1 with an error set: VIR_ERR_OPERATION_TIMEOUT when the helper does not
 * answer, or has not measured, VIR_ERR_INTERNAL_ERROR when its answer makes no sense.
 * nitroMonitorMeasurementsClear() frees what is in @measurements.
 */
int nitroMonitorQueryMeasurements(nitroMonitor *mon,
                                  unsigned int timeout,
                                  nitroMonitorMeasurements *measurements);

/*
 * Asks the helper to end its enclave and waits @timeout ms at most until it has
 * closed the connection. Call it without the lock of a domain.
 *
 * Returns true when the helper has ended.
 */
bool nitroMonitorTerminate(nitroMonitor *mon,
                           unsigned int timeout);
