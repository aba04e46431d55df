/*
 * nitro_capabilities.h: what a client can ask of this host and driver
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "capabilities.h"
#include "domain_capabilities.h"
#include "nitro_conf.h"

/*
 * The most vCPUs that a domain can have: as many as there are CPUs in the pool on a host
 * with the Nitro Hypervisor's device, and elsewhere those of the emulated machine.
 * Returns -1 with an error set.
 */
int nitroCapabilitiesGetMaxVcpus(const nitroDriverConfig *config);

/*
 * Mends what libvirt has found out about a host on which the CPUs of the pool are
 * offline: it takes them for cores of one thread then. The product of the numbers in
 * @info is the number of CPUs still. Returns 0, or -1 with an error set.
 */
int nitroCapabilitiesFixNodeInfo(virNodeInfoPtr info);

/*
 * Describes the host (CPU without a model, NUMA topology, caches) and the guests
 * it can run, those of the emulated machine for each architecture whose QEMU is there.
 * CPUs of the pool are listed with their NUMA node, and with their id alone: they are
 * offline, and the kernel tells no more of them.
 *
 * Returns a new reference, or NULL with an error set.
 */
virCaps *nitroCapabilitiesNew(const nitroDriverConfig *config);

/*
 * Describes domains of type nitro; the arguments are those of
 * virConnectGetDomainCapabilities(), each may be NULL: of an architecture that is not the host's
 * the default machine is the emulated one. Every device class is said
 * to be there or not, as some clients fail over one that is not mentioned.
 *
 * Returns a new reference, or NULL with VIR_ERR_INVALID_ARG set when an argument is not of this
 * driver, VIR_ERR_CONFIG_UNSUPPORTED when the architecture is not its or not the host's, or
 * VIR_ERR_OPERATION_UNSUPPORTED when there is no QEMU for it.
 */
virDomainCaps *nitroCapabilitiesNewDomain(const nitroDriverConfig *config,
                                          const char *emulator,
                                          const char *arch,
                                          const char *machine,
                                          const char *virttype);

/*
 * The XML of @caps (g_free), with an element of the nitro namespace that says whether a definition can ask for
 * an NSM, @nsm; absent: it need not, as with the hypervisor.
 */
char *nitroCapabilitiesFormatDomain(const virDomainCaps *caps, virTristateBool nsm);
