/*
 * nitro_takeover.h: takes over the enclaves of an earlier daemon
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_conf.h"

/*
 * Takes over the enclaves that an earlier daemon has left running, on the daemon's own account.
 * Their CPUs and CIDs are theirs when this returns.
 */
void nitroTakeoverAll(nitroDriver *driver);

/* The same for the domain @vm alone, which is locked and in the list. Counts it as running. */
void nitroTakeoverBegin(nitroDriver *driver, virDomainObj *vm);

/*
 * Takes the domain @vm, which is locked and runs, over as from an earlier daemon: the connection with
 * its helper has ended, and nothing else. Its monitor is closed.
 */
void nitroTakeoverReconnect(nitroDriver *driver, virDomainObj *vm);
