/*
 * nitro_domain_postparse.h: defaults of enclave domains
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The post-parse callbacks of virDomainDefParserConfig; @opaque is the path of the
 * helper binary. They return 0, or -1 with a libvirt error reported.
 */

#pragma once

#include "domain_conf.h"

/* Fills in the emulator. */
int nitroDomainDefPostParseBasic(virDomainDef *def,
                                 void *opaque);

/*
 * Refuses what is no enclave at all: another domain type, OS type, architecture or
 * machine, or no memory (VIR_ERR_CONFIG_UNSUPPORTED), and, but for the status of a running
 * domain, a name that cannot be that of a file (nitroDomainNameCheck()). Fills in the
 * machine. Unlike the checks of nitro_domain_validate.h this happens for each definition,
 * however it was read.
 */
int nitroDomainDefPostParse(virDomainDef *def,
                            unsigned int parseFlags,
                            void *opaque,
                            void *parseOpaque);

/*
 * Fills in the model of the vsock device, and the mode of a UNIX socket without a path. An address
 * that the hypervisor has chosen belongs to the running enclave: it is dropped from an inactive
 * definition.
 */
int nitroDomainDeviceDefPostParse(virDomainDeviceDef *dev,
                                  const virDomainDef *def,
                                  unsigned int parseFlags,
                                  void *opaque,
                                  void *parseOpaque);

/*
 * Drops the virtio-serial controller that libvirt adds for channels, and for a console with the
 * target 'virtio': an enclave has none. In libvirt's order this comes after that.
 */
int nitroDomainDefPostParseControllers(virDomainDef *def,
                                       unsigned int parseFlags,
                                       void *opaque,
                                       void *parseOpaque);
