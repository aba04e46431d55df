/*
 * nitro_driver_config.c: entry points that change the stored definition of a domain
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An enclave is fixed once it has started, so that these change what the next start
 * will see: a copy of the stored definition -> the change -> checks -> file -> the
 * domain object. Whatever fails leaves the definition as it was. None of it waits, so
 * that the lock of the domain is enough, and a domain that starts or runs can be
 * changed as well; but for a rename, which must not meet a start.
 *
 * What the driver alone heeds can change in a running domain, too: titles and other
 * metadata, and what happens at the end of the enclave.
 */

#include <config.h>

#include "datatypes.h"
#include "domain_validate.h"
#include "nitro_autostart.h"
#include "nitro_conf.h"
#include "nitro_domain.h"
#include "nitro_domain_conf.h"
#include "nitro_domain_text.h"
#include "nitro_driver_config.h"
#include "viraccessapicheck.h"
#include "virerror.h"
#include "virhostcpu.h"
#include "virlog.h"
#include "virstring.h"
#include "virxml.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_driver_config");


/* The way of a change */

virDomainDef *
nitroConfigCopy(nitroDriver *driver,
                virDomainObj *vm,
                unsigned int flags)
{
    if (virDomainObjUpdateModificationImpact(vm, &flags) < 0)
        return NULL;

    if (flags & VIR_DOMAIN_AFFECT_LIVE) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("domain '%s' is running, and an enclave cannot change after its start: change the stored definition alone (--config)"),
                       vm->def->name);
        return NULL;
    }
    return virDomainObjCopyPersistentDef(vm, driver->xmlopt, NULL);
}


int
nitroConfigStore(nitroDriver *driver,
                 virDomainObj *vm,
                 virDomainDef **def)
{
    if (virDomainDefSave(*def, driver->xmlopt, driver->config->configDir) < 0)
        return -1;

    virDomainObjAssignDef(vm, def, false, NULL);
    vm->updated = 1;
    return 0;
}


int
nitroConfigCheckAndStore(nitroDriver *driver,
                         virDomainObj *vm,
                         virDomainDef **def)
{
    if (virDomainDefValidate(*def, VIR_DOMAIN_DEF_PARSE_INACTIVE, driver->xmlopt, NULL) < 0)
        return -1;
    return nitroConfigStore(driver, vm, def);
}


/* Memory */

int
nitroDomainSetMemoryFlags(virDomainPtr dom,
                          unsigned long kib,
                          unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    g_autoptr(virDomainDef) def = NULL;
    virDomainObj *vm;
    int ret = -1;

    /* An enclave has no balloon: its memory and the maximum of it are one. */
    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE |
                  VIR_DOMAIN_AFFECT_CONFIG |
                  VIR_DOMAIN_MEM_MAXIMUM, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainSetMemoryFlagsEnsureACL(dom->conn, vm->def, flags) < 0 ||
        !(def = nitroConfigCopy(driver, vm, flags)))
        goto cleanup;

    virDomainDefSetMemoryTotal(def, kib);
    def->mem.cur_balloon = kib;
    ret = nitroConfigCheckAndStore(driver, vm, &def);

 cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}


/* libvirt says of this one that it is for running domains only. */
int
nitroDomainSetMemory(virDomainPtr dom,
                     unsigned long kib)
{
    return nitroDomainSetMemoryFlags(dom, kib, VIR_DOMAIN_AFFECT_LIVE);
}


int
nitroDomainSetMaxMemory(virDomainPtr dom,
                        unsigned long kib)
{
    return nitroDomainSetMemoryFlags(dom, kib, VIR_DOMAIN_MEM_MAXIMUM);
}


unsigned long long
nitroDomainGetMaxMemory(virDomainPtr dom)
{
    virDomainObj *vm;
    unsigned long long ret = 0;

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return 0;
    if (virDomainGetMaxMemoryEnsureACL(dom->conn, vm->def) == 0)
        ret = virDomainDefGetMemoryTotal(vm->def);

    virDomainObjEndAPI(&vm);
    return ret;
}


/* vCPUs */

int
nitroDomainSetVcpusFlags(virDomainPtr dom,
                         unsigned int nvcpus,
                         unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    g_autoptr(virDomainDef) def = NULL;
    virDomainObj *vm;
    unsigned int max;
    int ret = -1;

    /* All vCPUs of an enclave are there from its start: their number is the maximum. */
    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE |
                  VIR_DOMAIN_AFFECT_CONFIG |
                  VIR_DOMAIN_VCPU_MAXIMUM, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainSetVcpusFlagsEnsureACL(dom->conn, vm->def, flags) < 0 ||
        !(def = nitroConfigCopy(driver, vm, flags)))
        goto cleanup;

    max = nitroMachineGetVcpusMax(def->os.machine);
    if (nvcpus > max) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("%u vCPUs are too many: a domain of machine '%s' can have %u"),
                       nvcpus, def->os.machine, max);
        goto cleanup;
    }
    if (virDomainDefSetVcpusMax(def, nvcpus, driver->xmlopt) < 0 ||
        virDomainDefSetVcpus(def, nvcpus) < 0)
        goto cleanup;
    ret = nitroConfigCheckAndStore(driver, vm, &def);

 cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}


/* libvirt says of this one that it is for running domains only. */
int
nitroDomainSetVcpus(virDomainPtr dom,
                    unsigned int nvcpus)
{
    return nitroDomainSetVcpusFlags(dom, nvcpus, VIR_DOMAIN_AFFECT_LIVE);
}


int
nitroDomainGetVcpusFlags(virDomainPtr dom,
                         unsigned int flags)
{
    virDomainObj *vm;
    virDomainDef *def;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE |
                  VIR_DOMAIN_AFFECT_CONFIG |
                  VIR_DOMAIN_VCPU_MAXIMUM, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainGetVcpusFlagsEnsureACL(dom->conn, vm->def, flags) == 0 &&
        (def = virDomainObjGetOneDef(vm, flags)))
        ret = virDomainDefGetVcpus(def);

    virDomainObjEndAPI(&vm);
    return ret;
}


int
nitroDomainGetMaxVcpus(virDomainPtr dom)
{
    virDomainObj *vm;
    int ret = -1;

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    /* As libvirt has it: of a running domain what it was started with, else what is possible */
    if (virDomainGetMaxVcpusEnsureACL(dom->conn, vm->def) == 0)
        ret = virDomainObjIsActive(vm) ? virDomainDefGetVcpusMax(vm->def) :
            nitroMachineGetVcpusMax(vm->def->os.machine);

    virDomainObjEndAPI(&vm);
    return ret;
}


/* Pinning */

/*
 * Turns <vcpu cpuset=> of @def into one <vcpupin> for each vCPU, which mean the same
 * where there are as many CPUs as vCPUs: then one of them can be changed.
 */
static void
nitroConfigSpreadCpuset(virDomainDef *def)
{
    size_t ncpus;
    g_autofree unsigned int *cpus = nitroDomainDefGetCpus(def, &ncpus);
    size_t i;

    for (i = 0; i < def->maxvcpus && def->cpumask && ncpus == def->maxvcpus; i++) {
        virBitmapFree(def->vcpus[i]->cpumask);
        def->vcpus[i]->cpumask = virBitmapNew(VIR_DOMAIN_CPUMASK_LEN);
        ignore_value(virBitmapSetBit(def->vcpus[i]->cpumask, cpus[i]));
    }
    g_clear_pointer(&def->cpumask, virBitmapFree);
}


/* Whether @map holds all CPUs of the host, which is how clients ask for no pinning at all */
static bool
nitroConfigIsUnpin(virBitmap *map)
{
    int ncpus = virHostCPUGetCount();

    return ncpus > 0 && virBitmapNextClearBit(map, -1) >= ncpus;
}


static int
nitroConfigPinVcpu(virDomainDef *def,
                   unsigned int vcpu,
                   const unsigned char *cpumap,
                   int maplen)
{
    g_autoptr(virBitmap) map = virBitmapNewData(cpumap, maplen);
    g_autofree char *list = virBitmapFormat(map);
    bool unpin = nitroConfigIsUnpin(map) || virBitmapIsAllSet(map);

    if (vcpu >= def->maxvcpus) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("vCPU %u is not one of the %zu of domain '%s'"),
                       vcpu, def->maxvcpus, def->name);
        return -1;
    }
    if (!unpin && virBitmapCountBits(map) != 1) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("CPUs '%s' for vCPU %u: the vCPU of an enclave is exactly one CPU of the pool"),
                       NULLSTR_EMPTY(list), vcpu);
        return -1;
    }
    if (!unpin && virBitmapIsBitSet(map, 0)) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("CPU 0 for vCPU %u: it always belongs to the parent and can not be given to an enclave"),
                       vcpu);
        return -1;
    }

    nitroConfigSpreadCpuset(def);
    virBitmapFree(def->vcpus[vcpu]->cpumask);
    def->vcpus[vcpu]->cpumask = unpin ? NULL : g_steal_pointer(&map);
    return 0;
}


int
nitroDomainPinVcpuFlags(virDomainPtr dom,
                        unsigned int vcpu,
                        unsigned char *cpumap,
                        int maplen,
                        unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    g_autoptr(virDomainDef) def = NULL;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE |
                  VIR_DOMAIN_AFFECT_CONFIG, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainPinVcpuFlagsEnsureACL(dom->conn, vm->def, flags) < 0 ||
        !(def = nitroConfigCopy(driver, vm, flags)) ||
        nitroConfigPinVcpu(def, vcpu, cpumap, maplen) < 0)
        goto cleanup;

    /* Clients pin one vCPU at a time, so that what is between the first and the last of
     * them is not complete: the next start checks the whole. */
    ret = nitroConfigStore(driver, vm, &def);

 cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}


/* libvirt says of this one that it is for running domains only. */
int
nitroDomainPinVcpu(virDomainPtr dom,
                   unsigned int vcpu,
                   unsigned char *cpumap,
                   int maplen)
{
    return nitroDomainPinVcpuFlags(dom, vcpu, cpumap, maplen, VIR_DOMAIN_AFFECT_LIVE);
}


/* Metadata and life cycle actions: the driver's own business, so running domains as well */

int
nitroDomainSetMetadata(virDomainPtr dom,
                       int type,
                       const char *metadata,
                       const char *key,
                       const char *uri,
                       unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE |
                  VIR_DOMAIN_AFFECT_CONFIG, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainSetMetadataEnsureACL(dom->conn, vm->def, flags) < 0)
        goto cleanup;

    /* What is an element has been through a parser. */
    if (type != VIR_DOMAIN_METADATA_ELEMENT &&
        nitroDomainTextCheck(type == VIR_DOMAIN_METADATA_TITLE ? "title" : "description",
                             metadata, type == VIR_DOMAIN_METADATA_DESCRIPTION) < 0)
        goto cleanup;

    ret = virDomainObjSetMetadata(vm, type, metadata, key, uri, driver->xmlopt,
                                  driver->config->stateDir, driver->config->configDir, flags);
    if (ret == 0)
        virObjectEventStateQueue(driver->domainEventState,
                                 virDomainEventMetadataChangeNewFromObj(vm, type, uri));

 cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}


char *
nitroDomainGetMetadata(virDomainPtr dom,
                       int type,
                       const char *uri,
                       unsigned int flags)
{
    virDomainObj *vm;
    char *ret = NULL;

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return NULL;
    /* checks the flags as well */
    if (virDomainGetMetadataEnsureACL(dom->conn, vm->def) == 0)
        ret = virDomainObjGetMetadata(vm, type, uri, flags);

    virDomainObjEndAPI(&vm);
    return ret;
}


/* Returns the action of before. */
static virDomainLifecycleAction
nitroConfigSetAction(virDomainDef *def,
                     virDomainLifecycle type,
                     virDomainLifecycleAction action)
{
    virDomainLifecycleAction before = action;

    switch (type) {
    case VIR_DOMAIN_LIFECYCLE_POWEROFF:
        before = def->onPoweroff;
        def->onPoweroff = action;
        break;
    case VIR_DOMAIN_LIFECYCLE_REBOOT:
        before = def->onReboot;
        def->onReboot = action;
        break;
    case VIR_DOMAIN_LIFECYCLE_CRASH:
        before = def->onCrash;
        def->onCrash = action;
        break;
    case VIR_DOMAIN_LIFECYCLE_LAST:
        break;
    }
    return before;
}


/* The live definition goes back to the action @before, as a change has failed. */
static void
nitroConfigRestoreAction(nitroDriver *driver,
                         virDomainObj *vm,
                         virDomainLifecycle type,
                         virDomainLifecycleAction before)
{
    virErrorPtr err = NULL;

    virErrorPreserveLast(&err);
    nitroConfigSetAction(vm->def, type, before);
    if (nitroDomainSaveStatus(driver, vm) < 0)
        VIR_WARN("Unable to save the status of domain '%s': %s",
                 vm->def->name, virGetLastErrorMessage());
    virErrorRestore(&err);
}


/* The stored and the live definition are changed, or neither. */
static int
nitroConfigSetActions(nitroDriver *driver,
                      virDomainObj *vm,
                      unsigned int flags,
                      virDomainLifecycle type,
                      virDomainLifecycleAction action)
{
    g_autoptr(virDomainDef) def = NULL;
    virDomainLifecycleAction before = action;

    if (virDomainObjUpdateModificationImpact(vm, &flags) < 0)
        return -1;

    if (action != VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY &&
        action != VIR_DOMAIN_LIFECYCLE_ACTION_RESTART) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("life cycle action '%s' is not supported: for an enclave only 'destroy' and 'restart' are"),
                       virDomainLifecycleActionTypeToString(action));
        return -1;
    }

    if (flags & VIR_DOMAIN_AFFECT_CONFIG) {
        if (!(def = virDomainObjCopyPersistentDef(vm, driver->xmlopt, NULL)))
            return -1;
        nitroConfigSetAction(def, type, action);
    }
    if (flags & VIR_DOMAIN_AFFECT_LIVE) {
        before = nitroConfigSetAction(vm->def, type, action);
        /* The file of before is there still. */
        if (nitroDomainSaveStatus(driver, vm) < 0) {
            nitroConfigSetAction(vm->def, type, before);
            return -1;
        }
    }
    if (def && nitroConfigStore(driver, vm, &def) < 0) {
        if (flags & VIR_DOMAIN_AFFECT_LIVE)
            nitroConfigRestoreAction(driver, vm, type, before);
        return -1;
    }
    return 0;
}


int
nitroDomainSetLifecycleAction(virDomainPtr dom,
                              unsigned int type,
                              unsigned int action,
                              unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE |
                  VIR_DOMAIN_AFFECT_CONFIG, -1);

    if (!virDomainDefLifecycleActionAllowed(type, action) ||
        !(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainSetLifecycleActionEnsureACL(dom->conn, vm->def) == 0)
        ret = nitroConfigSetActions(driver, vm, flags, type, action);

    virDomainObjEndAPI(&vm);
    return ret;
}


/* Autostart */

int
nitroDomainGetAutostart(virDomainPtr dom,
                        int *autostart)
{
    virDomainObj *vm;
    int ret = -1;

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainGetAutostartEnsureACL(dom->conn, vm->def) == 0) {
        *autostart = vm->autostart;
        ret = 0;
    }

    virDomainObjEndAPI(&vm);
    return ret;
}


int
nitroDomainSetAutostart(virDomainPtr dom,
                        int autostart)
{
    nitroDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainSetAutostartEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;

    if (!vm->persistent) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("domain '%s' is transient and cannot be started with the daemon: define it first"),
                       vm->def->name);
        goto cleanup;
    }
    ret = !!autostart == vm->autostart ? 0 : nitroAutostartSet(driver, vm, autostart);

 cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}


/* Rename */

static int
nitroConfigCheckName(const char *name)
{
    if (*name == '\0') {
        virReportError(VIR_ERR_XML_ERROR, "%s", _("the name of a domain cannot be empty"));
        return -1;
    }
    /* as of a new definition */
    if (virXMLCheckIllegalChars("name", name, "/") < 0)
        return -1;
    return nitroDomainNameCheck(name);
}


/* Saves @vm as @name, with the link for its autostart. Leaves nothing of it on failure. */
static int
nitroConfigSaveAs(nitroDriver *driver,
                  virDomainObj *vm,
                  const char *name)
{
    g_autofree char *path = virDomainConfigFile(driver->config->configDir, name);
    char *before = vm->def->name;
    bool autostart = vm->autostart;

    if (!path)
        return -1;

    vm->def->name = g_strdup(name);
    if (virDomainDefSave(vm->def, driver->xmlopt, driver->config->configDir) == 0 &&
        (!autostart || nitroAutostartSet(driver, vm, true) == 0)) {
        g_free(before);
        return 0;
    }

    unlink(path);
    g_free(vm->def->name);
    vm->def->name = before;
    return -1;
}


static int
nitroConfigCheckRename(virDomainObj *vm)
{
    if (virDomainObjIsActive(vm)) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("domain '%s' is running: only a domain that is shut off can be renamed"),
                       vm->def->name);
        return -1;
    }
    if (!vm->persistent || vm->removing) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("domain '%s' is transient: there is no definition to rename"),
                       vm->def->name);
        return -1;
    }
    return 0;
}


/*
 * Called by virDomainObjListRename(), with the lists locked as well as @vm, which was
 * unlocked for a moment before
 */
static int
nitroConfigRename(virDomainObj *vm,
                  const char *name,
                  unsigned int flags,
                  void *opaque)
{
    nitroDriver *driver = opaque;
    nitroDriverConfig *config = driver->config;
    g_autofree char *before = g_strdup(vm->def->name);
    g_autofree char *path = virDomainConfigFile(config->configDir, before);
    g_autofree char *link = virDomainConfigFile(config->autostartDir, before);

    virCheckFlags(0, -1);

    if (!path || !link || nitroConfigCheckRename(vm) < 0 ||
        nitroConfigSaveAs(driver, vm, name) < 0)
        return -1;

    if (unlink(link) < 0 && errno != ENOENT)
        VIR_WARN("Unable to remove '%s': %s", link, g_strerror(errno));
    if (unlink(path) < 0)
        VIR_WARN("Unable to remove '%s': %s", path, g_strerror(errno));

    virObjectEventStateQueue(driver->domainEventState,
                             virDomainEventLifecycleNew(-1, before, vm->def->uuid,
                                                        VIR_DOMAIN_EVENT_UNDEFINED,
                                                        VIR_DOMAIN_EVENT_UNDEFINED_RENAMED));
    nitroDomainEventLifecycle(driver, vm, VIR_DOMAIN_EVENT_DEFINED,
                              VIR_DOMAIN_EVENT_DEFINED_RENAMED);
    return 0;
}


int
nitroDomainRename(virDomainPtr dom,
                  const char *name,
                  unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(0, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainRenameEnsureACL(dom->conn, vm->def) < 0 ||
        nitroConfigCheckRename(vm) < 0 ||
        nitroConfigCheckName(name) < 0 ||
        virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;

    /* Waiting for the job, it may have been started. */
    if (nitroConfigCheckRename(vm) == 0)
        ret = virDomainObjListRename(driver->domains, vm, name, flags,
                                     nitroConfigRename, driver);
    virDomainObjEndJob(vm);

 cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}
