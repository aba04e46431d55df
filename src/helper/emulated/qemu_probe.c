/*
 * qemu_probe.c: whether a QEMU can have an NSM
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: each name of the device -> QEMU's list of what a user can create -> QEMU's help for it, which
 * QEMU 10.0 has for other devices as well -> its properties.
 */

#include "emulated/qemu_probe.h"

#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "helper_protocol.h"
#include "nitro_gettext.h"

/* As qemu_command.c uses them: QEMU's names of the device, the newer one first, and its properties */
static const char *const probeDevices[] = {"vhost-user-test-device", "vhost-user-device"};
static const char *const probeProperties[] = {"virtio-id", "num_vqs", "vq_size"};

/* The driver's alarm ends this process, and then QEMU is not to stay. */
static void
probePrepare(gpointer opaque G_GNUC_UNUSED)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Whether @help, a line for each property, "  name=<type> ...", has all of them */
static bool
probeHasProperties(const char *help)
{
    g_auto(GStrv) lines = g_strsplit(help, "\n", -1);
    size_t found = 0;
    size_t i;
    size_t j;

    for (i = 0; lines[i]; i++) {
        const char *line = g_strchug(lines[i]);

        for (j = 0; j < G_N_ELEMENTS(probeProperties); j++) {
            size_t len = strlen(probeProperties[j]);

            found += strncmp(line, probeProperties[j], len) == 0 && line[len] == '=';
        }
    }
    return found == G_N_ELEMENTS(probeProperties);
}

/* Whether @list, a line for each device, '  name "NAME", ...', has @device */
static bool
probeHasDevice(const char *list, const char *device)
{
    g_autofree char *name = g_strdup_printf("name \"%s\"", device);

    return strstr(list, name) != NULL;
}

/* What @qemu says to -device @option (g_free); NULL with @failure set */
static char *
probeAsk(const char *qemu, const char *option, Failure *failure)
{
    const char *argv[] = {qemu, "-machine", "none", "-nodefaults", "-display", "none",
                          "-device", option, NULL};
    g_autofree char *help = NULL;
    g_autofree char *said = NULL;
    g_autoptr(GError) error = NULL;
    int status;

    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, probePrepare, NULL, &help, &said,
                      &status, &error)) {
        failureSet(failure, NITRO_FAILURE_RESOURCE, "'%s' cannot be run: %s", qemu, error->message);
        return NULL;
    }
    if (!g_spawn_check_wait_status(status, &error)) {
        failureSet(failure, NITRO_FAILURE_RESOURCE, "'%s -device %s' does not say whether it has "
                   "that device: %s: %s", qemu, option, error->message, g_strstrip(said));
        return NULL;
    }
    return g_steal_pointer(&help);
}

/* Returns 1 when @device of @list is an NSM's, 0 when it is not, or -1 with @failure set. */
static int
probeDevice(const char *qemu, const char *list, const char *device, Failure *failure)
{
    g_autofree char *option = g_strconcat(device, ",help", NULL);
    g_autofree char *help = NULL;

    if (!probeHasDevice(list, device))
        return 0;
    help = probeAsk(qemu, option, failure);
    return help ? probeHasProperties(help) : -1;
}

int
qemuProbeNsm(const char *qemu, const char **device, char **reason, Failure *failure)
{
    g_autofree char *list = probeAsk(qemu, "help", failure);
    size_t i;

    *device = NULL;
    if (!list)
        return -1;
    for (i = 0; i < G_N_ELEMENTS(probeDevices); i++) {
        int rc = probeDevice(qemu, list, probeDevices[i], failure);

        if (rc < 0)
            return -1;
        if (rc > 0) {
            *device = probeDevices[i];
            return 0;
        }
    }
    *reason = g_strdup_printf(_("'%s' can create neither '%s' nor '%s': use QEMU 10.2 or newer"),
                              qemu, probeDevices[0], probeDevices[1]);
    return 0;
}
