/*
 * main.c: libvirt_nitro_nsm, the emulated NSM of an enclave
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: argv -> optionsTableRead() -> mainIssue(): the root of this host -> an identity; or
 * mainServe(): an identity -> Nsm and its device -> mainConfine() -> the main loop, until QEMU
 * ends, or a signal comes. Nothing that an enclave says is read before this process is confined, and
 * it has a key of that enclave only.
 */

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/signals.h"
#include "common/startup.h"
#include "helper_protocol.h"
#include "nsm_authority.h"
#include "nsm_device.h"
#include "nsm_identity.h"
#include "nsm_key.h"
#include "nsm_options.h"
#include "nsm_registers.h"
#include "sandbox/landlock.h"
#include "sandbox/sandbox.h"

#define PROGRAM "libvirt_nitro_nsm"

typedef struct {
    GMainLoop *loop;
    NsmKey *key;
    NsmDevice *device;
    int status;
} Main;

static bool
mainOnRandom(void *opaque G_GNUC_UNUSED, uint8_t *buf, size_t len)
{
    return getrandom(buf, len, 0) == (ssize_t)len;
}

static bool
mainOnNow(void *opaque G_GNUC_UNUSED, uint64_t *milliseconds)
{
    *milliseconds = g_get_real_time() / 1000;
    return true;
}

static bool
mainOnSign(void *opaque, const uint8_t *data, size_t len, uint8_t signature[NSM_SIGNATURE_SIZE])
{
    const Main *all = opaque;
    uint8_t seed[NSM_KEY_SIZE];

    if (!mainOnRandom(NULL, seed, sizeof(seed)))
        return false;
    nsmKeySign(all->key, seed, data, len, signature);
    return true;
}

static void
mainOnEnded(bool broken, void *opaque)
{
    Main *all = opaque;

    if (broken) {
        logError("nsm: QEMU and this device do not understand each other");
        all->status = STARTUP_EXIT_FAILED;
    }
    g_main_loop_quit(all->loop);
}

static void
mainOnSignal(void *opaque)
{
    Main *all = opaque;

    logInfo("nsm: Ending on a signal");
    g_main_loop_quit(all->loop);
}

static void
mainOnRegisters(char *error, void *opaque)
{
    Main *all = opaque;

    if (!error) {
        nsmDeviceSetReady(all->device);
        return;
    }
    logError("nsm: %s", error);
    g_free(error);
    all->status = STARTUP_EXIT_FAILED;
    g_main_loop_quit(all->loop);
}

static int
mainConfine(Failure *failure)
{
    static const char *const nothing[] = {NULL};

    if (sandboxChangeDirectory(-1, failure) < 0 || sandboxDropCapabilities(failure) < 0)
        return -1;
    if (landlockIsThere() && landlockRestrictFiles(nothing) < 0) {
        failureSet(failure, NITRO_FAILURE_UNSUPPORTED, "This process cannot be confined: %s: %s",
                   "Landlock", g_strerror(errno));
        return -1;
    }
    return sandboxEnter(SANDBOX_NSM, failure);
}

static void
mainSetText(Nsm *nsm, unsigned int index, const char *text)
{
    uint8_t value[NSM_PCR_SIZE];

    if (!text)
        return;
    nsmMeasureText(text, value);
    nsmSetPcr(nsm, index, value);
}

static int
mainLoop(Main *all, const NsmOptions *options, Nsm *nsm, Failure *failure)
{
    g_autoptr(NsmRegisters) registers = NULL;

    all->device = nsmDeviceNew(options->vhostUserFd, nsm, mainOnEnded, all);
    if (!all->device) {
        failureSet(failure, NITRO_FAILURE_RESOURCE, "The NSM's device cannot be made: %s",
                   g_strerror(errno));
        return -1;
    }
    if (signalsCatch(mainOnSignal, all, failure) < 0 || mainConfine(failure) < 0)
        return -1;
    if (options->debug)
        nsmDeviceSetReady(all->device);
    else
        registers = nsmRegistersNew(options->registersFd, nsm, mainOnRegisters, all);
    g_main_loop_run(all->loop);
    return 0;
}

static int
mainServe(const NsmOptions *options, NsmIdentity *identity)
{
    Main all = {.loop = g_main_loop_new(NULL, FALSE)};
    const NsmCalls calls = {mainOnRandom, mainOnNow, mainOnSign, &all};
    g_autoptr(Nsm) nsm = nsmNew(identity->moduleId, identity->certificate, identity->cabundle,
                                &calls);
    g_auto(Failure) failure = {0};

    mainSetText(nsm, NSM_PCR_ROLE, options->role);
    mainSetText(nsm, NSM_PCR_INSTANCE, options->instance);
    if (!(all.key = nsmKeyNew(identity->secret))) {
        logError("nsm: The key of the NSM is none");
        all.status = STARTUP_EXIT_USAGE;
    } else {
        nsmIdentityClear(identity);
        if (mainLoop(&all, options, nsm, &failure) < 0) {
            logError("nsm: %s", failure.text);
            all.status = STARTUP_EXIT_FAILED;
        }
    }
    g_clear_pointer(&all.device, nsmDeviceFree);
    g_clear_pointer(&all.key, nsmKeyFree);
    g_main_loop_unref(all.loop);
    return all.status;
}

static int
mainRun(const NsmOptions *options)
{
    g_auto(NsmIdentity) identity = {0};
    g_autofree char *error = NULL;

    if (nsmIdentityRead(&identity, options->identityFd, &error) < 0) {
        logError("nsm: %s", error);
        return STARTUP_EXIT_USAGE;
    }
    close(options->identityFd);
    logInfo("nsm: " PROGRAM " %s is the NSM of %s", NITRO_VERSION, identity.moduleId);
    return mainServe(options, &identity);
}

static int
mainIssue(const NsmOptions *options)
{
    g_auto(NsmIdentity) identity = {.moduleId = g_strdup(options->moduleId)};
    g_autoptr(NsmAuthority) authority = NULL;
    g_autoptr(GError) error = NULL;

    if (!(authority = nsmAuthorityOpen(options->directoryFd, options->directory, &error)) ||
        !(identity.certificate = nsmAuthorityIssue(authority, options->moduleId, time(NULL),
                                                   identity.secret, &error))) {
        fprintf(stderr, PROGRAM ": %s\n", error->message);
        return STARTUP_EXIT_FAILED;
    }
    identity.cabundle = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    g_ptr_array_add(identity.cabundle, g_bytes_ref(nsmAuthorityGetCertificate(authority)));
    if (nsmIdentityWrite(&identity, options->identityFd) < 0) {
        fprintf(stderr, PROGRAM ": The identity of the NSM cannot be written: %s\n",
                g_strerror(errno));
        return STARTUP_EXIT_FAILED;
    }
    return STARTUP_EXIT_ENDED;
}

int
main(int argc, char **argv)
{
    g_autoptr(NsmOptions) options = NULL;
    int status;

    if (startupBegin(PROGRAM) < 0)
        return STARTUP_EXIT_FAILED;
    options = nsmOptionsNew();
    if ((status = optionsTableRead(&nsmOptionsTable, argc, argv, options)) >= 0)
        return status;
    return options->issue ? mainIssue(options) : mainRun(options);
}
