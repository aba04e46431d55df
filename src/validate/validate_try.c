/*
 * validate_try.c: --try, an enclave of this program's own
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: what the host is -> image -> helper (and broker) -> its events, each a line with its time
 * -> the end -> what the helper has logged: each call of the device, and what came of it.
 *
 * No daemon is asked: what it refuses beforehand would not reach the device, and its sentence is
 * all that it hands on. Nothing in the lines says whose host this is.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "helper_protocol.h"
#include "nitro_command.h"
#include "nitro_image_check.h"
#include "nitro_limits.h"
#include "nitro_pool.h"
#include "validate.h"
#include "validate_helper.h"
#include "virerror.h"
#include "virfile.h"
#include "virnuma.h"
#include "virprocess.h"
#include "virutil.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

#define NAME "virt-nitro-validate"
#define DMI "/sys/devices/virtual/dmi/id"

/* The host's own kernel gets no program to run: it says that on its console, and ends. */
#define KERNEL "/boot/vmlinuz-"
#define CMDLINE "console=ttyAMA0 console=ttyS0 reboot=t panic=-1"

/* What a kernel needs beside itself, and an image beside its kernel; bytes */
#define MEMORY_MIN (128 * 1024 * 1024ULL)
#define IMAGE_EXTRA (64 * 1024ULL)

/* ms: for how long the host's kernel is watched, and how long an end may take */
#define KERNEL_TIME 60000
#define END_TIME 10000

/* Bytes that are shown of the log */
#define LOG_MAX (64 * 1024)

typedef struct {
    const char *group;  /* the machine */
    bool emulated;
    bool named;         /* the user has named the image: it sends a heartbeat */
    const nitroDriverConfig *config;
    nitroImage image;
    unsigned long long memory; /* bytes */
    unsigned int vcpus;
    int node;           /* NUMA node of the memory; -1: any */
    char *signature;
    int device;
    int log;            /* of helper and broker */
    int console;        /* of the host's kernel */
    pid_t broker;
    validateHelper helper;
    gint64 begin;       /* of the phase, monotonic microseconds */
} validateTrial;


/* Milliseconds since the phase began */
static double
validateTrialTime(const validateTrial *trial)
{
    return (g_get_monotonic_time() - trial->begin) / 1000.0;
}


/* The first line of the file @path below @root (g_free), or NULL */
static char *
validateReadLine(const char *root,
                 const char *path)
{
    g_autofree char *full = g_strconcat(root, path, NULL);
    g_autofree char *text = NULL;

    if (virFileReadAllQuiet(full, 4096, &text) < 0)
        return NULL;
    text[strcspn(text, "\n")] = '\0';
    return nitroMonitorCleanText(text);
}


void
validateVersions(const char *root,
                 const char *group)
{
    g_autofree char *vendor = validateReadLine(root, DMI "/sys_vendor");
    g_autofree char *product = validateReadLine(root, DMI "/product_name");
    struct utsname name;
    unsigned long version = 0;

    ignore_value(virGetVersion(&version, NULL, NULL));
    validateNote(group, "%s %s, libvirt %lu.%lu.%lu", NAME, NITRO_VERSION, version / 1000000,
                 version / 1000 % 1000, version % 1000);
    if (uname(&name) == 0)
        validateNote(group, _("%s %s, %s, pages of %ld bytes"), name.sysname, name.release,
                     name.machine, virGetSystemPageSize());
    validateNote(group, _("on %s, %s"), vendor ? vendor : _("an unknown machine"),
                 product ? product : _("of an unknown type"));
}


/* The image */

/* Opens the image. Returns whether there is one; else the line that has begun has been ended. */
static bool
validateTrialOpenImage(validateTrial *trial,
                       const char *path)
{
    struct stat st;

    validateCheck(trial->group, "%s", trial->named ? _("for the image to try") :
                                                   _("for this host's kernel, to try"));
    if ((trial->image.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) < 0 ||
        fstat(trial->image.fd, &st) < 0) {
        validateFail(_("open, errno %d: %s: name an image with --image"), errno,
                     g_strerror(errno));
        return false;
    }
    if (!S_ISREG(st.st_mode) || st.st_size > NITRO_IMAGE_SIZE_MAX / 2) {
        validateFail(_("It is no regular file: name another one with --image"));
        return false;
    }
    trial->memory = MAX(nitroLimitsMemoryFor(st.st_size + IMAGE_EXTRA), MEMORY_MIN);
    return true;
}


/* Ctrl-C ends the checker as well. */
static bool
validateNeverStop(void *opaque G_GNUC_UNUSED)
{
    return false;
}


/* Has the image checked, and ends its line. Returns whether it can be used. */
static bool
validateTrialCheckImage(validateTrial *trial)
{
    nitroImageRequest request = {
        .kernel = (char *) "image",
        .arch = virArchFromHost(),
        .memory = trial->memory,
    };

    if (nitroImageCheck(trial->config, &request, &trial->image, validateNeverStop, NULL,
                        &trial->signature) < 0) {
        validateFail("%s", virGetLastErrorMessage());
        return false;
    }
    validatePassWith(_("%llu MiB of memory"), trial->memory >> 20);
    return true;
}


/* The helper */

/* The broker, for the heartbeat on the device. Returns 0 with @fd set, or -1 with an error set. */
static int
validateTrialRunBroker(validateTrial *trial,
                       int *fd)
{
    VIR_AUTOCLOSE listener = validateHelperListen(fd);
    g_autoptr(virCommand) cmd = NULL;

    if (listener < 0) {
        virReportSystemError(-listener, "%s", _("cannot create a socket"));
        return -1;
    }
    cmd = virCommandNewArgList(trial->config->helper, "--broker", "--listen-fd", NULL);
    virCommandAddArgFormat(cmd, "%d", listener);
    virCommandPassFD(cmd, listener, 0);
    validateHelperSetUp(cmd, trial->config, &trial->log);
    return virCommandRunAsync(cmd, &trial->broker);
}


/* The host's kernel says in debug mode what it does. What an image says may be secret. */
static void
validateTrialAddImage(validateTrial *trial,
                      virCommand *cmd,
                      int broker)
{
    nitroCommandAddFd(cmd, "--image-fd", trial->image.fd);
    if (trial->named) {
        if (broker >= 0)
            nitroCommandAddFd(cmd, "--broker-fd", broker);
        if (trial->signature)
            virCommandAddArgList(cmd, "--signature", trial->signature, NULL);
        return;
    }
    virCommandAddArgList(cmd, "--cmdline", CMDLINE, "--no-heartbeat", "--debug",
                         "--console-type", "file", NULL);
    nitroCommandAddFd(cmd, "--console-fd", trial->console);
}


/* What the daemon would find out of the emulated machine. Returns 0, or -1 with an error set. */
static int
validateTrialAddEmulation(virCommand *cmd,
                          const nitroDriverConfig *config)
{
    g_autoptr(virJSONValue) probe = validateProbe(config);
    g_auto(GStrv) without = NULL;
    g_autofree char *list = NULL;
    g_autofree char *why = NULL;

    if (!probe)
        return -1;
    if (nitroMonitorUnprotectedRead(probe, &without, &why) <= 0) {
        virReportError(VIR_ERR_INTERNAL_ERROR, _("'--probe' printed what makes no sense: %s"),
                       why ? why : _("there is no list 'unprotected'"));
        return -1;
    }
    virCommandAddArg(cmd, "--cid");
    virCommandAddArgFormat(cmd, "%d", NITRO_CID_MIN);
    if (!without[0])
        return 0;
    list = g_strjoinv(",", without);
    virCommandAddArgList(cmd, "--without", list, NULL);
    return 0;
}


/* Runs the helper. Returns 0, or -1 with an error set. */
static int
validateTrialRun(validateTrial *trial)
{
    nitroMonitorEnclave enclave = {
        .cid = trial->emulated ? NITRO_CID_MIN : 0,
        .choosesCid = !trial->emulated,
        .vcpus = trial->vcpus,
        .fromStart = true,
    };
    g_autoptr(virCommand) cmd = virCommandNewArgList(trial->config->helper, "--name", NAME, NULL);
    char uuid[VIR_UUID_STRING_BUFLEN];
    unsigned char raw[VIR_UUID_BUFLEN];
    VIR_AUTOCLOSE broker = -1;

    if (virUUIDGenerate(raw) < 0 ||
        (trial->named && !trial->emulated && validateTrialRunBroker(trial, &broker) < 0))
        return -1;
    virUUIDFormat(raw, uuid);
    virCommandAddArgList(cmd, "--uuid", uuid, "--machine", trial->group, "--memory", NULL);
    virCommandAddArgFormat(cmd, "%llu", trial->memory);
    virCommandAddArg(cmd, "--vcpus");
    virCommandAddArgFormat(cmd, "%u", trial->vcpus);
    validateTrialAddImage(trial, cmd, broker);
    if (trial->node >= 0) {
        virCommandAddArg(cmd, "--numa-node");
        virCommandAddArgFormat(cmd, "%d", trial->node);
    }
    if (trial->emulated && validateTrialAddEmulation(cmd, trial->config) < 0)
        return -1;
    if (!trial->emulated)
        nitroCommandAddFd(cmd, "--device-fd", trial->device);
    validateHelperSetUp(cmd, trial->config, &trial->log);
    return validateHelperStart(&trial->helper, cmd, &enclave);
}


/* The phases */

/* Ends the line of a phase in which the event @event has come, which says that it has failed. */
static void
validateTrialFail(const validateTrial *trial,
                  const nitroMonitorEvent *event)
{
    double ms = validateTrialTime(trial);

    if (event->ioctl)
        validateFail(_("after %.1f ms: %s, errno %d: %s"), ms, event->ioctl, event->err,
                     event->text);
    else if (event->text)
        validateFail(_("after %.1f ms: %s"), ms, event->text);
    else if (event->reason)
        validateFail(_("after %.1f ms: the enclave has ended: %s"), ms, event->reason);
    else
        validateFail(_("after %.1f ms: the helper cannot be heard: %s"), ms, trial->helper.why);
}


/*
 * Waits for the event @name, of the phase whose line has begun. Returns whether it has come; else
 * the line has been ended.
 */
static bool
validateTrialAwait(validateTrial *trial,
                   const char *name)
{
    g_auto(nitroMonitorMessage) message = { 0 };
    int rc = validateHelperWait(&trial->helper, -1, &message);

    if (rc > 0 && STREQ(message.event.name, name))
        return true;
    validateTrialFail(trial, &message.event);
    return false;
}


/* The pool's node and the threads of its cores. What is wrong with it the device will say. */
static void
validateTrialReadPool(validateTrial *trial)
{
    g_autoptr(nitroPool) pool = nitroPoolRead();

    virResetLastError();
    if (!pool)
        return;
    trial->vcpus = MAX(pool->threads, 1);
    if (virNumaIsAvailable() && virNumaGetMaxNode() > 0)
        trial->node = pool->node;
}


static bool
validateTrialStart(validateTrial *trial)
{
    if (!trial->emulated)
        validateTrialReadPool(trial);
    validateCheck(trial->group, _("if an enclave starts (vCPUs: %u)"), trial->vcpus);
    trial->begin = g_get_monotonic_time();
    if (!trial->emulated && (trial->device = open(NITRO_DEVICE, O_RDWR | O_CLOEXEC)) < 0) {
        validateFail(_("open of %s, errno %d: %s"), NITRO_DEVICE, errno, g_strerror(errno));
        return false;
    }
    if (validateTrialRun(trial) < 0) {
        validateFail("%s", virGetLastErrorMessage());
        return false;
    }
    if (!validateTrialAwait(trial, NITRO_EVENT_STARTED))
        return false;
    validatePassWith(_("after %.1f ms"), validateTrialTime(trial));
    return true;
}


static bool
validateTrialBoot(validateTrial *trial)
{
    validateCheck(trial->group, "%s", _("if it sends its heartbeat"));
    if (!validateTrialAwait(trial, NITRO_EVENT_BOOTED))
        return false;
    validatePassWith(_("after %.1f ms"), validateTrialTime(trial));
    return true;
}


/* Watches the host's kernel. Returns whether it is still there. */
static bool
validateTrialWatch(validateTrial *trial)
{
    g_auto(nitroMonitorMessage) message = { 0 };
    int rc;

    validateCheck(trial->group, "%s", _("if its kernel runs"));
    /* "booted" comes at once without a heartbeat. */
    if (!validateTrialAwait(trial, NITRO_EVENT_BOOTED))
        return false;
    rc = validateHelperWait(&trial->helper, KERNEL_TIME, &message);
    if (rc < 0 || (rc > 0 && !message.event.reason))
        validateTrialFail(trial, &message.event);
    else if (lseek(trial->console, 0, SEEK_END) <= 0)
        validateWarn(_("It has shown nothing on its console within %.1f ms: try an image for enclaves with --image"),
                     validateTrialTime(trial));
    else if (rc > 0)
        validatePassWith(_("it has ended after %.1f ms, as it has no program to run: %s"),
                         validateTrialTime(trial), message.event.reason);
    else
        validatePassWith(_("it still runs after %.1f ms"), validateTrialTime(trial));
    return rc == 0;
}


static void
validateTrialEnd(validateTrial *trial)
{
    g_auto(nitroMonitorMessage) message = { 0 };
    int rc;

    validateCheck(trial->group, "%s", _("if it ends when it is told to"));
    trial->begin = g_get_monotonic_time();
    validateHelperTerminate(&trial->helper);
    rc = validateHelperWait(&trial->helper, END_TIME, &message);
    if (rc == 0)
        validateFail(_("It has not within %d s"), END_TIME / 1000);
    else if (rc < 0 || STRNEQ_NULLABLE(message.event.reason, NITRO_EXIT_TERMINATED))
        validateTrialFail(trial, &message.event);
    else
        validatePassWith(_("after %.1f ms"), validateTrialTime(trial));
}


/* The report */

static void
validateTrialShowLog(const validateTrial *trial)
{
    g_autofree char *text = g_new0(char, LOG_MAX + 1);
    ssize_t len = pread(trial->log, text, LOG_MAX, 0);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    size_t i;

    if (len < 0)
        return;
    for (i = 0; lines[i]; i++) {
        g_autofree char *line = nitroMonitorCleanText(lines[i]);

        if (*line)
            validateNote(trial->group, _("log: %s"), line);
    }
}


static void
validateTrialClear(validateTrial *trial)
{
    validateHelperEnd(&trial->helper);
    if (trial->broker > 0)
        virProcessAbort(trial->broker);
    validateTrialShowLog(trial);

    nitroImageClose(&trial->image);
    VIR_FORCE_CLOSE(trial->device);
    VIR_FORCE_CLOSE(trial->log);
    VIR_FORCE_CLOSE(trial->console);
    g_free(trial->signature);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(validateTrial, validateTrialClear);


/* Files of memory, which are gone with us. Returns whether there are any. */
static bool
validateTrialOpenOutputs(validateTrial *trial)
{
    if ((trial->log = memfd_create("log", MFD_CLOEXEC)) >= 0 &&
        (trial->console = memfd_create("console", MFD_CLOEXEC)) >= 0)
        return true;
    validateFail(_("memfd_create, errno %d: %s"), errno, g_strerror(errno));
    return false;
}


void
validateTry(const char *root,
            const char *group,
            const char *image,
            const nitroDriverConfig *config)
{
    g_auto(validateTrial) trial = {
        .group = group,
        .emulated = STREQ(group, VALIDATE_EMULATED),
        .named = image != NULL,
        .config = config,
        .image = NITRO_IMAGE_INIT,
        .vcpus = 1,
        .node = -1,
        .device = -1,
        .log = -1,
        .console = -1,
        .broker = -1,
        .helper = VALIDATE_HELPER_INIT,
    };
    g_autofree char *kernel = NULL;
    struct utsname name = { 0 };

    uname(&name);
    kernel = g_strconcat(root, KERNEL, name.release, NULL);

    if (!validateTrialOpenImage(&trial, image ? image : kernel) ||
        !validateTrialOpenOutputs(&trial) ||
        !validateTrialCheckImage(&trial) ||
        !validateTrialStart(&trial))
        return;
    if (trial.named ? validateTrialBoot(&trial) : validateTrialWatch(&trial))
        validateTrialEnd(&trial);
}
