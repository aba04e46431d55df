/*
 * nitro_conf.c: the state of the driver and where it keeps its files
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "configmake.h"
#include "nitro_conf.h"
#include "virerror.h"
#include "virfile.h"
#include "virutil.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

nitroDriverConfig *
nitroDriverConfigNew(bool privileged)
{
    nitroDriverConfig *config = g_new0(nitroDriverConfig, 1);

    config->device = g_strdup(NITRO_DEVICE);
    config->user = (uid_t)-1;
    config->group = (gid_t)-1;

    if (privileged) {
        config->configDir = g_strdup(SYSCONFDIR "/libvirt/nitro");
        config->stateDir = g_strdup(RUNSTATEDIR "/libvirt/nitro");
        config->logDir = g_strdup(LOCALSTATEDIR "/log/libvirt/nitro");
    } else {
        g_autofree char *confdir = virGetUserConfigDirectory();
        g_autofree char *rundir = virGetUserRuntimeDirectory();
        g_autofree char *cachedir = virGetUserCacheDirectory();

        config->configDir = g_strdup_printf("%s/nitro", confdir);
        config->stateDir = g_strdup_printf("%s/nitro/run", rundir);
        config->logDir = g_strdup_printf("%s/nitro/log", cachedir);
    }
    config->autostartDir = g_strdup_printf("%s/autostart", config->configDir);

    /* The environment and the build directory count for a daemon run from the build tree */
    config->helper = virFileFindResourceFull("libvirt_nitro", NULL, NULL,
                                             NITRO_BUILDDIR "/src/helper",
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
    g_free(config->device);
    virBitmapFree(config->poolCpus);
    g_free(config->poolPages);
    g_free(config);
}


void
nitroDriverConfigSetUser(const nitroDriverConfig *config,
                         virCommand *cmd)
{
    if (config->user != (uid_t)-1)
        virCommandSetUID(cmd, config->user);
    if (config->group != (gid_t)-1)
        virCommandSetGID(cmd, config->group);
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
nitroDriverDomainStarted(nitroDriver *driver)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&driver->lock);

    if (driver->nactive++ == 0 && driver->inhibitCallback)
        driver->inhibitCallback(true, driver->inhibitOpaque);
}


void
nitroDriverDomainStopped(nitroDriver *driver)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&driver->lock);

    if (--driver->nactive == 0 && driver->inhibitCallback)
        driver->inhibitCallback(false, driver->inhibitOpaque);
}


struct nitroDriverThreadData {
    nitroDriver *driver;
    virDomainObj *vm;
    nitroDriverThreadFunc func;
};

static void
nitroDriverThreadRun(void *opaque)
{
    g_autofree struct nitroDriverThreadData *data = opaque;

    data->func(data->driver, data->vm);
    virObjectUnref(data->vm);

    VIR_WITH_MUTEX_LOCK_GUARD(&data->driver->lock) {
        data->driver->nthreads--;
        virCondBroadcast(&data->driver->threadDone);
    }
}


int
nitroDriverRunThread(nitroDriver *driver,
                     virDomainObj *vm,
                     nitroDriverThreadFunc func,
                     const char *name)
{
    struct nitroDriverThreadData *data = g_new0(struct nitroDriverThreadData, 1);
    VIR_LOCK_GUARD lock = virLockGuardLock(&driver->lock);
    virThread thread;

    data->driver = driver;
    data->vm = virObjectRef(vm);
    data->func = func;
    if (virThreadCreateFull(&thread, false, nitroDriverThreadRun, name, false, data) < 0) {
        virReportSystemError(errno, _("cannot create a thread for domain '%s'"), vm->def->name);
        virObjectUnref(vm);
        g_free(data);
        return -1;
    }
    driver->nthreads++;
    return 0;
}


void
nitroDriverWaitThreads(nitroDriver *driver)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&driver->lock);

    while (driver->nthreads > 0)
        ignore_value(virCondWait(&driver->threadDone, &driver->lock));
}
