/*
 * nitro_cgroup.h: the cgroup of a domain, and the limits in it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Where systemd-machined is (and the daemon is the system's), each domain is a machine of it, in a
 * scope of its own with the helper and all below it. Elsewhere a domain has none, and one that
 * asks for what needs one does not start.
 *
 * The functions that ask others on the system bus may take long. They release the lock of @vm
 * meanwhile: its run may be over, and another one begun, when they return.
 */

#pragma once

#include "nitro_conf.h"
#include "vircgroup.h"

/*
 * Finds out whether the starting domain @vm is to have a cgroup, and notes how its machine is to be
 * named, or that it has none. Releases the lock of @vm.
 *
 * Returns 0, or -1 with an error set: VIR_ERR_OPERATION_UNSUPPORTED when the definition asks for what
 * needs a cgroup and the host has none.
 */
int nitroCgroupPrepare(nitroDriver *driver, virDomainObj *vm);

/*
 * Puts the helper of @vm, which waits and has no child yet, into the cgroup that was prepared, and
 * sets the limits of the definition. Releases the lock of @vm. Returns 0, or -1 with an error set;
 * what there is then is nitroCgroupRemove()'s.
 */
int nitroCgroupCreate(virDomainObj *vm);

/*
 * Finds the cgroup again in which an earlier daemon has put @vm. One that is not found is a warning in
 * the log: its limits go on. Releases the lock of @vm.
 */
void nitroCgroupFind(virDomainObj *vm);

/*
 * The cgroup of the running domain @vm, for its limits: it stays the domain's. NULL with
 * VIR_ERR_OPERATION_UNSUPPORTED set when it has none, or not this @controller (VIR_CGROUP_CONTROLLER_*);
 * with VIR_ERR_OPERATION_FAILED when it has one that this daemon has not found.
 */
virCgroup *nitroCgroupGet(virDomainObj *vm, int controller);

/*
 * Ends the machine of @vm, whose helper is gone, with whatever is left in it, and removes the cgroup.
 * A machine of that name whose leader was not that helper is another's, and stays. What cannot be
 * removed, or not be found out, is a warning in the log. Releases the lock of @vm.
 */
void nitroCgroupRemove(virDomainObj *vm);

/*
 * The CPU time of all that is or was in the cgroup of @vm, in ns. Returns whether there is one that
 * knows; no error is set.
 */
bool nitroCgroupGetCpuTime(virDomainObj *vm, unsigned long long *user, unsigned long long *system);
