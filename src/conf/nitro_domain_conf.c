/*
 * nitro_domain_conf.c: the XML model of enclave domains
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * libvirt's parser calls, in this order: nitro_domain_ns.c for the elements of
 * the nitro namespace, nitro_domain_postparse.c for defaults, and
 * nitro_domain_validate*.c for checks. Here they are put together, and here are
 * the accessors for what the rest of the driver asks of a definition.
 */

#include <config.h>

#include "nitro_domain_conf.h"
#include "nitro_domain_ns.h"
#include "nitro_domain_postparse.h"
#include "nitro_domain_validate.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_ENUM_IMPL(nitroMachine,
              NITRO_MACHINE_LAST,
              "nitro",
              "nitro-enclave",
);


virDomainXMLOption *
nitroDomainXMLOptionNew(const char *emulator,
                        virDomainXMLPrivateDataCallbacks *priv,
                        virDomainJobObjConfig *jobConfig)
{
    virDomainDefParserConfig config = {
        .domainPostParseBasicCallback = nitroDomainDefPostParseBasic,
        .domainPostParseCallback = nitroDomainDefPostParse,
        .devicesPostParseCallback = nitroDomainDeviceDefPostParse,
        .assignAddressesCallback = nitroDomainDefPostParseControllers,
        .domainValidateCallback = nitroDomainDefValidate,
        .deviceValidateCallback = nitroDomainDeviceDefValidate,
        /* without it libvirt adds <boot dev='hd'/> */
        .features = VIR_DOMAIN_DEF_FEATURE_NO_BOOT_ORDER,
        .priv = g_strdup(emulator),
        .privFree = g_free,
    };

    return virDomainXMLOptionNew(&config, priv, &nitroDomainXMLNamespace,
                                 NULL, NULL, jobConfig);
}


unsigned int
nitroMachineGetVcpusMax(const char *machine)
{
    return machine && nitroMachineTypeFromString(machine) == NITRO_MACHINE_EMULATED ?
        NITRO_VCPUS_MAX_EMULATED : NITRO_VCPUS_MAX;
}


nitroMachine
nitroDomainDefGetMachine(const virDomainDef *def)
{
    return nitroMachineTypeFromString(def->os.machine);
}


bool
nitroDomainDefIsDebug(const virDomainDef *def)
{
    const nitroDomainXmlNsDef *ns = def->namespaceData;

    return ns && ns->debug == VIR_TRISTATE_BOOL_YES;
}


bool
nitroDomainDefHasHeartbeat(const virDomainDef *def)
{
    const nitroDomainXmlNsDef *ns = def->namespaceData;

    return !ns || ns->heartbeat != VIR_TRISTATE_BOOL_NO;
}


unsigned int
nitroDomainDefGetHeartbeatTimeout(const virDomainDef *def)
{
    const nitroDomainXmlNsDef *ns = def->namespaceData;

    return ns ? ns->heartbeatTimeout : 0;
}


const char *
nitroDomainDefGetMeasurement(const virDomainDef *def,
                             unsigned int pcr)
{
    const nitroDomainXmlNsDef *ns = def->namespaceData;

    return ns && pcr < NITRO_PCR_COUNT ? ns->pcr[pcr] : NULL;
}


virTristateBool
nitroDomainDefGetNsm(const virDomainDef *def)
{
    const nitroDomainXmlNsDef *ns = def->namespaceData;

    return ns ? ns->nsm : VIR_TRISTATE_BOOL_ABSENT;
}


const char *
nitroDomainDefGetParentRole(const virDomainDef *def)
{
    const nitroDomainXmlNsDef *ns = def->namespaceData;

    return ns ? ns->parentRole : NULL;
}


const char *
nitroDomainDefGetParentId(const virDomainDef *def)
{
    const nitroDomainXmlNsDef *ns = def->namespaceData;

    return ns ? ns->parentId : NULL;
}


static bool
nitroDomainDefHasVcpuPin(const virDomainDef *def)
{
    size_t i;

    for (i = 0; i < def->maxvcpus; i++) {
        if (def->vcpus[i]->cpumask)
            return true;
    }

    return false;
}


unsigned int *
nitroDomainDefGetCpus(const virDomainDef *def,
                      size_t *ncpus)
{
    g_autoptr(GArray) cpus = g_array_new(false, false, sizeof(unsigned int));
    ssize_t pos = -1;
    size_t i;

    if (nitroDomainDefHasVcpuPin(def)) {
        for (i = 0; i < def->maxvcpus; i++) {
            unsigned int cpu;

            /* the checks have seen to it that each vCPU has exactly one */
            if (!def->vcpus[i]->cpumask ||
                (pos = virBitmapNextSetBit(def->vcpus[i]->cpumask, -1)) < 0)
                continue;

            cpu = pos;
            g_array_append_val(cpus, cpu);
        }
    } else if (def->cpumask) {
        while ((pos = virBitmapNextSetBit(def->cpumask, pos)) >= 0) {
            unsigned int cpu = pos;

            g_array_append_val(cpus, cpu);
        }
    }

    if ((*ncpus = cpus->len) == 0)
        return NULL;

    return (unsigned int *) g_array_free(g_steal_pointer(&cpus), false);
}


unsigned long long
nitroDomainDefGetPageSize(const virDomainDef *def)
{
    return def->mem.nhugepages > 0 ? def->mem.hugepages[0].size : 0;
}


int
nitroDomainDefGetNumaNode(const virDomainDef *def)
{
    virBitmap *nodes = virDomainNumatuneGetNodeset(def->numa, NULL, -1);

    if (!nodes || nitroDomainDefGetMachine(def) != NITRO_MACHINE_NITRO)
        return -1;
    return virBitmapNextSetBit(nodes, -1);
}


virDomainChrDef *
nitroDomainDefGetConsole(const virDomainDef *def)
{
    virDomainChrDef *console = def->nconsoles > 0 ? def->consoles[0] : NULL;

    if (def->nserials > 0 &&
        (!console || console->targetType == VIR_DOMAIN_CHR_CONSOLE_TARGET_TYPE_SERIAL))
        return def->serials[0];

    return console;
}


void
nitroDomainDefSetVsockDirectory(virDomainDef *def,
                                const char *path)
{
    static const nitroDomainXmlNsDef empty;
    nitroDomainXmlNsDef *ns = def->namespaceData;

    if (!ns) {
        if (!path)
            return;
        ns = def->namespaceData = g_new0(nitroDomainXmlNsDef, 1);
    }

    g_free(ns->vsockDirectory);
    ns->vsockDirectory = g_strdup(path);

    /* Data without an element would leave a declaration of the namespace in the XML. */
    if (memcmp(ns, &empty, sizeof(empty)) == 0) {
        nitroDomainXMLNamespace.free(ns);
        def->namespaceData = NULL;
    }
}
