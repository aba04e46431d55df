/*
 * nitro_services_launch.c: runs the services process of a domain
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Definition -> listening sockets and files -> configuration -> process, which is written down before
 * it runs -> its control socket.
 */

#include <config.h>

#include <netdb.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "nitro_command.h"
#include "nitro_domain.h"
#include "nitro_domain_host.h"
#include "nitro_domain_services.h"
#include "nitro_services_config.h"
#include "nitro_services_launch.h"
#include "nitro_services_open.h"
#include "nitro_socket.h"
#include "nitro_spawn.h"
#include "virerror.h"
#include "virfile.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

/* Descriptors of a process: a connection has two, and pipes in between */
#define NITRO_SERVICES_FILES 65536


static char *
nitroServicesControlPath(nitroDriver *driver,
                         virDomainObj *vm)
{
    g_autofree char *dir = nitroDomainGetRunDir(driver, vm->def);

    return g_strdup_printf("%s/services", dir);
}


/* What one launch has opened for the process */
typedef struct _nitroServicesFds nitroServicesFds;
struct _nitroServicesFds {
    size_t n;
    int *listeners;
    nitroServiceFds *fds; /* of the same services; descriptors are those of others */
    int control;
    int config;
};

static void
nitroServicesFdsClear(nitroServicesFds *fds)
{
    size_t i;

    for (i = 0; fds->listeners && i < fds->n; i++)
        VIR_FORCE_CLOSE(fds->listeners[i]);
    g_free(fds->listeners);
    g_free(fds->fds);
    VIR_FORCE_CLOSE(fds->control);
    VIR_FORCE_CLOSE(fds->config);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroServicesFds, nitroServicesFdsClear);


/* The configuration @text in a nameless file. Returns the descriptor, or -1 with an error set. */
static int
nitroServicesMakeConfig(const char *text)
{
    VIR_AUTOCLOSE fd = memfd_create("nitro-services", MFD_CLOEXEC);
    int ret;

    if (fd < 0 || safewrite(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET) < 0) {
        virReportSystemError(errno, "%s", _("cannot write the configuration of services"));
        return -1;
    }
    ret = fd;
    fd = -1;
    return ret;
}


/* Creates the listening control socket; that of a process before may be there. */
static int
nitroServicesMakeControl(nitroDriver *driver,
                         virDomainObj *vm)
{
    g_autofree char *path = nitroServicesControlPath(driver, vm);

    if (unlink(path) < 0 && errno != ENOENT) {
        virReportSystemError(errno, _("cannot remove the socket '%s'"), path);
        return -1;
    }
    return nitroSocketListen(path);
}


/*
 * The name of a port that @service of the domain @name leads to is in /etc/services: their process looks
 * it up, and could tell its log only. Returns 0, or -1 with an error set.
 */
static int
nitroServicesCheckPort(const char *name,
                       const nitroServiceDef *service)
{
    const virDomainChrSourceDef *source = service->channel ? service->channel->source : NULL;
    struct servent entry;
    struct servent *found = NULL;
    char buf[4096];
    unsigned int port;

    if (service->type != NITRO_SERVICE_OUTBOUND || source->type != VIR_DOMAIN_CHR_TYPE_TCP ||
        nitroDomainHostParseNumber(source->data.tcp.service, G_MAXUINT16, &port) ||
        (getservbyname_r(source->data.tcp.service, "tcp", &entry, buf, sizeof(buf), &found) == 0 &&
         found))
        return 0;
    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("outbound service %u of domain '%s' leads to the port '%s', a name that /etc/services does not have: write the port's number"),
                   service->port, name, source->data.tcp.service);
    return -1;
}


/* Opens it all. Returns 0, or -1 with an error set. */
static int
nitroServicesOpenAll(nitroDriver *driver,
                     virDomainObj *vm,
                     const nitroOutputs *outputs,
                     nitroServicesFds *fds)
{
    g_autofree nitroServiceDef *services = nitroDomainDefGetServices(vm->def, &fds->n);
    g_autofree char *rundir = nitroDomainGetRunDir(driver, vm->def);
    g_autofree char *config = NULL;
    size_t nlogs = 0;
    size_t i;

    for (i = 0; i < fds->n; i++) {
        if (nitroServicesCheckPort(vm->def->name, &services[i]) < 0)
            return -1;
    }
    fds->listeners = g_new0(int, fds->n);
    fds->fds = g_new0(nitroServiceFds, fds->n);
    nitroServicesRemoveSockets(rundir);
    if (nitroServicesListen(vm->def->name, rundir, services, fds->n, fds->listeners) < 0)
        return -1;
    for (i = 0; i < fds->n; i++) {
        fds->fds[i].listener = fds->listeners[i];
        if (services[i].type == NITRO_SERVICE_LOG && nlogs < outputs->nservices)
            fds->fds[i].output = &outputs->services[nlogs++];
    }
    if (!(config = nitroServicesConfigFormat(vm->def->name, services, fds->n, fds->fds,
                                             outputs->maxSize)) ||
        (fds->config = nitroServicesMakeConfig(config)) < 0 ||
        (fds->control = nitroServicesMakeControl(driver, vm)) < 0)
        return -1;
    return 0;
}


/* As many descriptors as the daemon may allow */
static void
nitroServicesSetFiles(virCommand *cmd)
{
    struct rlimit limit;

    /* libvirt's limit is one more than that. */
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max > 1)
        virCommandSetMaxFiles(cmd, MIN(limit.rlim_max - 1, NITRO_SERVICES_FILES));
}


/* Where its own words go, and what is done when that is full */
static void
nitroServicesAddLog(virCommand *cmd,
                    const nitroOutputs *outputs)
{
    if (outputs->maxSize == 0)
        return;
    virCommandAddArg(cmd, "--log-max-size");
    virCommandAddArgFormat(cmd, "%llu", outputs->maxSize);
    nitroCommandAddBackups(cmd, "--log-backup-fds", &outputs->servicesLog);
}


static virCommand *
nitroServicesBuildCommand(const nitroDriverConfig *config,
                          const virDomainDef *def,
                          const nitroOutputs *outputs,
                          const nitroServicesFds *fds)
{
    virCommand *cmd = virCommandNew(config->services);
    char uuid[VIR_UUID_STRING_BUFLEN];
    size_t i;
    size_t j;

    virUUIDFormat(def->uuid, uuid);
    virCommandAddArgList(cmd, "--name", def->name, "--uuid", uuid, NULL);
    nitroCommandAddFd(cmd, "--control-fd", fds->control);
    nitroCommandAddFd(cmd, "--config-fd", fds->config);
    for (i = 0; i < fds->n; i++) {
        const nitroOutput *output = fds->fds[i].output;

        if (fds->fds[i].listener >= 0)
            virCommandPassFD(cmd, fds->fds[i].listener, 0);
        if (!output)
            continue;
        virCommandPassFD(cmd, output->fd, 0);
        for (j = 0; j < output->nbackups; j++)
            virCommandPassFD(cmd, output->backups[j], 0);
    }
    nitroServicesAddLog(cmd, outputs);
    nitroDriverConfigLimitLocking(cmd);
    nitroServicesSetFiles(cmd);
    return cmd;
}


typedef struct _nitroServicesLaunching nitroServicesLaunching;
struct _nitroServicesLaunching {
    nitroDriver *driver;
    virDomainObj *vm;
};

/* The process @pid is to become the services process: a nitroSpawnReady. */
static int
nitroServicesReady(pid_t pid,
                   void *opaque)
{
    const nitroServicesLaunching *launching = opaque;
    nitroDomainObjPrivate *priv = launching->vm->privateData;
    g_autoptr(nitroHelper) process = nitroHelperNewAlive(pid);

    if (!process)
        return -1;
    g_clear_pointer(&priv->run.services.process, nitroHelperUnref);
    priv->run.services.process = g_steal_pointer(&process);
    priv->run.services.met = false;
    if (nitroDomainSaveStatus(launching->driver, launching->vm) < 0)
        return -1;
    return nitroServicesJoinCgroup(launching->vm);
}


int
nitroServicesConnect(nitroDriver *driver,
                     virDomainObj *vm,
                     nitroServicesMonitorCallback callback)
{
    nitroDomainObjPrivate *priv = vm->privateData;
    g_autofree char *path = nitroServicesControlPath(driver, vm);
    size_t n;
    g_autofree nitroServiceDef *services = nitroDomainDefGetServices(vm->def, &n);
    int fd = nitroMonitorConnect(path);

    if (fd < 0)
        return -1;
    virObjectRef(vm); /* the monitor's */
    if (!(priv->run.services.mon = nitroServicesMonitorOpen(fd, vm->def->name, services, n,
                                                            callback, vm, virObjectUnref))) {
        virObjectUnref(vm);
        return -1;
    }
    priv->run.services.met = true;
    return 0;
}


int
nitroServicesLaunch(nitroDriver *driver,
                    virDomainObj *vm,
                    const nitroOutputs *outputs,
                    nitroServicesMonitorCallback callback)
{
    g_auto(nitroServicesFds) fds = { .control = -1, .config = -1 };
    g_autofree char *what = g_strdup_printf(_("the services process of domain '%s'"), vm->def->name);
    nitroServicesLaunching launching = { driver, vm };
    virCommand *cmd;
    int logfd = outputs->servicesLog.fd;

    if (nitroServicesOpenAll(driver, vm, outputs, &fds) < 0)
        return -1;

    cmd = nitroServicesBuildCommand(driver->config, vm->def, outputs, &fds);
    virCommandSetOutputFD(cmd, &logfd);
    virCommandSetErrorFD(cmd, &logfd);
    if (nitroSpawn(driver, cmd, what, nitroServicesReady, &launching) < 0)
        return -1;
    return nitroServicesConnect(driver, vm, callback);
}
