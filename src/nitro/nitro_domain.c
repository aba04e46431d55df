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
#include <sys/stat.h>
#include <unistd.h>

#include "datatypes.h"
#include "nitro_domain.h"
#include "nitro_rundir.h"
#include "nitro_unprotected.h"
#include "virerror.h"
#include "virfile.h"
#include "viruuid.h"
#include "virxml.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

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


/*
 * Takes the directory @fd away from its owner, who may be making things in it at this very
 * moment: then nobody but root can. In a session all is the user's, or can be removed as it is, or
 * cannot. Returns 0, or -1 with errno set.
 */
static int
nitroDomainSeizeDir(int fd)
{
    if (geteuid() == 0)
        return fchown(fd, 0, 0) < 0 || fchmod(fd, 0700) < 0 ? -1 : 0;
    ignore_value(fchmod(fd, 0700));
    return 0;
}


/*
 * Removes @name in the directory @fd, or, when it is a directory that is not empty, moves it to
 * the directory @top, which is ours alone. Returns 1 when it was moved, 0 when it is gone, or -1
 * with errno set.
 */
static int
nitroDomainRemoveEntry(int top,
                       int fd,
                       const char *name,
                       unsigned long long *moves)
{
    g_autofree char *place = NULL;

    if (unlinkat(fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -1;
    if (unlinkat(fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return -1;

    do {
        place = g_strdup_printf("removed-%llu", (*moves)++);
    } while (faccessat(top, place, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
    return renameat(fd, name, top, place) < 0 ? -1 : 1;
}


/*
 * Empties the directory @name in @top, and removes it; directories in it that are not empty move to
 * @top. So no path gets longer, and no depth needs a stack. Returns 0, or -1 with errno set.
 */
static int
nitroDomainRemoveDir(int top,
                     const char *name,
                     unsigned long long *moves)
{
    g_autoptr(DIR) dir = NULL;
    struct dirent *entry;
    int fd = openat(top, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int rc;

    if (fd < 0)
        return -1;
    if (!(dir = fdopendir(fd))) {
        VIR_FORCE_CLOSE(fd);
        return -1;
    }
    if (nitroDomainSeizeDir(fd) < 0)
        return -1;

    while ((rc = virDirRead(dir, &entry, NULL)) > 0) {
        if (nitroDomainRemoveEntry(top, fd, entry->d_name, moves) < 0)
            return -1;
    }
    if (rc < 0)
        return -1;
    return unlinkat(top, name, AT_REMOVEDIR);
}


/*
 * Removes what is in the directory @dir, whose descriptor is @top, until there is nothing.
 * virFileDeleteTree() goes by paths, of which each part may be exchanged for a link while it
 * does. Returns 0, or -1 with errno set.
 */
static int
nitroDomainEmptyRunDir(DIR *dir,
                       int top)
{
    unsigned long long moves = 0;
    struct dirent *entry;
    bool more = true;
    int rc = 0;

    while (rc == 0 && more) {
        more = false;
        rewinddir(dir);
        while ((rc = virDirRead(dir, &entry, NULL)) > 0) {
            if (unlinkat(top, entry->d_name, 0) == 0 || errno == ENOENT)
                continue;
            if ((errno != EISDIR && errno != EPERM) ||
                nitroDomainRemoveDir(top, entry->d_name, &moves) < 0)
                return -1;
            more = true;
        }
    }
    return rc;
}


int
nitroDomainRemoveRunDir(const char *dir)
{
    g_autoptr(DIR) stream = NULL;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd >= 0 && !(stream = fdopendir(fd)))
        VIR_FORCE_CLOSE(fd);
    if (stream && nitroDomainSeizeDir(fd) == 0 && nitroDomainEmptyRunDir(stream, fd) == 0 &&
        rmdir(dir) == 0)
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
