/*
 * nitro_cgroup.c: the cgroup of a domain, and the limits in it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * prepare (is there a systemd-machined?) -> create, while the helper waits -> limits;
 * found again by a restarted daemon; removed when the helper is gone. All by libvirt's virCgroup.
 */

#include <config.h>

#include "domain_cgroup.h"
#include "domain_driver.h"
#include "nitro_cgroup.h"
#include "nitro_domain.h"
#include "nitro_domain_conf.h"
#include "virerror.h"
#include "virgdbus.h"
#include "virlog.h"
#include "virsystemd.h"
#include "virutil.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_cgroup");

/* Where libvirt puts the domains that name no other */
#define NITRO_CGROUP_PARTITION "/machine"

/* The bus name of systemd-machined, and the beginning of its interfaces and errors */
#define NITRO_CGROUP_MACHINE1 "org.freedesktop.machine1"

/* The only ones that anything is done with */
#define NITRO_CGROUP_CONTROLLERS \
    ((1 << VIR_CGROUP_CONTROLLER_CPU) | \
     (1 << VIR_CGROUP_CONTROLLER_CPUACCT) | \
     (1 << VIR_CGROUP_CONTROLLER_MEMORY))

/* How often, and after how many us each, the removal is tried: processes that are killed need a moment */
#define NITRO_CGROUP_REMOVE_TRIES 10
#define NITRO_CGROUP_REMOVE_PAUSE 100000

/* What is needed of a domain while it is not locked */
typedef struct _nitroCgroupSpec nitroCgroupSpec;
struct _nitroCgroupSpec {
    char *name;
    char *machine;
    char *partition;
    unsigned char uuid[VIR_UUID_BUFLEN];
    int id;
    pid_t pid;
    bool tuned;              /* what follows counts; its pointers do not */
    virDomainMemtune mem;
    virDomainCputune cpu;
};


static const char *
nitroCgroupGetPartition(const virDomainDef *def)
{
    return def->resource && def->resource->partition ? def->resource->partition : NITRO_CGROUP_PARTITION;
}


static void
nitroCgroupSpecInit(nitroCgroupSpec *spec,
                    virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    spec->name = g_strdup(vm->def->name);
    spec->machine = g_strdup(priv->run.machine);
    spec->partition = g_strdup(nitroCgroupGetPartition(vm->def));
    memcpy(spec->uuid, vm->def->uuid, sizeof(spec->uuid));
    spec->id = vm->def->id;
    spec->pid = vm->pid;
    spec->tuned = nitroDomainDefGetMachine(vm->def) == NITRO_MACHINE_EMULATED;
    spec->mem = vm->def->mem;
    spec->cpu = vm->def->cputune;
}


static void
nitroCgroupSpecClear(nitroCgroupSpec *spec)
{
    g_free(spec->name);
    g_free(spec->machine);
    g_free(spec->partition);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroCgroupSpec, nitroCgroupSpecClear);


/* Returns 1, 0, or -1 with an error set when it cannot be found out. */
static int
nitroCgroupIsAvailable(nitroDriver *driver)
{
    int rc;

    if (!driver->privileged || !virCgroupAvailable())
        return 0;
    if ((rc = virSystemdHasMachined()) >= 0)
        return 1;
    return rc == -2 ? 0 : -1;
}


/* What of @def nobody heeds without a cgroup; NULL: nothing */
static const char *
nitroCgroupGetNeed(const virDomainDef *def)
{
    const virDomainCputune *cpu = &def->cputune;
    const virDomainMemtune *mem = &def->mem;
    const struct {
        bool present;
        const char *element;
    } needs[] = {
        { cpu->sharesSpecified && nitroDomainDefGetMachine(def) == NITRO_MACHINE_EMULATED, "shares" },
        { cpu->global_period > 0, "global_period" },
        { cpu->global_quota != 0, "global_quota" },
        { virMemoryLimitIsSet(mem->hard_limit), "hard_limit" },
        { virMemoryLimitIsSet(mem->soft_limit), "soft_limit" },
        { virMemoryLimitIsSet(mem->swap_hard_limit), "swap_hard_limit" },
        { STRNEQ(nitroCgroupGetPartition(def), NITRO_CGROUP_PARTITION), "partition" },
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(needs); i++) {
        if (needs[i].present)
            return needs[i].element;
    }
    return NULL;
}


/* Returns 0, or -1 with an error set when @def cannot do without a cgroup. */
static int
nitroCgroupCheckWithout(const virDomainDef *def,
                        bool privileged)
{
    const char *need = nitroCgroupGetNeed(def);

    if (!need)
        return 0;
    if (!privileged) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("domain '%s' has <%s>, which needs a cgroup: in a session there are none, leave it out or use nitro:///system"),
                       def->name, need);
        return -1;
    }
    virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                   _("domain '%s' has <%s>, which needs a cgroup, and this host has no systemd-machined to make one: install it, or leave it out"),
                   def->name, need);
    return -1;
}


int
nitroCgroupPrepare(nitroDriver *driver,
                   virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    int id = vm->def->id;
    int rc;

    virObjectUnlock(vm);
    rc = nitroCgroupIsAvailable(driver);
    virObjectLock(vm);
    if (vm->def->id != id)
        return 0;

    if (rc < 0) {
        g_autofree char *why = g_strdup(virGetLastErrorMessage());

        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("cannot find out whether systemd-machined is there for a cgroup of domain '%s': %s"),
                       vm->def->name, why);
        return -1;
    }
    if (rc == 0)
        return nitroCgroupCheckWithout(vm->def, driver->privileged);

    g_free(priv->run.machine);
    priv->run.machine = virDomainDriverGenerateMachineName(NITRO_DRIVER_NAME, NULL, id,
                                                           vm->def->name, true);
    return priv->run.machine ? 0 : -1;
}


/* Whether the host's cgroups have what @spec asks for. Returns 0, or -1 with an error set. */
static int
nitroCgroupCheckControllers(const nitroCgroupSpec *spec,
                            virCgroup *cgroup)
{
    const char *element = NULL;

    if ((virMemoryLimitIsSet(spec->mem.hard_limit) || virMemoryLimitIsSet(spec->mem.soft_limit) ||
         virMemoryLimitIsSet(spec->mem.swap_hard_limit)) &&
        !virCgroupHasController(cgroup, VIR_CGROUP_CONTROLLER_MEMORY))
        element = "memtune";
    else if ((spec->cpu.sharesSpecified || spec->cpu.global_period || spec->cpu.global_quota) &&
             !virCgroupHasController(cgroup, VIR_CGROUP_CONTROLLER_CPU))
        element = "cputune";
    if (!element)
        return 0;

    virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                   _("domain '%s' has <%s>, for which the cgroups of this host have no controller"),
                   spec->name, element);
    return -1;
}


/* Sets the limits of @spec. Returns 0, or -1 with an error set. */
static int
nitroCgroupTune(const nitroCgroupSpec *spec,
                virCgroup *cgroup)
{
    if (!spec->tuned)
        return 0;
    if (nitroCgroupCheckControllers(spec, cgroup) < 0 ||
        virDomainCgroupSetupMemtune(cgroup, spec->mem) < 0 ||
        (spec->cpu.sharesSpecified && virCgroupSetCpuShares(cgroup, spec->cpu.shares) < 0) ||
        virCgroupSetupCpuPeriodQuota(cgroup, spec->cpu.global_period, spec->cpu.global_quota) < 0)
        return -1;
    return 0;
}


/* Makes the machine and its cgroup. Returns it (virCgroupFree), or NULL with an error set. */
static virCgroup *
nitroCgroupMake(const nitroCgroupSpec *spec)
{
    g_autoptr(virCgroup) cgroup = NULL;
    g_autofree char *why = NULL;

    /* It succeeds without a group when the helper could not be moved, with the error set. */
    if (virCgroupNewMachine(spec->machine, NITRO_DRIVER_NAME, spec->uuid, NULL, spec->pid, false,
                            0, NULL, spec->partition, NITRO_CGROUP_CONTROLLERS, 0, &cgroup) == 0 &&
        cgroup)
        return g_steal_pointer(&cgroup);

    why = g_strdup(virGetLastErrorMessage());
    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("systemd-machined cannot make the machine '%s' for domain '%s': %s"),
                   spec->machine, spec->name, why);
    return NULL;
}


/* The value of the property "Leader" of the machine @object. Returns 0, or -1 with an error set. */
static int
nitroCgroupGetLeader(GDBusConnection *conn,
                     const char *object,
                     pid_t *leader)
{
    g_autoptr(GVariant) reply = NULL;
    g_autoptr(GVariant) value = NULL;

    if (virGDBusCallMethod(conn, &reply, G_VARIANT_TYPE("(v)"), NULL, NITRO_CGROUP_MACHINE1, object,
                           "org.freedesktop.DBus.Properties", "Get",
                           g_variant_new("(ss)", NITRO_CGROUP_MACHINE1 ".Machine", "Leader")) < 0)
        return -1;
    g_variant_get(reply, "(v)", &value);
    if (!g_variant_is_of_type(value, G_VARIANT_TYPE_UINT32)) {
        virReportError(VIR_ERR_DBUS_SERVICE, "%s",
                       _("systemd-machined names the leader of a machine by no number"));
        return -1;
    }
    *leader = g_variant_get_uint32(value);
    return 0;
}


/*
 * Whether the machine of this name is the one that was made for the helper: the name alone may be
 * that of a container, or of a domain of another daemon. systemd-machined keeps the leader's number
 * also when that has ended (org.freedesktop.machine1(5)).
 *
 * Returns 1, 0 (another's, or none), or -1 with an error set when it cannot be found out.
 */
static int
nitroCgroupIsOwnMachine(const nitroCgroupSpec *spec)
{
    g_autoptr(virError) error = g_new0(virError, 1);
    g_autoptr(GVariant) reply = NULL;
    g_autofree char *object = NULL;
    GDBusConnection *conn;
    pid_t leader = 0;
    int rc;

    if ((rc = virSystemdHasMachined()) < 0) {
        if (rc == -2)
            virReportError(VIR_ERR_DBUS_SERVICE, "%s", _("systemd-machined is not there"));
        return -1;
    }
    if (!(conn = virGDBusGetSystemBus()) ||
        virGDBusCallMethod(conn, &reply, G_VARIANT_TYPE("(o)"), error, NITRO_CGROUP_MACHINE1,
                           "/org/freedesktop/machine1", NITRO_CGROUP_MACHINE1 ".Manager",
                           "GetMachine", g_variant_new("(s)", spec->machine)) < 0)
        return -1;
    if (error->level == VIR_ERR_ERROR &&
        STREQ_NULLABLE(error->str1, NITRO_CGROUP_MACHINE1 ".NoSuchMachine"))
        return 0;
    if (error->level == VIR_ERR_ERROR) {
        virReportErrorObject(error);
        return -1;
    }
    g_variant_get(reply, "(o)", &object);
    if (nitroCgroupGetLeader(conn, object, &leader) < 0)
        return -1;
    return spec->pid > 0 && leader == spec->pid;
}


/* Ends the machine, with all that is in it, if it is the domain's. */
static void
nitroCgroupTerminate(const nitroCgroupSpec *spec)
{
    int rc = nitroCgroupIsOwnMachine(spec);

    if (rc == 0)
        VIR_DEBUG("The machine '%s' is not, or no more, that of domain '%s'", spec->machine,
                  spec->name);
    if (rc > 0)
        rc = virCgroupTerminateMachine(spec->machine);
    if (rc < 0)
        VIR_WARN("The machine '%s' of domain '%s' cannot be ended: %s", spec->machine, spec->name,
                 rc == -2 ? "systemd-machined is not there" : virGetLastErrorMessage());
}


/* Ends the machine, if it is the domain's, and removes @cgroup, which may be NULL. */
static void
nitroCgroupUnmake(const nitroCgroupSpec *spec,
                  virCgroup *cgroup)
{
    unsigned int tries = 0;
    int rc = 0;

    nitroCgroupTerminate(spec);

    while (cgroup && (rc = virCgroupRemove(cgroup)) < 0 && tries++ < NITRO_CGROUP_REMOVE_TRIES)
        g_usleep(NITRO_CGROUP_REMOVE_PAUSE);
    if (cgroup && rc < 0)
        VIR_WARN("The cgroup of domain '%s' cannot be removed", spec->name);
    virResetLastError();
}


int
nitroCgroupCreate(virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_auto(nitroCgroupSpec) spec = { 0 };
    g_autoptr(virCgroup) cgroup = NULL;
    int rc = -1;

    if (!priv->run.machine)
        return 0;

    nitroCgroupSpecInit(&spec, vm);
    virObjectUnlock(vm);
    if ((cgroup = nitroCgroupMake(&spec)))
        rc = nitroCgroupTune(&spec, cgroup);
    virObjectLock(vm);

    if (vm->def->id == spec.id && priv->run.machine) {
        priv->run.cgroup = g_steal_pointer(&cgroup);
        return rc;
    }
    /* Who ends the run may have been too early to find a machine. */
    virObjectUnlock(vm);
    nitroCgroupUnmake(&spec, cgroup);
    virObjectLock(vm);
    virReportError(VIR_ERR_OPERATION_ABORTED,
                   _("domain '%s' was destroyed while it started"), spec.name);
    return -1;
}


void
nitroCgroupFind(virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_auto(nitroCgroupSpec) spec = { 0 };
    g_autoptr(virCgroup) cgroup = NULL;
    int rc;

    if (!priv->run.machine || priv->run.cgroup || !virCgroupAvailable())
        return;

    nitroCgroupSpecInit(&spec, vm);
    virObjectUnlock(vm);
    rc = virCgroupNewDetectMachine(spec.name, NITRO_DRIVER_NAME, spec.pid, NITRO_CGROUP_CONTROLLERS,
                                   spec.machine, &cgroup);
    virObjectLock(vm);

    if (vm->def->id == spec.id && !priv->run.cgroup)
        priv->run.cgroup = g_steal_pointer(&cgroup);
    if (vm->def->id == spec.id && !priv->run.cgroup)
        VIR_WARN("The cgroup of domain '%s' (machine '%s') is not found again: %s", spec.name,
                 spec.machine, rc < 0 ? virGetLastErrorMessage() : "its helper is in another one");
    virResetLastError();
}


virCgroup *
nitroCgroupGet(virDomainObj *vm,
               int controller)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (!priv->run.cgroup && priv->run.machine) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("the cgroup of domain '%s', machine '%s' of systemd-machined, has not been found again: what limits it had go on, restart virtnitrod to have it looked for"),
                       vm->def->name, priv->run.machine);
        return NULL;
    }
    if (!priv->run.cgroup) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("domain '%s' has no cgroup of its own, and no limits while it runs"),
                       vm->def->name);
        return NULL;
    }
    if (!virCgroupHasController(priv->run.cgroup, controller)) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("the cgroup of domain '%s' has no controller '%s' on this host"),
                       vm->def->name, virCgroupControllerTypeToString(controller));
        return NULL;
    }
    return priv->run.cgroup;
}


void
nitroCgroupRemove(virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_auto(nitroCgroupSpec) spec = { 0 };
    g_autoptr(virCgroup) cgroup = NULL;

    /* A start that fails early has got a name for it at most. */
    if (!priv->run.helper)
        g_clear_pointer(&priv->run.machine, g_free);
    if (!priv->run.machine)
        return;

    nitroCgroupSpecInit(&spec, vm);
    cgroup = g_steal_pointer(&priv->run.cgroup);
    g_clear_pointer(&priv->run.machine, g_free);
    virObjectUnlock(vm);
    nitroCgroupUnmake(&spec, cgroup);
    virObjectLock(vm);
}


bool
nitroCgroupGetCpuTime(virDomainObj *vm,
                      unsigned long long *user,
                      unsigned long long *system)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (!priv->run.cgroup ||
        !virCgroupHasController(priv->run.cgroup, VIR_CGROUP_CONTROLLER_CPUACCT))
        return false;
    if (virCgroupGetCpuacctStat(priv->run.cgroup, user, system) == 0)
        return true;
    virResetLastError();
    return false;
}
