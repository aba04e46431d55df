/*
 * lifecycle.c: one enclave from its image to its end
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The state machine, each arrow one function below; phases never go back:
 *
 *   image    lifecycleBegin(): a thread opens and loads the image
 *     |      lifecycleOnLoaded()
 *   prepare  the backend sets the machine up
 *     |      lifecycleOnStarted()
 *   boot     vCPUs run, the heartbeat is waited for
 *     |      lifecycleOnBooted()
 *   running
 *     |      lifecycleEnd(), from any phase, once
 *   ended    the last event is being sent
 *
 * Commands and signals come in at any time. All state is the main thread's; the worker
 * that loads the image and the thread that measures it hand over their results by an idle
 * source.
 */

#include "lifecycle.h"

#include <sys/resource.h>
#include <unistd.h>

#include "backend.h"
#include "console.h"
#include "control.h"
#include "eif.h"
#include "helper_protocol.h"
#include "common/log.h"
#include "common/signals.h"
#include "common/worker.h"
#include "nitro_gettext.h"
#include "sandbox/sandbox.h"
#include "sandbox/unprotected.h"

/* How long a client may take to read the last event, in milliseconds */
#define LIFECYCLE_FLUSH_MS 1000
#define LIFECYCLE_FLUSH_STEP_MS 10

/* How long the end on request waits for the worker that loads the image, in milliseconds */
#define LIFECYCLE_CANCEL_MS 2000

typedef enum {
    PHASE_IMAGE,
    PHASE_PREPARE,
    PHASE_BOOT,
    PHASE_RUNNING,
    PHASE_ENDED,
} Phase;

static const char *const phaseNames[] = {
    [PHASE_IMAGE] = NITRO_PHASE_IMAGE,     [PHASE_PREPARE] = NITRO_PHASE_PREPARE,
    [PHASE_BOOT] = NITRO_PHASE_BOOT,       [PHASE_RUNNING] = NITRO_PHASE_RUNNING,
    [PHASE_ENDED] = NITRO_PHASE_ENDED,
};

typedef struct _Lifecycle Lifecycle;

/* What another thread does; owned by that one, then by the idle source that ends it. */
typedef struct {
    Lifecycle *lifecycle;
    GThread *thread; /* NULL: it is the worker's */
    int rc;
    Failure failure;              /* of loading */
    EifMeasurements measurements; /* the result of measuring */
    GError *error;                /* of measuring */
} Task;

struct _Lifecycle {
    const Options *options;
    GMainLoop *loop;
    Control *control;
    Console *console;
    Console *consoleLog; /* gets the same; NULL: there is none */
    const Backend *backend;
    void *instance;

    Phase phase;
    BackendStatus status; /* from phase boot on */
    const char *reason;   /* of the event "exited", static; NULL otherwise */
    Failure failure;      /* of the event "failed" */
    gint64 flushEnd;      /* when the last event is given up, monotonic microseconds */

    unsigned int tasks; /* of other threads that have not been ended */
    int cancel;         /* not 0: they are to stop */
    guint cancelTimer;  /* of the one to load the image; 0: it is not waited for */
    bool measured;
    EifMeasurements measurements;
    char *measureError; /* why there are no measurements, or NULL */
};

/* Runs @func soon in the main thread, also when descriptors are ready all the time. */
static void
lifecycleDefer(GSourceFunc func, gpointer opaque)
{
    g_idle_add_full(G_PRIORITY_DEFAULT, func, opaque, NULL);
}

static void
lifecycleAddStatus(const Lifecycle *lifecycle, JsonWriter *writer)
{
    const BackendStatus *status = &lifecycle->status;

    if (status->hasCid)
        jsonAddInteger(writer, "cid", status->cid);
    if (status->cpus)
        jsonAddIntegers(writer, "cpus", status->cpus, status->ncpus);
    jsonAddString(writer, "accel", status->accel);
    unprotectedAddTo(lifecycle->options->without, writer);
}

static void
lifecycleAddFailure(const Failure *failure, JsonWriter *writer)
{
    jsonAddString(writer, "code", failure->code);
    jsonAddString(writer, "text", failure->text);
    if (failure->ioctl) {
        jsonAddString(writer, "ioctl", failure->ioctl);
        jsonAddInteger(writer, "errno", failure->err);
    }
}

/* Waits for clients that have not taken the last event yet, but not for long. */
static gboolean
lifecycleOnFlush(gpointer opaque)
{
    Lifecycle *lifecycle = opaque;

    if (controlIsPending(lifecycle->control) && g_get_monotonic_time() < lifecycle->flushEnd)
        return G_SOURCE_CONTINUE;
    g_main_loop_quit(lifecycle->loop);
    return G_SOURCE_REMOVE;
}

/* Whether the console, which the log may get, is the enclave's to show */
static bool
lifecycleHasConsole(const Lifecycle *lifecycle)
{
    return lifecycle->options->debug;
}

/*
 * The console of a transient domain is gone with it: its last lines stay in the log. An
 * enclave that ends on request has said nothing that anybody asks for.
 */
static void
lifecycleLogConsole(const Lifecycle *lifecycle)
{
    g_auto(GStrv) lines = consoleGetLastLines(lifecycle->console);
    size_t i;

    if (!lifecycleHasConsole(lifecycle) || !lines[0] ||
        g_strcmp0(lifecycle->reason, NITRO_EXIT_TERMINATED) == 0)
        return;

    logInfo("The last lines of the enclave's console:");
    for (i = 0; lines[i]; i++)
        logInfo("console: %s", lines[i]);
}

/* Adds to @failure, which is the guest's, where to read what the guest has said. */
static void
lifecycleAddHint(const Lifecycle *lifecycle, Failure *failure)
{
    g_auto(GStrv) lines = consoleGetLastLines(lifecycle->console);
    const char *log = logGetPath() ? logGetPath() : _("the log of the domain");
    g_autofree char *hint = NULL;

    if (!lifecycleHasConsole(lifecycle))
        hint = g_strdup_printf(_("with <nitro:enclave debug='yes'/> and a <console> its last "
                                 "lines would be in %s"), log);
    else if (lines[0])
        hint = g_strdup_printf(_("the last lines of its console are in %s"), log);
    else if (lifecycle->options->consoleType == OPTIONS_CONSOLE_NONE)
        hint = g_strdup_printf(_("with a <console> its last lines would be in %s"), log);
    else
        hint = g_strdup(_("its console has shown nothing"));

    failureAddHint(failure, hint);
}

/* The only way into the phase "ended": either @reason or lifecycle->failure is set. */
static void
lifecycleEnd(Lifecycle *lifecycle, const char *reason)
{
    JsonWriter *event;

    if (lifecycle->phase == PHASE_ENDED)
        return;

    lifecycle->phase = PHASE_ENDED;
    lifecycle->reason = reason;
    if (lifecycle->cancelTimer > 0)
        g_source_remove(lifecycle->cancelTimer);
    lifecycle->cancelTimer = 0;
    g_atomic_int_set(&lifecycle->cancel, 1);
    lifecycleLogConsole(lifecycle);

    if (reason) {
        logInfo("The enclave has ended: %s", reason);
        event = controlEventNew(NITRO_EVENT_EXITED);
        jsonAddString(event, "reason", reason);
    } else {
        logError("%s", lifecycle->failure.text);
        event = controlEventNew(NITRO_EVENT_FAILED);
        lifecycleAddFailure(&lifecycle->failure, event);
    }
    controlEventSend(lifecycle->control, event);

    lifecycle->flushEnd = g_get_monotonic_time() + LIFECYCLE_FLUSH_MS * 1000;
    if (lifecycleOnFlush(lifecycle) == G_SOURCE_CONTINUE)
        g_timeout_add(LIFECYCLE_FLUSH_STEP_MS, lifecycleOnFlush, lifecycle);
}

static void
lifecycleFail(Lifecycle *lifecycle, Failure *failure)
{
    if (lifecycle->phase != PHASE_ENDED) {
        if (g_str_equal(failure->code, NITRO_FAILURE_TIMEOUT) ||
            g_str_equal(failure->code, NITRO_FAILURE_GUEST))
            lifecycleAddHint(lifecycle, failure);
        lifecycle->failure = *failure;
        *failure = (Failure){0};
    }
    lifecycleEnd(lifecycle, NULL);
}

static Task *
lifecycleNewTask(Lifecycle *lifecycle)
{
    Task *task = g_new0(Task, 1);

    task->lifecycle = lifecycle;
    lifecycle->tasks++;
    return task;
}

static void
lifecycleEndTask(Task *task)
{
    if (task->thread)
        g_thread_join(task->thread);
    task->lifecycle->tasks--;
    failureClear(&task->failure);
    g_clear_error(&task->error);
    g_free(task);
}

static gboolean
lifecycleOnMeasured(gpointer opaque)
{
    Task *task = opaque;
    Lifecycle *lifecycle = task->lifecycle;

    if (task->rc == 0) {
        lifecycle->measured = true;
        lifecycle->measurements = task->measurements;
    } else if (lifecycle->phase != PHASE_ENDED) {
        logError("The image cannot be measured: %s", task->error->message);
        lifecycle->measureError = g_strdup(task->error->message);
    }
    lifecycleEndTask(task);
    return G_SOURCE_REMOVE;
}

/* The guest boots meanwhile: it goes first. So the thread is none that has other work to do. */
static gpointer
lifecycleMeasureThread(gpointer opaque)
{
    Task *task = opaque;
    Lifecycle *lifecycle = task->lifecycle;

    setpriority(PRIO_PROCESS, 0, 19); /* on Linux: of this thread */
    task->rc = lifecycle->backend->measure(lifecycle->instance, &lifecycle->cancel,
                                           &task->measurements, &task->error);
    lifecycleDefer(lifecycleOnMeasured, task);
    return NULL;
}

static SandboxProcess
lifecycleGetProcess(const Lifecycle *lifecycle)
{
    return lifecycle->options->machine == OPTIONS_MACHINE_EMULATED ? SANDBOX_EMULATED :
                                                                     SANDBOX_DEVICE;
}

/* Under what the enclave runs, for the domain's log */
static void
lifecycleLogConfinement(const Options *options)
{
    bool emulated = options->machine == OPTIONS_MACHINE_EMULATED;
    const char *host = !emulated ? "the host's namespaces" :
                       options->without & UNPROTECTED_NAMESPACES ?
                           "the host's namespaces" : "user and network namespaces of its own";
    const char *qemu = !emulated ? "" :
                       !(options->without & UNPROTECTED_QEMU_NAMESPACES) ?
                           "; QEMU has namespaces of its own (bubblewrap)" :
                       options->without & UNPROTECTED_LANDLOCK ?
                           "; QEMU has the host's namespaces and files" :
                           "; QEMU has the host's namespaces, and files by Landlock";

    logInfo("The helper is user %u, group %u, without capabilities, with filtered system calls, "
            "in %s%s", geteuid(), getegid(), host, qemu);
}

static void
lifecycleOnStarted(const BackendStatus *status, void *opaque)
{
    Lifecycle *lifecycle = opaque;
    g_auto(Failure) failure = {0};
    g_autoptr(GError) error = NULL;
    JsonWriter *event;
    Task *task;

    if (lifecycle->phase != PHASE_PREPARE)
        return;
    if (sandboxTighten(lifecycleGetProcess(lifecycle), &failure) < 0) {
        lifecycleFail(lifecycle, &failure);
        return;
    }
    lifecycle->phase = PHASE_BOOT;
    lifecycle->status = *status;
    logInfo("The enclave's vCPUs run");
    lifecycleLogConfinement(lifecycle->options);

    event = controlEventNew(NITRO_EVENT_STARTED);
    lifecycleAddStatus(lifecycle, event);
    controlEventSend(lifecycle->control, event);

    task = lifecycleNewTask(lifecycle);
    task->thread = g_thread_try_new("measure", lifecycleMeasureThread, task, &error);
    if (!task->thread) {
        lifecycle->measureError = g_strdup(error->message);
        lifecycleEndTask(task);
    }
}

static void
lifecycleOnBooted(void *opaque)
{
    Lifecycle *lifecycle = opaque;

    if (lifecycle->phase != PHASE_BOOT)
        return;
    lifecycle->phase = PHASE_RUNNING;
    logInfo("The enclave has booted");
    controlEventSend(lifecycle->control, controlEventNew(NITRO_EVENT_BOOTED));
}

static void
lifecycleOnOutput(const void *buf, size_t len, void *opaque)
{
    Lifecycle *lifecycle = opaque;

    consoleWrite(lifecycle->console, buf, len);
    if (lifecycle->consoleLog)
        consoleWrite(lifecycle->consoleLog, buf, len);
}

static void
lifecycleOnEnded(const char *reason, void *opaque)
{
    Lifecycle *lifecycle = opaque;
    g_auto(Failure) failure = {0};

    if (lifecycle->phase == PHASE_RUNNING || g_str_equal(reason, NITRO_EXIT_TERMINATED)) {
        lifecycleEnd(lifecycle, reason);
        return;
    }
    failureSet(&failure, NITRO_FAILURE_GUEST, "The enclave ended before it had booted (%s)",
               reason);
    lifecycleFail(lifecycle, &failure);
}

static void
lifecycleOnFailed(Failure *failure, void *opaque)
{
    lifecycleFail(opaque, failure);
}

static const BackendEvents lifecycleEvents = {
    .started = lifecycleOnStarted,
    .booted = lifecycleOnBooted,
    .output = lifecycleOnOutput,
    .ended = lifecycleOnEnded,
    .failed = lifecycleOnFailed,
};

static gboolean
lifecycleOnLoaded(gpointer opaque)
{
    Task *task = opaque;
    Lifecycle *lifecycle = task->lifecycle;

    if (lifecycle->phase == PHASE_IMAGE && lifecycle->cancelTimer > 0) {
        /* Ended on request meanwhile: that is told when nothing of it is left. */
        g_clear_pointer(&lifecycle->instance, lifecycle->backend->destroy);
        lifecycleEnd(lifecycle, NITRO_EXIT_TERMINATED);
    } else if (lifecycle->phase == PHASE_IMAGE) {
        lifecycle->phase = PHASE_PREPARE;
        if (task->rc < 0 || lifecycle->backend->start(lifecycle->instance, &task->failure) < 0)
            lifecycleFail(lifecycle, &task->failure);
    }
    lifecycleEndTask(task);
    return G_SOURCE_REMOVE;
}

/* In the worker */
static void
lifecycleLoad(void *opaque)
{
    Task *task = opaque;
    const Lifecycle *lifecycle = task->lifecycle;
    const Options *options = lifecycle->options;
    Image image;

    task->rc = imageOpen(&image, options, &task->failure);
    if (task->rc == 0)
        task->rc = lifecycle->backend->load(lifecycle->instance, &image,
                                            options->expectsPcr ? &options->expected : NULL,
                                            &lifecycle->cancel, &task->failure);
    lifecycleDefer(lifecycleOnLoaded, task);
}

static void lifecycleOnSignal(void *opaque);

/*
 * From here on this process can open nothing, and make none. The order counts: namespaces are for
 * processes of one thread, capabilities are a thread's own, and processes that are forked do not
 * have signals caught.
 */
static int
lifecycleConfine(Lifecycle *lifecycle, Failure *failure)
{
    const Options *options = lifecycle->options;

    eifChooseChecksum();
    if (lifecycle->backend->open(lifecycle->instance, failure) < 0)
        return -1;
    if (options->machine == OPTIONS_MACHINE_EMULATED) {
        if (sandboxChangeDirectory(options->vsockDirFd, failure) < 0 ||
            (!(options->without & UNPROTECTED_NAMESPACES) && sandboxLeaveHost(failure) < 0))
            return -1;
    }
    if (sandboxDropCapabilities(failure) < 0 ||
        signalsCatch(lifecycleOnSignal, lifecycle, failure) < 0 || workerBegin(failure) < 0)
        return -1;
    return sandboxEnter(lifecycleGetProcess(lifecycle), failure);
}

static void
lifecycleBegin(Lifecycle *lifecycle)
{
    const Options *options = lifecycle->options;
    g_auto(Failure) failure = {0};

    lifecycle->backend = options->machine == OPTIONS_MACHINE_NITRO ? &backendDevice :
                                                                     &backendEmulated;
    if (lifecycle->backend->check(options, &failure) < 0) {
        lifecycleFail(lifecycle, &failure);
        return;
    }
    lifecycle->instance = lifecycle->backend->create(options, &lifecycleEvents, lifecycle);
    if (lifecycleConfine(lifecycle, &failure) < 0) {
        lifecycleFail(lifecycle, &failure);
        return;
    }
    workerRun("image", lifecycleLoad, lifecycleNewTask(lifecycle));
}

static gboolean
lifecycleOnCancelTimer(gpointer opaque)
{
    Lifecycle *lifecycle = opaque;

    lifecycle->cancelTimer = 0;
    logWarning("The image is still being read: it is not waited for");
    lifecycleEnd(lifecycle, NITRO_EXIT_TERMINATED);
    return G_SOURCE_REMOVE;
}

/* Ends the enclave in whatever phase it is; the event follows once it is gone. */
static gboolean
lifecycleOnTerminate(gpointer opaque)
{
    Lifecycle *lifecycle = opaque;

    switch (lifecycle->phase) {
    case PHASE_IMAGE:
        g_atomic_int_set(&lifecycle->cancel, 1);
        if (lifecycle->cancelTimer == 0)
            lifecycle->cancelTimer = g_timeout_add(LIFECYCLE_CANCEL_MS, lifecycleOnCancelTimer,
                                                   lifecycle);
        break;
    case PHASE_PREPARE:
    case PHASE_BOOT:
    case PHASE_RUNNING:
        lifecycle->backend->terminate(lifecycle->instance);
        break;
    case PHASE_ENDED:
        break;
    }
    return G_SOURCE_REMOVE;
}

static void
lifecycleOnSignal(void *opaque)
{
    logInfo("Ending on a signal");
    lifecycleOnTerminate(opaque);
}

static void
lifecycleOnAbandoned(void *opaque)
{
    logInfo("Ending with the last client");
    lifecycleOnTerminate(opaque);
}

static void
lifecycleQueryStatus(const Lifecycle *lifecycle, JsonWriter *reply)
{
    jsonAddString(reply, "phase", phaseNames[lifecycle->phase]);
    lifecycleAddStatus(lifecycle, reply);
    jsonAddString(reply, "reason", lifecycle->reason);
    if (lifecycle->failure.code) {
        jsonBeginObject(reply, "failure");
        lifecycleAddFailure(&lifecycle->failure, reply);
        jsonEndObject(reply);
    }
}

static const char *
lifecycleQueryMeasurements(const Lifecycle *lifecycle, JsonWriter *reply, char **text)
{
    size_t i;

    if (!lifecycle->measured) {
        *text = lifecycle->measureError ? g_strdup(lifecycle->measureError) :
                                          g_strdup("The image has not been measured yet");
        return lifecycle->measureError ? NITRO_ERROR_INTERNAL : NITRO_ERROR_NOT_READY;
    }

    jsonAddString(reply, "hash", "sha384");
    for (i = 0; i < EIF_PCR_COUNT; i++) {
        g_autofree char *key = g_strdup_printf("pcr%zu", i);
        g_autofree char *hex = eifPcrToString(lifecycle->measurements.pcr[i]);

        if (!lifecycle->measurements.valid[i])
            continue;
        jsonAddString(reply, key, hex);
    }
    return NULL;
}

static const char *
lifecycleOnCommand(const char *command, JsonWriter *reply, char **text, void *opaque)
{
    Lifecycle *lifecycle = opaque;
    g_autofree char *clean = NULL;

    if (g_str_equal(command, NITRO_COMMAND_QUERY_STATUS)) {
        lifecycleQueryStatus(lifecycle, reply);
        return NULL;
    }
    if (g_str_equal(command, NITRO_COMMAND_QUERY_MEASUREMENTS))
        return lifecycleQueryMeasurements(lifecycle, reply, text);
    if (g_str_equal(command, NITRO_COMMAND_TERMINATE)) {
        /* The reply goes first. */
        logInfo("Ending on request");
        lifecycleDefer(lifecycleOnTerminate, lifecycle);
        return NULL;
    }

    clean = g_strndup(command, 64);
    *text = g_strdup_printf("The command '%s' is unknown", clean);
    return NITRO_ERROR_UNKNOWN_COMMAND;
}

/* The consoles, and how large their files grow */
static void
lifecycleOpenConsoles(Lifecycle *lifecycle)
{
    const Options *options = lifecycle->options;

    lifecycle->console = consoleNew(options->consoleType, options->consoleFd);
    if (options->consoleLogFd >= 0)
        lifecycle->consoleLog = consoleNew(OPTIONS_CONSOLE_FILE, options->consoleLogFd);

    if (options->logMaxSize == 0)
        return;
    if (options->consoleType == OPTIONS_CONSOLE_FILE)
        consoleSetRotation(lifecycle->console,
                           rotationNew(options->consoleFd, options->consoleBackupFds,
                                       options->logMaxSize));
    if (lifecycle->consoleLog)
        consoleSetRotation(lifecycle->consoleLog,
                           rotationNew(options->consoleLogFd, options->consoleLogBackupFds,
                                       options->logMaxSize));
}

LifecycleExit
lifecycleRun(const Options *options)
{
    Lifecycle *lifecycle = g_new0(Lifecycle, 1);
    LifecycleExit status;

    lifecycle->options = options;
    lifecycle->loop = g_main_loop_new(NULL, FALSE);
    lifecycle->control = controlNew(options->controlFd, lifecycleOnCommand, lifecycle);
    if (options->endWithClient)
        controlSetAbandoned(lifecycle->control, lifecycleOnAbandoned);
    lifecycleOpenConsoles(lifecycle);
    lifecycleBegin(lifecycle);
    if (lifecycle->phase != PHASE_ENDED || controlIsPending(lifecycle->control))
        g_main_loop_run(lifecycle->loop);
    status = lifecycle->reason ? LIFECYCLE_EXIT_ENDED : LIFECYCLE_EXIT_FAILED;

    g_clear_pointer(&lifecycle->control, controlFree);
    g_clear_pointer(&lifecycle->console, consoleFree);
    g_clear_pointer(&lifecycle->consoleLog, consoleFree);
    /*
     * A thread may be reading a file on a server that does not answer: it is not waited
     * for, and nothing that it works with is freed.
     */
    if (lifecycle->tasks > 0)
        _exit(status);

    if (lifecycle->instance)
        lifecycle->backend->destroy(lifecycle->instance);
    g_main_loop_unref(lifecycle->loop);
    failureClear(&lifecycle->failure);
    g_free(lifecycle->measureError);
    g_free(lifecycle);
    return status;
}
