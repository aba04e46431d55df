/*
 * backend_emulated.c: the emulated machine, which is QEMU's
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: emulatedOpen() forks the launcher, which is to become QEMU, with socket pairs (monitor,
 * vsock device) and two pipes (serial port, messages) -> the image's parts in sealed memfds ->
 * emulatedStart() has the launcher run QEMU with those -> the monitor's events, the serial output
 * and the end of the process -> emulatedConclude() -> one event for lifecycle.c.
 *
 * QEMU dies with the helper: the kernel kills it when the helper's main thread ends.
 * Nothing of it needs a soft end, for it writes to no disk.
 */

#include "backend.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emulated/guest_watch.h"
#include "heartbeat/heartbeat.h"
#include "helper_protocol.h"
#include "emulated/kvm_probe.h"
#include "emulated/launcher.h"
#include "emulated/machine.h"
#include "emulated/nsm_process.h"
#include "common/log.h"
#include "emulated/qmp.h"
#include "image_linux.h"
#include "vsock/vsock_device.h"

#define QEMU_BINARY_PREFIX "qemu-system-"

/* A program that a signal has ended, as bubblewrap and shells tell it: the signal is above this. */
#define QEMU_SIGNALLED 128

/*
 * A killed process that is stuck in the kernel is not waited for any longer; in
 * milliseconds. The daemon waits 5 s for us before it uses force.
 */
#define QEMU_KILL_TIMEOUT_MS 3000

/* A guest can make QEMU print warnings without end: only so many bytes reach the log. */
#define QEMU_MESSAGES_MAX (64 * 1024)
#define QEMU_MESSAGE_LINE_MAX 1024
#define QEMU_MESSAGE_PREFIX 64 /* of each line in the log, roughly */

/*
 * Reads at the end: a pipe holds less, but somebody may have inherited QEMU's end of it
 * and go on writing.
 */
#define QEMU_DRAIN_MAX 64

/* Serial output handled at once, so that other events get their turn, in bytes */
#define QEMU_SERIAL_PIECE 16384

/*
 * QEMU writes the serial output byte by byte. After a piece the next look is this much
 * later, or each byte would wake us up, at the guest's cost.
 */
#define QEMU_SERIAL_PAUSE_MS 3

typedef struct {
    const Options *options;
    const BackendEvents *events;
    void *opaque;

    char *qemu;
    const char *accel;
    Machine machine;
    uint64_t imageSize;
    ImageParts *parts;

    Launcher launcher; /* the process of QEMU: pid 0 when it has ended */
    NsmProcess nsm;    /* pid 0: none */
    guint childWatch;
    guint killTimer;
    Qmp *qmp;
    int serialFd;
    guint serialWatch;
    int messagesFd;
    guint messagesWatch;
    GString *message;     /* the line that is being read */
    char *lastMessage;    /* the last complete line */
    char *broken;         /* why we have ended QEMU, or NULL */
    size_t messagesBytes; /* logged so far */
    GuestWatch *guestWatch;
    VsockDevice *vsock; /* NULL: the enclave has no CID */

    bool running;           /* started() has been told */
    bool booted;            /* booted() has been told */
    guint bootTimer;        /* for the heartbeat */
    Failure bootFailure;    /* why QEMU is ended before booted() */
    bool terminating;       /* terminate() has been called */
    bool finishing;         /* QEMU has ended, the vsock device still delivers */
    int status;             /* of the process that has ended */
    const char *exitReason; /* how the guest has ended, static; NULL: not known */
} Emulated;

static int
emulatedCheck(const Options *options, Failure *failure)
{
    if (options->heartbeat && !options->hasCid) {
        failureSet(failure, NITRO_FAILURE_CONFIG,
                   "The boot heartbeat needs a CID: give the enclave one with <vsock>, or switch "
                   "the heartbeat off with <nitro:heartbeat enabled='no'/>");
        return -1;
    }
    if (options->vcpus > NITRO_VCPUS_MAX_EMULATED) {
        failureSet(failure, NITRO_FAILURE_CONFIG,
                   "%u vCPUs are too many: the machine 'nitro-enclave' has at most %d",
                   options->vcpus, NITRO_VCPUS_MAX_EMULATED);
        return -1;
    }
    return 0;
}

static void *
emulatedCreate(const Options *options, const BackendEvents *events, void *opaque)
{
    Emulated *emulated = g_new0(Emulated, 1);

    emulated->options = options;
    emulated->events = events;
    emulated->opaque = opaque;
    emulated->launcher = LAUNCHER_NONE;
    emulated->nsm = NSM_PROCESS_NONE;
    emulated->serialFd = emulated->messagesFd = -1;
    emulated->message = g_string_new(NULL);
    return emulated;
}

static int
emulatedFindQemu(Emulated *emulated, Failure *failure)
{
    g_autofree char *name = g_strconcat(QEMU_BINARY_PREFIX,
                                        eifArchToString(emulated->options->arch), NULL);

    emulated->qemu = emulated->options->qemu ? g_strdup(emulated->options->qemu) :
                                               g_find_program_in_path(name);
    if (!emulated->qemu) {
        failureSet(failure, NITRO_FAILURE_UNSUPPORTED,
                   "The machine 'nitro-enclave' needs QEMU, but there is no %s in PATH: install it",
                   name);
        return -1;
    }
    if (access(emulated->qemu, X_OK) < 0) {
        failureSet(failure, NITRO_FAILURE_UNSUPPORTED,
                   "The machine 'nitro-enclave' needs QEMU, but %s cannot be run: %s",
                   emulated->qemu, g_strerror(errno));
        return -1;
    }
    return 0;
}

static void
emulatedChooseAccel(Emulated *emulated)
{
    g_autofree char *reason = NULL;

    switch (emulated->options->accel) {
    case OPTIONS_ACCEL_KVM:
        emulated->accel = "kvm";
        return;
    case OPTIONS_ACCEL_TCG:
        emulated->accel = "tcg";
        return;
    case OPTIONS_ACCEL_AUTO:
        if (emulated->options->arch != EIF_ARCH_NATIVE) {
            emulated->accel = "tcg";
            return;
        }
        emulated->accel = kvmProbe(&reason) ? "kvm" : "tcg";
        logInfo("Using accelerator %s: %s", emulated->accel, reason);
        return;
    }
}

static int
emulatedOpen(void *instance, Failure *failure)
{
    Emulated *emulated = instance;

    if (emulatedFindQemu(emulated, failure) < 0)
        return -1;
    emulatedChooseAccel(emulated);
    if (nsmProcessStart(&emulated->nsm, emulated->options, failure) < 0 ||
        launcherFork(&emulated->launcher, emulated->options, emulated->qemu,
                     g_str_equal(emulated->accel, "kvm"), emulated->nsm.qemuFd, failure) < 0)
        return -1;
    /* It is QEMU's alone: its end is seen. */
    if (emulated->nsm.qemuFd >= 0)
        close(emulated->nsm.qemuFd);
    emulated->nsm.qemuFd = -1;
    return 0;
}

static int
emulatedLoad(void *instance, Image *image, const EifMeasurements *expected,
             const int *cancel, Failure *failure)
{
    Emulated *emulated = instance;

    if (!(emulated->parts = imageUnpack(image, expected, cancel, failure)) ||
        imageLinuxCheck(emulated->parts, emulated->options->arch, emulated->options->memory,
                        failure) < 0)
        return -1;

    imageClose(image);
    emulated->imageSize = image->size;
    return machineChoose(&emulated->machine, emulated->parts, emulated->options,
                         g_str_equal(emulated->accel, "tcg"), failure);
}

/* What the last words mean: a shortage, no KVM here, no QEMU or no namespaces, or anything else. */
static const char *
emulatedClassify(const char *message)
{
    if (strstr(message, "allocate") || strstr(message, "locking memory") ||
        strstr(message, "guest memory") ||
        strstr(message, "guest RAM"))
        return NITRO_FAILURE_RESOURCE;
    if (strstr(message, "KVM") || strstr(message, "kvm") || g_str_has_prefix(message, "bwrap: ") ||
        g_str_has_prefix(message, "libvirt_nitro: "))
        return NITRO_FAILURE_UNSUPPORTED;
    return NITRO_FAILURE_INTERNAL;
}

/* The signal that has ended QEMU; 0: none has */
static int
emulatedGetSignal(int status)
{
    if (WIFSIGNALED(status))
        return WTERMSIG(status);
    return WEXITSTATUS(status) > QEMU_SIGNALLED ? WEXITSTATUS(status) - QEMU_SIGNALLED : 0;
}

static void
emulatedFailure(const Emulated *emulated, int status, Failure *failure)
{
    const char *message = emulated->lastMessage;
    const char *colon = message ? strstr(message, ": ") : NULL;

    if (emulated->broken)
        failureSet(failure, emulatedClassify(emulated->broken),
                   "QEMU cannot start the enclave: %s", emulated->broken);
    else if (message && colon)
        failureSet(failure, emulatedClassify(message), "QEMU cannot start the enclave: %s",
                   colon + 2);
    else if (message)
        failureSet(failure, emulatedClassify(message), "QEMU cannot start the enclave: %s",
                   message);
    else if (emulatedGetSignal(status) > 0)
        failureSet(failure, NITRO_FAILURE_INTERNAL,
                   "QEMU was killed by signal %d before it had started the enclave",
                   emulatedGetSignal(status));
    else
        failureSet(failure, NITRO_FAILURE_INTERNAL,
                   "QEMU ended with status %d before it had started the enclave",
                   WEXITSTATUS(status));
}

/* Whether the boot has got nowhere near the heartbeat, as there was no vsock to send it on. */
static bool
emulatedLacksVsock(const Emulated *emulated)
{
    return emulated->options->heartbeat && !emulated->booted &&
           !vsockDeviceWasStarted(emulated->vsock);
}

/* QEMU is gone, or as good as that: the one place that says what became of the enclave. */
static void
emulatedConclude(Emulated *emulated, int status)
{
    g_auto(Failure) failure = {0};

    emulated->finishing = false;
    /* Only now all of the console output has been seen. */
    if (g_strcmp0(emulated->exitReason, NITRO_EXIT_REBOOT) == 0 &&
        guestWatchHasPanicked(emulated->guestWatch))
        emulated->exitReason = NITRO_EXIT_PANIC;

    /* A guest that had ended already has not been terminated. */
    if (emulated->terminating && !emulated->exitReason) {
        emulated->events->ended(NITRO_EXIT_TERMINATED, emulated->opaque);
    } else if (emulated->bootFailure.code) {
        emulated->events->failed(&emulated->bootFailure, emulated->opaque);
    } else if (!emulated->running) {
        emulatedFailure(emulated, status, &failure);
        emulated->events->failed(&failure, emulated->opaque);
    } else if (emulated->exitReason && emulatedLacksVsock(emulated)) {
        failureSet(&failure, NITRO_FAILURE_GUEST,
                   "The enclave ended before it had booted (%s), and has not started its vsock "
                   "device: look at its console; %s", emulated->exitReason,
                   machineVsockNeeds(&emulated->machine));
        emulated->events->failed(&failure, emulated->opaque);
    } else if (emulated->exitReason) {
        emulated->events->ended(emulated->exitReason, emulated->opaque);
    } else {
        logError("QEMU %s %d",
                 emulatedGetSignal(status) > 0 ? "was killed by signal" : "ended with status",
                 emulatedGetSignal(status) > 0 ? emulatedGetSignal(status) : WEXITSTATUS(status));
        emulated->events->ended(NITRO_EXIT_CRASHED, emulated->opaque);
    }
}

static gboolean
emulatedOnKillTimer(gpointer opaque)
{
    Emulated *emulated = opaque;

    /* It has been sent SIGKILL: the kernel will end it as soon as it can. */
    emulated->killTimer = 0;
    g_source_remove(emulated->childWatch);
    emulated->childWatch = 0;
    logError("QEMU, process %d, is stuck in the kernel and does not end",
             (int)emulated->launcher.pid);
    emulated->launcher.pid = 0;
    emulatedConclude(emulated, 0);
    return G_SOURCE_REMOVE;
}

static void
emulatedKill(Emulated *emulated)
{
    if (emulated->launcher.pid == 0 || emulated->killTimer > 0)
        return;
    launcherKill(&emulated->launcher);
    emulated->killTimer = g_timeout_add(QEMU_KILL_TIMEOUT_MS, emulatedOnKillTimer, emulated);
}

static void
emulatedOnStopped(const char *reason, void *opaque)
{
    Emulated *emulated = opaque;

    logWarning("The guest has announced its end (%s), but does not end: it is stopped", reason);
    emulated->exitReason = reason;
    emulatedKill(emulated);
}

static void
emulatedOnBooted(Emulated *emulated)
{
    if (emulated->booted || emulated->bootFailure.code)
        return;
    emulated->booted = true;
    guestWatchSetBooting(emulated->guestWatch, false);
    if (emulated->bootTimer > 0)
        g_source_remove(emulated->bootTimer);
    emulated->bootTimer = 0;
    emulated->events->booted(emulated->opaque);
}

/* The heartbeat has failed, of which @failure, taken over, tells. */
static void
emulatedFailBoot(Emulated *emulated, Failure *failure)
{
    if (!emulated->bootFailure.code) {
        emulated->bootFailure = *failure;
        *failure = (Failure){0};
    }
    emulatedKill(emulated);
}

static gboolean
emulatedOnBootTimer(gpointer opaque)
{
    Emulated *emulated = opaque;
    unsigned int seconds = heartbeatTimeout(emulated->options, emulated->imageSize);
    g_auto(Failure) failure = {0};

    emulated->bootTimer = 0;
    if (emulatedLacksVsock(emulated))
        failureSet(&failure, NITRO_FAILURE_TIMEOUT,
                   "The enclave has sent no heartbeat in %u seconds, and has not started its vsock "
                   "device: look at its console; %s; a boot that is slow needs a longer "
                   "<nitro:heartbeat timeout=/>, and an image that sends none enabled='no'", seconds,
                   machineVsockNeeds(&emulated->machine));
    heartbeatFailLate(&failure, seconds);
    emulatedFailBoot(emulated, &failure);
    return G_SOURCE_REMOVE;
}

static void
emulatedOnRunning(void *opaque)
{
    Emulated *emulated = opaque;
    BackendStatus status = {
        .hasCid = emulated->options->hasCid,
        .cid = emulated->options->cid,
        .accel = emulated->accel,
    };

    if (emulated->running)
        return;
    emulated->running = true;
    if (emulated->options->cpus) {
        status.cpus = (const unsigned int *)(void *)emulated->options->cpus->data;
        status.ncpus = emulated->options->cpus->len;
    }
    emulated->events->started(&status, emulated->opaque);
    if (emulated->options->heartbeat)
        emulated->bootTimer = g_timeout_add_seconds(heartbeatTimeout(emulated->options,
                                                                     emulated->imageSize),
                                                    emulatedOnBootTimer, emulated);
    else
        emulatedOnBooted(emulated);
}

/* Without a reason of the guest's this is a failed start or, later, a crash. */
static void
emulatedOnBroken(const char *text, void *opaque)
{
    Emulated *emulated = opaque;

    if (emulated->launcher.pid == 0 || emulated->killTimer > 0 || emulated->broken)
        return;
    emulated->broken = logSanitize(text, strlen(text));
    logError("QEMU is ended: %s", emulated->broken);
    emulatedKill(emulated);
}

static void
emulatedOnHeartbeat(VsockHeartbeat what, uint8_t byte, void *opaque)
{
    Emulated *emulated = opaque;
    g_auto(Failure) failure = {0};

    emulatedOnRunning(emulated); /* a guest that sends does */
    switch (what) {
    case VSOCK_HEARTBEAT_GOOD:
        emulatedOnBooted(emulated);
        return;
    case VSOCK_HEARTBEAT_WRONG:
        heartbeatFailWrong(&failure, byte);
        break;
    case VSOCK_HEARTBEAT_CLOSED:
        heartbeatFailClosed(&failure);
        break;
    }
    if (!emulated->booted)
        emulatedFailBoot(emulated, &failure);
}

/* An enclave that cannot talk is of no use to anyone. */
static void
emulatedOnVsockFailed(void *opaque)
{
    emulatedOnBroken("it and the vsock device do not understand each other", opaque);
}

/* What the guest had sent has been delivered. */
static void
emulatedOnVsockFinished(void *opaque)
{
    Emulated *emulated = opaque;

    if (emulated->finishing)
        emulatedConclude(emulated, emulated->status);
}

static const VsockDeviceCallbacks emulatedVsockCallbacks = {
    .heartbeat = emulatedOnHeartbeat,
    .failed = emulatedOnVsockFailed,
    .finished = emulatedOnVsockFinished,
};

/*
 * With -no-reboot QEMU ends after this event, but for one that got it while it handled a
 * monitor command: QEMU 7.2 then sometimes waits for itself. All that the guest has written
 * is in our socket already, so nothing is lost by a hard end.
 */
static void
emulatedOnShutdown(const char *reason, void *opaque)
{
    Emulated *emulated = opaque;
    g_autofree char *text = NULL;

    if (g_str_equal(reason, "guest-shutdown"))
        emulated->exitReason = NITRO_EXIT_POWEROFF;
    else if (g_str_equal(reason, "guest-reset"))
        emulated->exitReason = NITRO_EXIT_REBOOT; /* or a panic, see emulatedConclude() */
    else if (g_str_equal(reason, "guest-panic"))
        emulated->exitReason = NITRO_EXIT_PANIC;
    else
        text = g_strdup_printf("it ends by itself (%s)", reason);

    if (text) {
        emulatedOnBroken(text, emulated);
    } else {
        emulatedOnRunning(emulated); /* one that has ended has run */
        emulatedKill(emulated);
    }
}

static const QmpCallbacks emulatedQmpCallbacks = {
    .running = emulatedOnRunning,
    .shutdown = emulatedOnShutdown,
    .broken = emulatedOnBroken,
};

/* Handles one piece of serial output. Returns false when there is none. */
static bool
emulatedReadSerial(Emulated *emulated)
{
    char buf[QEMU_SERIAL_PIECE];
    ssize_t n = read(emulated->serialFd, buf, sizeof(buf));

    if (n <= 0)
        return n < 0 && errno == EINTR;
    guestWatchOutput(emulated->guestWatch, buf, n);
    emulated->events->output(buf, n, emulated->opaque);
    return true;
}

static gboolean emulatedOnSerial(gint fd, GIOCondition condition, gpointer opaque);

static gboolean
emulatedOnSerialPause(gpointer opaque)
{
    Emulated *emulated = opaque;

    emulated->serialWatch = g_unix_fd_add(emulated->serialFd, G_IO_IN | G_IO_HUP,
                                          emulatedOnSerial, emulated);
    return G_SOURCE_REMOVE;
}

static gboolean
emulatedOnSerial(gint fd G_GNUC_UNUSED, GIOCondition condition, gpointer opaque)
{
    Emulated *emulated = opaque;
    bool more = emulatedReadSerial(emulated) || !(condition & G_IO_HUP);

    emulated->serialWatch = more ? g_timeout_add(QEMU_SERIAL_PAUSE_MS, emulatedOnSerialPause,
                                                 emulated) : 0;
    return G_SOURCE_REMOVE;
}

static void
emulatedOnMessage(Emulated *emulated)
{
    g_autofree char *line = logSanitize(emulated->message->str, emulated->message->len);

    g_string_truncate(emulated->message, 0);
    if (!*line)
        return;

    if (emulated->messagesBytes < QEMU_MESSAGES_MAX) {
        logInfo("QEMU: %s", line);
        emulated->messagesBytes += strlen(line) + QEMU_MESSAGE_PREFIX;
        if (emulated->messagesBytes >= QEMU_MESSAGES_MAX)
            logWarning("QEMU's further messages are not logged");
    }

    g_free(emulated->lastMessage);
    emulated->lastMessage = g_steal_pointer(&line);
}

/* Handles one piece of QEMU's messages. Returns false when there is none. */
static bool
emulatedReadMessages(Emulated *emulated)
{
    char buf[4096];
    ssize_t n = read(emulated->messagesFd, buf, sizeof(buf));
    ssize_t i;

    if (n <= 0)
        return n < 0 && errno == EINTR;

    for (i = 0; i < n; i++) {
        if (buf[i] == '\n')
            emulatedOnMessage(emulated);
        else if (emulated->message->len < QEMU_MESSAGE_LINE_MAX)
            g_string_append_c(emulated->message, buf[i]);
    }
    return true;
}

static gboolean
emulatedOnMessages(gint fd G_GNUC_UNUSED, GIOCondition condition, gpointer opaque)
{
    Emulated *emulated = opaque;

    if (emulatedReadMessages(emulated) || !(condition & G_IO_HUP))
        return G_SOURCE_CONTINUE;
    emulated->messagesWatch = 0;
    return G_SOURCE_REMOVE;
}

/* QEMU has ended. What it and the guest said before is still in the descriptors. */
static gboolean
emulatedOnChild(gint fd G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED, gpointer opaque)
{
    Emulated *emulated = opaque;
    int status;
    int i;

    if (!launcherReap(&emulated->launcher, &status))
        return G_SOURCE_CONTINUE;
    emulated->childWatch = 0;
    if (emulated->killTimer > 0)
        g_source_remove(emulated->killTimer);
    emulated->killTimer = 0;

    for (i = 0; i < QEMU_DRAIN_MAX && emulatedReadSerial(emulated); i++)
        ;
    for (i = 0; i < QEMU_DRAIN_MAX && emulatedReadMessages(emulated); i++)
        ;
    if (emulated->message->len > 0)
        emulatedOnMessage(emulated);
    qmpDrain(emulated->qmp);
    if (emulated->vsock)
        vsockDeviceDrain(emulated->vsock);

    emulated->status = status;
    if (!emulated->vsock || !emulated->booted || emulated->terminating) {
        emulatedConclude(emulated, status);
        return G_SOURCE_REMOVE;
    }
    emulated->finishing = true;
    vsockDeviceFinish(emulated->vsock);
    return G_SOURCE_REMOVE;
}

/*
 * Our end is served from before QEMU runs on, for QEMU waits for it. Returns 0, or -1 with
 * @failure set.
 */
static int
emulatedStartVsock(Emulated *emulated, Failure *failure)
{
    const Options *options = emulated->options;

    if (!options->hasCid)
        return 0;
    emulated->vsock = vsockDeviceNew(emulated->launcher.vsock, options->cid, options->vsockDirFd >= 0,
                                     options->vsockListenFd, options->servicesListenFd,
                                     &emulatedVsockCallbacks, emulated);
    if (!emulated->vsock) {
        failureSet(failure, NITRO_FAILURE_RESOURCE, "The vsock device cannot be made: %s",
                   g_strerror(errno));
        return -1;
    }
    emulated->launcher.vsock = -1;
    return 0;
}

static int
emulatedStart(void *instance, Failure *failure)
{
    Emulated *emulated = instance;
    const ImageParts *parts = emulated->parts;

    if (emulatedStartVsock(emulated, failure) < 0 ||
        launcherRun(&emulated->launcher, &emulated->machine, imagePartsGetBoot(parts),
                    parts->ramdiskSize > 0 ? parts->ramdiskFd : -1, failure) < 0)
        return -1;

    emulated->guestWatch = guestWatchNew(emulatedOnStopped, emulated);
    guestWatchSetBooting(emulated->guestWatch, emulated->options->heartbeat);
    nsmProcessWatch(&emulated->nsm);
    emulated->childWatch = g_unix_fd_add(emulated->launcher.pidFd, G_IO_IN, emulatedOnChild,
                                         emulated);
    emulated->qmp = qmpNew(emulated->launcher.qmp, &emulatedQmpCallbacks, emulated);
    emulated->launcher.qmp = -1;
    emulated->serialFd = emulated->launcher.serial;
    emulated->launcher.serial = -1;
    emulated->serialWatch = g_unix_fd_add(emulated->serialFd, G_IO_IN | G_IO_HUP,
                                          emulatedOnSerial, emulated);
    emulated->messagesFd = emulated->launcher.messages;
    emulated->launcher.messages = -1;
    emulated->messagesWatch = g_unix_fd_add(emulated->messagesFd, G_IO_IN | G_IO_HUP,
                                            emulatedOnMessages, emulated);
    logInfo("Started QEMU as process %d, accelerator %s", (int)emulated->launcher.pid,
            emulated->accel);
    return 0;
}

static int
emulatedMeasure(void *instance, const int *cancel, EifMeasurements *measurements, GError **error)
{
    Emulated *emulated = instance;
    int rc = imagePartsMeasure(emulated->parts, cancel, measurements, error);

    if (rc == 0)
        nsmProcessTell(&emulated->nsm, measurements);
    /* QEMU has its own descriptors of them. */
    imagePartsClose(emulated->parts);
    return rc;
}

static void
emulatedTerminate(void *instance)
{
    Emulated *emulated = instance;

    emulated->terminating = true;
    if (emulated->finishing)
        emulatedConclude(emulated, emulated->status);
    emulatedKill(emulated);
}

static void
emulatedDestroy(void *instance)
{
    Emulated *emulated = instance;
    const guint watches[] = {emulated->childWatch, emulated->killTimer, emulated->serialWatch,
                             emulated->messagesWatch, emulated->bootTimer};
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(watches); i++) {
        if (watches[i] > 0)
            g_source_remove(watches[i]);
    }

    launcherClear(&emulated->launcher);
    nsmProcessClear(&emulated->nsm);
    vsockDeviceFree(emulated->vsock);
    failureClear(&emulated->bootFailure);
    qmpFree(emulated->qmp);
    guestWatchFree(emulated->guestWatch);
    if (emulated->serialFd >= 0)
        close(emulated->serialFd);
    if (emulated->messagesFd >= 0)
        close(emulated->messagesFd);
    imagePartsFree(emulated->parts);
    g_string_free(emulated->message, TRUE);
    g_free(emulated->lastMessage);
    g_free(emulated->broken);
    machineClear(&emulated->machine);
    g_free(emulated->qemu);
    g_free(emulated);
}

const Backend backendEmulated = {
    .check = emulatedCheck,
    .create = emulatedCreate,
    .open = emulatedOpen,
    .load = emulatedLoad,
    .start = emulatedStart,
    .measure = emulatedMeasure,
    .terminate = emulatedTerminate,
    .destroy = emulatedDestroy,
};
