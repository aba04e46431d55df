/*
 * nitro_domain.c: what the driver keeps of a domain beside its definition
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "datatypes.h"
#include "nitro_domain.h"
#include "nitro_rundir.h"
#include "nitro_unprotected.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virstring.h"
#include "viruuid.h"
#include "virxml.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_domain");

static void *
nitroDomainObjPrivateAlloc(void *opaque)
{
    nitroDomainObjPrivate *priv = g_new0(nitroDomainObjPrivate, 1);

    priv->run.consoleFd = -1;
    priv->run.watch = -1;
    priv->run.services.link = -1;
    priv->run.services.exitCode = -1;
    return priv;
}


static void
nitroDomainObjPrivateFree(void *data)
{
    nitroDomainObjPrivate *priv = data;

    nitroRunReset(&priv->run);
    virObjectUnref(priv->reader);
    virObjectUnref(priv->run.mon);
    g_free(priv);
}


static void
nitroDomainFormatUnprotected(virBuffer *buf,
                             char *const *list)
{
    g_auto(virBuffer) parts = VIR_BUFFER_INIT_CHILD(buf);
    size_t i;

    if (!list)
        return;
    for (i = 0; list[i]; i++)
        virBufferEscapeString(&parts, "<part code='%s'/>\n", list[i]);
    virXMLFormatElementEmpty(buf, "unprotected", NULL, &parts);
}


/*
 * What a restarted daemon needs beyond libvirt's own status (state, id, pid, live
 * definition) it asks the helper for, but for what only the earlier daemon knew.
 */
static int
nitroDomainObjPrivateFormat(virBuffer *buf,
                            virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    virBufferAsprintf(buf, "<boot time='%llu' restarts='%u'/>\n", priv->run.bootTime, priv->restarts);
    if (priv->run.helper)
        virBufferAsprintf(buf, "<helper start='%llu'/>\n",
                          nitroHelperGetStart(priv->run.helper));
    if (priv->run.services.process)
        virBufferAsprintf(buf, "<services pid='%lld' start='%llu'/>\n",
                          (long long) nitroHelperGetPid(priv->run.services.process),
                          nitroHelperGetStart(priv->run.services.process));
    virBufferEscapeString(buf, "<machine name='%s'/>\n", priv->run.machine);
    if (priv->run.cpusShown)
        virBufferAddLit(buf, "<cpusShown/>\n");
    nitroDomainFormatUnprotected(buf, priv->run.unprotected);
    return 0;
}


/* Returns the list, or NULL when the status has none: an earlier version has written it. */
static char **
nitroDomainParseUnprotected(xmlXPathContextPtr ctxt)
{
    g_autofree xmlNodePtr *nodes = NULL;
    char **list = NULL;
    ssize_t n;
    size_t i;

    if (virXPathBoolean("boolean(./unprotected)", ctxt) != 1)
        return NULL;

    nitroUnprotectedAddAll(&list, NULL);
    n = virXPathNodeSet("./unprotected/part", ctxt, &nodes);
    for (i = 0; n > 0 && i < n; i++) {
        g_autofree char *code = virXMLPropString(nodes[i], "code");

        if (code)
            nitroUnprotectedAdd(&list, code);
    }
    return list;
}


/* The services process; NULL when the status has none, or one that could be anybody's. */
static nitroHelper *
nitroDomainParseServices(xmlXPathContextPtr ctxt)
{
    unsigned long long start = 0;
    int number = 0;

    if (virXPathInt("string(./services/@pid)", ctxt, &number) < 0 || number <= 0 ||
        virXPathULongLong("string(./services/@start)", ctxt, &start) < 0 || start == 0)
        return NULL;
    return nitroHelperNew(number, start);
}


/* A status file that lacks it or has nonsense is of no less use. */
static int
nitroDomainObjPrivateParse(xmlXPathContextPtr ctxt,
                           virDomainObj *vm,
                           virDomainDefParserConfig *config G_GNUC_UNUSED)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    unsigned long long start;

    if (virXPathULongLong("string(./boot/@time)", ctxt, &priv->run.bootTime) < 0)
        priv->run.bootTime = 0;
    if (virXPathUInt("string(./boot/@restarts)", ctxt, &priv->restarts) < 0)
        priv->restarts = 0;
    if (virXPathULongLong("string(./helper/@start)", ctxt, &start) < 0)
        start = 0;
    if (vm->pid > 0)
        priv->run.helper = nitroHelperNew(vm->pid, start);
    priv->run.services.process = nitroDomainParseServices(ctxt);
    priv->run.machine = virXPathString("string(./machine/@name)", ctxt);
    priv->run.cpusShown = virXPathBoolean("boolean(./cpusShown)", ctxt) == 1;
    priv->run.unprotected = nitroDomainParseUnprotected(ctxt);
    return 0;
}


virDomainXMLPrivateDataCallbacks nitroDomainPrivateDataCallbacks = {
    .alloc = nitroDomainObjPrivateAlloc,
    .free = nitroDomainObjPrivateFree,
    .format = nitroDomainObjPrivateFormat,
    .parse = nitroDomainObjPrivateParse,
};


/* libvirt's asynchronous jobs call these of every driver; ours have no private data. */

static void *
nitroDomainJobDataAlloc(void)
{
    return NULL;
}


static void *
nitroDomainJobDataCopy(void *data G_GNUC_UNUSED)
{
    return NULL;
}


static void
nitroDomainJobDataFree(void *data G_GNUC_UNUSED)
{
}


virDomainJobObjConfig nitroDomainJobConfig = {
    .jobDataPrivateCb = {
        .allocPrivateData = nitroDomainJobDataAlloc,
        .copyPrivateData = nitroDomainJobDataCopy,
        .freePrivateData = nitroDomainJobDataFree,
    },
};


virDomainObj *
nitroDomainObjFromDomain(virDomainPtr domain)
{
    nitroDriver *driver = domain->conn->privateData;
    char uuidstr[VIR_UUID_STRING_BUFLEN];
    virDomainObj *vm;

    if (!(vm = virDomainObjListFindByUUID(driver->domains, domain->uuid))) {
        virUUIDFormat(domain->uuid, uuidstr);
        virReportError(VIR_ERR_NO_DOMAIN,
                       _("no domain with matching uuid '%s' (%s)"), uuidstr, domain->name);
    }
    return vm;
}


bool
nitroDomainSetRestart(nitroDriver *driver,
                      virDomainObj *vm,
                      bool pending)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    bool before = priv->restartPending;

    priv->restartPending = pending;
    if (pending && !before)
        nitroDriverHold(driver);
    else if (!pending && before)
        nitroDriverLetGo(driver);
    return before;
}


void
nitroDomainRemoveInactive(nitroDriver *driver,
                          virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (!virDomainObjIsActive(vm) && !vm->persistent && !vm->removing && !priv->restartPending)
        virDomainObjListRemove(driver->domains, vm);
}


char *
nitroDomainGetRunDir(nitroDriver *driver,
                     const virDomainDef *def)
{
    return nitroRunDirPath(driver->config->stateDir, def->id, def->name);
}


int
nitroDomainSaveStatus(nitroDriver *driver,
                      virDomainObj *vm)
{
    return virDomainObjSave(vm, driver->xmlopt, driver->config->stateDir);
}


void
nitroDomainRemoveUnsaved(nitroDriver *driver)
{
    const char *dir = driver->config->stateDir;
    g_autoptr(DIR) stream = NULL;
    struct dirent *entry;
    int rc;

    if ((rc = virDirOpenIfExists(&stream, dir)) <= 0)
        return;
    while ((rc = virDirRead(stream, &entry, dir)) > 0) {
        g_autofree char *path = g_strdup_printf("%s/%s", dir, entry->d_name);

        if (virStringHasSuffix(entry->d_name, ".xml.new") && unlink(path) < 0 && errno != ENOENT)
            VIR_WARN("Cannot remove '%s', which was not written to its end: %s", path,
                     g_strerror(errno));
    }
}


void
nitroDomainObjMoveRun(virDomainObj *vm,
                      virDomainObj *from)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    nitroDomainObjPrivate *other = from->privateData;
    nitroRun run = priv->run;

    priv->run = other->run;
    other->run = run;
    priv->restarts = other->restarts;
    priv->runningSince = 0;
}


void
nitroDomainEventLifecycle(nitroDriver *driver,
                          virDomainObj *vm,
                          int type,
                          int detail)
{
    virObjectEventStateQueue(driver->domainEventState,
                             virDomainEventLifecycleNewFromObj(vm, type, detail));
}
