/*
 * nitro_restart.h: new enclaves of a domain whose enclave has ended
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_conf.h"

/* How often in a row a domain is restarted by its <on_*> action. The first restart comes
 * at once, the others after 1, 2, 4 and 8 seconds. */
#define NITRO_RESTART_MAX 5

/* seconds: an enclave that has run for as long ends the row */
#define NITRO_RESTART_CALM 60

/* seconds: until a restart is tried again that failed as the host is short of something. Such
 * failures do not count. */
#define NITRO_RESTART_SHORTAGE 60

/*
 * Starts the domain @vm again, whose enclave has ended and whose action is 'restart',
 * on the daemon's own account and after a while. A start that fails is tried again. When the
 * bound is reached, a message goes to the log and an event (control error) to clients.
 * @vm is locked and inactive, and stays in the list meanwhile.
 *
 * Returns false when it is not started again.
 */
bool nitroRestartSchedule(nitroDriver *driver, virDomainObj *vm);

/*
 * Calls off a restart that has not begun yet, as somebody has other plans with @vm,
 * which is locked. Returns whether there was one.
 */
bool nitroRestartCancel(nitroDriver *driver, virDomainObj *vm);

/*
 * Ends the enclave of @vm and starts a new one, as virDomainReboot() and virDomainReset()
 * ask for, and waits until it has booted. @vm is locked, and unlocked meanwhile; no job is
 * held. Returns 0, or -1 with an error set: VIR_ERR_OPERATION_INVALID when none runs.
 */
int nitroRestartNow(nitroDriver *driver, virDomainObj *vm);
