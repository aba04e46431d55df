/*
 * nitro_command.c: from a domain definition to the command line of libvirt_nitro
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A checked definition and the descriptors that the start has opened in, the
 * helper's command out. nitroCommandBuild() reads in the order of the command
 * line; its builders add one group of options each. The options are described in
 * src/helper (libvirt_nitro --help).
 */

#include <config.h>

#include "nitro_command.h"
#include "nitro_domain_conf.h"
#include "virerror.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_NITRO


static void
nitroCommandAddIdentity(virCommand *cmd,
                        const virDomainDef *def)
{
    char uuid[VIR_UUID_STRING_BUFLEN];

    virUUIDFormat(def->uuid, uuid);
    virCommandAddArgList(cmd, "--name", def->name, "--uuid", uuid, NULL);
    virCommandAddArgList(cmd, "--machine", def->os.machine, NULL);
}


void
nitroCommandAddFd(virCommand *cmd,
                  const char *option,
                  int fd)
{
    virCommandPassFD(cmd, fd, 0);
    virCommandAddArg(cmd, option);
    virCommandAddArgFormat(cmd, "%d", fd);
}


static void
nitroCommandAddDevice(virCommand *cmd,
                      const nitroCommandContext *ctxt)
{
    if (ctxt->deviceFd >= 0)
        nitroCommandAddFd(cmd, "--device-fd", ctxt->deviceFd);
}


static void
nitroCommandAddImage(virCommand *cmd,
                     const virDomainDef *def,
                     const nitroCommandContext *ctxt)
{
    nitroCommandAddFd(cmd, "--image-fd", ctxt->imageFd);

    if (ctxt->initrdFd >= 0)
        nitroCommandAddFd(cmd, "--initrd-fd", ctxt->initrdFd);

    if (def->os.cmdline)
        virCommandAddArgList(cmd, "--cmdline", def->os.cmdline, NULL);
}


static void
nitroCommandAddMemory(virCommand *cmd,
                      const virDomainDef *def,
                      const nitroCommandContext *ctxt)
{
    virCommandAddArg(cmd, "--memory");
    virCommandAddArgFormat(cmd, "%llu", virDomainDefGetMemoryTotal(def) * 1024);

    if (ctxt->pageSize > 0) {
        virCommandAddArg(cmd, "--page-size");
        virCommandAddArgFormat(cmd, "%llu", ctxt->pageSize * 1024);
    }

    if (ctxt->numaNode >= 0) {
        virCommandAddArg(cmd, "--numa-node");
        virCommandAddArgFormat(cmd, "%d", ctxt->numaNode);
    }

    /* The device's memory is huge pages, which are never swapped out. */
    if (def->mem.locked && nitroDomainDefGetMachine(def) == NITRO_MACHINE_EMULATED)
        virCommandAddArg(cmd, "--lock-memory");
}


static void
nitroCommandAddCpus(virCommand *cmd,
                    const virDomainDef *def)
{
    size_t ncpus;
    g_autofree unsigned int *cpus = nitroDomainDefGetCpus(def, &ncpus);
    g_auto(virBuffer) list = VIR_BUFFER_INITIALIZER;
    size_t i;

    if (!cpus) {
        virCommandAddArg(cmd, "--vcpus");
        virCommandAddArgFormat(cmd, "%u", virDomainDefGetVcpus(def));
        return;
    }

    for (i = 0; i < ncpus; i++)
        virBufferAsprintf(&list, "%s%u", i > 0 ? "," : "", cpus[i]);

    virCommandAddArg(cmd, "--cpus");
    virCommandAddArgBuffer(cmd, &list);
}


static void
nitroCommandAddVsock(virCommand *cmd,
                     const virDomainDef *def,
                     const nitroCommandContext *ctxt)
{
    /* Without the option the hypervisor chooses the CID. */
    if (def->vsock && def->vsock->guest_cid > 0) {
        virCommandAddArg(cmd, "--cid");
        virCommandAddArgFormat(cmd, "%u", def->vsock->guest_cid);
    }

    if (ctxt->vsockDirFd >= 0)
        nitroCommandAddFd(cmd, "--vsock-dir-fd", ctxt->vsockDirFd);
    if (ctxt->vsockListenFd >= 0)
        nitroCommandAddFd(cmd, "--vsock-listen-fd", ctxt->vsockListenFd);
    if (ctxt->servicesListenFd >= 0)
        nitroCommandAddFd(cmd, "--services-listen-fd", ctxt->servicesListenFd);
}


void
nitroCommandAddBackups(virCommand *cmd,
                       const char *option,
                       const nitroOutput *output)
{
    g_auto(virBuffer) list = VIR_BUFFER_INITIALIZER;
    size_t i;

    if (output->nbackups == 0)
        return;

    for (i = 0; i < output->nbackups; i++) {
        virCommandPassFD(cmd, output->backups[i], 0);
        virBufferAsprintf(&list, "%s%d", i > 0 ? "," : "", output->backups[i]);
    }
    virCommandAddArg(cmd, option);
    virCommandAddArgBuffer(cmd, &list);
}


static void
nitroCommandAddConsoleLog(virCommand *cmd,
                          const nitroCommandContext *ctxt)
{
    if (!ctxt->outputs || ctxt->outputs->consoleLog.fd < 0)
        return;
    nitroCommandAddFd(cmd, "--console-log-fd", ctxt->outputs->consoleLog.fd);
    nitroCommandAddBackups(cmd, "--console-log-backup-fds", &ctxt->outputs->consoleLog);
}


/* The log itself is where the helper's stderr goes. */
static void
nitroCommandAddLog(virCommand *cmd,
                   const nitroCommandContext *ctxt)
{
    if (!ctxt->outputs || ctxt->outputs->maxSize == 0)
        return;
    nitroCommandAddBackups(cmd, "--log-backup-fds", &ctxt->outputs->log);
    virCommandAddArg(cmd, "--log-max-size");
    virCommandAddArgFormat(cmd, "%llu", ctxt->outputs->maxSize);
}


static void
nitroCommandAddConsole(virCommand *cmd,
                       const virDomainDef *def,
                       const nitroCommandContext *ctxt)
{
    const virDomainChrDef *console = nitroDomainDefGetConsole(def);
    bool file = ctxt->outputs && ctxt->outputs->console.fd >= 0;
    int fd = file ? ctxt->outputs->console.fd : ctxt->consoleFd;

    if (nitroDomainDefIsDebug(def))
        virCommandAddArg(cmd, "--debug");

    if (console && console->source->type != VIR_DOMAIN_CHR_TYPE_NULL && fd >= 0) {
        virCommandAddArgList(cmd, "--console-type",
                             virDomainChrTypeToString(console->source->type), NULL);
        nitroCommandAddFd(cmd, "--console-fd", fd);
    }
    if (file)
        nitroCommandAddBackups(cmd, "--console-backup-fds", &ctxt->outputs->console);
    nitroCommandAddConsoleLog(cmd, ctxt);
}


static void
nitroCommandAddHeartbeat(virCommand *cmd,
                         const virDomainDef *def,
                         const nitroCommandContext *ctxt)
{
    unsigned int timeout = nitroDomainDefGetHeartbeatTimeout(def);

    if (timeout == 0)
        timeout = ctxt->heartbeatTimeout;

    if (!nitroDomainDefHasHeartbeat(def)) {
        virCommandAddArg(cmd, "--no-heartbeat");
    } else if (timeout > 0) {
        virCommandAddArg(cmd, "--heartbeat-timeout");
        virCommandAddArgFormat(cmd, "%u", timeout);
    }

    if (ctxt->brokerFd >= 0)
        nitroCommandAddFd(cmd, "--broker-fd", ctxt->brokerFd);
}


static void
nitroCommandAddMeasurements(virCommand *cmd,
                            const virDomainDef *def,
                            const nitroCommandContext *ctxt)
{
    unsigned int pcr;

    /* A signed image that was changed would not boot, without a word. */
    if (ctxt->signature)
        virCommandAddArgList(cmd, "--signature", ctxt->signature, NULL);

    for (pcr = 0; pcr < NITRO_PCR_COUNT; pcr++) {
        const char *hex = nitroDomainDefGetMeasurement(def, pcr);

        if (hex) {
            virCommandAddArg(cmd, "--expect-pcr");
            virCommandAddArgFormat(cmd, "%u=%s", pcr, hex);
        }
    }
}


/* The device's enclaves have the architecture of the host. */
static void
nitroCommandAddEmulation(virCommand *cmd,
                         const virDomainDef *def,
                         const nitroCommandContext *ctxt)
{
    if (nitroDomainDefGetMachine(def) == NITRO_MACHINE_EMULATED)
        virCommandAddArgList(cmd, "--arch", virArchToString(def->os.arch), NULL);

    if (ctxt->qemu)
        virCommandAddArgList(cmd, "--qemu", ctxt->qemu, NULL);

    if (ctxt->accel)
        virCommandAddArgList(cmd, "--accel", ctxt->accel, NULL);
}


static void
nitroCommandAddNsm(virCommand *cmd,
                   const virDomainDef *def,
                   const nitroCommandContext *ctxt)
{
    const char *role = nitroDomainDefGetParentRole(def);
    const char *id = nitroDomainDefGetParentId(def);

    if (!ctxt->nsm)
        return;
    virCommandAddArgList(cmd, "--nsm", ctxt->nsm, "--nsm-device", ctxt->nsmDevice, NULL);
    nitroCommandAddFd(cmd, "--nsm-identity-fd", ctxt->nsmIdentityFd);
    if (role)
        virCommandAddArgList(cmd, "--nsm-role", role, NULL);
    if (id)
        virCommandAddArgList(cmd, "--nsm-instance", id, NULL);
}


/* What this host lacks: the helper does without nothing else. */
static void
nitroCommandAddWithout(virCommand *cmd,
                       const nitroCommandContext *ctxt)
{
    g_autofree char *list = NULL;

    if (!ctxt->without || !ctxt->without[0])
        return;
    list = g_strjoinv(",", (char **)ctxt->without);
    virCommandAddArgList(cmd, "--without", list, NULL);
}


virCommand *
nitroCommandBuild(const virDomainDef *def,
                  const nitroCommandContext *ctxt)
{
    g_autoptr(virCommand) cmd = NULL;

    if (ctxt->controlFd < 0 || ctxt->imageFd < 0) {
        virReportError(VIR_ERR_INTERNAL_ERROR,
                       _("domain '%s' has no control socket or no image to start with"),
                       def->name);
        return NULL;
    }

    cmd = virCommandNew(def->emulator);

    nitroCommandAddIdentity(cmd, def);
    nitroCommandAddFd(cmd, "--control-fd", ctxt->controlFd);
    nitroCommandAddDevice(cmd, ctxt);
    nitroCommandAddImage(cmd, def, ctxt);
    nitroCommandAddMemory(cmd, def, ctxt);
    nitroCommandAddCpus(cmd, def);
    nitroCommandAddVsock(cmd, def, ctxt);
    nitroCommandAddConsole(cmd, def, ctxt);
    nitroCommandAddLog(cmd, ctxt);
    nitroCommandAddHeartbeat(cmd, def, ctxt);
    nitroCommandAddMeasurements(cmd, def, ctxt);
    nitroCommandAddEmulation(cmd, def, ctxt);
    nitroCommandAddNsm(cmd, def, ctxt);
    nitroCommandAddWithout(cmd, ctxt);

    return g_steal_pointer(&cmd);
}
