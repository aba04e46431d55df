/*
 * nitro_domain_conf.h: the XML model of enclave domains
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What libvirt's own elements mean for an enclave, the elements of the nitro
 * namespace, defaults and checks. Pure: nothing here looks at a file, a process
 * or the host.
 */

#pragma once

#include "domain_conf.h"
#include "nitro_domain_services.h"
#include "nitro_limits.h"

/* PCRs 0, 1, 2 and 8 come from the image, see src/eif/eif.h. */
#define NITRO_PCR_COUNT 9

typedef enum {
    NITRO_MACHINE_NITRO,    /* "nitro": the Nitro Hypervisor, /dev/nitro_enclaves */
    NITRO_MACHINE_EMULATED, /* "nitro-enclave": emulated by QEMU */

    NITRO_MACHINE_LAST
} nitroMachine;
VIR_ENUM_DECL(nitroMachine);

/* The elements of http://libvirt.org/schemas/domain/nitro/1.0 in one domain. */
typedef struct _nitroDomainXmlNsDef nitroDomainXmlNsDef;
struct _nitroDomainXmlNsDef {
    virTristateBool debug;         /* <nitro:enclave debug=/> */
    virTristateBool heartbeat;     /* <nitro:heartbeat enabled=/> */
    unsigned int heartbeatTimeout; /* seconds; 0: the default */
    char *vsockDirectory;          /* <nitro:vsock directory=/>, of a running domain only */
    virTristateBool nsm;           /* <nitro:nsm enabled=/>; absent: where it can be had */
    char *parentRole;              /* <nitro:parent role=/>: an ARN; NULL: none */
    char *parentId;                /* <nitro:parent id=/>: an instance; NULL: none */
    char *pcr[NITRO_PCR_COUNT];    /* <nitro:measurement>: 96 lower-case hex digits, or NULL */
    nitroServiceDef *services;     /* in <nitro:services>; numbers that are not there are 0 */
    size_t nservices;
};

/*
 * Creates the parser configuration of enclave domains: the namespace, defaults
 * and checks. @emulator is the path of the helper binary that domains get which
 * name none (copied). @priv and @jobConfig are the caller's callbacks for the private
 * data of domains and of their jobs; NULL for a caller that only parses.
 *
 * Returns a new reference; never NULL.
 */
virDomainXMLOption *nitroDomainXMLOptionNew(const char *emulator,
                                            virDomainXMLPrivateDataCallbacks *priv,
                                            virDomainJobObjConfig *jobConfig);

/* The most vCPUs of a domain of @machine; NULL and unknown names count as "nitro". */
unsigned int nitroMachineGetVcpusMax(const char *machine);

/* The machine type of a definition that has been through the parser. */
nitroMachine nitroDomainDefGetMachine(const virDomainDef *def);

/* Whether the enclave runs in debug mode: its console can be read and its PCRs are zero. */
bool nitroDomainDefIsDebug(const virDomainDef *def);

/* Whether the start waits for the boot heartbeat (the default). */
bool nitroDomainDefHasHeartbeat(const virDomainDef *def);

/* The heartbeat time-out that the definition asks for, in seconds; 0: the default. */
unsigned int nitroDomainDefGetHeartbeatTimeout(const virDomainDef *def);

/* The expected value of register @pcr (hex, owned by @def), or NULL when none is set. */
const char *nitroDomainDefGetMeasurement(const virDomainDef *def, unsigned int pcr);

/* Whether the emulated machine is to have an NSM; absent: where it can be had. */
virTristateBool nitroDomainDefGetNsm(const virDomainDef *def);

/*
 * The IAM role and the id of the parent instance that the NSM tells of (owned by @def), or NULL where
 * the definition names none.
 */
const char *nitroDomainDefGetParentRole(const virDomainDef *def);
const char *nitroDomainDefGetParentId(const virDomainDef *def);

/*
 * The host CPUs that the definition gives to its vCPUs, in the order of the vCPUs
 * (<vcpupin>) or ascending (<vcpu cpuset=>).
 *
 * Returns an array of *@ncpus CPU ids, owned by the caller; or NULL and 0 when the
 * definition leaves the choice open.
 */
unsigned int *nitroDomainDefGetCpus(const virDomainDef *def, size_t *ncpus);

/* The size of pages that <hugepages> asks for, in KiB; 0: no size is asked for. */
unsigned long long nitroDomainDefGetPageSize(const virDomainDef *def);

/*
 * The host's NUMA node that <numatune> takes the memory from, or -1: it names none. The
 * emulated machine takes its memory from anywhere: -1.
 */
int nitroDomainDefGetNumaNode(const virDomainDef *def);

/*
 * The device that holds the type, path and alias of the console, or NULL when there
 * is none. For a console with the target 'serial' libvirt keeps these in serials[0]
 * and leaves consoles[0] an empty twin, which takes over all of serials[0] when the
 * definition is formatted; this is then serials[0]. Owned by @def.
 */
virDomainChrDef *nitroDomainDefGetConsole(const virDomainDef *def);

/*
 * Notes in the live definition @def where the UNIX sockets of its vsock are (copied);
 * NULL: nowhere.
 */
void nitroDomainDefSetVsockDirectory(virDomainDef *def, const char *path);
