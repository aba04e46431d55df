/*
 * nitro_driver_tune.c: entry points for the limits of the emulated machine
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * <cputune> and <memtune>, of the stored definition and of the cgroup of a running domain. What is
 * asked for is checked for both before either is changed.
 */

#include <config.h>

#include "datatypes.h"
#include "domain_cgroup.h"
#include "domain_event.h"
#include "nitro_cgroup.h"
#include "nitro_conf.h"
#include "nitro_domain.h"
#include "nitro_domain_conf.h"
#include "nitro_domain_validate.h"
#include "nitro_driver_config.h"
#include "nitro_driver_tune.h"
#include "viraccessapicheck.h"
#include "virerror.h"
#include "virlog.h"
#include "virtypedparam.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_driver_tune");

/* cpu_shares, global_period, global_quota; hard_limit, soft_limit, swap_hard_limit */
#define NITRO_TUNE_SCHEDULER 3
#define NITRO_TUNE_MEMORY 3

/* Whether @def can have limits at all. Returns 0, or -1 with an error set. */
static int
nitroTuneCheck(nitroDriver *driver,
               const virDomainDef *def)
{
    if (!driver->privileged) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("domain '%s' can have no limits: in a session there are no cgroups"),
                       def->name);
        return -1;
    }
    if (nitroDomainDefGetMachine(def) != NITRO_MACHINE_EMULATED) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("domain '%s' can have no limits: on machine '%s' CPUs and memory are its own, not the host's to share out"),
                       def->name, def->os.machine);
        return -1;
    }
    return 0;
}


/* The way of a change */

typedef struct _nitroTune nitroTune;
struct _nitroTune {
    virDomainObj *vm;
    virDomainDef *live;       /* NULL: the running domain is not to be changed */
    virDomainDef *persistent; /* a copy, which it becomes; NULL: likewise, the stored definition */
    virCgroup *cgroup;        /* of @live; not owned */
};

static void
nitroTuneClear(nitroTune *tune)
{
    g_clear_pointer(&tune->persistent, virDomainDefFree);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroTune, nitroTuneClear);


/* What of @vm is to be changed, in @controller. Returns 0, or -1 with an error set. */
static int
nitroTuneBegin(nitroDriver *driver,
               virDomainObj *vm,
               unsigned int flags,
               int controller,
               nitroTune *tune)
{
    virDomainDef *persistent = NULL;

    tune->vm = vm;
    if (virDomainObjGetDefs(vm, flags, &tune->live, &persistent) < 0 ||
        (tune->live && nitroTuneCheck(driver, tune->live) < 0) ||
        (persistent && nitroTuneCheck(driver, persistent) < 0) ||
        (tune->live && !(tune->cgroup = nitroCgroupGet(vm, controller))) ||
        (persistent && !(tune->persistent = virDomainObjCopyPersistentDef(vm, driver->xmlopt, NULL))))
        return -1;
    return 0;
}


/* What was to be done is done: saves it. Returns 0, or -1 with an error set. */
static int
nitroTuneEnd(nitroDriver *driver,
             nitroTune *tune)
{
    if (tune->live && nitroDomainSaveStatus(driver, tune->vm) < 0)
        return -1;
    return tune->persistent ? nitroConfigStore(driver, tune->vm, &tune->persistent) : 0;
}


/* Scheduler */

char *
nitroDomainGetSchedulerType(virDomainPtr dom,
                            int *nparams)
{
    nitroDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    char *ret = NULL;

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return NULL;
    if (virDomainGetSchedulerTypeEnsureACL(dom->conn, vm->def) < 0 ||
        nitroTuneCheck(driver, vm->def) < 0)
        goto cleanup;

    if (nparams)
        *nparams = NITRO_TUNE_SCHEDULER;
    ret = g_strdup("posix");

 cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}


/* The scheduler's parameters of @vm into @tune: the stored ones, or what the kernel has. */
static int
nitroTuneReadScheduler(virDomainObj *vm,
                       unsigned int flags,
                       virDomainCputune *tune)
{
    virDomainDef *live;
    virDomainDef *persistent;
    virCgroup *cgroup;

    if (virDomainObjGetDefs(vm, flags, &live, &persistent) < 0)
        return -1;
    if (persistent) {
        *tune = persistent->cputune;
        return 0;
    }
    if (!(cgroup = nitroCgroupGet(vm, VIR_CGROUP_CONTROLLER_CPU)) ||
        virCgroupGetCpuShares(cgroup, &tune->shares) < 0 ||
        virCgroupGetCpuPeriodQuota(cgroup, &tune->global_period, &tune->global_quota) < 0)
        return -1;
    return 0;
}


/* The first @nparams of the parameters. Returns how many those are, or -1 with an error set. */
static int
nitroTuneFillScheduler(const virDomainCputune *tune,
                       virTypedParameterPtr params,
                       int nparams)
{
    if ((nparams > 0 && virTypedParameterAssign(&params[0], VIR_DOMAIN_SCHEDULER_CPU_SHARES,
                                                VIR_TYPED_PARAM_ULLONG, tune->shares) < 0) ||
        (nparams > 1 && virTypedParameterAssign(&params[1], VIR_DOMAIN_SCHEDULER_GLOBAL_PERIOD,
                                                VIR_TYPED_PARAM_ULLONG, tune->global_period) < 0) ||
        (nparams > 2 && virTypedParameterAssign(&params[2], VIR_DOMAIN_SCHEDULER_GLOBAL_QUOTA,
                                                VIR_TYPED_PARAM_LLONG, tune->global_quota) < 0))
        return -1;
    return MIN(nparams, NITRO_TUNE_SCHEDULER);
}


int
nitroDomainGetSchedulerParametersFlags(virDomainPtr dom,
                                       virTypedParameterPtr params,
                                       int *nparams,
                                       unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    virDomainCputune tune = { 0 };
    virDomainObj *vm;
    int n = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE |
                  VIR_DOMAIN_AFFECT_CONFIG |
                  VIR_TYPED_PARAM_STRING_OKAY, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainGetSchedulerParametersFlagsEnsureACL(dom->conn, vm->def) < 0 ||
        nitroTuneCheck(driver, vm->def) < 0 ||
        nitroTuneReadScheduler(vm, flags, &tune) < 0 ||
        (n = nitroTuneFillScheduler(&tune, params, *nparams)) < 0)
        goto cleanup;
    *nparams = n;

 cleanup:
    virDomainObjEndAPI(&vm);
    return n < 0 ? -1 : 0;
}


int
nitroDomainGetSchedulerParameters(virDomainPtr dom,
                                  virTypedParameterPtr params,
                                  int *nparams)
{
    return nitroDomainGetSchedulerParametersFlags(dom, params, nparams, VIR_DOMAIN_AFFECT_CURRENT);
}


/* Returns 0, or -1 with an error set; 0 means "as it is", and -1 "without limit", which is a quota's. */
static int
nitroTuneCheckRange(const char *name,
                    long long value,
                    long long min,
                    long long max)
{
    if (value == 0 || (value >= min && value <= max))
        return 0;
    virReportError(VIR_ERR_INVALID_ARG,
                   _("%s is %lld: it must be 0, or from %lld to %lld"), name, value, min, max);
    return -1;
}


/* Shares have no "as it is". Returns 0, or -1 with an error set. */
static int
nitroTuneCheckShares(unsigned long long shares)
{
    if (shares >= VIR_CGROUP_CPU_SHARES_MIN && shares <= VIR_CGROUP_CPU_SHARES_MAX)
        return 0;
    virReportError(VIR_ERR_INVALID_ARG,
                   _("%s is %llu: it must be from %lld to %lld"), VIR_DOMAIN_SCHEDULER_CPU_SHARES,
                   shares, VIR_CGROUP_CPU_SHARES_MIN, VIR_CGROUP_CPU_SHARES_MAX);
    return -1;
}


/* Changes @tune by the one parameter @param. Returns 0, or -1 with an error set. */
static int
nitroTuneTakeParameter(virDomainCputune *tune,
                       const virTypedParameter *param)
{
    if (STREQ(param->field, VIR_DOMAIN_SCHEDULER_CPU_SHARES)) {
        tune->shares = param->value.ul;
        tune->sharesSpecified = true;
        return nitroTuneCheckShares(tune->shares);
    }
    if (STREQ(param->field, VIR_DOMAIN_SCHEDULER_GLOBAL_PERIOD)) {
        tune->global_period = param->value.ul;
        return nitroTuneCheckRange(param->field, MIN(param->value.ul, LLONG_MAX),
                                   VIR_CGROUP_CPU_PERIOD_MIN, VIR_CGROUP_CPU_PERIOD_MAX);
    }
    tune->global_quota = param->value.l;
    return param->value.l < 0 ? 0 :
           nitroTuneCheckRange(param->field, param->value.l, VIR_CGROUP_CPU_QUOTA_MIN,
                               VIR_CGROUP_CPU_QUOTA_MAX);
}


/*
 * Sets @new in the kernel, and in the definition what has been set, also when what follows it fails.
 * Returns 0, or -1 with an error set.
 */
static int
nitroTuneApplyScheduler(nitroTune *tune,
                        const virDomainCputune *new,
                        bool shares)
{
    if (shares) {
        if (virCgroupSetCpuShares(tune->cgroup, new->shares) < 0)
            return -1;
        tune->live->cputune.shares = new->shares;
        tune->live->cputune.sharesSpecified = true;
    }
    /* both or none: it takes a period back when the quota fails */
    if (virCgroupSetupCpuPeriodQuota(tune->cgroup, new->global_period, new->global_quota) < 0)
        return -1;
    if (new->global_period)
        tune->live->cputune.global_period = new->global_period;
    if (new->global_quota)
        tune->live->cputune.global_quota = new->global_quota;
    return 0;
}


/* Tells who listens what of the running domain has changed. */
static void
nitroTuneSendEvent(nitroDriver *driver,
                   virDomainObj *vm,
                   const virDomainCputune *new,
                   bool shares)
{
    virTypedParameterPtr params = NULL;
    int nparams = 0;
    int max = 0;

    if ((shares &&
         virTypedParamsAddULLong(&params, &nparams, &max, VIR_DOMAIN_TUNABLE_CPU_CPU_SHARES,
                                 new->shares) < 0) ||
        (new->global_period &&
         virTypedParamsAddULLong(&params, &nparams, &max, VIR_DOMAIN_TUNABLE_CPU_GLOBAL_PERIOD,
                                 new->global_period) < 0) ||
        (new->global_quota &&
         virTypedParamsAddLLong(&params, &nparams, &max, VIR_DOMAIN_TUNABLE_CPU_GLOBAL_QUOTA,
                                new->global_quota) < 0)) {
        virTypedParamsFree(params, nparams);
        return;
    }
    if (nparams > 0)
        virObjectEventStateQueue(driver->domainEventState,
                                 virDomainEventTunableNewFromObj(vm, &params, nparams));
}


/* Only a part could be changed, with an error set that is kept: the next daemon is to know it. */
static void
nitroTuneSaveRest(nitroDriver *driver,
                  virDomainObj *vm)
{
    virErrorPtr err = NULL;

    virErrorPreserveLast(&err);
    if (nitroDomainSaveStatus(driver, vm) < 0)
        VIR_WARN("Unable to save the status of domain '%s': %s", vm->def->name,
                 virGetLastErrorMessage());
    virErrorRestore(&err);
}


/* With a job. Returns 0, or -1 with an error set. */
static int
nitroTuneSetScheduler(nitroDriver *driver,
                      virDomainObj *vm,
                      virTypedParameterPtr params,
                      int nparams,
                      unsigned int flags)
{
    g_auto(nitroTune) tune = { 0 };
    virDomainCputune new = { 0 };
    size_t i;

    if (nitroTuneBegin(driver, vm, flags, VIR_CGROUP_CONTROLLER_CPU, &tune) < 0)
        return -1;
    for (i = 0; i < nparams; i++) {
        if (nitroTuneTakeParameter(&new, &params[i]) < 0 ||
            (tune.persistent && nitroTuneTakeParameter(&tune.persistent->cputune, &params[i]) < 0))
            return -1;
    }

    if (tune.live) {
        if (nitroTuneApplyScheduler(&tune, &new, new.sharesSpecified) < 0) {
            nitroTuneSaveRest(driver, vm);
            return -1;
        }
        nitroTuneSendEvent(driver, vm, &new, new.sharesSpecified);
    }
    return nitroTuneEnd(driver, &tune);
}


int
nitroDomainSetSchedulerParametersFlags(virDomainPtr dom,
                                       virTypedParameterPtr params,
                                       int nparams,
                                       unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE |
                  VIR_DOMAIN_AFFECT_CONFIG, -1);

    if (virTypedParamsValidate(params, nparams,
                               VIR_DOMAIN_SCHEDULER_CPU_SHARES, VIR_TYPED_PARAM_ULLONG,
                               VIR_DOMAIN_SCHEDULER_GLOBAL_PERIOD, VIR_TYPED_PARAM_ULLONG,
                               VIR_DOMAIN_SCHEDULER_GLOBAL_QUOTA, VIR_TYPED_PARAM_LLONG,
                               NULL) < 0)
        return -1;

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainSetSchedulerParametersFlagsEnsureACL(dom->conn, vm->def, flags) == 0 &&
        virDomainObjBeginJob(vm, VIR_JOB_MODIFY) == 0) {
        ret = nitroTuneSetScheduler(driver, vm, params, nparams, flags);
        virDomainObjEndJob(vm);
    }

    virDomainObjEndAPI(&vm);
    return ret;
}


int
nitroDomainSetSchedulerParameters(virDomainPtr dom,
                                  virTypedParameterPtr params,
                                  int nparams)
{
    return nitroDomainSetSchedulerParametersFlags(dom, params, nparams, VIR_DOMAIN_AFFECT_CURRENT);
}


/* Memory */

/* The limits of @vm into @mem, in KiB: the stored ones, or what the kernel has. */
static int
nitroTuneReadMemory(virDomainObj *vm,
                    unsigned int flags,
                    virDomainMemtune *mem)
{
    virDomainDef *live;
    virDomainDef *persistent;
    virCgroup *cgroup;

    if (virDomainObjGetDefs(vm, flags, &live, &persistent) < 0)
        return -1;
    if (persistent) {
        *mem = persistent->mem;
        return 0;
    }
    if (!(cgroup = nitroCgroupGet(vm, VIR_CGROUP_CONTROLLER_MEMORY)) ||
        virCgroupGetMemoryHardLimit(cgroup, &mem->hard_limit) < 0 ||
        virCgroupGetMemorySoftLimit(cgroup, &mem->soft_limit) < 0)
        return -1;
    if (virCgroupGetMemSwapHardLimit(cgroup, &mem->swap_hard_limit) == 0)
        return 0;
    /* Kernels that do not count swap have no such file. */
    if (!virLastErrorIsSystemErrno(ENOENT) && !virLastErrorIsSystemErrno(EOPNOTSUPP))
        return -1;
    virResetLastError();
    mem->swap_hard_limit = VIR_DOMAIN_MEMORY_PARAM_UNLIMITED;
    return 0;
}


int
nitroDomainGetMemoryParameters(virDomainPtr dom,
                               virTypedParameterPtr params,
                               int *nparams,
                               unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    virDomainMemtune mem = { 0 };
    virDomainObj *vm;
    int ret = -1;
    size_t i;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE |
                  VIR_DOMAIN_AFFECT_CONFIG |
                  VIR_TYPED_PARAM_STRING_OKAY, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainGetMemoryParametersEnsureACL(dom->conn, vm->def) < 0 ||
        nitroTuneCheck(driver, vm->def) < 0 ||
        nitroTuneReadMemory(vm, flags, &mem) < 0)
        goto cleanup;

    for (i = 0; i < *nparams && i < NITRO_TUNE_MEMORY; i++) {
        const struct {
            const char *name;
            unsigned long long value;
        } limits[NITRO_TUNE_MEMORY] = {
            { VIR_DOMAIN_MEMORY_HARD_LIMIT, mem.hard_limit },
            { VIR_DOMAIN_MEMORY_SOFT_LIMIT, mem.soft_limit },
            { VIR_DOMAIN_MEMORY_SWAP_HARD_LIMIT, mem.swap_hard_limit },
        };

        if (virTypedParameterAssign(&params[i], limits[i].name, VIR_TYPED_PARAM_ULLONG,
                                    limits[i].value) < 0)
            goto cleanup;
    }
    /* A client that has no room yet asks how much it needs. */
    if (*nparams == 0 || *nparams > NITRO_TUNE_MEMORY)
        *nparams = NITRO_TUNE_MEMORY;
    ret = 0;

 cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}


/* Whether @def, which may be NULL, can have the limits @params. Returns 0, or -1 with an error set. */
static int
nitroTuneCheckMemory(const virDomainDef *def,
                     virTypedParameterPtr params,
                     int nparams)
{
    virDomainMemtune mem;

    if (!def)
        return 0;
    mem = def->mem;
    if (virTypedParamsGetULLong(params, nparams, VIR_DOMAIN_MEMORY_HARD_LIMIT, &mem.hard_limit) < 0 ||
        virTypedParamsGetULLong(params, nparams, VIR_DOMAIN_MEMORY_SOFT_LIMIT, &mem.soft_limit) < 0 ||
        virTypedParamsGetULLong(params, nparams, VIR_DOMAIN_MEMORY_SWAP_HARD_LIMIT,
                                &mem.swap_hard_limit) < 0)
        return -1;
    return nitroDomainMemtuneValidate(def, &mem);
}


/* With a job. Returns 0, or -1 with an error set. */
static int
nitroTuneSetMemory(nitroDriver *driver,
                   virDomainObj *vm,
                   virTypedParameterPtr params,
                   int nparams,
                   unsigned int flags)
{
    g_auto(nitroTune) tune = { 0 };

    if (nitroTuneBegin(driver, vm, flags, VIR_CGROUP_CONTROLLER_MEMORY, &tune) < 0 ||
        nitroTuneCheckMemory(tune.live, params, nparams) < 0 ||
        nitroTuneCheckMemory(tune.persistent, params, nparams) < 0 ||
        virDomainCgroupSetMemoryLimitParameters(tune.cgroup, vm, tune.live, tune.persistent,
                                                params, nparams) < 0)
        return -1;
    return nitroTuneEnd(driver, &tune);
}


int
nitroDomainSetMemoryParameters(virDomainPtr dom,
                               virTypedParameterPtr params,
                               int nparams,
                               unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE |
                  VIR_DOMAIN_AFFECT_CONFIG, -1);

    if (virTypedParamsValidate(params, nparams,
                               VIR_DOMAIN_MEMORY_HARD_LIMIT, VIR_TYPED_PARAM_ULLONG,
                               VIR_DOMAIN_MEMORY_SOFT_LIMIT, VIR_TYPED_PARAM_ULLONG,
                               VIR_DOMAIN_MEMORY_SWAP_HARD_LIMIT, VIR_TYPED_PARAM_ULLONG,
                               NULL) < 0)
        return -1;

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainSetMemoryParametersEnsureACL(dom->conn, vm->def, flags) == 0 &&
        virDomainObjBeginJob(vm, VIR_JOB_MODIFY) == 0) {
        ret = nitroTuneSetMemory(driver, vm, params, nparams, flags);
        virDomainObjEndJob(vm);
    }

    virDomainObjEndAPI(&vm);
    return ret;
}
