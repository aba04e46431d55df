/*
 * backend_device.c: an enclave of the Nitro Hypervisor, through /dev/nitro_enclaves
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The state machine; each phase ends with the function at its arrow:
 *
 *   load     the worker, loadSteps[]: NE_CREATE_VM, huge pages, the image in them
 *     |      deviceStart()
 *   prepare  the worker, prepareSteps[]: NE_SET_USER_MEMORY_REGION, NE_ADD_VCPU; meanwhile the
 *     |      broker gets the heartbeat's port
 *     |      deviceTryStart(), when both are done
 *   start    the worker: NE_START_ENCLAVE
 *     |      deviceOnStarted()
 *   boot     the heartbeat is waited for
 *     |      deviceOnBooted()
 *   run      until the enclave's descriptor hangs up
 *     |      deviceEnd(), from prepare on, once
 *   close    the worker closes the descriptor, by which the enclave ends
 *     |      deviceConclude()
 *   gone     one event has told lifecycle.c how it ended
 *
 * Calls of the device can block for two minutes, out of reach of any signal, so none is made
 * in the main thread: the worker makes them, a thread, as the driver wants all calls from one
 * address space. All other state is the main thread's.
 *
 * The image is complete before its memory is donated; nothing forks; and the enclave has one
 * descriptor: each of these the driver would punish with another enclave than the one meant,
 * or with one that does not end.
 */

#include "backend.h"

#include <errno.h>
#include <glib-unix.h>
#include <inttypes.h>
#include <unistd.h>

#include "device/enclave_memory.h"
#include "heartbeat/heartbeat.h"
#include "heartbeat/heartbeat_broker.h"
#include "helper_protocol.h"
#include "common/log.h"
#include "common/worker.h"
#include "device/ne_device.h"
#include "device/ne_error.h"
#include "device/vsock_console.h"

/*
 * An enclave that ends gives its CPUs and pages back a moment after others have seen its end.
 * For so long in all a start tries again what fails for that reason; in milliseconds.
 */
#define DEVICE_RETRY_MS 3000
#define DEVICE_RETRY_STEP_MS 50

/*
 * A hypervisor that does not answer is not waited for any longer when the enclave is to end;
 * in milliseconds. The daemon waits 5 s for us before it uses force.
 */
#define DEVICE_CLOSE_MS 3000

typedef enum {
    DEVICE_LOAD,
    DEVICE_PREPARE,
    DEVICE_START,
    DEVICE_BOOT,
    DEVICE_RUN,
    DEVICE_CLOSE,
    DEVICE_GONE,
} DevicePhase;

typedef struct {
    const Options *options;
    const BackendEvents *events;
    void *opaque;
    DevicePhase phase;

    EnclaveHost *host; /* where it is read which huge pages there are */

    /* What the thread at work has; from the worker to the main thread and back it is handed over. */
    int enclave; /* -1: none, or closed */
    EnclaveMemory memory;
    uint64_t imageOffset; /* bytes in the memory */
    GArray *cpus;         /* of unsigned int: ids of the vCPUs that were added */
    uint64_t cid;
    gint64 retryEnd;   /* monotonic microseconds; 0: nothing has failed yet */
    const int *cancel; /* not 0: stop */

    Image image;
    bool measured; /* whether @measurements are there, as some were expected */
    EifMeasurements measurements;

    bool busy;      /* the worker works */
    int terminated; /* terminate() has been called */
    HeartbeatBroker *broker;
    bool listening; /* the port of the heartbeat is ours, or not needed */
    bool prepared;
    VsockConsole *console;
    guint hangupWatch;
    guint closeTimer;
    const char *reason; /* how the enclave has ended, static */
    Failure failure;    /* or why it was not started */
} Device;

/* The worker's task; owned by it, then by the idle source that ends it. */
typedef struct {
    Device *device;
    int (*work)(Device *device, Failure *failure);
    void (*done)(Device *device, int rc, Failure *failure);
    int rc;
    Failure failure;
} DeviceTask;

typedef struct {
    const char *name; /* for the log: that of a call, if the step makes one */
    int (*run)(Device *device, Failure *failure);
} DeviceStep;

static void
deviceEnd(Device *device, const char *reason, Failure *failure);

static int
deviceCheck(const Options *options, Failure *failure)
{
    size_t i;

    for (i = 0; options->cpus && i < options->cpus->len; i++) {
        if (g_array_index(options->cpus, unsigned int, i) == 0) {
            failureSet(failure, NITRO_FAILURE_CONFIG,
                       "CPU 0 always belongs to the parent of an enclave: choose CPUs of the "
                       "enclaves' CPU pool");
            return -1;
        }
    }
    return 0;
}

static void *
deviceCreate(const Options *options, const BackendEvents *events, void *opaque)
{
    Device *device = g_new0(Device, 1);

    device->options = options;
    device->events = events;
    device->opaque = opaque;
    device->enclave = -1;
    device->cpus = g_array_new(FALSE, FALSE, sizeof(unsigned int));
    device->listening = !options->heartbeat;
    return device;
}

static int
deviceOpen(void *instance, Failure *failure G_GNUC_UNUSED)
{
    Device *device = instance;

    neErrorOpen();
    device->host = enclaveHostOpen("", device->options->numaNode, device->options->pageSize);
    return 0;
}

/* In the worker: the steps of a phase */

static bool
deviceIsCancelled(const Device *device, Failure *failure)
{
    if (g_atomic_int_get(device->cancel) == 0)
        return false;
    failureSet(failure, NITRO_FAILURE_INTERNAL, "The start of the enclave was stopped");
    return true;
}

/* Waits a moment. Returns false when it is time to give up. */
static bool
deviceWait(Device *device)
{
    gint64 now = g_get_monotonic_time();

    if (device->retryEnd == 0)
        device->retryEnd = now + DEVICE_RETRY_MS * 1000;
    if (now >= device->retryEnd || g_atomic_int_get(device->cancel) != 0)
        return false;
    g_usleep(DEVICE_RETRY_STEP_MS * 1000);
    return true;
}

static NeContext
deviceContext(const Device *device)
{
    return (NeContext){
        .options = device->options,
        .cpus = (const unsigned int *)(void *)device->cpus->data,
        .ncpus = device->cpus->len,
        .cid = device->cid,
    };
}

/* Whether @call, which has failed with errno set, is to be made again; else @failure is set. */
static bool
deviceRetry(Device *device, NeCall call, const NeContext *context, Failure *failure)
{
    int err = errno;

    /* A region may have been taken all the same. */
    if (err == EINTR && call != NE_CALL_SET_USER_MEMORY_REGION &&
        g_atomic_int_get(device->cancel) == 0)
        return true;
    if (neIsTransient(call, err, context) && deviceWait(device))
        return true;
    neSetFailure(failure, call, err, context);
    return false;
}

static int
deviceCreateVm(Device *device, Failure *failure)
{
    NeContext context = deviceContext(device);

    while ((device->enclave = neCreateVm(device->options->deviceFd)) < 0) {
        if (!deviceRetry(device, NE_CALL_CREATE_VM, &context, failure))
            return -1;
    }
    /* Nothing else is asked of it; the enclave has a descriptor of its own. */
    close(device->options->deviceFd);
    return 0;
}

static void
deviceLogMemory(const EnclaveLayout *layout)
{
    size_t i;

    for (i = 0; i < layout->nparts; i++)
        logInfo("The enclave has %" PRIu64 " huge pages of %" PRIu64 " KiB",
                layout->parts[i].count, layout->parts[i].pageSize / 1024);
}

/* Tries once. Returns 0, or -1 with errno and the bytes that are missing from @pools. */
static int
deviceTryMap(Device *device, EnclavePools *pools, uint64_t *missing)
{
    const Options *options = device->options;
    EnclaveLayout layout;
    int err;

    enclaveHostReadPools(device->host, pools);
    if ((*missing = enclaveMemoryPlan(pools, options->memory, false, &layout)) > 0) {
        errno = ENOMEM;
        return -1;
    }
    if (enclaveMemoryMap(&device->memory, &layout, options->numaNode, device->cancel) == 0) {
        deviceLogMemory(&layout);
        return 0;
    }
    err = errno;
    enclaveMemoryUnmap(&device->memory);
    errno = err;
    return -1;
}

static int
deviceMap(Device *device, Failure *failure)
{
    const Options *options = device->options;
    EnclaveLayout layout;
    EnclavePools pools;
    uint64_t missing;
    int err;

    while (deviceTryMap(device, &pools, &missing) < 0) {
        err = errno;
        if (err == ENOMEM &&
            enclaveMemoryPlan(&pools, options->memory, true, &layout) == 0 && deviceWait(device))
            continue;

        if (deviceIsCancelled(device, failure))
            return -1;
        if (err == ENOMEM && missing > 0)
            neSetMemoryFailure(failure, options, &pools, missing);
        else if (err == EINVAL && options->numaNode >= 0)
            failureSet(failure, NITRO_FAILURE_CONFIG,
                       "The memory cannot be on NUMA node %d, which this host does not have: name "
                       "another one in <numatune>", options->numaNode);
        else
            failureSet(failure, NITRO_FAILURE_RESOURCE,
                       "The huge pages for the memory of %" PRIu64 " KiB cannot be had: %s: "
                       "look at the limits of this process and its control group, or reserve "
                       "more huge pages", options->memory / 1024, g_strerror(err));
        return -1;
    }
    return 0;
}

static int
deviceGetOffset(Device *device, Failure *failure)
{
    NeContext context = deviceContext(device);

    while (neGetImageOffset(device->enclave, &device->imageOffset) < 0) {
        if (!deviceRetry(device, NE_CALL_GET_IMAGE_LOAD_INFO, &context, failure))
            return -1;
    }
    return 0;
}

static int
deviceLoadImage(Device *device, Failure *failure)
{
    const Options *options = device->options;
    uint64_t offset = device->imageOffset;
    EifMeasurements *measurements = options->expectsPcr ? &device->measurements : NULL;

    if (offset > device->memory.size || device->image.size > device->memory.size - offset) {
        failureSet(failure, NITRO_FAILURE_CONFIG,
                   "Memory of %" PRIu64 " KiB is too small for the image of %" PRIu64 " KiB, which "
                   "the hypervisor wants %" PRIu64 " KiB from its start", options->memory / 1024,
                   device->image.size / 1024, offset / 1024);
        return -1;
    }

    if (imageLoad(&device->image, device->memory.base + offset, &options->expected, measurements,
                  device->cancel, failure) < 0)
        return -1;
    device->measured = options->expectsPcr;
    if (device->measured)
        imageClose(&device->image);
    logInfo("The image of %" PRIu64 " bytes is in the memory of the enclave", device->image.size);
    return 0;
}

static int
deviceDonate(Device *device, Failure *failure)
{
    NeContext context = deviceContext(device);
    size_t i;

    for (i = 0; i < device->memory.regions->len; i++) {
        const EnclaveRegion *region = &g_array_index(device->memory.regions, EnclaveRegion, i);

        context.region = region;
        while (neSetMemory(device->enclave, region->address, region->size) < 0) {
            if (!deviceRetry(device, NE_CALL_SET_USER_MEMORY_REGION, &context, failure))
                return -1;
        }
        if (deviceIsCancelled(device, failure))
            return -1;
    }
    return 0;
}

static int
deviceAddVcpus(Device *device, Failure *failure)
{
    const GArray *wanted = device->options->cpus;
    NeContext context;
    unsigned int i;

    for (i = 0; i < device->options->vcpus; i++) {
        uint32_t cpu = wanted ? g_array_index(wanted, unsigned int, i) : 0;
        unsigned int got;

        context = deviceContext(device);
        context.cpu = cpu;
        while (neAddVcpu(device->enclave, &cpu) < 0) {
            if (!deviceRetry(device, NE_CALL_ADD_VCPU, &context, failure))
                return -1;
        }
        if (deviceIsCancelled(device, failure))
            return -1;
        got = cpu;
        g_array_append_val(device->cpus, got);
    }
    return 0;
}

static int
deviceStartEnclave(Device *device, Failure *failure)
{
    NeContext context;

    device->cid = device->options->hasCid ? device->options->cid : 0;
    context = deviceContext(device);
    while (neStart(device->enclave, device->options->debug, &device->cid) < 0) {
        if (!deviceRetry(device, NE_CALL_START_ENCLAVE, &context, failure))
            return -1;
    }

    /* It is the enclave's alone now: whoever touched it here would be in for a surprise. */
    enclaveMemoryUnmap(&device->memory);
    return 0;
}

static const DeviceStep loadSteps[] = {
    {"NE_CREATE_VM", deviceCreateVm},
    {"the huge pages", deviceMap},
    {"NE_GET_IMAGE_LOAD_INFO", deviceGetOffset},
    {"the image", deviceLoadImage},
    {NULL},
};
static const DeviceStep prepareSteps[] = {
    {"NE_SET_USER_MEMORY_REGION", deviceDonate},
    {"NE_ADD_VCPU", deviceAddVcpus},
    {NULL},
};
static const DeviceStep startSteps[] = {
    {"NE_START_ENCLAVE", deviceStartEnclave},
    {NULL},
};

/* What the driver and the hypervisor make of each call only the log tells afterwards. */
static void
deviceLogStep(const DeviceStep *step, gint64 begin, int rc, const Failure *failure)
{
    double ms = (g_get_monotonic_time() - begin) / 1000.0;

    if (rc == 0)
        logInfo("%s: done in %.3f ms", step->name, ms);
    else if (failure->ioctl)
        logInfo("%s: failed after %.3f ms, errno %d", step->name, ms, failure->err);
    else
        logInfo("%s: failed after %.3f ms", step->name, ms);
}

static int
deviceRunSteps(Device *device, const DeviceStep *steps, Failure *failure)
{
    for (; steps->name; steps++) {
        gint64 begin = g_get_monotonic_time();
        int rc;

        if (deviceIsCancelled(device, failure))
            return -1;
        rc = steps->run(device, failure);
        deviceLogStep(steps, begin, rc, failure);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* Ends the enclave; its memory is free again when this returns. */
static void
deviceRelease(Device *device)
{
    if (device->enclave >= 0)
        close(device->enclave);
    device->enclave = -1;
    enclaveMemoryUnmap(&device->memory);
}

static int
deviceWorkClose(Device *device, Failure *failure G_GNUC_UNUSED)
{
    deviceRelease(device);
    return 0;
}

static int
deviceWorkPrepare(Device *device, Failure *failure)
{
    return deviceRunSteps(device, prepareSteps, failure);
}

static int
deviceWorkStart(Device *device, Failure *failure)
{
    return deviceRunSteps(device, startSteps, failure);
}

static int
deviceLoad(void *instance, Image *image, const EifMeasurements *expected G_GNUC_UNUSED,
           const int *cancel, Failure *failure)
{
    Device *device = instance;
    int rc;

    device->image = *image;
    device->cancel = cancel;
    rc = deviceRunSteps(device, loadSteps, failure);
    device->cancel = &device->terminated;
    if (rc < 0)
        deviceRelease(device);
    return rc;
}

/* In the main thread: the worker */

static gboolean
deviceOnTask(gpointer opaque)
{
    DeviceTask *task = opaque;
    Device *device = task->device;

    device->busy = false;
    task->done(device, task->rc, &task->failure);
    failureClear(&task->failure);
    g_free(task);
    return G_SOURCE_REMOVE;
}

static void
deviceWork(void *opaque)
{
    DeviceTask *task = opaque;

    task->rc = task->work(task->device, &task->failure);
    g_idle_add_full(G_PRIORITY_DEFAULT, deviceOnTask, task, NULL);
}

/* Runs @work in the worker, called @name meanwhile, then @done in the main thread. */
static void
deviceRun(Device *device, const char *name, int (*work)(Device *device, Failure *failure),
          void (*done)(Device *device, int rc, Failure *failure))
{
    DeviceTask *task = g_new0(DeviceTask, 1);

    task->device = device;
    task->work = work;
    task->done = done;
    device->busy = true;
    workerRun(name, deviceWork, task);
}

/* The end */

/* The enclave is gone, or as good as that: the one place that says what became of it. */
static void
deviceConclude(Device *device)
{
    if (device->phase == DEVICE_GONE)
        return;
    device->phase = DEVICE_GONE;
    if (device->closeTimer > 0)
        g_source_remove(device->closeTimer);
    device->closeTimer = 0;
    /* What the enclave has said until its end is still there to be read. */
    g_clear_pointer(&device->console, vsockConsoleFree);

    if (device->reason)
        device->events->ended(device->reason, device->opaque);
    else
        device->events->failed(&device->failure, device->opaque);
}

static void
deviceOnClosed(Device *device, int rc G_GNUC_UNUSED, Failure *failure G_GNUC_UNUSED)
{
    deviceConclude(device);
}

/* If the worker is still at its work, it closes afterwards. */
static void
deviceClose(Device *device)
{
    if (device->busy || device->phase == DEVICE_GONE)
        return;
    deviceRun(device, "close", deviceWorkClose, deviceOnClosed);
}

static gboolean
deviceOnCloseTimer(gpointer opaque)
{
    Device *device = opaque;

    device->closeTimer = 0;
    logError("The Nitro Hypervisor does not answer: the enclave ends when the kernel gives up");
    deviceConclude(device);
    return G_SOURCE_REMOVE;
}

static gboolean
deviceOnCloseNow(gpointer opaque)
{
    deviceClose(opaque);
    return G_SOURCE_REMOVE;
}

/*
 * The only way out of the phases prepare to run: the enclave has ended for @reason, or its
 * start has failed as @failure, taken over, tells. The first to say so is right.
 */
static void
deviceEnd(Device *device, const char *reason, Failure *failure)
{
    if (device->phase >= DEVICE_CLOSE)
        return;
    device->phase = DEVICE_CLOSE;
    device->reason = reason;
    if (failure) {
        device->failure = *failure;
        *failure = (Failure){0};
    }
    g_atomic_int_set(&device->terminated, 1);
    /* Others wait for the port: the hypervisor may take its time to end the enclave. */
    g_clear_pointer(&device->broker, heartbeatBrokerFree);

    if (device->hangupWatch > 0)
        g_source_remove(device->hangupWatch);
    device->hangupWatch = 0;
    device->closeTimer = g_timeout_add(DEVICE_CLOSE_MS, deviceOnCloseTimer, device);
    /* Not at once: this may be within a callback of the broker's, or of ours. */
    g_idle_add_full(G_PRIORITY_DEFAULT, deviceOnCloseNow, device, NULL);
}

static void
deviceTerminate(void *instance)
{
    deviceEnd(instance, NITRO_EXIT_TERMINATED, NULL);
}

static gboolean
deviceOnHangup(gint fd G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED, gpointer opaque)
{
    Device *device = opaque;

    device->hangupWatch = 0;
    deviceEnd(device, NITRO_EXIT_POWEROFF, NULL);
    return G_SOURCE_REMOVE;
}

/* From the start to the end of the boot */

static void
deviceOnBooted(void *opaque)
{
    Device *device = opaque;

    g_clear_pointer(&device->broker, heartbeatBrokerFree);
    if (device->phase != DEVICE_BOOT)
        return;
    device->phase = DEVICE_RUN;
    device->events->booted(device->opaque);
}

static void
deviceOnOutput(const void *buf, size_t len, void *opaque)
{
    Device *device = opaque;

    device->events->output(buf, len, device->opaque);
}

static void
deviceOnStarted(Device *device, int rc, Failure *failure)
{
    BackendStatus status = {
        .hasCid = true,
        .cid = device->cid,
        .cpus = (const unsigned int *)(void *)device->cpus->data,
        .ncpus = device->cpus->len,
    };

    if (device->phase != DEVICE_START) {
        deviceClose(device);
        return;
    }
    if (rc < 0) {
        deviceEnd(device, NULL, failure);
        return;
    }

    device->phase = DEVICE_BOOT;
    device->hangupWatch = g_unix_fd_add(device->enclave, G_IO_HUP | G_IO_ERR, deviceOnHangup,
                                        device);
    if (device->options->debug && device->options->consoleType != OPTIONS_CONSOLE_NONE)
        device->console = vsockConsoleNew(device->cid, deviceOnOutput, device);
    if (device->broker)
        heartbeatBrokerExpect(device->broker, device->cid);
    device->events->started(&status, device->opaque);
    if (!device->broker)
        deviceOnBooted(device);
}

/* Starts the enclave when all that belongs before it has been done. */
static void
deviceTryStart(Device *device)
{
    if (device->phase != DEVICE_PREPARE || !device->prepared || !device->listening)
        return;
    device->phase = DEVICE_START;
    deviceRun(device, "start", deviceWorkStart, deviceOnStarted);
}

static void
deviceOnPrepared(Device *device, int rc, Failure *failure)
{
    if (device->phase != DEVICE_PREPARE) {
        deviceClose(device);
        return;
    }
    if (rc < 0) {
        deviceEnd(device, NULL, failure);
        return;
    }
    device->prepared = true;
    deviceTryStart(device);
}

static void
deviceOnListening(void *opaque)
{
    Device *device = opaque;

    device->listening = true;
    deviceTryStart(device);
}

static void
deviceOnNoHeartbeat(Failure *failure, void *opaque)
{
    deviceEnd(opaque, NULL, failure);
}

static const HeartbeatBrokerEvents deviceBrokerEvents = {
    .listening = deviceOnListening,
    .heartbeat = deviceOnBooted,
    .failed = deviceOnNoHeartbeat,
};

static int
deviceStart(void *instance, Failure *failure G_GNUC_UNUSED)
{
    Device *device = instance;
    const Options *options = device->options;

    device->phase = DEVICE_PREPARE;
    deviceRun(device, "prepare", deviceWorkPrepare, deviceOnPrepared);
    if (options->heartbeat)
        device->broker = heartbeatBrokerNew(options->brokerFd,
                                            heartbeatTimeout(options, device->image.size),
                                            &deviceBrokerEvents, device);
    return 0;
}

static int
deviceMeasure(void *instance, const int *cancel, EifMeasurements *measurements, GError **error)
{
    Device *device = instance;
    int rc;

    if (!device->measured) {
        rc = imageMeasure(&device->image, cancel, measurements, error);
        imageClose(&device->image);
        return rc;
    }
    *measurements = device->measurements;
    return 0;
}

static void
deviceDestroy(void *instance)
{
    Device *device = instance;

    g_clear_pointer(&device->broker, heartbeatBrokerFree);
    g_clear_pointer(&device->console, vsockConsoleFree);
    /* The worker is stuck in the kernel: what it works with ends with the process. */
    if (device->busy)
        return;

    if (device->hangupWatch > 0)
        g_source_remove(device->hangupWatch);
    if (device->closeTimer > 0)
        g_source_remove(device->closeTimer);
    deviceRelease(device);
    enclaveHostFree(device->host);
    failureClear(&device->failure);
    g_array_unref(device->cpus);
    g_free(device);
}

const Backend backendDevice = {
    .check = deviceCheck,
    .create = deviceCreate,
    .open = deviceOpen,
    .load = deviceLoad,
    .start = deviceStart,
    .measure = deviceMeasure,
    .terminate = deviceTerminate,
    .destroy = deviceDestroy,
};
