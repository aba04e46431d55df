/*
 * nitro_driver_stats.c: entry points for what can be known of an enclave from outside
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The parent cannot see into an enclave: what it knows is the definition, what the
 * helper has told at the start (CID, CPUs), and how long the boot has taken. All of it
 * is in the domain object, so that none of these asks the helper or waits.
 */

#include <config.h>

#include "datatypes.h"
#include "nitro_conf.h"
#include "nitro_domain.h"
#include "nitro_domain_conf.h"
#include "nitro_driver_stats.h"
#include "nitro_unprotected.h"
#include "viraccessapicheck.h"
#include "virerror.h"
#include "virhostcpu.h"
#include "virtypedparam.h"

#define VIR_FROM_THIS VIR_FROM_NITRO


/* vCPUs */

/*
 * The host CPUs of the vCPUs of @def: those that the running enclave has got, or
 * those that the definition asks for. Returns an array with one for each vCPU
 * (g_free), or NULL when they are not known.
 */
static unsigned int *
nitroStatsGetCpus(virDomainObj *vm,
                  const virDomainDef *def)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autofree unsigned int *cpus = NULL;
    size_t ncpus = 0;

    if (virDomainObjIsActive(vm) && def == vm->def && priv->run.ncpus == def->maxvcpus) {
        cpus = g_new0(unsigned int, priv->run.ncpus);
        memcpy(cpus, priv->run.cpus, priv->run.ncpus * sizeof(*cpus));
        return g_steal_pointer(&cpus);
    }

    cpus = nitroDomainDefGetCpus(def, &ncpus);
    return ncpus == def->maxvcpus ? g_steal_pointer(&cpus) : NULL;
}


/*
 * Fills in the @maplen bytes of each of @nmaps vCPUs: its one CPU, or all that the
 * host has where it is not known which.
 */
static int
nitroStatsFillMaps(virDomainObj *vm,
                   const virDomainDef *def,
                   unsigned char *maps,
                   int nmaps,
                   int maplen)
{
    g_autofree unsigned int *cpus = nitroStatsGetCpus(vm, def);
    g_autoptr(virBitmap) all = NULL;
    int ncpus;
    size_t i;

    if ((ncpus = virHostCPUGetCount()) < 0)
        return -1;
    all = virBitmapNew(ncpus);
    virBitmapSetAll(all);

    for (i = 0; i < nmaps && i < def->maxvcpus; i++) {
        const virBitmap *pin = def->vcpus[i]->cpumask ? def->vcpus[i]->cpumask : all;

        if (cpus) {
            memset(VIR_GET_CPUMAP(maps, maplen, i), 0, maplen);
            if (cpus[i] / 8 < maplen)
                VIR_USE_CPU(VIR_GET_CPUMAP(maps, maplen, i), cpus[i]);
        } else {
            virBitmapToDataBuf((virBitmap *) pin, VIR_GET_CPUMAP(maps, maplen, i), maplen);
        }
    }
    return i;
}


int
nitroDomainGetVcpuPinInfo(virDomainPtr dom,
                          int nmaps,
                          unsigned char *maps,
                          int maplen,
                          unsigned int flags)
{
    virDomainObj *vm;
    virDomainDef *def;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE |
                  VIR_DOMAIN_AFFECT_CONFIG, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainGetVcpuPinInfoEnsureACL(dom->conn, vm->def) == 0 &&
        (def = virDomainObjGetOneDef(vm, flags)))
        ret = nitroStatsFillMaps(vm, def, maps, nmaps, maplen);

    virDomainObjEndAPI(&vm);
    return ret;
}


int
nitroDomainGetVcpus(virDomainPtr dom,
                    virVcpuInfoPtr info,
                    int maxinfo,
                    unsigned char *maps,
                    int maplen)
{
    virDomainObj *vm;
    g_autofree unsigned int *cpus = NULL;
    int ret = -1;
    size_t i;

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainGetVcpusEnsureACL(dom->conn, vm->def) < 0 ||
        virDomainObjCheckActive(vm) < 0)
        goto cleanup;

    cpus = nitroStatsGetCpus(vm, vm->def);
    for (i = 0; i < maxinfo && i < vm->def->maxvcpus; i++) {
        info[i].number = i;
        info[i].state = VIR_VCPU_RUNNING;
        /* as of the domain: not to be seen from outside */
        info[i].cpuTime = 0;
        info[i].cpu = cpus ? (int) cpus[i] : VIR_VCPU_INFO_CPU_UNAVAILABLE;
    }
    if (maps && nitroStatsFillMaps(vm, vm->def, maps, i, maplen) < 0)
        goto cleanup;
    ret = i;

 cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}


/* Memory */

int
nitroDomainMemoryStats(virDomainPtr dom,
                       virDomainMemoryStatPtr stats,
                       unsigned int nstats,
                       unsigned int flags)
{
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(0, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainMemoryStatsEnsureACL(dom->conn, vm->def) < 0 ||
        virDomainObjCheckActive(vm) < 0)
        goto cleanup;

    ret = 0;
    if (nstats > 0) {
        stats[0].tag = VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON;
        stats[0].val = vm->def->mem.cur_balloon;
        ret = 1;
    }

 cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}


/* Groups of statistics */

static int
nitroStatsAddState(virDomainObj *vm,
                   virTypedParamList *params)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    int reason;
    int state = virDomainObjGetState(vm, &reason);

    if (virTypedParamListAddInt(params, state, "state.state") < 0 ||
        virTypedParamListAddInt(params, reason, "state.reason") < 0 ||
        virTypedParamListAddBoolean(params, nitroDomainDefIsDebug(vm->def), "nitro.debug") < 0)
        return -1;

    if (!virDomainObjIsActive(vm))
        return 0;
    if (vm->def->vsock && vm->def->vsock->guest_cid > 0 &&
        virTypedParamListAddUInt(params, vm->def->vsock->guest_cid, "nitro.cid") < 0)
        return -1;
    if (priv->run.bootTime > 0 &&
        virTypedParamListAddULLong(params, priv->run.bootTime, "nitro.boot-time") < 0)
        return -1;
    return 0;
}


static int
nitroStatsAddCpuTotal(virDomainObj *vm,
                      virTypedParamList *params)
{
    if (!virDomainObjIsActive(vm))
        return 0;
    return virTypedParamListAddULLong(params, 0, "cpu.time");
}


static int
nitroStatsAddBalloon(virDomainObj *vm,
                     virTypedParamList *params)
{
    if (virTypedParamListAddULLong(params, vm->def->mem.cur_balloon, "balloon.current") < 0 ||
        virTypedParamListAddULLong(params, virDomainDefGetMemoryTotal(vm->def),
                                   "balloon.maximum") < 0)
        return -1;
    return 0;
}


static int
nitroStatsAddVcpu(virDomainObj *vm,
                  virTypedParamList *params)
{
    unsigned int n = virDomainDefGetVcpus(vm->def);
    size_t i;

    if (virTypedParamListAddUInt(params, n, "vcpu.current") < 0 ||
        virTypedParamListAddUInt(params, virDomainDefGetVcpusMax(vm->def), "vcpu.maximum") < 0)
        return -1;

    for (i = 0; i < n && virDomainObjIsActive(vm); i++) {
        if (virTypedParamListAddInt(params, VIR_VCPU_RUNNING, "vcpu.%zu.state", i) < 0 ||
            virTypedParamListAddULLong(params, 0, "vcpu.%zu.time", i) < 0)
            return -1;
    }
    return 0;
}


static const struct {
    unsigned int group;
    unsigned int ninactive; /* values of a domain that is shut off */
    int (*add)(virDomainObj *vm, virTypedParamList *params);
} nitroStatsGroups[] = {
    { VIR_DOMAIN_STATS_STATE, 3, nitroStatsAddState },
    { VIR_DOMAIN_STATS_CPU_TOTAL, 0, nitroStatsAddCpuTotal },
    { VIR_DOMAIN_STATS_BALLOON, 2, nitroStatsAddBalloon },
    { VIR_DOMAIN_STATS_VCPU, 2, nitroStatsAddVcpu },
};


/*
 * A list with room for @groups of a domain that is shut off, and no more: it would grow by one
 * at a time, and a reply holds those of all domains.
 */
static virTypedParamList *
nitroStatsNewParams(unsigned int groups)
{
    virTypedParamList *params = g_new0(virTypedParamList, 1);
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(nitroStatsGroups); i++) {
        if (groups & nitroStatsGroups[i].group)
            params->par_alloc += nitroStatsGroups[i].ninactive;
    }
    params->par = g_new0(virTypedParameter, params->par_alloc);
    return params;
}


/* The record of @vm, which is locked, with the groups in @groups; NULL with an error set */
static virDomainStatsRecordPtr
nitroStatsGetRecord(virConnectPtr conn,
                    virDomainObj *vm,
                    unsigned int groups)
{
    g_autoptr(virTypedParamList) params = nitroStatsNewParams(groups);
    g_autofree virDomainStatsRecordPtr record = g_new0(virDomainStatsRecord, 1);
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(nitroStatsGroups); i++) {
        if ((groups & nitroStatsGroups[i].group) && nitroStatsGroups[i].add(vm, params) < 0)
            return NULL;
    }
    if (!(record->dom = virGetDomain(conn, vm->def->name, vm->def->uuid, vm->def->id)))
        return NULL;

    record->nparams = virTypedParamListStealParams(params, &record->params);
    return g_steal_pointer(&record);
}


/* Settles which @groups a client gets. Returns 0, or -1 with an error set. */
static int
nitroStatsChooseGroups(unsigned int *groups,
                       bool enforce)
{
    unsigned int supported = 0;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(nitroStatsGroups); i++)
        supported |= nitroStatsGroups[i].group;

    if (*groups == 0)
        *groups = supported;
    if (enforce && (*groups & ~supported)) {
        virReportError(VIR_ERR_ARGUMENT_UNSUPPORTED,
                       _("groups of statistics 0x%x are not there for an enclave"),
                       *groups & ~supported);
        return -1;
    }
    *groups &= supported;
    return 0;
}


int
nitroConnectGetAllDomainStats(virConnectPtr conn,
                              virDomainPtr *doms,
                              unsigned int ndoms,
                              unsigned int groups,
                              virDomainStatsRecordPtr **records,
                              unsigned int flags)
{
    nitroDriver *driver = conn->privateData;
    const unsigned int filters = VIR_CONNECT_LIST_DOMAINS_FILTERS_ACTIVE |
                                 VIR_CONNECT_LIST_DOMAINS_FILTERS_PERSISTENT |
                                 VIR_CONNECT_LIST_DOMAINS_FILTERS_STATE;
    g_autofree virDomainStatsRecordPtr *list = NULL;
    virDomainObj **vms = NULL;
    size_t nvms = 0;
    size_t i;
    int ret = -1;

    virCheckFlags(filters |
                  VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT |
                  VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING |
                  VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS, -1);

    if (virConnectGetAllDomainStatsEnsureACL(conn) < 0 ||
        nitroStatsChooseGroups(&groups,
                               flags & VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS) < 0)
        return -1;

    if (ndoms == 0)
        virDomainObjListCollect(driver->domains, conn, &vms, &nvms,
                                virConnectGetAllDomainStatsCheckACL, flags & filters);
    else if (virDomainObjListConvert(driver->domains, conn, doms, ndoms, &vms, &nvms,
                                     virConnectGetAllDomainStatsCheckACL,
                                     flags & filters, true) < 0)
        return -1;

    list = g_new0(virDomainStatsRecordPtr, nvms + 1);
    for (i = 0; i < nvms; i++) {
        VIR_WITH_OBJECT_LOCK_GUARD(vms[i]) {
            list[i] = nitroStatsGetRecord(conn, vms[i], groups);
        }
        if (!list[i])
            goto cleanup;
    }

    *records = g_steal_pointer(&list);
    ret = nvms;

 cleanup:
    virDomainStatsRecordListFree(g_steal_pointer(&list));
    virObjectListFreeCount(vms, nvms);
    return ret;
}


/* How things are */

int
nitroDomainGetControlInfo(virDomainPtr dom,
                          virDomainControlInfoPtr info,
                          unsigned int flags)
{
    virDomainObj *vm;
    nitroDomainObjPrivate *priv;
    int ret = -1;

    virCheckFlags(0, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainGetControlInfoEnsureACL(dom->conn, vm->def) < 0 ||
        virDomainObjCheckActive(vm) < 0)
        goto cleanup;

    priv = vm->privateData;
    memset(info, 0, sizeof(*info));
    info->state = VIR_DOMAIN_CONTROL_OK;
    if (priv->run.ended || priv->run.aside) {
        info->state = VIR_DOMAIN_CONTROL_ERROR;
        info->details = VIR_DOMAIN_CONTROL_ERROR_REASON_MONITOR;
    } else if (vm->job && (vm->job->active || vm->job->asyncJob)) {
        info->state = VIR_DOMAIN_CONTROL_JOB;
    }
    ret = 0;

 cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}


/* What of @def an operator should know before trusting the enclave; a list of strings */
static char **
nitroStatsGetRisks(const virDomainDef *def)
{
    g_auto(GStrv) list = g_new0(char *, 4);
    size_t n = 0;

    if (nitroDomainDefIsDebug(def))
        list[n++] = g_strdup(_("tainted: debug mode: the console can be read, and the attested measurements are zero"));
    if (!nitroDomainDefHasHeartbeat(def))
        list[n++] = g_strdup(_("tainted: no heartbeat: a start succeeds whether or not the enclave boots"));
    if (nitroDomainDefGetMachine(def) == NITRO_MACHINE_EMULATED)
        list[n++] = g_strdup(_("tainted: emulated machine: nothing protects the enclave against its host"));
    return g_steal_pointer(&list);
}


/* What of @vm is worth a message, the state of its run first; a list of strings */
static char **
nitroStatsGetMessages(nitroDriver *driver,
                      virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_auto(GStrv) risks = nitroStatsGetRisks(vm->def);
    char **unprotected = virDomainObjIsActive(vm) ? priv->run.unprotected : NULL;
    char **list = g_new0(char *, g_strv_length(risks) +
                                 (unprotected ? g_strv_length(unprotected) : 0) + 3);
    size_t n = 0;
    size_t i;

    if (priv->run.place && nitroQueueIsWaiting(driver->queue, priv->run.place))
        list[n++] = g_strdup(_("waits for its turn: as many domains start as may at once (max_starts in nitro.conf)"));
    if (priv->run.aside)
        list[n++] = g_strdup_printf(_("set aside: the helper, process %lld, cannot be talked to: %s"),
                                    (long long) vm->pid, priv->run.aside);
    for (i = 0; risks[i]; i++)
        list[n++] = g_strdup(risks[i]);
    for (i = 0; unprotected && unprotected[i]; i++) {
        g_autofree char *text = nitroUnprotectedDescribe(unprotected[i]);

        list[n++] = g_strdup_printf(_("tainted: not confined (%s): %s"), unprotected[i], text);
    }
    return list;
}


int
nitroDomainGetMessages(virDomainPtr dom,
                       char ***messages,
                       unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_MESSAGE_DEPRECATION |
                  VIR_DOMAIN_MESSAGE_TAINTING, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainGetMessagesEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;

    /* There is nothing deprecated yet. */
    if (flags == 0 || (flags & VIR_DOMAIN_MESSAGE_TAINTING))
        *messages = nitroStatsGetMessages(driver, vm);
    else
        *messages = g_new0(char *, 1);
    ret = g_strv_length(*messages);

 cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}
