/*
 * main.c: libvirt_nitro, the process beside one enclave
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: argv -> optionsTableRead() -> lifecycleRun(), or brokerRun(), or one of the options that
 * print something and exit.
 */

#include <stdio.h>
#include <unistd.h>

#include "heartbeat/broker.h"
#include "common/json.h"
#include "emulated/kvm_probe.h"
#include "emulated/qemu_probe.h"
#include "helper_protocol.h"
#include "lifecycle.h"
#include "common/log.h"
#include "common/startup.h"
#include "options.h"
#include "sandbox/unprotected.h"
#include "emulated/tsc.h"

static LifecycleExit
mainProbe(void)
{
    JsonWriter *writer = jsonWriterNew();
    g_auto(Failure) failure = {0};
    g_autofree char *reason = NULL;
    g_autofree char *line = NULL;
    unsigned int lacks;

    if (unprotectedProbe(&lacks, &failure) < 0) {
        g_free(jsonWriterEnd(writer));
        fprintf(stderr, "libvirt_nitro: %s\n", failure.text);
        return g_str_equal(failure.code, NITRO_FAILURE_UNSUPPORTED) ? LIFECYCLE_EXIT_UNSUPPORTED :
                                                                      LIFECYCLE_EXIT_FAILED;
    }
    jsonAddString(writer, "accel", kvmProbe(&reason) ? "kvm" : "tcg");
    jsonAddString(writer, "reason", reason);
    unprotectedAddTo(lacks, writer);
    line = jsonWriterEnd(writer);
    return fputs(line, stdout) < 0 || fflush(stdout) != 0 ? LIFECYCLE_EXIT_FAILED :
                                                            LIFECYCLE_EXIT_ENDED;
}

static LifecycleExit
mainProbeQemu(const char *qemu)
{
    JsonWriter *writer;
    g_auto(Failure) failure = {0};
    g_autofree char *reason = NULL;
    g_autofree char *line = NULL;
    const char *device;

    if (qemuProbeNsm(qemu, &device, &reason, &failure) < 0) {
        fprintf(stderr, "libvirt_nitro: %s\n", failure.text);
        return LIFECYCLE_EXIT_FAILED;
    }
    writer = jsonWriterNew();
    jsonAddString(writer, device ? "nsm-device" : "reason", device ? device : reason);
    line = jsonWriterEnd(writer);
    return fputs(line, stdout) < 0 || fflush(stdout) != 0 ? LIFECYCLE_EXIT_FAILED :
                                                            LIFECYCLE_EXIT_ENDED;
}

static LifecycleExit
mainBroker(const Options *options)
{
    g_auto(Failure) failure = {0};

    logInfo("libvirt_nitro %s is the heartbeat broker", NITRO_VERSION);
    if (brokerRun(options->listenFd, &failure) == 0)
        return LIFECYCLE_EXIT_ENDED;
    logError("%s", failure.text);
    return LIFECYCLE_EXIT_FAILED;
}

int
main(int argc, char **argv)
{
    /* Not freed: a worker that is stuck in the kernel may come back while we exit. */
    static Options *options;
    int status;

    tscMeasureBegin();
    if (startupBegin(optionsTable.program) < 0)
        return LIFECYCLE_EXIT_FAILED;
    options = optionsNew();
    if ((status = optionsTableRead(&optionsTable, argc, argv, options)) >= 0)
        return status;

    switch (options->action) {
    case OPTIONS_PROBE:
        return mainProbe();
    case OPTIONS_PROBE_QEMU:
        return mainProbeQemu(options->qemu);
    case OPTIONS_BROKER:
        return mainBroker(options);
    case OPTIONS_RUN:
        break;
    }

    if (options->logMaxSize > 0)
        logSetRotation(rotationNew(STDERR_FILENO, options->logBackupFds, options->logMaxSize));
    logRememberPath();
    logInfo("libvirt_nitro %s runs domain %s (%s)", NITRO_VERSION, options->name, options->uuid);
    return lifecycleRun(options);
}
