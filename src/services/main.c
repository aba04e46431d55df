/*
 * main.c: libvirt_nitro_services, the process of an enclave's vsock services
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: argv -> optionsTableRead() -> servicesConfigRead() -> servicesNew() -> mainConfine() -> the
 * main loop, until the services have finished or a signal comes. Nothing that an enclave says is read
 * before this process is confined.
 */

#include <stdio.h>
#include <unistd.h>

#include "common/log.h"
#include "common/signals.h"
#include "common/startup.h"
#include "resolve.h"
#include "sandbox/sandbox.h"
#include "services.h"
#include "services_config.h"
#include "services_control.h"
#include "services_options.h"
#include "services_sandbox.h"

static void
mainOnEnd(void *loop)
{
    g_main_loop_quit(loop);
}

static void
mainOnSignal(void *loop)
{
    logInfo("Ending on a signal");
    g_main_loop_quit(loop);
}

/* The threads are made in between, as they inherit what is given up. */
static int
mainConfine(const ServicesConfig *config, Failure *failure)
{
    if (sandboxDropCapabilities(failure) < 0 || servicesRestrict(config, failure) < 0)
        return -1;
    if (config->looksUp && resolveBegin(failure) < 0)
        return -1;
    return sandboxEnter(config->unixSockets ? SANDBOX_SERVICES_UNIX : SANDBOX_SERVICES, failure);
}

static int
mainServe(const ServicesOptions *options, ServicesConfig *config, GMainLoop *loop, Failure *failure)
{
    g_autoptr(ServicesControl) control = NULL;
    g_autoptr(Services) services = NULL;

    control = servicesControlNew(mainOnEnd, loop);
    services = servicesNew(config, servicesRaiseLimits(), servicesControlGetEvents(), control,
                           failure);
    if (!services)
        return -1;
    if (signalsCatch(mainOnSignal, loop, failure) < 0 || mainConfine(config, failure) < 0)
        return -1;
    servicesControlServe(control, services, options->controlFd);
    g_main_loop_run(loop);
    return 0;
}

static int
mainRun(const ServicesOptions *options)
{
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    g_auto(Failure) failure = {0};
    g_autofree char *error = NULL;
    ServicesConfig *config;

    if (options->logMaxSize > 0)
        logSetRotation(rotationNew(STDERR_FILENO, options->logBackupFds, options->logMaxSize));
    logInfo("libvirt_nitro_services %s serves domain %s (%s)", NITRO_VERSION, options->name,
            options->uuid);
    config = servicesConfigRead(options->configFd, &error);
    if (!config) {
        logError("%s", error);
        return STARTUP_EXIT_USAGE;
    }
    if (mainServe(options, config, loop, &failure) == 0)
        return STARTUP_EXIT_ENDED;
    logError("%s", failure.text);
    return STARTUP_EXIT_FAILED;
}

int
main(int argc, char **argv)
{
    g_autoptr(ServicesOptions) options = NULL;
    int status;

    if (startupBegin(servicesOptionsTable.program) < 0)
        return STARTUP_EXIT_FAILED;
    options = servicesOptionsNew();
    status = optionsTableRead(&servicesOptionsTable, argc, argv, options);
    return status >= 0 ? status : mainRun(options);
}
