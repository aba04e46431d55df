/*
 * nitro_host.h: what this host can run
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_conf.h"
#include "nitro_domain_conf.h"

/*
 * Checks that machine 'nitro' of this host can have enclaves of @arch: the Nitro Hypervisor has the
 * architecture of its host. Returns 0, or -1 with VIR_ERR_CONFIG_UNSUPPORTED set.
 */
int nitroHostCheckArch(virArch arch);

/* The path of the QEMU in PATH that emulates machines of @arch (g_free); NULL: there is none. */
char *nitroHostFindQemu(virArch arch);

/* Likewise; where there is none, NULL with an error set (VIR_ERR_OPERATION_UNSUPPORTED). */
char *nitroHostRequireQemu(virArch arch);

/*
 * Checks that the host can run @def at all: the device of the Nitro Hypervisor, or
 * QEMU for the emulated machine, whose path is returned in @qemu (g_free; NULL for
 * the device), the architecture, the size of huge pages, and the helper; and for the
 * device all that nitroHostCheckNitro() sees. Nothing falls back from one machine to
 * the other.
 *
 * Returns 0, or -1 with an error set: VIR_ERR_OPERATION_UNSUPPORTED when the host
 * lacks something, VIR_ERR_CONFIG_UNSUPPORTED when the definition is at fault.
 */
int nitroHostCheckDomain(nitroDriver *driver, const virDomainDef *def, char **qemu);

/*
 * Replaces the error that is set by one that says why the user of helpers cannot run @helper, if
 * that is so: it is tried, for what has failed already.
 */
void nitroHostSayUnreachable(const nitroDriverConfig *config, const char *helper);

/*
 * What of the confinement of enclaves this host lacks, as @codes say, which may be NULL: each is
 * in the daemon's log once.
 */
void nitroHostTellUnprotected(nitroDriver *driver, char *const *codes);

/*
 * Has in the log that helpers of the system's daemon run as root, if they do. What else may be
 * missing is QEMU's, and asked for when the first emulated enclave is started.
 */
void nitroHostTellUser(nitroDriver *driver);

/*
 * What of its confinement the helper of @def has to do without on this host (g_strfreev), as far as
 * nitroHostFindAccel() has found it out; NULL: nothing.
 */
char **nitroHostGetUnprotected(nitroDriver *driver, const virDomainDef *def);

/*
 * Whether @def may run here, as whom nitro.conf says, with what nitroHostFindAccel() has found
 * missing. Returns 0, or -1 with an error set that nitroUnprotectedCheck() describes.
 */
int nitroHostCheckUnprotected(nitroDriver *driver, const virDomainDef *def);

/*
 * Whether nitroHostFindAccel() has nothing to ask. Where something is missing it asks again later,
 * as that may be installed any time. Waits for nothing.
 */
bool nitroHostIsKnown(nitroDriver *driver);

/*
 * Finds out which accelerator works for the emulated machine, and what this host lacks to confine
 * it: asks the helper, and not again in the life of the daemon when nothing is missing, as a KVM
 * that does not work costs the helper's probe its whole time limit. Call it without the lock of a
 * domain, unless nitroHostIsKnown().
 *
 * Returns 0, or -1 with an error set, and nothing is taken for known: VIR_ERR_OPERATION_UNSUPPORTED
 * where no enclave can run, VIR_ERR_OPERATION_TIMEOUT, VIR_ERR_OPERATION_FAILED when the helper
 * could not find out.
 */
int nitroHostFindAccel(nitroDriver *driver);

/*
 * What an emulated enclave of @def runs with, "kvm" or "tcg" (g_free): what it has found, and where
 * the architecture is not that of the host, TCG. NULL: nobody has asked yet. Waits for nothing.
 */
char *nitroHostGetAccel(nitroDriver *driver, const virDomainDef *def);
