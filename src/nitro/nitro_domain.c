/*
 * nitro_domain.c: what the driver keeps of a domain beside its definition
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "datatypes.h"
#include "nitro_domain.h"
#include "nitro_rundir.h"
#include "virerror.h"
#include "virfile.h"
#include "viruuid.h"
#include "virxml.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

/* Directories in each other that a run directory may have; ours has one. */
#define NITRO_DOMAIN_RUN_DIR_DEPTH 8

static void *
nitroDomainObjPrivateAlloc(void *opaque)
{
    nitroDomainObjPrivate *priv = g_new0(nitroDomainObjPrivate, 1);

    priv->run.consoleFd = -1;
    priv->run.watch = -1;
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
    virBufferEscapeString(buf, "<machine name='%s'/>\n", priv->run.machine);
    if (priv->run.cpusShown)
        virBufferAddLit(buf, "<cpusShown/>\n");
    return 0;
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
    priv->run.machine = virXPathString("string(./machine/@name)", ctxt);
    priv->run.cpusShown = virXPathBoolean("boolean(./cpusShown)", ctxt) == 1;
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


/*
 * Removes @name in the directory @parent, whatever it is, and what is in it. virFileDeleteTree()
 * goes by paths, of which each part may be exchanged for a link while it does. Returns 0, or -1
 * with errno set.
 */
static int
nitroDomainRemoveAt(int parent,
                    const char *name,
                    unsigned int depth)
{
    g_autoptr(DIR) dir = NULL;
    struct dirent *entry;
    int fd;
    int rc;

    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -1;

    if (depth == 0) {
        errno = ENOTEMPTY;
        return -1;
    }
    if ((fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
        return -1;
    if (!(dir = fdopendir(fd))) {
        VIR_FORCE_CLOSE(fd);
        return -1;
    }

    while ((rc = virDirRead(dir, &entry, NULL)) > 0) {
        if (nitroDomainRemoveAt(fd, entry->d_name, depth - 1) < 0)
            return -1;
    }
    if (rc < 0)
        return -1;
    return unlinkat(parent, name, AT_REMOVEDIR);
}


int
nitroDomainRemoveRunDir(const char *dir)
{
    if (nitroDomainRemoveAt(AT_FDCWD, dir, NITRO_DOMAIN_RUN_DIR_DEPTH) == 0)
        return 0;

    virReportSystemError(errno, _("cannot remove the directory '%s'"), dir);
    return -1;
}


int
nitroDomainSaveStatus(nitroDriver *driver,
                      virDomainObj *vm)
{
    return virDomainObjSave(vm, driver->xmlopt, driver->config->stateDir);
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
