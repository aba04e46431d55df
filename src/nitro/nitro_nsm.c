/*
 * nitro_nsm.c: the NSM of an emulated enclave
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * nitroNsmOpen(): QEMU -> libvirt_nitro --probe-qemu, as the user of helpers -> what is known of it;
 * the root's directory -> libvirt_nitro_nsm --issue, as the daemon's user and without capabilities -> a
 * pipe with the key, of which the reading end is the helper's. The daemon itself reads no key.
 */

#include <config.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nitro_command.h"
#include "nitro_domain_conf.h"
#include "nitro_host.h"
#include "nitro_monitor_message.h"
#include "nitro_nsm.h"
#include "virerror.h"
#include "virfile.h"
#include "virjson.h"
#include "virlog.h"
#include "virprocess.h"
#include "virutil.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_nsm");

/* s: each of the programs needs less than one, but waits where the host is busy */
#define NITRO_NSM_TIME 10

/* What is known of a QEMU; one of device and reason is set. */
typedef struct _nitroNsmQemu nitroNsmQemu;
struct _nitroNsmQemu {
    char *device;
    char *reason;
    dev_t dev; /* of the file that was asked */
    ino_t ino;
    off_t size;
    struct timespec changed;
};


static void
nitroNsmQemuFree(void *opaque)
{
    nitroNsmQemu *known = opaque;

    g_free(known->device);
    g_free(known->reason);
    g_free(known);
}


void
nitroNsmForget(GHashTable *known)
{
    g_clear_pointer(&known, g_hash_table_unref);
}


void
nitroNsmClear(nitroNsm *nsm)
{
    VIR_FORCE_CLOSE(nsm->identityFd);
    g_clear_pointer(&nsm->device, g_free);
    g_clear_pointer(&nsm->reason, g_free);
}


/* In the process that is to be a program, of which an alarm outlives the exec. A pre-exec hook. */
static int
nitroNsmPrepare(void *opaque)
{
    alarm(NITRO_NSM_TIME);
    return nitroDriverConfigDropBounds(opaque);
}


/* Runs @cmd, the program @program with the option @option. Returns 0, or -1 with an error set. */
static int
nitroNsmRun(const nitroDriverConfig *config,
            virCommand *cmd,
            const char *program,
            const char *option)
{
    g_autofree char *log = NULL;
    g_autofree char *how = NULL;
    g_autofree char *said = NULL;
    int status;

    virCommandAddEnvPassCommon(cmd);
    nitroDriverConfigLimitLocking(cmd);
    virCommandSetPreExecHook(cmd, nitroNsmPrepare, (void *) config);
    virCommandSetErrorBuffer(cmd, &log);
    virCommandRawStatus(cmd);
    if (virCommandRun(cmd, &status) < 0)
        return -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    how = virProcessTranslateStatus(status);
    said = nitroMonitorCleanText(log);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        virReportError(VIR_ERR_OPERATION_TIMEOUT,
                       _("'%s %s' has not ended within %d seconds: try again when the host is less busy"),
                       program, option, NITRO_NSM_TIME);
    else
        virReportError(VIR_ERR_OPERATION_FAILED, _("'%s %s' has failed (%s): %s"), program, option,
                       how, *said ? said : _("it has not said why"));
    return -1;
}


/* Why there is no program of the NSM (g_free), or NULL: there is one. It may be installed any time. */
static char *
nitroNsmLacksProgram(const nitroDriverConfig *config)
{
    if (virFileIsExecutable(config->nsm))
        return NULL;
    return g_strdup_printf(_("'%s', which is the NSM, is no program that can be run: install it"),
                           config->nsm);
}


/* Asks the helper about @qemu. Returns 0 with one of @device and @reason set, or -1 with an error set. */
static int
nitroNsmProbe(const nitroDriverConfig *config,
              const char *qemu,
              char **device,
              char **reason)
{
    g_autoptr(virCommand) cmd = virCommandNewArgList(config->helper, "--probe-qemu", qemu, NULL);
    g_autoptr(virJSONValue) object = NULL;
    g_autofree char *output = NULL;
    const char *name;
    const char *why;

    virCommandSetOutputBuffer(cmd, &output);
    /* What root may run, the user of the helpers may not. */
    nitroDriverConfigSetUser(config, cmd);
    if (nitroNsmRun(config, cmd, config->helper, "--probe-qemu") < 0) {
        nitroHostSayUnreachable(config, config->helper);
        return -1;
    }

    object = nitroMonitorParse(g_strchomp(output));
    name = object ? virJSONValueObjectGetString(object, "nsm-device") : NULL;
    why = object ? virJSONValueObjectGetString(object, "reason") : NULL;
    if (!name == !why) {
        virReportError(VIR_ERR_INTERNAL_ERROR,
                       _("'%s --probe-qemu' printed '%s', which makes no sense"), config->helper,
                       output);
        return -1;
    }
    *device = g_strdup(name);
    *reason = why ? nitroMonitorCleanText(why) : NULL;
    VIR_INFO("The NSM of '%s': %s", qemu, name ? name : *reason);
    return 0;
}


int
nitroNsmAsk(const nitroDriverConfig *config,
            const char *qemu,
            char **device,
            char **reason)
{
    *device = NULL;
    if ((*reason = nitroNsmLacksProgram(config)))
        return 0;
    if (nitroNsmProbe(config, qemu, device, reason) < 0)
        return -1;
    return *device ? 1 : 0;
}


/* Whether @known is of the file @sb */
static bool
nitroNsmIsCurrent(const nitroNsmQemu *known,
                  const struct stat *sb)
{
    return known && known->dev == sb->st_dev && known->ino == sb->st_ino &&
           known->size == sb->st_size && known->changed.tv_sec == sb->st_ctim.tv_sec &&
           known->changed.tv_nsec == sb->st_ctim.tv_nsec;
}


/* What is known of @qemu, the file @sb: 1 with @device set, 0 with @reason set, or -1: nothing */
static int
nitroNsmRecall(nitroDriver *driver,
               const char *qemu,
               const struct stat *sb,
               char **device,
               char **reason)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&driver->lock);
    const nitroNsmQemu *known = driver->nsmQemus ? g_hash_table_lookup(driver->nsmQemus, qemu) : NULL;

    if (!nitroNsmIsCurrent(known, sb))
        return -1;
    *device = g_strdup(known->device);
    *reason = g_strdup(known->reason);
    return *device ? 1 : 0;
}


static void
nitroNsmRemember(nitroDriver *driver,
                 const char *qemu,
                 const struct stat *sb,
                 const char *device,
                 const char *reason)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&driver->lock);
    nitroNsmQemu *known = g_new0(nitroNsmQemu, 1);

    known->device = g_strdup(device);
    known->reason = g_strdup(reason);
    known->dev = sb->st_dev;
    known->ino = sb->st_ino;
    known->size = sb->st_size;
    known->changed = sb->st_ctim;
    if (!driver->nsmQemus)
        driver->nsmQemus = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                                 nitroNsmQemuFree);
    g_hash_table_replace(driver->nsmQemus, g_strdup(qemu), known);
}


int
nitroNsmFind(nitroDriver *driver,
             const char *qemu,
             char **device,
             char **reason)
{
    struct stat sb;
    int rc;

    *device = NULL;
    if ((*reason = nitroNsmLacksProgram(driver->config)))
        return 0;
    if (stat(qemu, &sb) < 0) {
        virReportSystemError(errno, _("cannot look at '%s'"), qemu);
        return -1;
    }
    if ((rc = nitroNsmRecall(driver, qemu, &sb, device, reason)) >= 0)
        return rc;

    /* Two domains that start at once may both ask; the answer is the same. */
    if (nitroNsmProbe(driver->config, qemu, device, reason) < 0)
        return -1;
    nitroNsmRemember(driver, qemu, &sb, *device, *reason);
    return *device ? 1 : 0;
}


/* As AWS's: the parent's id, if it is known, and one of the enclave, of which the UUID is one */
char *
nitroNsmGetModule(const virDomainDef *def)
{
    const char *parent = nitroDomainDefGetParentId(def);
    char uuid[VIR_UUID_STRING_BUFLEN];

    virUUIDFormat(def->uuid, uuid);
    return g_strdup_printf("%s-enc%s", parent ? parent : "emulated", uuid);
}


/*
 * Opens the directory of the root, which is made when it is not there: nobody but the daemon's user changes it,
 * and everybody can get to the certificate in it. Returns a descriptor, or -1 with an error set.
 */
static int
nitroNsmOpenDir(const char *path)
{
    g_autofree char *parent = g_path_get_dirname(path);
    bool made;
    VIR_AUTOCLOSE fd = -1;
    struct stat sb;
    int ret;

    if (g_mkdir_with_parents(parent, 0755) < 0 ||
        (!(made = g_mkdir(path, 0711) == 0) && errno != EEXIST) ||
        (fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0 ||
        fstat(fd, &sb) < 0 || (made && fchmod(fd, 0711) < 0)) {
        virReportSystemError(errno, _("cannot have the directory '%s' for the root certificate of emulated NSMs"),
                             path);
        return -1;
    }
    if (sb.st_uid != geteuid() || sb.st_mode & (S_IWGRP | S_IWOTH)) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("the directory '%s', in which the key of emulated NSMs is, can be changed by others than its daemon's user: give it to that one alone"),
                       path);
        return -1;
    }
    ret = fd;
    fd = -1;
    return ret;
}


/* Has a key made for @module. Returns a descriptor to read it from, or -1 with an error set. */
static int
nitroNsmIssue(const nitroDriverConfig *config,
              const char *module)
{
    g_autoptr(virCommand) cmd = virCommandNewArgList(config->nsm, "--issue", "--directory",
                                                     config->nsmDir, "--module-id", module, NULL);
    VIR_AUTOCLOSE dir = nitroNsmOpenDir(config->nsmDir);
    int identity[2] = { -1, -1 };
    int rc;

    if (dir < 0 || virPipe(identity) < 0)
        return -1;
    nitroCommandAddFd(cmd, "--directory-fd", dir);
    /* A pipe that is empty has room for it. */
    nitroCommandAddFd(cmd, "--identity-fd", identity[1]);
    virCommandSetUmask(cmd, 0077);
    virCommandClearCaps(cmd);
    rc = nitroNsmRun(config, cmd, config->nsm, "--issue");
    VIR_FORCE_CLOSE(identity[1]);
    if (rc < 0)
        VIR_FORCE_CLOSE(identity[0]);
    return identity[0];
}


int
nitroNsmOpen(nitroDriver *driver,
             const char *name,
             virTristateBool wanted,
             const char *qemu,
             const char *module,
             nitroNsm *nsm)
{
    int rc;

    if (wanted == VIR_TRISTATE_BOOL_NO)
        return 0;
    if ((rc = nitroNsmFind(driver, qemu, &nsm->device, &nsm->reason)) < 0)
        return -1;
    if (rc == 0 && wanted == VIR_TRISTATE_BOOL_YES) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<nitro:nsm enabled='yes'/> of domain '%s' cannot be had here, as %s; or remove the element"),
                       name, nsm->reason);
        return -1;
    }
    if (rc == 0)
        return 0;
    return (nsm->identityFd = nitroNsmIssue(driver->config, module)) < 0 ? -1 : 0;
}
