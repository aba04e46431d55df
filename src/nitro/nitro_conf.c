/*
 * nitro_conf.c: the state of the driver and where it keeps its files
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "configmake.h"
#include "nitro_conf.h"
#include "virerror.h"
#include "virevent.h"
#include "virfile.h"
#include "virlog.h"
#include "virutil.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_conf");

nitroDriverConfig *
nitroDriverConfigNew(bool privileged)
{
    nitroDriverConfig *config = g_new0(nitroDriverConfig, 1);

    config->privileged = privileged;
    config->device = g_strdup(NITRO_DEVICE);
    config->user = (uid_t)-1;
    config->group = (gid_t)-1;
    config->maxStarts = NITRO_QUEUE_STARTS;
    config->logMaxSize = NITRO_LOG_MAX_SIZE;
    config->logMaxBackups = NITRO_LOG_MAX_BACKUPS;

    if (privileged) {
        config->configDir = g_strdup(SYSCONFDIR "/libvirt/nitro");
        config->stateDir = g_strdup(RUNSTATEDIR "/libvirt/nitro");
        config->logDir = g_strdup(LOCALSTATEDIR "/log/libvirt/nitro");
        config->nsmDir = g_strdup(LOCALSTATEDIR "/lib/libvirt/nitro/nsm");
    } else {
        g_autofree char *confdir = virGetUserConfigDirectory();
        g_autofree char *rundir = virGetUserRuntimeDirectory();
        g_autofree char *cachedir = virGetUserCacheDirectory();

        config->configDir = g_strdup_printf("%s/nitro", confdir);
        config->stateDir = g_strdup_printf("%s/nitro/run", rundir);
        config->logDir = g_strdup_printf("%s/nitro/log", cachedir);
        config->nsmDir = g_strdup_printf("%s/nitro/nsm", confdir);
    }
    config->autostartDir = g_strdup_printf("%s/autostart", config->configDir);

    /* The environment and the build directory count for a daemon run from the build tree */
    config->helper = virFileFindResourceFull("libvirt_nitro", NULL, NULL,
                                             NITRO_BUILDDIR "/src/helper",
                                             LIBEXECDIR,
                                             "LIBVIRT_NITRO_HELPER_DIR");
    config->checker = virFileFindResourceFull("libvirt_nitro_check", NULL, NULL,
                                              NITRO_BUILDDIR "/src/check",
                                              LIBEXECDIR,
                                              "LIBVIRT_NITRO_HELPER_DIR");
    config->services = virFileFindResourceFull("libvirt_nitro_services", NULL, NULL,
                                               NITRO_BUILDDIR "/src/services",
                                               LIBEXECDIR,
                                               "LIBVIRT_NITRO_HELPER_DIR");
    config->nsm = virFileFindResourceFull("libvirt_nitro_nsm", NULL, NULL,
                                          NITRO_BUILDDIR "/src/nsm",
                                          LIBEXECDIR,
                                          "LIBVIRT_NITRO_HELPER_DIR");
    return config;
}


void
nitroDriverConfigFree(nitroDriverConfig *config)
{
    if (!config)
        return;

    g_free(config->configDir);
    g_free(config->autostartDir);
    g_free(config->stateDir);
    g_free(config->logDir);
    g_free(config->helper);
    g_free(config->checker);
    g_free(config->services);
    g_free(config->nsm);
    g_free(config->nsmDir);
    g_free(config->device);
    virBitmapFree(config->poolCpus);
    g_free(config->poolPages);
    g_free(config);
}


/* Whether helpers are root, who needs capabilities to be root in a namespace */
static bool
nitroDriverConfigHasRootUser(const nitroDriverConfig *config)
{
    return (config->user == (uid_t)-1 ? geteuid() : config->user) == 0;
}


bool
nitroDriverConfigIsRoot(const nitroDriverConfig *config)
{
    return nitroDriverConfigHasRootUser(config) ||
           (config->group == (gid_t)-1 ? getegid() : config->group) == 0;
}


void
nitroDriverConfigSetUser(const nitroDriverConfig *config,
                         virCommand *cmd)
{
    if (config->user != (uid_t)-1)
        virCommandSetUID(cmd, config->user);
    if (config->group != (gid_t)-1)
        virCommandSetGID(cmd, config->group);
    if (!nitroDriverConfigHasRootUser(config))
        virCommandClearCaps(cmd);
}


void
nitroDriverConfigLimitLocking(virCommand *cmd)
{
    struct rlimit limit;

    /* A lower limit is one that nobody but root can raise, and need not. */
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_max > NITRO_LOCKED_MEMORY_MAX)
        virCommandSetMaxMemLock(cmd, NITRO_LOCKED_MEMORY_MAX);
}


int
nitroDriverConfigDropBounds(void *opaque)
{
    const nitroDriverConfig *config = opaque;
    unsigned long cap;

    if (nitroDriverConfigHasRootUser(config))
        return 0;
    /* EINVAL: the kernel has no more. */
    for (cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
        if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 0 ||
            prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0)
            continue;
        if (errno == EPERM && geteuid() != 0)
            return 0;
        virReportSystemError(errno,
                             _("cannot take capability %lu away from helpers: virtnitrod needs CAP_SETPCAP"),
                             cap);
        return -1;
    }
    return 0;
}


int
nitroDriverConfigCheckProgram(const nitroDriverConfig *config,
                              const char *path)
{
    uid_t user = config->user == (uid_t)-1 ? geteuid() : config->user;
    gid_t group = config->group == (gid_t)-1 ? getegid() : config->group;
    g_autofree char *name = virGetUserName(user);
    const char *end = path;

    if (virFileAccessibleAs(path, X_OK, user, group) == 0)
        return 0;

    /* The first part that the user cannot enter is what there is to change. */
    while ((end = strchr(end + 1, '/'))) {
        g_autofree char *part = g_strndup(path, end - path);

        if (virFileAccessibleAs(part, X_OK, user, group) < 0) {
            virReportSystemError(errno,
                                 _("the user '%s', whom helpers run as, cannot reach '%s': it may not enter the directory '%s'"),
                                 NULLSTR(name), path, part);
            return -1;
        }
    }
    virReportSystemError(errno, _("the user '%s', whom helpers run as, cannot run '%s'"),
                         NULLSTR(name), path);
    return -1;
}


/*
 * Makes the state directory of the system's daemon one that the group of helpers can pass
 * through; that of an earlier version is root's alone. Returns 0, or -1 with errno set.
 */
static int
nitroDriverConfigOpenState(const nitroDriverConfig *config)
{
    VIR_AUTOCLOSE fd = -1;

    if (!config->privileged)
        return 0;
    if ((fd = open(config->stateDir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0 ||
        fchown(fd, (uid_t)-1, config->group) < 0 || fchmod(fd, 0710) < 0)
        return -1;
    return 0;
}


int
nitroDriverConfigMakeDirs(const nitroDriverConfig *config)
{
    const char *dirs[] = {
        config->configDir, config->autostartDir, config->stateDir, config->logDir,
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(dirs); i++) {
        g_autofree char *parent = g_path_get_dirname(dirs[i]);

        /* The parents are libvirt's, and other daemons' too. Images, command lines and
         * consoles are nobody else's business. */
        if (g_mkdir_with_parents(parent, 0755) < 0 ||
            (g_mkdir(dirs[i], 0700) < 0 && errno != EEXIST)) {
            virReportSystemError(errno, _("cannot create the directory '%s'"), dirs[i]);
            return -1;
        }
    }
    if (nitroDriverConfigOpenState(config) < 0) {
        virReportSystemError(errno,
                             _("cannot give the directory '%s' to the group of helpers"),
                             config->stateDir);
        return -1;
    }
    return 0;
}


int
nitroDriverNextDomainId(nitroDriver *driver)
{
    return g_atomic_int_add(&driver->lastDomainId, 1) + 1;
}


void
nitroDriverReserveDomainId(nitroDriver *driver, int id)
{
    int last;

    do {
        last = g_atomic_int_get(&driver->lastDomainId);
    } while (last < id &&
             !g_atomic_int_compare_and_exchange(&driver->lastDomainId, last, id));
}


void
nitroDriverHold(nitroDriver *driver)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&driver->lock);

    if (driver->nholds++ == 0 && driver->inhibitCallback)
        driver->inhibitCallback(true, driver->inhibitOpaque);
}


void
nitroDriverLetGo(nitroDriver *driver)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&driver->lock);

    if (--driver->nholds == 0 && driver->inhibitCallback)
        driver->inhibitCallback(false, driver->inhibitOpaque);
}


/* What the daemon does on its own account */

struct _nitroDriverPool {
    nitroDriver *driver;
    virThreadPool *threads;
};

/* ms: until a thread is asked for again that could not be had */
#define NITRO_DRIVER_POOL_PAUSE 1000

typedef struct _nitroDriverTask nitroDriverTask;
struct _nitroDriverTask {
    nitroDriverPool *pool;
    nitroDriverFunc func;
    virDomainObj *vm; /* a reference, or NULL */
};


static void
nitroDriverTaskFree(void *opaque)
{
    nitroDriverTask *task = opaque;

    virObjectUnref(task->vm);
    g_free(task);
}


static void
nitroDriverTaskRun(void *jobdata,
                   void *opaque)
{
    nitroDriverTask *task = jobdata;
    nitroDriver *driver = opaque;

    if (!g_atomic_int_get(&driver->quitting))
        task->func(driver, task->vm);
    nitroDriverTaskFree(task);
}


/* The time of a task has come. */
static void
nitroDriverTaskDue(int timer,
                   void *opaque)
{
    nitroDriverTask *task = opaque;

    /* This frees the task. */
    virEventRemoveTimeout(timer);
    nitroDriverRun(task->pool, task->func, task->vm, 0);
}


nitroDriverPool *
nitroDriverPoolNew(nitroDriver *driver,
                   size_t max,
                   const char *name)
{
    g_autofree nitroDriverPool *pool = g_new0(nitroDriverPool, 1);

    pool->driver = driver;
    if (!(pool->threads = virThreadPoolNewFull(0, max, 0, nitroDriverTaskRun, name, NULL, driver)))
        return NULL;
    return g_steal_pointer(&pool);
}


void
nitroDriverPoolDrain(nitroDriverPool *pool)
{
    virThreadPoolDrain(pool->threads);
}


void
nitroDriverPoolFree(nitroDriverPool *pool)
{
    if (!pool)
        return;

    virThreadPoolFree(pool->threads);
    g_free(pool);
}


void
nitroDriverRun(nitroDriverPool *pool,
               nitroDriverFunc func,
               virDomainObj *vm,
               unsigned int delay)
{
    nitroDriverTask *task;

    if (g_atomic_int_get(&pool->driver->quitting))
        return;

    task = g_new0(nitroDriverTask, 1);
    task->pool = pool;
    task->func = func;
    task->vm = vm ? virObjectRef(vm) : NULL;
    if (delay == 0 && virThreadPoolSendJob(pool->threads, 0, task) == 0)
        return;

    if (delay == 0) {
        VIR_WARN("Unable to run a thread now: %s", virGetLastErrorMessage());
        virResetLastError();
        delay = NITRO_DRIVER_POOL_PAUSE;
    }
    if (virEventAddTimeout(delay, nitroDriverTaskDue, task, nitroDriverTaskFree) < 0) {
        VIR_ERROR(_("the daemon has no timers: restart it"));
        nitroDriverTaskFree(task);
    }
}


/* The end of the daemon */

static int
nitroDriverWakeOne(virDomainObj *vm,
                   void *opaque G_GNUC_UNUSED)
{
    VIR_LOCK_GUARD lock = virObjectLockGuard(vm);

    virDomainObjBroadcast(vm);
    return 0;
}


static void
nitroDriverQuitThread(void *opaque)
{
    nitroDriver *driver = opaque;

    virDomainObjListForEach(driver->domains, false, nitroDriverWakeOne, NULL);
}


void
nitroDriverQuit(nitroDriver *driver)
{
    g_atomic_int_set(&driver->quitting, 1);
    nitroQueueCancel(driver->queue, NULL);

    /* The caller holds the lock of the daemon, for which threads with a domain's lock wait:
     * nitroDriverHold(). So none of the domains can be waited for here. */
    if (driver->quitThreadRuns)
        return;
    if (virThreadCreateFull(&driver->quitThread, true, nitroDriverQuitThread, "nitro-quit",
                            false, driver) < 0)
        VIR_WARN("Unable to create a thread, so what waits for a domain goes on: %s",
                 g_strerror(errno));
    else
        driver->quitThreadRuns = true;
}
