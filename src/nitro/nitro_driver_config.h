/*
 * nitro_driver_config.h: entry points that change the stored definition of a domain
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_conf.h"

/*
 * A copy of the stored definition of @vm, for a change. @flags are the
 * virDomainModificationImpact of the client's call, and whatever else it has.
 *
 * Returns the copy (virDomainDefFree), or NULL with an error set: first of all
 * VIR_ERR_OPERATION_INVALID when there is no such definition or no running domain,
 * then VIR_ERR_OPERATION_UNSUPPORTED when the running domain is to be changed.
 */
virDomainDef *nitroConfigCopy(nitroDriver *driver, virDomainObj *vm, unsigned int flags);

/*
 * Makes the changed copy @def the stored definition of @vm, in the file and in the
 * object, and clears @def. nitroConfigCheckAndStore() checks it as a client's
 * definition is. Returns 0, or -1 with an error set; then nothing has changed.
 */
int nitroConfigStore(nitroDriver *driver, virDomainObj *vm, virDomainDef **def);
int nitroConfigCheckAndStore(nitroDriver *driver, virDomainObj *vm, virDomainDef **def);

/* Entry points: each is described at libvirt's public function of that name. */
int nitroDomainSetMemory(virDomainPtr dom, unsigned long kib);
int nitroDomainSetMemoryFlags(virDomainPtr dom, unsigned long kib, unsigned int flags);
int nitroDomainSetMaxMemory(virDomainPtr dom, unsigned long kib);
unsigned long long nitroDomainGetMaxMemory(virDomainPtr dom);
int nitroDomainSetVcpus(virDomainPtr dom, unsigned int nvcpus);
int nitroDomainSetVcpusFlags(virDomainPtr dom, unsigned int nvcpus, unsigned int flags);
int nitroDomainGetVcpusFlags(virDomainPtr dom, unsigned int flags);
int nitroDomainGetMaxVcpus(virDomainPtr dom);
int nitroDomainPinVcpu(virDomainPtr dom, unsigned int vcpu, unsigned char *cpumap, int maplen);
int nitroDomainPinVcpuFlags(virDomainPtr dom,
                            unsigned int vcpu,
                            unsigned char *cpumap,
                            int maplen,
                            unsigned int flags);
int nitroDomainSetMetadata(virDomainPtr dom,
                           int type,
                           const char *metadata,
                           const char *key,
                           const char *uri,
                           unsigned int flags);
char *nitroDomainGetMetadata(virDomainPtr dom, int type, const char *uri, unsigned int flags);
int nitroDomainSetLifecycleAction(virDomainPtr dom,
                                  unsigned int type,
                                  unsigned int action,
                                  unsigned int flags);
int nitroDomainGetAutostart(virDomainPtr dom, int *autostart);
int nitroDomainSetAutostart(virDomainPtr dom, int autostart);
int nitroDomainRename(virDomainPtr dom, const char *name, unsigned int flags);
