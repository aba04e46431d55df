/*
 * nitro_aside.h: enclaves of an earlier daemon whose status cannot be read
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Such an enclave has no definition, so it is no domain. Whether it is to end is the operator's
 * choice: it is left alone, its CPUs and its CID stay its own, and no second enclave of the
 * same domain is started beside it. A status that can be read after all makes it a domain
 * again; its end is noticed.
 */

#pragma once

#include "domain_conf.h"

/* The file in the run directory of what is set aside, for virt-nitro-validate: the number of the
 * process, a space, and the reason, on a line */
#define NITRO_ASIDE_MARK "aside"

/* Write and remove that file of the run directory @dir. Failures are in the log. */
void nitroAsideMark(const char *dir, pid_t pid, const char *reason);
void nitroAsideUnmark(const char *dir);

/* Self-locking */
typedef struct _nitroAsides nitroAsides;
struct _nitroDriver;

nitroAsides *nitroAsidesNew(void);
void nitroAsidesFree(nitroAsides *asides);

/*
 * Sets aside what runs in the state directory and belongs to no domain in the list, and removes
 * what belongs to nothing that runs. Call it when the status files have been loaded, and before
 * anything else is. Looks again every now and then while there is any. @takeover takes over a
 * domain whose status could be read after all; it is locked and in the list.
 */
typedef void (*nitroAsideTakeover)(struct _nitroDriver *driver, virDomainObj *vm);
void nitroAsidesFind(struct _nitroDriver *driver, nitroAsideTakeover takeover);

/* Removes after a while what a run that has ended could not remove itself. */
void nitroAsidesFindLater(struct _nitroDriver *driver);

/*
 * Whether no enclave of the inactive domain @def is set aside, and none of another domain that had
 * its name, so that it may start. Returns 0, or -1 with an error set: VIR_ERR_OPERATION_INVALID
 * when there is one, VIR_ERR_OPERATION_FAILED when that cannot be found out.
 */
int nitroAsidesCheck(struct _nitroDriver *driver, const virDomainDef *def);
