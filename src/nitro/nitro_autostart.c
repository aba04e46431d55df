/*
 * nitro_autostart.c: domains that are started with the daemon
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <unistd.h>

#include "nitro_autostart.h"
#include "nitro_domain.h"
#include "nitro_start.h"
#include "virerror.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_autostart");

int
nitroAutostartSet(nitroDriver *driver,
                  virDomainObj *vm,
                  bool autostart)
{
    g_autofree char *config = virDomainConfigFile(driver->config->configDir, vm->def->name);
    g_autofree char *link = virDomainConfigFile(driver->config->autostartDir, vm->def->name);

    if (!config || !link)
        return -1;

    if (unlink(link) < 0 && errno != ENOENT) {
        virReportSystemError(errno, _("cannot remove the autostart link '%s'"), link);
        return -1;
    }
    if (autostart && symlink(config, link) < 0) {
        virReportSystemError(errno, _("cannot create the autostart link '%s'"), link);
        return -1;
    }
    vm->autostart = autostart;
    return 0;
}


/* Counts one of the domains as done, with or without success; the last one reports. */
static void
nitroAutostartDone(nitroDriver *driver,
                   bool started)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&driver->lock);

    if (started)
        driver->autostarted++;
    if (--driver->autostarting > 0)
        return;

    if (driver->autostarted == driver->autostartable)
        VIR_INFO("Autostart: all of %zu domains are running", driver->autostartable);
    else
        VIR_WARN("Autostart: %zu of %zu domains are running",
                 driver->autostarted, driver->autostartable);
}


static void
nitroAutostartTask(nitroDriver *driver,
                   virDomainObj *vm)
{
    bool started = false;

    nitroStartOwn(driver, vm);
    VIR_WITH_OBJECT_LOCK_GUARD(vm) {
        started = virDomainObjIsActive(vm);
    }
    nitroAutostartDone(driver, started);
}


static int
nitroAutostartOne(virDomainObj *vm,
                  void *opaque)
{
    nitroDriver *driver = opaque;
    VIR_LOCK_GUARD lock = virObjectLockGuard(vm);

    if (!vm->autostart || virDomainObjIsActive(vm))
        return 0;

    VIR_WITH_MUTEX_LOCK_GUARD(&driver->lock) {
        driver->autostartable++;
        driver->autostarting++;
    }
    nitroDriverRun(driver->starts, nitroAutostartTask, vm, 0);
    return 0;
}


void
nitroAutostartAll(nitroDriver *driver)
{
    /* one more than the domains, so that no early one takes itself for the last */
    VIR_WITH_MUTEX_LOCK_GUARD(&driver->lock) {
        driver->autostarting++;
    }
    virDomainObjListForEach(driver->domains, false, nitroAutostartOne, driver);
    VIR_WITH_MUTEX_LOCK_GUARD(&driver->lock) {
        if (driver->autostartable == 0) {
            driver->autostarting--;
            return;
        }
    }
    nitroAutostartDone(driver, false);
}
