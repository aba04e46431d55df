/*
 * nitro_driver.c: the entry points of the driver
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each entry point gets the object, checks the access, takes a job where it starts
 * or ends an enclave, and calls one function of another file. Here are those for
 * connections, lists, lookups, the life of a domain and events, and the state driver;
 * the others are in nitro_driver_*.c, one file a subject.
 */

#include <config.h>

#include <sys/stat.h>

#include "configmake.h"
#include "datatypes.h"
#include "driver.h"
#include "libvirt_compat.h"
#include "nitro_autostart.h"
#include "nitro_capabilities.h"
#include "nitro_conf.h"
#include "nitro_console.h"
#include "nitro_domain.h"
#include "nitro_domain_conf.h"
#include "nitro_domain_xml.h"
#include "nitro_driver.h"
#include "nitro_driver_node.h"
#include "nitro_driver_security.h"
#include "nitro_driver_config.h"
#include "nitro_driver_device.h"
#include "nitro_driver_stats.h"
#include "nitro_driver_tune.h"
#include "nitro_end.h"
#include "nitro_gone.h"
#include "nitro_host.h"
#include "nitro_native.h"
#include "nitro_nsm.h"
#include "nitro_restart.h"
#include "nitro_services_channel.h"
#include "nitro_start.h"
#include "nitro_takeover.h"
#include "nitro_vsock_dir.h"
#include "viraccessapicheck.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virutil.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_driver");

/* Workers: one end of an enclave is handled at a time by each */
#define NITRO_ENDS_MAX 16

/* Threads that take over enclaves, and that start domains on the daemon's own account: fewer
 * than may start at once, so that clients have their turn as well */
#define NITRO_TAKEOVERS_MAX 8
#define NITRO_STARTS_MAX 8

nitroDriver *nitro_driver;


/* The connection */

static int
nitroConnectURIProbe(char **uri)
{
    if (!nitro_driver)
        return 0;

    *uri = g_strdup(nitro_driver->privileged ? "nitro:///system" : "nitro:///session");
    return 1;
}


static virDrvOpenStatus
nitroConnectOpen(virConnectPtr conn,
                 virConnectAuthPtr auth G_GNUC_UNUSED,
                 virConf *conf G_GNUC_UNUSED,
                 unsigned int flags)
{
    virCheckFlags(VIR_CONNECT_RO, VIR_DRV_OPEN_ERROR);

    if (!nitro_driver) {
        virReportError(VIR_ERR_INTERNAL_ERROR, "%s", _("the nitro driver is not active"));
        return VIR_DRV_OPEN_ERROR;
    }
    if (!virConnectValidateURIPath(conn->uri->path, NITRO_DRIVER_NAME, nitro_driver->privileged))
        return VIR_DRV_OPEN_ERROR;
    if (virConnectOpenEnsureACL(conn) < 0)
        return VIR_DRV_OPEN_ERROR;

    conn->privateData = nitro_driver;
    return VIR_DRV_OPEN_SUCCESS;
}


static int
nitroConnectClose(virConnectPtr conn)
{
    conn->privateData = NULL;
    return 0;
}


static int
nitroConnectSupportsFeature(virConnectPtr conn,
                            int feature)
{
    int supported;

    if (virConnectSupportsFeatureEnsureACL(conn) < 0)
        return -1;
    if (virDriverFeatureIsGlobal(feature, &supported))
        return supported;
    return 0;
}


static const char *
nitroConnectGetType(virConnectPtr conn)
{
    if (virConnectGetTypeEnsureACL(conn) < 0)
        return NULL;
    return NITRO_DRIVER_NAME;
}


static int
nitroConnectGetVersion(virConnectPtr conn,
                       unsigned long *version)
{
    if (virConnectGetVersionEnsureACL(conn) < 0)
        return -1;
    *version = NITRO_DRIVER_VERSION;
    return 0;
}


static char *
nitroConnectGetHostname(virConnectPtr conn)
{
    if (virConnectGetHostnameEnsureACL(conn) < 0)
        return NULL;
    return virGetHostname();
}


static char *
nitroConnectGetCapabilities(virConnectPtr conn)
{
    nitroDriver *driver = conn->privateData;
    g_autoptr(virCaps) caps = NULL;

    if (virConnectGetCapabilitiesEnsureACL(conn) < 0)
        return NULL;
    if (!(caps = nitroCapabilitiesNew(driver->config)))
        return NULL;
    return virCapabilitiesFormatXML(caps);
}


/* Whether the machine of @caps can be asked to have an NSM; absent: it has the hypervisor's anyway. */
static int
nitroConnectFindNsm(nitroDriver *driver,
                    const virDomainCaps *caps,
                    virTristateBool *nsm)
{
    g_autofree char *qemu = NULL;
    g_autofree char *device = NULL;
    g_autofree char *reason = NULL;
    int rc;

    *nsm = VIR_TRISTATE_BOOL_ABSENT;
    if (nitroMachineTypeFromString(caps->machine) != NITRO_MACHINE_EMULATED)
        return 0;
    if (!(qemu = nitroHostRequireQemu(caps->arch)) ||
        (rc = nitroNsmFind(driver, qemu, &device, &reason)) < 0)
        return -1;
    *nsm = virTristateBoolFromBool(rc == 1);
    return 0;
}


static char *
nitroConnectGetDomainCapabilities(virConnectPtr conn,
                                  const char *emulator,
                                  const char *arch,
                                  const char *machine,
                                  const char *virttype,
                                  unsigned int flags)
{
    nitroDriver *driver = conn->privateData;
    g_autoptr(virDomainCaps) caps = NULL;
    virTristateBool nsm;

    virCheckFlags(0, NULL);

    if (virConnectGetDomainCapabilitiesEnsureACL(conn) < 0)
        return NULL;
    if (!(caps = nitroCapabilitiesNewDomain(driver->config, emulator, arch, machine, virttype)))
        return NULL;
    if (nitroConnectFindNsm(driver, caps, &nsm) < 0)
        return NULL;
    return nitroCapabilitiesFormatDomain(caps, nsm);
}


static int
nitroConnectIsEncrypted(virConnectPtr conn G_GNUC_UNUSED)
{
    return 0;
}


static int
nitroConnectIsSecure(virConnectPtr conn G_GNUC_UNUSED)
{
    return 1;
}


static int
nitroConnectIsAlive(virConnectPtr conn G_GNUC_UNUSED)
{
    return 1;
}


/* The formats of other tools */

static char *
nitroConnectDomainXMLFromNative(virConnectPtr conn,
                                const char *format,
                                const char *config,
                                unsigned int flags)
{
    nitroDriver *driver = conn->privateData;
    g_autoptr(virDomainDef) def = NULL;

    virCheckFlags(0, NULL);

    if (virConnectDomainXMLFromNativeEnsureACL(conn) < 0 ||
        !(def = nitroNativeParse(format, config, virArchFromHost(), driver->xmlopt)))
        return NULL;
    return virDomainDefFormat(def, driver->xmlopt, VIR_DOMAIN_DEF_FORMAT_INACTIVE);
}


static char *
nitroConnectDomainXMLToNative(virConnectPtr conn,
                              const char *format,
                              const char *xml,
                              unsigned int flags)
{
    nitroDriver *driver = conn->privateData;
    g_autoptr(nitroDomainXml) doc = NULL;
    g_autoptr(virDomainDef) def = NULL;

    virCheckFlags(0, NULL);

    if (virConnectDomainXMLToNativeEnsureACL(conn) < 0 ||
        !(doc = nitroDomainXmlRead(xml)) ||
        !(def = nitroDomainXmlParse(doc, driver->xmlopt, false)))
        return NULL;
    return nitroNativeFormat(format, def);
}


/* Lists and lookups */

static int
nitroConnectListDomains(virConnectPtr conn,
                        int *ids,
                        int maxids)
{
    nitroDriver *driver = conn->privateData;

    if (virConnectListDomainsEnsureACL(conn) < 0)
        return -1;
    return virDomainObjListGetActiveIDs(driver->domains, ids, maxids,
                                        virConnectListDomainsCheckACL, conn);
}


static int
nitroConnectNumOfDomains(virConnectPtr conn)
{
    nitroDriver *driver = conn->privateData;

    if (virConnectNumOfDomainsEnsureACL(conn) < 0)
        return -1;
    return virDomainObjListNumOfDomains(driver->domains, true,
                                        virConnectNumOfDomainsCheckACL, conn);
}


static int
nitroConnectListDefinedDomains(virConnectPtr conn,
                               char **const names,
                               int maxnames)
{
    nitroDriver *driver = conn->privateData;

    memset(names, 0, sizeof(*names) * maxnames);
    if (virConnectListDefinedDomainsEnsureACL(conn) < 0)
        return -1;
    return virDomainObjListGetInactiveNames(driver->domains, names, maxnames,
                                            virConnectListDefinedDomainsCheckACL, conn);
}


static int
nitroConnectNumOfDefinedDomains(virConnectPtr conn)
{
    nitroDriver *driver = conn->privateData;

    if (virConnectNumOfDefinedDomainsEnsureACL(conn) < 0)
        return -1;
    return virDomainObjListNumOfDomains(driver->domains, false,
                                        virConnectNumOfDefinedDomainsCheckACL, conn);
}


static int
nitroConnectListAllDomains(virConnectPtr conn,
                           virDomainPtr **domains,
                           unsigned int flags)
{
    nitroDriver *driver = conn->privateData;

    virCheckFlags(VIR_CONNECT_LIST_DOMAINS_FILTERS_ALL, -1);

    if (virConnectListAllDomainsEnsureACL(conn) < 0)
        return -1;
    return virDomainObjListExport(driver->domains, conn, domains,
                                  virConnectListAllDomainsCheckACL, flags);
}


static virDomainPtr
nitroDomainLookupByID(virConnectPtr conn,
                      int id)
{
    nitroDriver *driver = conn->privateData;
    virDomainObj *vm;
    virDomainPtr dom = NULL;

    if (!(vm = virDomainObjListFindByID(driver->domains, id))) {
        virReportError(VIR_ERR_NO_DOMAIN, _("no domain with matching id '%d'"), id);
        return NULL;
    }
    if (virDomainLookupByIDEnsureACL(conn, vm->def) == 0)
        dom = virGetDomain(conn, vm->def->name, vm->def->uuid, vm->def->id);

    virDomainObjEndAPI(&vm);
    return dom;
}


static virDomainPtr
nitroDomainLookupByUUID(virConnectPtr conn,
                        const unsigned char *uuid)
{
    nitroDriver *driver = conn->privateData;
    char uuidstr[VIR_UUID_STRING_BUFLEN];
    virDomainObj *vm;
    virDomainPtr dom = NULL;

    if (!(vm = virDomainObjListFindByUUID(driver->domains, uuid))) {
        virUUIDFormat(uuid, uuidstr);
        virReportError(VIR_ERR_NO_DOMAIN, _("no domain with matching uuid '%s'"), uuidstr);
        return NULL;
    }
    if (virDomainLookupByUUIDEnsureACL(conn, vm->def) == 0)
        dom = virGetDomain(conn, vm->def->name, vm->def->uuid, vm->def->id);

    virDomainObjEndAPI(&vm);
    return dom;
}


static virDomainPtr
nitroDomainLookupByName(virConnectPtr conn,
                        const char *name)
{
    nitroDriver *driver = conn->privateData;
    virDomainObj *vm;
    virDomainPtr dom = NULL;

    if (!(vm = virDomainObjListFindByName(driver->domains, name))) {
        virReportError(VIR_ERR_NO_DOMAIN, _("no domain with matching name '%s'"), name);
        return NULL;
    }
    if (virDomainLookupByNameEnsureACL(conn, vm->def) == 0)
        dom = virGetDomain(conn, vm->def->name, vm->def->uuid, vm->def->id);

    virDomainObjEndAPI(&vm);
    return dom;
}


/* What a domain is and does */

static int
nitroDomainIsActive(virDomainPtr dom)
{
    virDomainObj *vm;
    int ret = -1;

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainIsActiveEnsureACL(dom->conn, vm->def) == 0)
        ret = virDomainObjIsActive(vm);

    virDomainObjEndAPI(&vm);
    return ret;
}


static int
nitroDomainIsPersistent(virDomainPtr dom)
{
    virDomainObj *vm;
    int ret = -1;

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainIsPersistentEnsureACL(dom->conn, vm->def) == 0)
        ret = vm->persistent;

    virDomainObjEndAPI(&vm);
    return ret;
}


static int
nitroDomainIsUpdated(virDomainPtr dom)
{
    virDomainObj *vm;
    int ret = -1;

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainIsUpdatedEnsureACL(dom->conn, vm->def) == 0)
        ret = vm->updated;

    virDomainObjEndAPI(&vm);
    return ret;
}


static int
nitroDomainGetState(virDomainPtr dom,
                    int *state,
                    int *reason,
                    unsigned int flags)
{
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(0, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainGetStateEnsureACL(dom->conn, vm->def) == 0) {
        *state = virDomainObjGetState(vm, reason);
        ret = 0;
    }

    virDomainObjEndAPI(&vm);
    return ret;
}


static char *
nitroDomainGetXMLDesc(virDomainPtr dom,
                      unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    virDomainDef *def;
    char *ret = NULL;

    virCheckFlags(VIR_DOMAIN_XML_COMMON_FLAGS, NULL);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return NULL;
    if (virDomainGetXMLDescEnsureACL(dom->conn, vm->def, flags) == 0) {
        def = (flags & VIR_DOMAIN_XML_INACTIVE) && vm->newDef ? vm->newDef : vm->def;
        ret = virDomainDefFormat(def, driver->xmlopt,
                                 virDomainDefFormatConvertXMLFlags(flags));
    }

    virDomainObjEndAPI(&vm);
    return ret;
}


static char *
nitroDomainGetOSType(virDomainPtr dom)
{
    virDomainObj *vm;
    char *ret = NULL;

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return NULL;
    if (virDomainGetOSTypeEnsureACL(dom->conn, vm->def) == 0)
        ret = g_strdup(virDomainOSTypeToString(vm->def->os.type));

    virDomainObjEndAPI(&vm);
    return ret;
}


static int
nitroDomainHasManagedSaveImage(virDomainPtr dom,
                               unsigned int flags)
{
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(0, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    /* An enclave cannot be saved. */
    if (virDomainHasManagedSaveImageEnsureACL(dom->conn, vm->def) == 0)
        ret = 0;

    virDomainObjEndAPI(&vm);
    return ret;
}


/* Returns the console that clients can read now, or NULL with an error set. */
static virDomainChrDef *
nitroDomainFindConsole(virDomainObj *vm,
                       const char *alias)
{
    const nitroDomainObjPrivate *priv = vm->privateData;
    virDomainChrDef *console;

    if (virDomainObjCheckActive(vm) < 0 || !(console = nitroConsoleFind(vm->def, alias)))
        return NULL;
    if (priv->run.consoleFd < 0) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("the console '%s' of domain '%s' could not be found when the enclave started, or was taken over: see the log of virtnitrod"),
                       NULLSTR(console->source->data.file.path), vm->def->name);
        return NULL;
    }
    return console;
}


/* For how long clients that all want the console by force take it from each other, in ms */
#define NITRO_CONSOLE_FORCE_MS 10000

/*
 * Makes sure that nobody reads the console: with @force ends who does. The lock of @vm is
 * released meanwhile. Most domains never have a reader: what knows of them is made here.
 */
static int
nitroDomainFreeConsole(virDomainObj *vm,
                       bool force)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    gint64 end = g_get_monotonic_time() + NITRO_CONSOLE_FORCE_MS * G_TIME_SPAN_MILLISECOND;
    int rc;

    do {
        g_autoptr(nitroConsoleReader) reader = NULL;

        if (!priv->reader && !(priv->reader = nitroConsoleReaderNew()))
            return -1;
        if (nitroConsoleReaderIsFree(priv->reader))
            return 0;
        if (!force)
            break;
        /* The next run of the domain has another one. */
        reader = virObjectRef(priv->reader);
        virObjectUnlock(vm);
        rc = nitroConsoleReaderEnd(reader);
        virObjectLock(vm);
        if (rc < 0)
            return -1;
    } while (g_get_monotonic_time() < end);

    virReportError(VIR_ERR_OPERATION_FAILED, "%s",
                   _("Active console session exists for this domain"));
    return -1;
}


static int
nitroDomainOpenConsole(virDomainPtr dom,
                       const char *alias,
                       virStreamPtr st,
                       unsigned int flags)
{
    nitroDomainObjPrivate *priv;
    virDomainChrDef *console;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_CONSOLE_SAFE | VIR_DOMAIN_CONSOLE_FORCE, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    priv = vm->privateData;
    if (virDomainOpenConsoleEnsureACL(dom->conn, vm->def) < 0 ||
        !nitroDomainFindConsole(vm, alias) ||
        nitroDomainFreeConsole(vm, (flags & VIR_DOMAIN_CONSOLE_FORCE) != 0) < 0 ||
        !(console = nitroDomainFindConsole(vm, alias)))
        goto cleanup;

    ret = nitroConsoleOpenStream(vm->def, console, priv->run.consoleFd, priv->reader, st);

 cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}


static int
nitroDomainOpenChannel(virDomainPtr dom,
                       const char *name,
                       virStreamPtr st,
                       unsigned int flags)
{
    virDomainChrDef *channel;
    virDomainObj *vm;
    int ret = -1;

    /* Each stream is a connection of its own, so that none is in the way of another. */
    virCheckFlags(VIR_DOMAIN_CHANNEL_FORCE, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainOpenChannelEnsureACL(dom->conn, vm->def) < 0 ||
        virDomainObjCheckActive(vm) < 0 ||
        !(channel = nitroServicesFindChannel(vm->def, name)))
        goto cleanup;

    ret = nitroServicesOpenChannel(channel, st);

 cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}


/* The life of a domain */

/* Waits until an inactive domain that is to be replaced has no job: one that was destroyed
 * while it started still has. */
static int
nitroDomainAwaitJob(nitroDriver *driver,
                    const virDomainDef *def)
{
    virDomainObj *vm = virDomainObjListFindByUUID(driver->domains, def->uuid);
    int ret = 0;

    if (vm && !virDomainObjIsActive(vm) && !vm->removing) {
        if ((ret = nitroStartBeginJob(driver, vm)) == 0)
            nitroStartEndJob(vm);
    }
    virDomainObjEndAPI(&vm);
    return ret;
}


/*
 * Makes *@def (stolen) the live definition of a domain, new or shut off, and begins the job of
 * its start. The domain is not unlocked in between: until it is active, whoever defines
 * or creates it, too, would replace what is about to start.
 *
 * Returns the locked domain (virDomainObjEndAPI), or NULL with an error set.
 */
static virDomainObj *
nitroDomainAddLive(nitroDriver *driver,
                   virDomainDef **def)
{
    virDomainObj *vm;

    if (nitroStartPrepareHost(driver, *def) < 0 ||
        nitroDomainAwaitJob(driver, *def) < 0 ||
        !(vm = virDomainObjListAdd(driver->domains, def, driver->xmlopt,
                                   VIR_DOMAIN_OBJ_LIST_ADD_LIVE |
                                   VIR_DOMAIN_OBJ_LIST_ADD_CHECK_LIVE, NULL)))
        return NULL;

    if (vm->job->active != VIR_JOB_NONE || vm->job->asyncJob != VIR_ASYNC_JOB_NONE) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("domain '%s' is being changed by another client: try again"),
                       vm->def->name);
    } else if (nitroStartBeginJob(driver, vm) == 0) {
        return vm;
    }
    /* An inactive definition of the same domain is as it was. */
    virDomainObjRemoveTransientDef(vm);
    nitroDomainRemoveInactive(driver, vm);
    virDomainObjEndAPI(&vm);
    return NULL;
}


static virDomainPtr
nitroDomainCreateXML(virConnectPtr conn,
                     const char *xml,
                     unsigned int flags)
{
    nitroDriver *driver = conn->privateData;
    g_autoptr(nitroDomainXml) doc = NULL;
    g_autoptr(virDomainDef) def = NULL;
    virDomainObj *vm = NULL;
    virDomainPtr dom = NULL;

    virCheckFlags(VIR_DOMAIN_START_VALIDATE, NULL);

    if (!(doc = nitroDomainXmlRead(xml)) ||
        virDomainCreateXMLEnsureACL(conn, nitroDomainXmlGetIDs(doc)) < 0 ||
        !(def = nitroDomainXmlParse(doc, driver->xmlopt, flags & VIR_DOMAIN_START_VALIDATE)))
        return NULL;

    if (nitroQueueBeginCall(driver->queue) < 0)
        return NULL;
    if (!(vm = nitroDomainAddLive(driver, &def))) {
        nitroQueueEndCall(driver->queue);
        return NULL;
    }

    nitroRestartCancel(driver, vm);
    if (nitroStartDomain(driver, vm) == 0)
        dom = virGetDomain(conn, vm->def->name, vm->def->uuid, vm->def->id);
    nitroStartEndJob(vm);
    nitroQueueEndCall(driver->queue);

    if (!dom && !virDomainObjIsActive(vm)) {
        virDomainObjRemoveTransientDef(vm);
        nitroDomainRemoveInactive(driver, vm);
    }
    virDomainObjEndAPI(&vm);
    return dom;
}


static int
nitroDomainCreateWithFlags(virDomainPtr dom,
                           unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(0, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainCreateWithFlagsEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;

    /* also while another start waits for its guest */
    if (virDomainObjIsActive(vm)) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("domain '%s' is already running"), vm->def->name);
        goto cleanup;
    }
    if (nitroQueueBeginCall(driver->queue) < 0)
        goto cleanup;
    if (nitroStartBeginJob(driver, vm) == 0) {
        nitroRestartCancel(driver, vm);
        if ((ret = nitroStartDomain(driver, vm)) == 0)
            dom->id = vm->def->id;
        nitroStartEndJob(vm);
    }
    nitroQueueEndCall(driver->queue);
    nitroDomainRemoveInactive(driver, vm);

 cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}


static int
nitroDomainCreate(virDomainPtr dom)
{
    return nitroDomainCreateWithFlags(dom, 0);
}


/* Stops @vm in a job of its own, with an event. @vm is locked. */
static int
nitroDomainStop(nitroDriver *driver,
                virDomainObj *vm,
                virDomainShutoffReason reason,
                int detail)
{
    int ret = -1;

    /* A domain that is about to be restarted is not running, but meant to be. */
    if (nitroRestartCancel(driver, vm) && !virDomainObjIsActive(vm)) {
        nitroDomainRemoveInactive(driver, vm);
        return 0;
    }
    if (virDomainObjCheckActive(vm) < 0 || virDomainObjBeginJob(vm, VIR_JOB_DESTROY) < 0)
        return -1;

    /* While this waited its enclave may have ended, and a restart be on its way. */
    if (nitroRestartCancel(driver, vm) && !virDomainObjIsActive(vm)) {
        ret = 0;
    } else if (virDomainObjCheckActive(vm) == 0 &&
               (ret = nitroEndDomain(driver, vm, reason)) > 0) {
        nitroDomainEventLifecycle(driver, vm, VIR_DOMAIN_EVENT_STOPPED, detail);
        ret = 0;
    }
    virDomainObjEndJob(vm);
    nitroDomainRemoveInactive(driver, vm);
    return ret;
}


static int
nitroDomainDestroyFlags(virDomainPtr dom,
                        unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    /* Nothing is flushed or saved, so there is no less graceful way either. */
    virCheckFlags(VIR_DOMAIN_DESTROY_GRACEFUL, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainDestroyFlagsEnsureACL(dom->conn, vm->def) == 0)
        ret = nitroDomainStop(driver, vm, VIR_DOMAIN_SHUTOFF_DESTROYED,
                              VIR_DOMAIN_EVENT_STOPPED_DESTROYED);

    virDomainObjEndAPI(&vm);
    return ret;
}


static int
nitroDomainDestroy(virDomainPtr dom)
{
    return nitroDomainDestroyFlags(dom, 0);
}


static int
nitroDomainShutdownFlags(virDomainPtr dom,
                         unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    /* The hypervisor has no softer way to end an enclave than to end it. */
    virCheckFlags(0, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainShutdownFlagsEnsureACL(dom->conn, vm->def, flags) == 0)
        ret = nitroDomainStop(driver, vm, VIR_DOMAIN_SHUTOFF_SHUTDOWN,
                              VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN);

    virDomainObjEndAPI(&vm);
    return ret;
}


static int
nitroDomainShutdown(virDomainPtr dom)
{
    return nitroDomainShutdownFlags(dom, 0);
}


/* A reboot and a reset are the same to an enclave: a new one. */
static int
nitroDomainReboot(virDomainPtr dom,
                  unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    /* There is neither a guest agent nor a power button to choose from. */
    virCheckFlags(0, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainRebootEnsureACL(dom->conn, vm->def, flags) == 0)
        ret = nitroRestartNow(driver, vm);

    virDomainObjEndAPI(&vm);
    return ret;
}


static int
nitroDomainReset(virDomainPtr dom,
                 unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(0, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainResetEnsureACL(dom->conn, vm->def) == 0)
        ret = nitroRestartNow(driver, vm);

    virDomainObjEndAPI(&vm);
    return ret;
}


static virDomainPtr
nitroDomainDefineXMLFlags(virConnectPtr conn,
                          const char *xml,
                          unsigned int flags)
{
    nitroDriver *driver = conn->privateData;
    g_autoptr(nitroDomainXml) doc = NULL;
    g_autoptr(virDomainDef) def = NULL;
    g_autoptr(virDomainDef) oldDef = NULL;
    virDomainObj *vm = NULL;
    virDomainPtr dom = NULL;

    virCheckFlags(VIR_DOMAIN_DEFINE_VALIDATE, NULL);

    if (!(doc = nitroDomainXmlRead(xml)) ||
        virDomainDefineXMLFlagsEnsureACL(conn, nitroDomainXmlGetIDs(doc)) < 0 ||
        !(def = nitroDomainXmlParse(doc, driver->xmlopt, flags & VIR_DOMAIN_DEFINE_VALIDATE)))
        return NULL;

    if (!(vm = virDomainObjListAdd(driver->domains, &def, driver->xmlopt, 0, &oldDef)))
        return NULL;

    if (virDomainDefSave(vm->newDef ? vm->newDef : vm->def, driver->xmlopt,
                         driver->config->configDir) < 0) {
        /* The definition of before, if there was one, stays. */
        if (oldDef)
            virDomainObjAssignDef(vm, &oldDef, false, NULL);
        else if (virDomainObjIsActive(vm))
            g_clear_pointer(&vm->newDef, virDomainDefFree);
        else
            virDomainObjListRemove(driver->domains, vm);
        goto cleanup;
    }

    vm->persistent = 1;
    vm->updated = oldDef != NULL;
    nitroDomainEventLifecycle(driver, vm, VIR_DOMAIN_EVENT_DEFINED,
                              oldDef ? VIR_DOMAIN_EVENT_DEFINED_UPDATED :
                              VIR_DOMAIN_EVENT_DEFINED_ADDED);
    dom = virGetDomain(conn, vm->def->name, vm->def->uuid, vm->def->id);

 cleanup:
    virDomainObjEndAPI(&vm);
    return dom;
}


static virDomainPtr
nitroDomainDefineXML(virConnectPtr conn,
                     const char *xml)
{
    return nitroDomainDefineXMLFlags(conn, xml, 0);
}


static int
nitroDomainUndefineFlags(virDomainPtr dom,
                         unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    /* What an enclave cannot have need not be removed with it: clients ask for it unasked. */
    virCheckFlags(VIR_DOMAIN_UNDEFINE_MANAGED_SAVE |
                  VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
                  VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA |
                  VIR_DOMAIN_UNDEFINE_NVRAM |
                  VIR_DOMAIN_UNDEFINE_KEEP_NVRAM |
                  VIR_DOMAIN_UNDEFINE_TPM |
                  VIR_DOMAIN_UNDEFINE_KEEP_TPM, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainUndefineFlagsEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;

    if (!vm->persistent) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("domain '%s' is transient: there is no definition to remove"),
                       vm->def->name);
        goto cleanup;
    }
    if (virDomainDeleteConfig(driver->config->configDir, driver->config->autostartDir, vm) < 0)
        goto cleanup;

    vm->persistent = 0;
    if (!virDomainObjIsActive(vm))
        nitroRestartCancel(driver, vm);
    nitroDomainEventLifecycle(driver, vm, VIR_DOMAIN_EVENT_UNDEFINED,
                              VIR_DOMAIN_EVENT_UNDEFINED_REMOVED);
    nitroDomainRemoveInactive(driver, vm);
    ret = 0;

 cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}


static int
nitroDomainUndefine(virDomainPtr dom)
{
    return nitroDomainUndefineFlags(dom, 0);
}


/* Events */

static int
nitroConnectDomainEventRegister(virConnectPtr conn,
                                virConnectDomainEventCallback callback,
                                void *opaque,
                                virFreeCallback freecb)
{
    nitroDriver *driver = conn->privateData;

    if (virConnectDomainEventRegisterEnsureACL(conn) < 0 ||
        virDomainEventStateRegister(conn, driver->domainEventState,
                                    callback, opaque, freecb) < 0)
        return -1;
    return 0;
}


static int
nitroConnectDomainEventDeregister(virConnectPtr conn,
                                  virConnectDomainEventCallback callback)
{
    nitroDriver *driver = conn->privateData;

    if (virConnectDomainEventDeregisterEnsureACL(conn) < 0 ||
        virDomainEventStateDeregister(conn, driver->domainEventState, callback) < 0)
        return -1;
    return 0;
}


static int
nitroConnectDomainEventRegisterAny(virConnectPtr conn,
                                   virDomainPtr dom,
                                   int eventID,
                                   virConnectDomainEventGenericCallback callback,
                                   void *opaque,
                                   virFreeCallback freecb)
{
    nitroDriver *driver = conn->privateData;
    int ret;

    if (virConnectDomainEventRegisterAnyEnsureACL(conn) < 0 ||
        virDomainEventStateRegisterID(conn, driver->domainEventState, dom, eventID,
                                      callback, opaque, freecb, &ret) < 0)
        return -1;
    return ret;
}


static int
nitroConnectDomainEventDeregisterAny(virConnectPtr conn,
                                     int callbackID)
{
    nitroDriver *driver = conn->privateData;

    if (virConnectDomainEventDeregisterAnyEnsureACL(conn) < 0 ||
        virObjectEventStateDeregisterID(conn, driver->domainEventState, callbackID, true) < 0)
        return -1;
    return 0;
}


/* The state driver */

static int
nitroStateCleanup(void)
{
    if (!nitro_driver)
        return -1;

    if (nitro_driver->quitThreadRuns)
        virThreadJoin(&nitro_driver->quitThread);
    /* Workers use all the rest, so they end first. */
    nitroDriverPoolFree(nitro_driver->starts);
    nitroDriverPoolFree(nitro_driver->takeovers);
    nitroDriverPoolFree(nitro_driver->ends);
    nitroAsidesFree(nitro_driver->asides);
    nitroQueueFree(nitro_driver->queue);
    virObjectUnref(nitro_driver->domains);
    virObjectUnref(nitro_driver->xmlopt);
    virObjectUnref(nitro_driver->domainEventState);
    nitroCidsFree(nitro_driver->cids);
    nitroCidsFree(nitro_driver->serviceCids);
    nitroCpusFree(nitro_driver->cpus);
    nitroUsesFree(nitro_driver->uses);
    nitroVsockDirsFree(nitro_driver->vsockDirs);
    g_free(nitro_driver->accel);
    nitroNsmForget(nitro_driver->nsmQemus);
    g_strfreev(nitro_driver->unprotected);
    g_strfreev(nitro_driver->told);
    g_free(nitro_driver->sysinfo);
    if (nitro_driver->lockFD != -1)
        virPidFileRelease(nitro_driver->config->stateDir, "driver", nitro_driver->lockFD);
    nitroDriverConfigFree(nitro_driver->config);
    virMutexDestroy(&nitro_driver->sysinfoLock);
    virMutexDestroy(&nitro_driver->lock);
    g_clear_pointer(&nitro_driver, g_free);
    return 0;
}


/*
 * Makes sure that no other daemon has the state directory. Members of the helpers' group can pass
 * through it: who may read the file could lock it, and keep the next daemon out. Returns 0, or -1
 * with an error set.
 */
static int
nitroStateLock(nitroDriver *driver)
{
    const char *stateDir = driver->config->stateDir;
    g_autofree char *path = virPidFileBuildPath(stateDir, "driver");

    /* By itself it would be 0644. */
    if (virFileTouch(path, 0600) < 0 ||
        (driver->lockFD = virPidFileAcquire(stateDir, "driver", getpid())) < 0)
        return -1;
    if (fchmod(driver->lockFD, 0600) < 0) {
        virReportSystemError(errno, _("cannot make '%s' readable for its owner only"), path);
        return -1;
    }
    return 0;
}


/* The parts of the driver, without any domain. Returns 0, or -1 with an error set. */
static int
nitroStateNew(bool privileged,
              virStateInhibitCallback callback,
              void *opaque)
{
    g_autofree char *conf = nitroDriverConfigFile(privileged);

    nitro_driver = g_new0(nitroDriver, 1);
    nitro_driver->lockFD = -1;
    nitro_driver->privileged = privileged;
    nitro_driver->inhibitCallback = callback;
    nitro_driver->inhibitOpaque = opaque;
    nitro_driver->restart = nitroRestartSchedule;
    nitro_driver->reconnect = nitroTakeoverReconnect;

    if (virMutexInit(&nitro_driver->lock) < 0 ||
        virMutexInit(&nitro_driver->sysinfoLock) < 0) {
        virReportSystemError(errno, "%s", _("cannot initialize the driver's locks"));
        g_clear_pointer(&nitro_driver, g_free);
        return -1;
    }

    nitro_driver->config = nitroDriverConfigNew(privileged);
    nitro_driver->cids = nitroCidsNew();
    nitro_driver->serviceCids = nitroCidsNew();
    nitro_driver->cpus = nitroCpusNew();
    nitro_driver->asides = nitroAsidesNew();
    nitro_driver->uses = nitroUsesNew();
    nitro_driver->vsockDirs = nitroVsockDirsNew(nitro_driver);
    nitro_driver->xmlopt = nitroDomainXMLOptionNew(nitro_driver->config->helper,
                                                   &nitroDomainPrivateDataCallbacks,
                                                   &nitroDomainJobConfig);
    if (nitroDriverConfigLoadFile(nitro_driver->config, conf) < 0 ||
        !(nitro_driver->domains = virDomainObjListNew()) ||
        !(nitro_driver->domainEventState = virObjectEventStateNew()) ||
        !(nitro_driver->ends = nitroDriverPoolNew(nitro_driver, NITRO_ENDS_MAX, "nitro-end")) ||
        !(nitro_driver->takeovers = nitroDriverPoolNew(nitro_driver, NITRO_TAKEOVERS_MAX,
                                                       "nitro-takeover")) ||
        !(nitro_driver->starts = nitroDriverPoolNew(nitro_driver, NITRO_STARTS_MAX,
                                                    "nitro-start")) ||
        nitroDriverConfigMakeDirs(nitro_driver->config) < 0 ||
        nitroStateLock(nitro_driver) < 0)
        return -1;
    nitro_driver->queue = nitroQueueNew(nitro_driver->config->maxStarts);
    return 0;
}


static int
nitroStateInitialize(bool privileged,
                     const char *root,
                     bool monolithic G_GNUC_UNUSED,
                     virStateInhibitCallback callback,
                     void *opaque)
{
    nitroDriverConfig *config;
    bool autostart;

    if (root) {
        virReportError(VIR_ERR_INVALID_ARG, "%s", _("Driver does not support embedded mode"));
        return VIR_DRV_STATE_INIT_ERROR;
    }

    if (nitroStateNew(privileged, callback, opaque) < 0)
        goto error;
    config = nitro_driver->config;

    nitroDomainRemoveUnsaved(nitro_driver);
    if (virDomainObjListLoadAllConfigs(nitro_driver->domains, config->stateDir, NULL, true,
                                       nitro_driver->xmlopt, NULL, NULL) < 0)
        goto error;
    nitroAsidesFind(nitro_driver, nitroTakeoverBegin);
    nitroGoneEmptyLater(nitro_driver);

    if (virDomainObjListLoadAllConfigs(nitro_driver->domains, config->configDir,
                                       config->autostartDir, false,
                                       nitro_driver->xmlopt, NULL, NULL) < 0 ||
        virDriverShouldAutostart(config->stateDir, &autostart) < 0)
        goto error;

    nitroHostTellUser(nitro_driver);
    nitroDriverConfigManage(config);
    nitroTakeoverAll(nitro_driver);
    if (autostart)
        nitroAutostartAll(nitro_driver);
    return VIR_DRV_STATE_INIT_COMPLETE;

 error:
    nitroStateCleanup();
    return VIR_DRV_STATE_INIT_ERROR;
}


/* The event loop still runs during these two, so that what waits for it can end. */

static int
nitroStateShutdownPrepare(void)
{
    if (nitro_driver)
        nitroDriverQuit(nitro_driver);
    return 0;
}


static int
nitroStateShutdownWait(void)
{
    if (nitro_driver) {
        nitroDriverPoolDrain(nitro_driver->starts);
        nitroDriverPoolDrain(nitro_driver->takeovers);
        nitroDriverPoolDrain(nitro_driver->ends);
    }
    return 0;
}


static int
nitroStateReload(void)
{
    if (!nitro_driver)
        return 0;

    return virDomainObjListLoadAllConfigs(nitro_driver->domains,
                                          nitro_driver->config->configDir,
                                          nitro_driver->config->autostartDir, false,
                                          nitro_driver->xmlopt, NULL, NULL);
}


/* With the version of this project that each came with: scripts/hvsupport makes a page of it */
static virHypervisorDriver nitroHypervisorDriver = {
    .name = NITRO_DRIVER_NAME,
    .connectURIProbe = nitroConnectURIProbe, /* 0.1.0 */
    .connectOpen = nitroConnectOpen, /* 0.1.0 */
    .connectClose = nitroConnectClose, /* 0.1.0 */
    .connectSupportsFeature = nitroConnectSupportsFeature, /* 0.1.0 */
    .connectGetType = nitroConnectGetType, /* 0.1.0 */
    .connectGetVersion = nitroConnectGetVersion, /* 0.1.0 */
    .connectGetHostname = nitroConnectGetHostname, /* 0.1.0 */
    .connectGetSysinfo = nitroConnectGetSysinfo, /* 0.1.0 */
    .connectGetMaxVcpus = nitroConnectGetMaxVcpus, /* 0.1.0 */
    .nodeGetInfo = nitroNodeGetInfo, /* 0.1.0 */
    .nodeGetCPUMap = nitroNodeGetCPUMap, /* 0.1.0 */
    .nodeGetCPUStats = nitroNodeGetCPUStats, /* 0.1.0 */
    .nodeGetMemoryStats = nitroNodeGetMemoryStats, /* 0.1.0 */
    .nodeGetCellsFreeMemory = nitroNodeGetCellsFreeMemory, /* 0.1.0 */
    .nodeGetFreeMemory = nitroNodeGetFreeMemory, /* 0.1.0 */
    .nodeGetFreePages = nitroNodeGetFreePages, /* 0.1.0 */
    .nodeAllocPages = nitroNodeAllocPages, /* 0.1.0 */
    .nodeGetMemoryParameters = nitroNodeGetMemoryParameters, /* 0.1.0 */
    .nodeSetMemoryParameters = nitroNodeSetMemoryParameters, /* 0.1.0 */
    .connectGetCapabilities = nitroConnectGetCapabilities, /* 0.1.0 */
    .connectGetDomainCapabilities = nitroConnectGetDomainCapabilities, /* 0.1.0 */
    .connectIsEncrypted = nitroConnectIsEncrypted, /* 0.1.0 */
    .connectIsSecure = nitroConnectIsSecure, /* 0.1.0 */
    .connectIsAlive = nitroConnectIsAlive, /* 0.1.0 */
    .connectDomainXMLFromNative = nitroConnectDomainXMLFromNative, /* 0.1.0 */
    .connectDomainXMLToNative = nitroConnectDomainXMLToNative, /* 0.1.0 */
    .connectListDomains = nitroConnectListDomains, /* 0.1.0 */
    .connectNumOfDomains = nitroConnectNumOfDomains, /* 0.1.0 */
    .connectListDefinedDomains = nitroConnectListDefinedDomains, /* 0.1.0 */
    .connectNumOfDefinedDomains = nitroConnectNumOfDefinedDomains, /* 0.1.0 */
    .connectListAllDomains = nitroConnectListAllDomains, /* 0.1.0 */
    .domainLookupByID = nitroDomainLookupByID, /* 0.1.0 */
    .domainLookupByUUID = nitroDomainLookupByUUID, /* 0.1.0 */
    .domainLookupByName = nitroDomainLookupByName, /* 0.1.0 */
    .domainIsActive = nitroDomainIsActive, /* 0.1.0 */
    .domainIsPersistent = nitroDomainIsPersistent, /* 0.1.0 */
    .domainIsUpdated = nitroDomainIsUpdated, /* 0.1.0 */
    .domainGetInfo = nitroDomainGetInfo, /* 0.1.0 */
    .domainGetState = nitroDomainGetState, /* 0.1.0 */
    .domainGetXMLDesc = nitroDomainGetXMLDesc, /* 0.1.0 */
    .domainGetOSType = nitroDomainGetOSType, /* 0.1.0 */
    .domainHasManagedSaveImage = nitroDomainHasManagedSaveImage, /* 0.1.0 */
    .domainGetSecurityLabelList = nitroDomainGetSecurityLabelList, /* 0.1.0 */
    .domainGetLaunchSecurityInfo = nitroDomainGetLaunchSecurityInfo, /* 0.1.0 */
    .domainOpenConsole = nitroDomainOpenConsole, /* 0.1.0 */
    .domainOpenChannel = nitroDomainOpenChannel, /* 0.1.0 */
    .domainCreateXML = nitroDomainCreateXML, /* 0.1.0 */
    .domainCreate = nitroDomainCreate, /* 0.1.0 */
    .domainCreateWithFlags = nitroDomainCreateWithFlags, /* 0.1.0 */
    .domainDestroy = nitroDomainDestroy, /* 0.1.0 */
    .domainDestroyFlags = nitroDomainDestroyFlags, /* 0.1.0 */
    .domainShutdown = nitroDomainShutdown, /* 0.1.0 */
    .domainShutdownFlags = nitroDomainShutdownFlags, /* 0.1.0 */
    .domainReboot = nitroDomainReboot, /* 0.1.0 */
    .domainReset = nitroDomainReset, /* 0.1.0 */
    .domainDefineXML = nitroDomainDefineXML, /* 0.1.0 */
    .domainDefineXMLFlags = nitroDomainDefineXMLFlags, /* 0.1.0 */
    .domainUndefine = nitroDomainUndefine, /* 0.1.0 */
    .domainUndefineFlags = nitroDomainUndefineFlags, /* 0.1.0 */
    .domainSetMemory = nitroDomainSetMemory, /* 0.1.0 */
    .domainSetMemoryFlags = nitroDomainSetMemoryFlags, /* 0.1.0 */
    .domainSetMaxMemory = nitroDomainSetMaxMemory, /* 0.1.0 */
    .domainGetMaxMemory = nitroDomainGetMaxMemory, /* 0.1.0 */
    .domainSetVcpus = nitroDomainSetVcpus, /* 0.1.0 */
    .domainSetVcpusFlags = nitroDomainSetVcpusFlags, /* 0.1.0 */
    .domainGetVcpusFlags = nitroDomainGetVcpusFlags, /* 0.1.0 */
    .domainGetMaxVcpus = nitroDomainGetMaxVcpus, /* 0.1.0 */
    .domainPinVcpu = nitroDomainPinVcpu, /* 0.1.0 */
    .domainPinVcpuFlags = nitroDomainPinVcpuFlags, /* 0.1.0 */
    .domainSetMetadata = nitroDomainSetMetadata, /* 0.1.0 */
    .domainGetMetadata = nitroDomainGetMetadata, /* 0.1.0 */
    .domainSetLifecycleAction = nitroDomainSetLifecycleAction, /* 0.1.0 */
    .domainGetAutostart = nitroDomainGetAutostart, /* 0.1.0 */
    .domainSetAutostart = nitroDomainSetAutostart, /* 0.1.0 */
    .domainRename = nitroDomainRename, /* 0.1.0 */
    .domainAttachDevice = nitroDomainAttachDevice, /* 0.1.0 */
    .domainAttachDeviceFlags = nitroDomainAttachDeviceFlags, /* 0.1.0 */
    .domainDetachDevice = nitroDomainDetachDevice, /* 0.1.0 */
    .domainDetachDeviceFlags = nitroDomainDetachDeviceFlags, /* 0.1.0 */
    .domainUpdateDeviceFlags = nitroDomainUpdateDeviceFlags, /* 0.1.0 */
    .domainGetVcpuPinInfo = nitroDomainGetVcpuPinInfo, /* 0.1.0 */
    .domainGetVcpus = nitroDomainGetVcpus, /* 0.1.0 */
    .domainGetSchedulerType = nitroDomainGetSchedulerType, /* 0.1.0 */
    .domainGetSchedulerParameters = nitroDomainGetSchedulerParameters, /* 0.1.0 */
    .domainGetSchedulerParametersFlags = nitroDomainGetSchedulerParametersFlags, /* 0.1.0 */
    .domainSetSchedulerParameters = nitroDomainSetSchedulerParameters, /* 0.1.0 */
    .domainSetSchedulerParametersFlags = nitroDomainSetSchedulerParametersFlags, /* 0.1.0 */
    .domainGetMemoryParameters = nitroDomainGetMemoryParameters, /* 0.1.0 */
    .domainSetMemoryParameters = nitroDomainSetMemoryParameters, /* 0.1.0 */
    .domainMemoryStats = nitroDomainMemoryStats, /* 0.1.0 */
    .connectGetAllDomainStats = nitroConnectGetAllDomainStats, /* 0.1.0 */
    .domainGetControlInfo = nitroDomainGetControlInfo, /* 0.1.0 */
    .domainGetMessages = nitroDomainGetMessages, /* 0.1.0 */
    .connectDomainEventRegister = nitroConnectDomainEventRegister, /* 0.1.0 */
    .connectDomainEventDeregister = nitroConnectDomainEventDeregister, /* 0.1.0 */
    .connectDomainEventRegisterAny = nitroConnectDomainEventRegisterAny, /* 0.1.0 */
    .connectDomainEventDeregisterAny = nitroConnectDomainEventDeregisterAny, /* 0.1.0 */
};


static virConnectDriver nitroConnectDriver = {
    .localOnly = true,
    .uriSchemes = (const char *[]){ "nitro", NULL },
    .hypervisorDriver = &nitroHypervisorDriver,
};


static virStateDriver nitroStateDriver = {
    .name = NITRO_DRIVER_NAME,
    .stateInitialize = nitroStateInitialize,
    .stateCleanup = nitroStateCleanup,
    .stateReload = nitroStateReload,
    .stateShutdownPrepare = nitroStateShutdownPrepare,
    .stateShutdownWait = nitroStateShutdownWait,
};


int
nitroRegister(void)
{
    /* What leaves here goes into XDR strings, which are UTF-8. */
    nitroGettextInitialize("UTF-8");

    if (virRegisterConnectDriver(&nitroConnectDriver, true) < 0 ||
        virRegisterStateDriver(&nitroStateDriver) < 0)
        return -1;
    return 0;
}
