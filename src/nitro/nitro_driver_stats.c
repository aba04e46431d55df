/*
 * nitro_driver_stats.c: entry points for what can be known of an enclave from outside
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The parent cannot see into an enclave: what it knows is the definition, what the
 * helper has told at the start (CID, CPUs), how long the boot has taken, and of the emulated
 * machine the CPU time of its processes. All of it is in the domain object, in /proc and in the
 * domain's cgroup, so that none of these asks the helper or waits. What services have done their
 * process is asked for, for a short time.
 */

#include <config.h>

#include "datatypes.h"
#include "libvirt_compat.h"
#include "nitro_cgroup.h"
#include "nitro_conf.h"
#include "nitro_cputime.h"
#include "nitro_domain.h"
#include "nitro_domain_conf.h"
#include "nitro_driver_stats.h"
#include "nitro_unprotected.h"
#include "viraccessapicheck.h"
#include "virerror.h"
#include "virhostcpu.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

/* ms: how long one services process may take to answer, and, in us, those of a client's list */
#define NITRO_STATS_SERVICE_TIMEOUT 500
#define NITRO_STATS_SERVICES_TIME (2 * G_USEC_PER_SEC)

/* CPU time */

/* Returns -1 with an error set: @rc of nitroStatsReadCpuTime() says why a time is not known. */
static int
nitroStatsReportCpuTime(virDomainObj *vm,
                        int rc)
{
    virReportSystemError(-rc, _("cannot read the CPU time of process %lld, the helper of domain '%s'"),
                         (long long) vm->pid, vm->def->name);
    return -1;
}


/* What the helper of @vm and all below it have used, into @time. Returns 0, or -errno. */
static int
nitroStatsReadProcesses(virDomainObj *vm,
                        nitroCpuTime *time)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    nitroHelper *helper = priv->run.helper;
    size_t nvcpus = virDomainDefGetVcpusMax(vm->def);
    int rc;

    rc = nitroCpuTimeRead("/proc", nitroHelperGetPid(helper), nitroHelperGetStart(helper), nvcpus, time);
    if (rc == 0)
        return 0;
    /* One that has ended has used what was read last; one that is hidden from us has not ended. */
    if (rc == -ESRCH && nitroHelperFind(helper, vm->def->uuid) == NITRO_HELPER_GONE) {
        time->vcpus = g_new0(nitroCpuTimeVcpu, nvcpus);
        return 0;
    }
    return rc;
}


/*
 * What the enclave of @vm has used, into @time, which is all zero: an emulated one. Nobody outside
 * knows it of one on the device, whose CPUs the host does not have meanwhile. It never goes back
 * while an enclave runs. Returns 1, 0 when nobody can know it, or -errno when it could not be read.
 */
static int
nitroStatsReadCpuTime(virDomainObj *vm,
                      nitroCpuTime *time)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    unsigned long long user = 0;
    unsigned long long system = 0;
    int rc;

    if (!virDomainObjIsActive(vm) || !priv->run.helper ||
        nitroDomainDefGetMachine(vm->def) != NITRO_MACHINE_EMULATED)
        return 0;
    if ((rc = nitroStatsReadProcesses(vm, time)) < 0)
        return rc;
    if (nitroCgroupGetCpuTime(vm, &user, &system)) {
        time->user = user;
        time->system = system;
    }
    /* A process that is reaped between two looks is missing from both. */
    time->user = priv->run.cpuUser = MAX(priv->run.cpuUser, time->user);
    time->system = priv->run.cpuSystem = MAX(priv->run.cpuSystem, time->system);
    return 1;
}


int
nitroDomainGetInfo(virDomainPtr dom,
                   virDomainInfoPtr info)
{
    g_auto(nitroCpuTime) time = { 0 };
    virDomainObj *vm;
    int ret = -1;
    int rc;

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainGetInfoEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    if ((rc = nitroStatsReadCpuTime(vm, &time)) < 0) {
        nitroStatsReportCpuTime(vm, rc);
        goto cleanup;
    }

    info->state = virDomainObjGetState(vm, NULL);
    info->maxMem = virDomainDefGetMemoryTotal(vm->def);
    info->memory = vm->def->mem.cur_balloon;
    info->nrVirtCpu = virDomainDefGetVcpus(vm->def);
    info->cpuTime = time.user + time.system;
    ret = 0;

 cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}


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


/* Where a vCPU of the emulated machine runs is where its thread ran last. */
static void
nitroStatsFillVcpus(virDomainObj *vm,
                    const nitroCpuTime *time,
                    virVcpuInfoPtr info,
                    size_t maxinfo)
{
    g_autofree unsigned int *cpus = nitroStatsGetCpus(vm, vm->def);
    size_t i;

    for (i = 0; i < maxinfo && i < vm->def->maxvcpus; i++) {
        info[i].number = i;
        info[i].state = VIR_VCPU_RUNNING;
        info[i].cpuTime = 0;
        info[i].cpu = cpus ? (int) cpus[i] : VIR_VCPU_INFO_CPU_UNAVAILABLE;
        if (!time->vcpus || !time->vcpus[i].known)
            continue;
        info[i].cpuTime = time->vcpus[i].time;
        info[i].cpu = time->vcpus[i].cpu;
    }
}


int
nitroDomainGetVcpus(virDomainPtr dom,
                    virVcpuInfoPtr info,
                    int maxinfo,
                    unsigned char *maps,
                    int maplen)
{
    g_auto(nitroCpuTime) time = { 0 };
    virDomainObj *vm;
    int ret = -1;
    int rc;
    size_t i;

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainGetVcpusEnsureACL(dom->conn, vm->def) < 0 ||
        virDomainObjCheckActive(vm) < 0)
        goto cleanup;
    if ((rc = nitroStatsReadCpuTime(vm, &time)) < 0) {
        nitroStatsReportCpuTime(vm, rc);
        goto cleanup;
    }

    nitroStatsFillVcpus(vm, &time, info, maxinfo);
    i = MIN((size_t) maxinfo, vm->def->maxvcpus);
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

/* What is told of services of one type only */
static int
nitroStatsAddServiceOwn(const nitroServiceStatus *service,
                        size_t i,
                        virTypedParamList *params)
{
    if ((service->type == NITRO_SERVICE_LOG || service->type == NITRO_SERVICE_SYSLOG) &&
        virTypedParamListAddULLong(params, service->lost, "nitro.service.%zu.lost", i) < 0)
        return -1;
    if (service->healthy >= 0 &&
        virTypedParamListAddBoolean(params, service->healthy, "nitro.service.%zu.healthy", i) < 0)
        return -1;
    if (service->code >= 0 &&
        virTypedParamListAddInt(params, service->code, "nitro.service.%zu.code", i) < 0)
        return -1;
    return 0;
}


/* What the services process has answered just now; nothing when it has not */
static int
nitroStatsAddServices(const nitroServicesStatus *status,
                      virTypedParamList *params)
{
    size_t i;

    if (status->n > 0 &&
        virTypedParamListAddUInt(params, status->n, "nitro.service.count") < 0)
        return -1;

    for (i = 0; i < status->n; i++) {
        const nitroServiceStatus *service = &status->services[i];
        const struct {
            const char *key;
            unsigned long long value;
        } counters[] = {
            { "connections.current", service->current },
            { "connections.total", service->total },
            { "received.bytes", service->received },
            { "sent.bytes", service->sent },
            { "refused", service->refused },
            { "failed", service->failed },
        };
        size_t j;

        if (virTypedParamListAddString(params, nitroServiceTypeToString(service->type),
                                       "nitro.service.%zu.type", i) < 0 ||
            virTypedParamListAddUInt(params, service->port, "nitro.service.%zu.port", i) < 0)
            return -1;
        for (j = 0; j < G_N_ELEMENTS(counters); j++) {
            if (virTypedParamListAddULLong(params, counters[j].value, "nitro.service.%zu.%s",
                                           i, counters[j].key) < 0)
                return -1;
        }
        if (nitroStatsAddServiceOwn(service, i, params) < 0)
            return -1;
    }
    return 0;
}


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
    return nitroStatsAddServices(&priv->run.services.status, params);
}


static int
nitroStatsAddCpuTotal(virDomainObj *vm,
                      virTypedParamList *params)
{
    g_auto(nitroCpuTime) time = { 0 };
    int rc;

    if (!virDomainObjIsActive(vm))
        return 0;
    /* What is not known is left out: the statistics of all domains are one answer. */
    if ((rc = nitroStatsReadCpuTime(vm, &time)) < 0)
        return 0;
    if (virTypedParamListAddULLong(params, time.user + time.system, "cpu.time") < 0)
        return -1;
    if (rc == 0)
        return 0;
    if (virTypedParamListAddULLong(params, time.user, "cpu.user") < 0 ||
        virTypedParamListAddULLong(params, time.system, "cpu.system") < 0)
        return -1;
    return 0;
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
    g_auto(nitroCpuTime) time = { 0 };
    unsigned int n = virDomainDefGetVcpus(vm->def);
    size_t i;
    int rc;

    if (virTypedParamListAddUInt(params, n, "vcpu.current") < 0 ||
        virTypedParamListAddUInt(params, virDomainDefGetVcpusMax(vm->def), "vcpu.maximum") < 0)
        return -1;
    rc = nitroStatsReadCpuTime(vm, &time);

    for (i = 0; i < n && virDomainObjIsActive(vm); i++) {
        if (virTypedParamListAddInt(params, VIR_VCPU_RUNNING, "vcpu.%zu.state", i) < 0)
            return -1;
        /* That no thread has been found is not that it has used nothing. */
        if ((rc == 0 || (rc > 0 && time.vcpus[i].known)) &&
            virTypedParamListAddULLong(params, rc == 0 ? 0 : time.vcpus[i].time, "vcpu.%zu.time", i) < 0)
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
    size_t room = 0;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(nitroStatsGroups); i++) {
        if (groups & nitroStatsGroups[i].group)
            room += nitroStatsGroups[i].ninactive;
    }
    return libvirtCompatParamListNew(room);
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
    if (virTypedParamListSteal(params, &record->params, &record->nparams) < 0) {
        virObjectUnref(record->dom);
        return NULL;
    }

    return g_steal_pointer(&record);
}


/*
 * Asks the services of @vm, without its lock, for what nitroStatsAddServices() adds: until @end, us
 * of the monotonic clock, for all domains together.
 */
static void
nitroStatsAskServices(virDomainObj *vm,
                      unsigned int groups,
                      unsigned int flags,
                      gint64 end)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    gint64 left = (end - g_get_monotonic_time()) / G_TIME_SPAN_MILLISECOND;

    nitroServicesStatusClear(&priv->run.services.status);
    if (!(groups & VIR_DOMAIN_STATS_STATE) || left <= 0 ||
        (flags & VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT))
        return;
    nitroServicesQuery(vm, MIN(left, NITRO_STATS_SERVICE_TIMEOUT));
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
    const gint64 end = g_get_monotonic_time() + NITRO_STATS_SERVICES_TIME;
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
            nitroStatsAskServices(vms[i], groups, flags, end);
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
    } else if (!priv->run.taken) {
        /* of an earlier daemon, and not taken over yet */
        info->state = VIR_DOMAIN_CONTROL_OCCUPIED;
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
                                 (unprotected ? g_strv_length(unprotected) : 0) + 4);
    size_t n = 0;
    size_t i;

    if (priv->run.place && nitroQueueIsWaiting(driver->queue, priv->run.place))
        list[n++] = g_strdup(_("waits for its turn: as many domains start as may at once (max_starts in nitro.conf)"));
    if (priv->run.aside)
        list[n++] = g_strdup_printf(_("set aside: the helper, process %lld, cannot be talked to: %s"),
                                    (long long) vm->pid, priv->run.aside);
    if (virDomainObjIsActive(vm) && priv->run.services.down)
        list[n++] = g_strdup_printf(_("services are down, and are started again: %s"),
                                    priv->run.services.down);
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
