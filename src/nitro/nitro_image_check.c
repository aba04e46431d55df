/*
 * nitro_image_check.c: has an image looked at by the program libvirt_nitro_check
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Its command line -> it runs -> what it prints, bounded -> how it has ended ->
 * nitro_image_verdict.c. The image may have taken it over, so that it may print anything, or
 * nothing, and live on; and what it reads may be on a disk that does not answer.
 */

#include <config.h>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nitro_failure.h"
#include "nitro_image_check.h"
#include "nitro_image_verdict.h"
#include "nitro_monitor_message.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virprocess.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_image_check");

/* ms: how often it is asked whether the check is still wanted */
#define NITRO_IMAGE_CHECK_POLL 100

/* us: how long a checker that has said all may take to be gone, and how often that is looked at */
#define NITRO_IMAGE_CHECK_EXIT (5 * G_USEC_PER_SEC)
#define NITRO_IMAGE_CHECK_EXIT_POLL 200

/* Bytes that are kept of what it writes to stderr */
#define NITRO_IMAGE_CHECK_LOG_MAX 2048

typedef struct _nitroImageChecker nitroImageChecker;
struct _nitroImageChecker {
    const char *program;
    const nitroImageRequest *request;
    nitroImageCheckStop stop;
    void *opaque;
    pid_t pid;        /* -1: it has been waited for */
    int outFd;
    int logFd;
    GString *output;  /* up to one byte more than a verdict can have */
    GString *log;
};


static virCommand *
nitroImageCheckCommand(const nitroDriverConfig *config,
                       const nitroImageRequest *request,
                       const nitroImage *image)
{
    virCommand *cmd = virCommandNew(config->checker);
    /* It comes back in the verdict, which has only what can be shown. */
    g_autofree char *name = nitroMonitorCleanText(request->kernel);

    virCommandPassFD(cmd, image->fd, 0);
    virCommandAddArg(cmd, "--image-fd");
    virCommandAddArgFormat(cmd, "%d", image->fd);
    virCommandAddArgList(cmd, "--image-name", name, NULL);
    if (image->initrdFd >= 0) {
        virCommandPassFD(cmd, image->initrdFd, 0);
        virCommandAddArg(cmd, "--initrd-fd");
        virCommandAddArgFormat(cmd, "%d", image->initrdFd);
    }
    if (request->cmdline)
        virCommandAddArg(cmd, "--cmdline");
    virCommandAddArgList(cmd, "--arch", virArchToString(request->arch), "--memory", NULL);
    virCommandAddArgFormat(cmd, "%llu", request->memory);
    if (request->pcr0)
        virCommandAddArgList(cmd, "--expect-pcr0", request->pcr0, NULL);
    if (request->pcr8)
        virCommandAddArg(cmd, "--expect-pcr8");

    virCommandSetUmask(cmd, 0077);
    nitroDriverConfigSetUser(config, cmd);
    nitroDriverConfigLimitLocking(cmd);
    virCommandSetPreExecHook(cmd, nitroDriverConfigDropBounds, (void *) config);
    return cmd;
}


/* Runs @cmd. Returns 0, or -1 with an error set. */
static int
nitroImageCheckRun(nitroImageChecker *checker,
                   virCommand *cmd)
{
    virCommandSetOutputFD(cmd, &checker->outFd);
    virCommandSetErrorFD(cmd, &checker->logFd);
    return virCommandRunAsync(cmd, &checker->pid);
}


static void
nitroImageCheckerClear(nitroImageChecker *checker)
{
    virProcessAbort(checker->pid);
    VIR_FORCE_CLOSE(checker->outFd);
    VIR_FORCE_CLOSE(checker->logFd);
    g_string_free(checker->output, TRUE);
    g_string_free(checker->log, TRUE);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroImageChecker, nitroImageCheckerClear);


/*
 * Reads what is there of @fd, which is closed at its end, or when @text has @max bytes: who
 * writes on then is told so by SIGPIPE. Returns 0, or -1 with an error set.
 */
static int
nitroImageCheckRead(nitroImageChecker *checker,
                    int *fd,
                    GString *text,
                    size_t max)
{
    char buf[1024];
    ssize_t got = read(*fd, buf, MIN(sizeof(buf), max - text->len));

    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (got < 0) {
        virReportSystemError(errno, _("cannot read what the program '%s' says"), checker->program);
        return -1;
    }
    g_string_append_len(text, buf, got);
    if (got == 0 || text->len == max)
        VIR_FORCE_CLOSE(*fd);
    return 0;
}


/* Whether the check is still wanted. Returns 0, or -1 with an error set. */
static int
nitroImageCheckGoesOn(nitroImageChecker *checker)
{
    if (!checker->stop(checker->opaque))
        return 0;
    virReportError(VIR_ERR_OPERATION_ABORTED,
                   _("the check of the enclave image '%s' was called off"),
                   checker->request->kernel);
    return -1;
}


/* Reads all that the checker prints. Returns 0, or -1 with an error set. */
static int
nitroImageCheckListen(nitroImageChecker *checker)
{
    while (checker->outFd >= 0 || checker->logFd >= 0) {
        struct pollfd fds[] = {
            { .fd = checker->outFd, .events = POLLIN },
            { .fd = checker->logFd, .events = POLLIN },
        };
        int rc = poll(fds, G_N_ELEMENTS(fds), NITRO_IMAGE_CHECK_POLL);

        if (rc < 0 && errno != EINTR && errno != EAGAIN) {
            virReportSystemError(errno, _("cannot wait for the program '%s'"), checker->program);
            return -1;
        }
        if (nitroImageCheckGoesOn(checker) < 0)
            return -1;
        if (rc <= 0)
            continue;
        if ((fds[0].revents && nitroImageCheckRead(checker, &checker->outFd, checker->output,
                                                   NITRO_IMAGE_VERDICT_MAX + 1) < 0) ||
            (fds[1].revents && nitroImageCheckRead(checker, &checker->logFd, checker->log,
                                                   NITRO_IMAGE_CHECK_LOG_MAX) < 0))
            return -1;
    }
    return 0;
}


/*
 * Waits for the end of the checker, which has closed its output. Returns 0 with @status as of
 * waitpid(2), or -1 with an error set.
 */
static int
nitroImageCheckWait(nitroImageChecker *checker,
                    int *status)
{
    gint64 end = g_get_monotonic_time() + NITRO_IMAGE_CHECK_EXIT;
    pid_t pid = checker->pid;
    siginfo_t info = { .si_pid = 0 };

    while (waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0) {
        if (nitroImageCheckGoesOn(checker) < 0)
            return -1;
        if (g_get_monotonic_time() >= end) {
            virReportError(VIR_ERR_INTERNAL_ERROR,
                           _("the program '%s', which checks images, does not end"),
                           checker->program);
            return -1;
        }
        g_usleep(NITRO_IMAGE_CHECK_EXIT_POLL);
    }
    checker->pid = -1;
    return virProcessWait(pid, status, true);
}


/* Takes the verdict of the checker, which has ended with @status. */
static int
nitroImageCheckTake(nitroImageChecker *checker,
                    int status,
                    char **signature)
{
    g_auto(nitroImageVerdict) verdict = { 0 };
    g_autofree char *how = virProcessTranslateStatus(status);
    g_autofree char *log = nitroMonitorCleanText(checker->log->str);
    g_autofree char *why = NULL;

    /* One that has said too much may have been ended by that. */
    if (checker->output->len <= NITRO_IMAGE_VERDICT_MAX &&
        (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        virReportError(VIR_ERR_INTERNAL_ERROR,
                       _("the program '%s', which checks images, had no verdict on '%s': %s: %s"),
                       checker->program, checker->request->kernel, how,
                       *log ? log : _("it has not said why"));
        return -1;
    }
    if (nitroImageVerdictRead(checker->output->str, checker->output->len, &verdict, &why) < 0) {
        virReportError(VIR_ERR_INTERNAL_ERROR,
                       _("the program '%s', which checks images, has given a verdict on '%s' that makes no sense: %s"),
                       checker->program, checker->request->kernel, why);
        return -1;
    }
    if (*log)
        VIR_WARN("%s, of the image '%s': %s", checker->program, checker->request->kernel, log);
    if (verdict.code) {
        virReportError(nitroFailureToError(verdict.code), "%s", verdict.text);
        return -1;
    }
    *signature = g_steal_pointer(&verdict.signature);
    return 0;
}


int
nitroImageCheck(const nitroDriverConfig *config,
                const nitroImageRequest *request,
                const nitroImage *image,
                nitroImageCheckStop stop,
                void *opaque,
                char **signature)
{
    g_autoptr(virCommand) cmd = nitroImageCheckCommand(config, request, image);
    g_auto(nitroImageChecker) checker = {
        .program = config->checker,
        .request = request,
        .stop = stop,
        .opaque = opaque,
        .pid = -1,
        .outFd = -1,
        .logFd = -1,
        .output = g_string_new(NULL),
        .log = g_string_new(NULL),
    };
    int status;

    if (nitroImageCheckRun(&checker, cmd) < 0 ||
        nitroImageCheckListen(&checker) < 0 ||
        nitroImageCheckWait(&checker, &status) < 0)
        return -1;
    return nitroImageCheckTake(&checker, status, signature);
}
