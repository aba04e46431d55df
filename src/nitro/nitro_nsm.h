/*
 * nitro_nsm.h: the NSM of an emulated enclave
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * It is the program libvirt_nitro_nsm, which the helper runs, and a device of QEMU, which not every
 * QEMU has. Its key and certificate are new for each run, below a root certificate of this host.
 */

#pragma once

#include "nitro_conf.h"

/* What a run has of an NSM */
typedef struct _nitroNsm nitroNsm;
struct _nitroNsm {
    int identityFd; /* for the program: its key and its certificates; -1: there is no NSM */
    char *device;   /* what QEMU calls it; NULL: there is none */
    char *reason;   /* why there is none, though nobody has said that there should be none; NULL: else */
};

#define NITRO_NSM_INIT { -1, NULL, NULL }

void nitroNsmClear(nitroNsm *nsm);

/*
 * Finds out whether an emulated machine of the QEMU @qemu can have an NSM: asks the helper, and not
 * again before the file of QEMU has changed. Call it without the lock of a domain.
 *
 * Returns 1 with *@device set, 0 with *@reason set to why not (g_free both), or -1 with an error set
 * when it could not be found out (VIR_ERR_OPERATION_FAILED, VIR_ERR_OPERATION_TIMEOUT).
 */
int nitroNsmFind(nitroDriver *driver, const char *qemu, char **device, char **reason);

/*
 * Likewise, asking in any case. Of @config are the helper, the NSM's program, and whom helpers run as.
 */
int nitroNsmAsk(const nitroDriverConfig *config, const char *qemu, char **device, char **reason);

/* What the NSM of an enclave of @def calls itself in documents (g_free) */
char *nitroNsmGetModule(const virDomainDef *def);

/*
 * Has a key and a certificate made for the NSM of the domain @name, which calls itself @module, and for that
 * the root certificate of this host when there is none; unless @wanted says that there is to be no
 * NSM. Call it without the lock of the domain. @nsm is empty, and the caller's to clear.
 *
 * Returns 0, also when there can be none and @wanted is absent; or -1 with an error set:
 * VIR_ERR_CONFIG_UNSUPPORTED when there is to be one and cannot be.
 */
int nitroNsmOpen(nitroDriver *driver,
                 const char *name,
                 virTristateBool wanted,
                 const char *qemu,
                 const char *module,
                 nitroNsm *nsm);

/* Frees what is known of QEMUs; @known may be NULL. */
void nitroNsmForget(GHashTable *known);
