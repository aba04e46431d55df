/*
 * nitro_aside.c: enclaves of an earlier daemon whose status cannot be read
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The directory that an enclave runs in is left, and in it the file that names its helper, and
 * the control socket, where the helper tells what it has. Nothing here ends a process.
 */

#include <config.h>

#include <sys/stat.h>
#include <unistd.h>

#include "nitro_aside.h"
#include "nitro_conf.h"
#include "nitro_domain.h"
#include "nitro_gone.h"
#include "nitro_helper.h"
#include "nitro_monitor.h"
#include "nitro_outputs.h"
#include "nitro_rundir.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_aside");

#define NITRO_ASIDE_DIR_PREFIX "domain-"

/* ms: between two looks */
#define NITRO_ASIDE_PAUSE 5000

/* ms: how long a helper may take to answer */
#define NITRO_ASIDE_TIMEOUT 2000

/* One run directory without a domain */
typedef struct _nitroAside nitroAside;
struct _nitroAside {
    char *dir;           /* name in the state directory */
    nitroHelper *helper; /* NULL: not found out yet */
    bool over;           /* it has ended, and its directory cannot be removed */
    bool told;           /* in the log */
    bool accounted;      /* its CPUs and its CID */
    bool noted;          /* its files */
    unsigned int cid;    /* taken from the driver's; 0: none */
};

struct _nitroAsides {
    GMutex looking; /* held by the thread that looks; taken before the other */
    nitroAsideTakeover takeover;
    unsigned int looks;

    GMutex lock;     /* protects what follows; who looks alone changes it */
    GPtrArray *list; /* nitroAside * */
    bool listed;     /* it was found out at least once what there is */

    int scheduled; /* atomic: the next look is */
};


static void
nitroAsideFree(void *opaque)
{
    nitroAside *aside = opaque;

    nitroHelperUnref(aside->helper);
    g_free(aside->dir);
    g_free(aside);
}


nitroAsides *
nitroAsidesNew(void)
{
    nitroAsides *asides = g_new0(nitroAsides, 1);

    g_mutex_init(&asides->looking);
    g_mutex_init(&asides->lock);
    asides->list = g_ptr_array_new_with_free_func(nitroAsideFree);
    return asides;
}


void
nitroAsidesFree(nitroAsides *asides)
{
    if (!asides)
        return;

    g_ptr_array_unref(asides->list);
    g_mutex_clear(&asides->lock);
    g_mutex_clear(&asides->looking);
    g_free(asides);
}


/* The id in the name @dir of a run directory, or 0 */
static int
nitroAsideGetId(const char *dir)
{
    int id;
    char *end;

    if (virStrToLong_i(dir + strlen(NITRO_ASIDE_DIR_PREFIX), &end, 10, &id) < 0 || id < 0)
        return 0;
    return id;
}


/* Whether the run directory of @aside may be one of a domain with the name of @def */
static bool
nitroAsideHasName(const nitroAside *aside,
                  const char *stateDir,
                  const virDomainDef *def)
{
    g_autofree char *path = nitroRunDirPath(stateDir, nitroAsideGetId(aside->dir), def->name);
    g_autofree char *dir = g_path_get_basename(path);

    return STREQ(dir, aside->dir);
}


/* Returns 0 when @aside does not keep @def from being started, or -1 with an error set. */
static int
nitroAsideCheckOne(const nitroAside *aside,
                   const char *stateDir,
                   const virDomainDef *def)
{
    if (aside->over)
        return 0;
    if (!aside->helper) {
        if (!nitroAsideHasName(aside, stateDir, def))
            return 0;
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("cannot find out whether an enclave of domain '%s' runs in '%s/%s' already: try again, or remove that directory if none does"),
                       def->name, stateDir, aside->dir);
        return -1;
    }
    if (nitroHelperFind(aside->helper, NULL) == NITRO_HELPER_GONE ||
        nitroHelperIsFor(aside->helper, def->uuid) == NITRO_HELPER_GONE)
        return 0;
    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("an enclave of domain '%s' runs already, and was set aside as its status cannot be read: end its helper, process %lld, first"),
                   def->name, (long long) nitroHelperGetPid(aside->helper));
    return -1;
}


/*
 * The status of an enclave that is set aside may be read yet, and is not written over: a domain
 * with the same name and another UUID has to wait. Empty is what could not be removed.
 */
static int
nitroAsideCheckStatus(const char *stateDir,
                      const virDomainDef *def)
{
    g_autofree char *path = virDomainConfigFile(stateDir, def->name);
    struct stat sb;

    if (stat(path, &sb) < 0 ? errno == ENOENT : sb.st_size == 0)
        return 0;
    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("'%s' may be the status of another domain '%s' whose enclave is set aside: end that first, or use another name"),
                   path, def->name);
    return -1;
}


int
nitroAsidesCheck(nitroDriver *driver,
                 const virDomainDef *def)
{
    nitroAsides *asides = driver->asides;
    const char *stateDir = driver->config->stateDir;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&asides->lock);
    bool any = false;
    size_t i;

    if (!asides->listed) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("cannot find out whether an enclave of domain '%s' runs already, as the directory '%s' cannot be read: try again"),
                       def->name, stateDir);
        return -1;
    }
    for (i = 0; i < asides->list->len; i++) {
        const nitroAside *aside = g_ptr_array_index(asides->list, i);

        if (nitroAsideCheckOne(aside, stateDir, def) < 0)
            return -1;
        any |= !aside->over;
    }
    return any ? nitroAsideCheckStatus(stateDir, def) : 0;
}


void
nitroAsideMark(const char *dir,
               pid_t pid,
               const char *reason)
{
    g_autofree char *path = g_strdup_printf("%s/" NITRO_ASIDE_MARK, dir);
    g_autofree char *text = g_strdup_printf("%lld %s\n", (long long) pid, reason);

    if (virFileWriteStr(path, text, 0600) < 0)
        VIR_WARN("Unable to write '%s': %s", path, g_strerror(errno));
}


void
nitroAsideUnmark(const char *dir)
{
    g_autofree char *path = g_strdup_printf("%s/" NITRO_ASIDE_MARK, dir);

    if (unlink(path) < 0 && errno != ENOENT)
        VIR_WARN("Unable to remove '%s': %s", path, g_strerror(errno));
}


/* The names of what belongs to domains in the state directory: files and directories */
struct nitroAsideKnown {
    nitroDriver *driver;
    GHashTable *names;
};

static int
nitroAsideNoteKnown(virDomainObj *vm,
                    void *opaque)
{
    struct nitroAsideKnown *known = opaque;
    VIR_LOCK_GUARD lock = virObjectLockGuard(vm);
    g_autofree char *dir = nitroDomainGetRunDir(known->driver, vm->def);

    if (!virDomainObjIsActive(vm))
        return 0;
    g_hash_table_add(known->names, g_path_get_basename(dir));
    g_hash_table_add(known->names, g_strdup_printf("%s.xml", vm->def->name));
    return 0;
}


/* Takes out of @list what is in @known. */
static void
nitroAsideLeave(GPtrArray *list,
                GHashTable *known)
{
    size_t i = list->len;

    while (i-- > 0) {
        if (g_hash_table_contains(known, g_ptr_array_index(list, i)))
            g_ptr_array_remove_index(list, i);
    }
}


/*
 * What in the state directory belongs to no domain: run directories in @dirs, status files in
 * @files. A domain that starts is active before it has any of these; so what is there is
 * listed first, and whose it is found out then. Returns 0, or -1 with an error set.
 */
static int
nitroAsideList(nitroDriver *driver,
               GPtrArray *dirs,
               GPtrArray *files)
{
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    struct nitroAsideKnown known = { driver, names };
    g_autoptr(DIR) dir = NULL;
    struct dirent *entry;
    int rc;

    if (virDirOpen(&dir, driver->config->stateDir) < 0)
        return -1;
    while ((rc = virDirRead(dir, &entry, driver->config->stateDir)) > 0) {
        if (STRPREFIX(entry->d_name, NITRO_ASIDE_DIR_PREFIX)) {
            /* No run gets the directory of another. */
            nitroDriverReserveDomainId(driver, nitroAsideGetId(entry->d_name));
            g_ptr_array_add(dirs, g_strdup(entry->d_name));
        } else if (virStringHasSuffix(entry->d_name, ".xml")) {
            g_ptr_array_add(files, g_strdup(entry->d_name));
        }
    }

    virDomainObjListForEach(driver->domains, false, nitroAsideNoteKnown, &known);
    nitroAsideLeave(dirs, names);
    nitroAsideLeave(files, names);
    return rc;
}


/* Nothing that the helper tells unasked counts here: a nitroMonitorCallback. */
static void
nitroAsideFromMonitor(nitroMonitor *mon G_GNUC_UNUSED,
                      const nitroMonitorEvent *event G_GNUC_UNUSED,
                      void *opaque G_GNUC_UNUSED)
{
}


/* Asks the helper what it has, so that nobody else gets it. It is tried again if it fails. */
static void
nitroAsideAccount(nitroDriver *driver,
                  nitroAside *aside)
{
    g_autofree char *path = g_strdup_printf("%s/%s/control", driver->config->stateDir, aside->dir);
    g_auto(nitroMonitorStatus) status = { .cid = -1 };
    g_autoptr(nitroMonitor) mon = NULL;
    /* Its definition is not known. */
    const nitroMonitorEnclave enclave = { .choosesCid = true, .vcpus = VIR_DOMAIN_CPUMASK_LEN };
    unsigned int cid;
    int fd;

    if ((fd = nitroMonitorConnect(path)) < 0 ||
        !(mon = nitroMonitorOpen(fd, aside->dir, &enclave, nitroAsideFromMonitor, NULL, NULL)) ||
        nitroMonitorQueryStatus(mon, NITRO_ASIDE_TIMEOUT, &status) < 0) {
        VIR_WARN("What the enclave in '%s' has is not known: %s", aside->dir,
                 virGetLastErrorMessage());
        virResetLastError();
    } else {
        cid = MAX(status.cid, 0);
        if (cid != 0 && nitroCidsTake(driver->cids, aside->dir, &cid) == 0)
            aside->cid = cid;
        nitroCpusNoteIds(driver->cpus, aside->dir, status.cpus, status.ncpus);
        aside->accounted = true;
    }
    if (mon)
        nitroMonitorClose(mon);
}


static void
nitroAsideRelease(nitroDriver *driver,
                  nitroAside *aside)
{
    nitroCidsRelease(driver->cids, aside->cid);
    nitroUsesRelease(driver->uses, aside->dir);
    if (aside->accounted)
        nitroCpusRelease(driver->cpus, aside->dir);
    aside->cid = 0;
    aside->accounted = aside->noted = false;
}


static void
nitroAsideTell(nitroDriver *driver,
               nitroAside *aside)
{
    g_autofree char *dir = g_strdup_printf("%s/%s", driver->config->stateDir, aside->dir);

    if (aside->told)
        return;

    nitroAsideMark(dir, nitroHelperGetPid(aside->helper), _("its status cannot be read"));
    VIR_ERROR(_("process %lld runs an enclave in '%s' whose status cannot be read: it is set aside and left alone; end the process if it is to end"),
              (long long) nitroHelperGetPid(aside->helper), aside->dir);
    aside->told = true;
}


/* What is known of the helper of @aside, whose run directory is @dir */
static nitroHelperState
nitroAsideFindHelper(nitroAsides *asides,
                     nitroAside *aside,
                     const char *dir)
{
    g_autofree char *pidfile = g_strdup_printf("%s/pid", dir);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&asides->lock);
    int rc = aside->helper ? 0 : nitroHelperReadFile(pidfile, &aside->helper);

    if (rc == 0)
        return nitroHelperFind(aside->helper, NULL);
    return rc == -ENOENT ? NITRO_HELPER_GONE : NITRO_HELPER_UNKNOWN;
}


/* The enclave of @aside is over: its directory @dir goes, now or later. */
static void
nitroAsideEnd(nitroDriver *driver,
              nitroAside *aside,
              const char *dir)
{
    bool over = false;
    int rc;

    nitroOutputsRelease(driver, aside->dir, dir);
    nitroAsideRelease(driver, aside);
    if ((rc = nitroGoneTake(dir)) < 0) {
        if (!aside->over)
            VIR_ERROR(_("cannot remove '%s': %s"), dir, virGetLastErrorMessage());
        over = true;
    } else if (rc > 0) {
        nitroGoneEmptyLater(driver);
    }
    g_mutex_lock(&driver->asides->lock);
    aside->over = over;
    g_mutex_unlock(&driver->asides->lock);
}


/*
 * Looks after @aside; @ask: its helper, too, which takes time. Returns what is known of the helper;
 * one that is gone leaves its directory, which is removed.
 */
static nitroHelperState
nitroAsideLook(nitroDriver *driver,
               nitroAside *aside,
               bool ask)
{
    g_autofree char *dir = g_strdup_printf("%s/%s", driver->config->stateDir, aside->dir);
    nitroHelperState state = nitroAsideFindHelper(driver->asides, aside, dir);

    if (state == NITRO_HELPER_ALIVE) {
        nitroAsideTell(driver, aside);
        if (!aside->noted && !(aside->noted = nitroOutputsRetake(driver, aside->dir, dir) == 0))
            VIR_WARN("%s", virGetLastErrorMessage());
        if (ask && !aside->accounted)
            nitroAsideAccount(driver, aside);
    } else if (state == NITRO_HELPER_GONE) {
        nitroAsideEnd(driver, aside, dir);
    }
    return state;
}


/* The entry of the run directory @dir, or NULL */
static nitroAside *
nitroAsideFind(nitroAsides *asides,
               const char *dir)
{
    size_t i;

    for (i = 0; i < asides->list->len; i++) {
        nitroAside *aside = g_ptr_array_index(asides->list, i);

        if (STREQ(aside->dir, dir))
            return aside;
    }
    return NULL;
}


static void
nitroAsideRemove(nitroDriver *driver,
                 nitroAside *aside)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&driver->asides->lock);

    nitroAsideRelease(driver, aside);
    g_ptr_array_remove(driver->asides->list, aside);
}


/* What the enclave of @vm has is not that of an entry any more, but its domain's. */
static void
nitroAsideHandOver(nitroDriver *driver,
                   virDomainObj *vm)
{
    g_autofree char *path = nitroDomainGetRunDir(driver, vm->def);
    g_autofree char *dir = g_path_get_basename(path);
    nitroAside *aside = nitroAsideFind(driver->asides, dir);

    if (aside)
        nitroAsideRemove(driver, aside);
    driver->asides->takeover(driver, vm);
}


/* Makes the status @obj a domain in the list. Returns 0, or -1 with an error set. */
static int
nitroAsideAddDomain(nitroDriver *driver,
                    virDomainObj *obj)
{
    virDomainObj *vm;
    int reason;
    virDomainState state = virDomainObjGetState(obj, &reason);

    if (!(vm = virDomainObjListAdd(driver->domains, &obj->def, driver->xmlopt,
                                   VIR_DOMAIN_OBJ_LIST_ADD_LIVE |
                                   VIR_DOMAIN_OBJ_LIST_ADD_CHECK_LIVE, NULL)))
        return -1;
    vm->pid = obj->pid;
    virDomainObjSetState(vm, state, reason);
    nitroDomainObjMoveRun(vm, obj);
    nitroAsideHandOver(driver, vm);
    virDomainObjEndAPI(&vm);
    return 0;
}


/* Tries to read the status @file once more: then it belongs to a domain. */
static void
nitroAsideLoad(nitroDriver *driver,
               const char *file)
{
    g_autofree char *path = g_strdup_printf("%s/%s", driver->config->stateDir, file);
    virDomainObj *obj = virDomainObjParseFile(path, driver->xmlopt,
                                              VIR_DOMAIN_DEF_PARSE_STATUS |
                                              VIR_DOMAIN_DEF_PARSE_ACTUAL_NET |
                                              VIR_DOMAIN_DEF_PARSE_PCI_ORIG_STATES |
                                              VIR_DOMAIN_DEF_PARSE_SKIP_VALIDATE |
                                              VIR_DOMAIN_DEF_PARSE_ALLOW_POST_PARSE_FAIL);
    int rc = -1;

    if (obj) {
        rc = nitroAsideAddDomain(driver, obj);
        virDomainObjEndAPI(&obj);
    }
    if (rc < 0)
        VIR_DEBUG("status '%s': %s", path, virGetLastErrorMessage());
}


/* Removes the status @file, unless a domain that has been started meanwhile has written it. */
static void
nitroAsideRemoveFile(nitroDriver *driver,
                     const char *file)
{
    g_autofree char *path = g_strdup_printf("%s/%s", driver->config->stateDir, file);
    g_autofree char *name = g_strndup(file, strlen(file) - strlen(".xml"));
    virDomainObj *vm = virDomainObjListFindByName(driver->domains, name);

    /* While it is locked it does not start. */
    if ((!vm || !virDomainObjIsActive(vm)) && unlink(path) < 0 && errno != ENOENT)
        VIR_ERROR(_("cannot remove '%s': %s"), path, g_strerror(errno));
    virDomainObjEndAPI(&vm);
}


static nitroAside *
nitroAsideGet(nitroAsides *asides,
              const char *dir)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&asides->lock);
    nitroAside *aside = nitroAsideFind(asides, dir);

    if (!aside) {
        aside = g_new0(nitroAside, 1);
        aside->dir = g_strdup(dir);
        g_ptr_array_add(asides->list, aside);
    }
    return aside;
}


/* Removes entries whose directories are not in @dirs: they belong to a domain now. */
static void
nitroAsideForget(nitroDriver *driver,
                 GPtrArray *dirs)
{
    size_t i = driver->asides->list->len;

    while (i-- > 0) {
        nitroAside *aside = g_ptr_array_index(driver->asides->list, i);

        if (!g_ptr_array_find_with_equal_func(dirs, aside->dir, g_str_equal, NULL))
            nitroAsideRemove(driver, aside);
    }
}


/* Makes those of @files domains that can be read after all. */
static void
nitroAsideLoadAll(nitroDriver *driver,
                  GPtrArray *files)
{
    size_t i;

    for (i = 0; i < files->len; i++)
        nitroAsideLoad(driver, g_ptr_array_index(files, i));
}


/* Looks at each of @dirs. Returns whether one is left, and in @over whether one cannot be removed. */
static bool
nitroAsideLookEach(nitroDriver *driver,
                   GPtrArray *dirs,
                   bool ask,
                   bool *over)
{
    bool left = false;
    size_t i;

    for (i = 0; i < dirs->len; i++) {
        nitroAside *aside = nitroAsideGet(driver->asides, g_ptr_array_index(dirs, i));

        if (nitroAsideLook(driver, aside, ask) != NITRO_HELPER_GONE)
            left = true;
        else if (aside->over)
            *over = true;
        else
            nitroAsideRemove(driver, aside);
    }
    g_mutex_lock(&driver->asides->lock);
    driver->asides->listed = true;
    g_mutex_unlock(&driver->asides->lock);
    return left;
}


/*
 * Looks at all that belongs to no domain, in one thread at a time; @ask as above. Returns whether
 * there is anything to look at again.
 */
static bool
nitroAsideLookAll(nitroDriver *driver,
                  bool ask)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&driver->asides->looking);
    g_autoptr(GPtrArray) dirs = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(g_free);
    bool over = false;
    size_t i;

    if (nitroAsideList(driver, dirs, files) < 0) {
        VIR_ERROR(_("cannot look for enclaves of an earlier daemon: %s"), virGetLastErrorMessage());
        return true;
    }
    nitroAsideForget(driver, dirs);
    if (!nitroAsideLookEach(driver, dirs, ask, &over)) {
        for (i = 0; i < files->len; i++)
            nitroAsideRemoveFile(driver, g_ptr_array_index(files, i));
        return over;
    }
    /* What cannot be read is an error in the log each time: it is tried ever more seldom. */
    driver->asides->looks++;
    if ((driver->asides->looks & (driver->asides->looks - 1)) == 0)
        nitroAsideLoadAll(driver, files);
    return true;
}


static void nitroAsideTask(nitroDriver *driver, virDomainObj *vm);

/* Of those who want to look again one does. */
static void
nitroAsideSchedule(nitroDriver *driver,
                   unsigned int delay)
{
    if (g_atomic_int_compare_and_exchange(&driver->asides->scheduled, 0, 1))
        nitroDriverRun(driver->takeovers, nitroAsideTask, NULL, delay);
}


/* A function for nitroDriverRun(); @vm is NULL */
static void
nitroAsideTask(nitroDriver *driver,
               virDomainObj *vm G_GNUC_UNUSED)
{
    g_atomic_int_set(&driver->asides->scheduled, 0);
    if (nitroAsideLookAll(driver, true))
        nitroAsideSchedule(driver, NITRO_ASIDE_PAUSE);
}


void
nitroAsidesFindLater(nitroDriver *driver)
{
    nitroAsideSchedule(driver, NITRO_ASIDE_PAUSE);
}


void
nitroAsidesFind(nitroDriver *driver,
                nitroAsideTakeover takeover)
{
    driver->asides->takeover = takeover;
    if (nitroAsideLookAll(driver, false))
        nitroAsideSchedule(driver, 0);
}
