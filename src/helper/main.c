/*
 * main.c: libvirt_nitro, the process beside one enclave
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: argv -> optionsParse() -> lifecycleRun(), or brokerRun(), or one of the options that
 * print something and exit.
 */

#include <fcntl.h>
#include <locale.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "heartbeat/broker.h"
#include "common/json.h"
#include "emulated/kvm_probe.h"
#include "helper_protocol.h"
#include "lifecycle.h"
#include "common/log.h"
#include "nitro_gettext.h"
#include "options.h"
#include "sandbox/sandbox.h"
#include "sandbox/unprotected.h"
#include "emulated/tsc.h"

/* Whoever started us with standard descriptors closed must not get output in other files. */
static void
mainOpenStandardFds(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

/*
 * Texts only, and in the encoding of JSON: numbers are the same everywhere. No other encoding, as
 * its converter would be a library that is loaded when it is needed first.
 */
static void
mainSetLocale(void)
{
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        setlocale(LC_CTYPE, "");
    setlocale(LC_MESSAGES, "");
    nitroGettextInitialize("UTF-8");
    nitroGettextLoad();
}

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
    g_autofree char *error = NULL;
    g_auto(Failure) failure = {0};

    /* Threads are few and allocate next to nothing: an arena for each would only use memory. */
    mallopt(M_ARENA_MAX, 1);
    mainOpenStandardFds();
    logCatchGlib();
    mainSetLocale();
    tscMeasureBegin();
    signal(SIGPIPE, SIG_IGN);
    if (sandboxBegin(&failure) < 0) {
        fprintf(stderr, "libvirt_nitro: %s\n", failure.text);
        return LIFECYCLE_EXIT_FAILED;
    }

    options = optionsParse(argc, argv, &error);
    if (!options) {
        fprintf(stderr, "libvirt_nitro: %s\n", error);
        return LIFECYCLE_EXIT_USAGE;
    }

    switch (options->action) {
    case OPTIONS_HELP:
        return fputs(optionsHelp(), stdout) < 0 ? LIFECYCLE_EXIT_FAILED : LIFECYCLE_EXIT_ENDED;
    case OPTIONS_VERSION:
        return printf("libvirt_nitro %s\n", NITRO_VERSION) < 0 ? LIFECYCLE_EXIT_FAILED :
                                                                  LIFECYCLE_EXIT_ENDED;
    case OPTIONS_PROBE:
        return mainProbe();
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
