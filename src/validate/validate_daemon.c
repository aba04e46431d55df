/*
 * validate_daemon.c: whether the daemon can be reached
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Root uses nitro:///system; for all others that daemon or one of their own will do, as
 * which of the two they want is not known here.
 */

#include <config.h>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "configmake.h"
#include "validate.h"
#include "virerror.h"
#include "virfile.h"
#include "virutil.h"

#define SOCKET "virtnitrod-sock"


/* Returns 0 when something accepts connections at @path, or an errno. */
static int
validateConnect(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    VIR_AUTOCLOSE fd = -1;

    if (g_strlcpy(addr.sun_path, path, sizeof(addr.sun_path)) >= sizeof(addr.sun_path))
        return ENAMETOOLONG;
    if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0 ||
        connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return errno;
    return 0;
}


/*
 * The daemon sets enclaves aside that it cannot take over, and leaves a file in their directory:
 * the number of the helper's process, and the reason.
 */
static void
validateAsides(const char *root)
{
    g_autofree char *state = g_strconcat(root, RUNSTATEDIR "/libvirt/nitro", NULL);
    g_autoptr(DIR) dir = NULL;
    struct dirent *entry;
    bool any = false;
    int rc;

    validateCheck(VALIDATE_DAEMON, _("if it has set enclaves aside in %s"), state);
    if ((rc = virDirOpenIfExists(&dir, state)) < 0) {
        validateWarn("%s", virGetLastErrorMessage());
        return;
    }
    while (rc > 0 && (rc = virDirRead(dir, &entry, state)) > 0) {
        g_autofree char *mark = g_strdup_printf("%s/%s/aside", state, entry->d_name);
        g_autofree char *text = NULL;

        if (!g_file_get_contents(mark, &text, NULL, NULL))
            continue;
        if (any)
            validateCheck(VALIDATE_DAEMON, _("if it has set enclaves aside in %s"), state);
        any = true;
        validateWarn(_("%s, process %s"), entry->d_name, g_strstrip(text));
    }
    if (rc < 0)
        validateWarn("%s", virGetLastErrorMessage());
    else if (!any)
        validatePass();
}


static void
validateListens(const char *root)
{
    g_autofree char *system = g_strconcat(root, RUNSTATEDIR "/libvirt/" SOCKET, NULL);
    g_autofree char *rundir = NULL;
    g_autofree char *session = NULL;
    int err;

    validateCheck(VALIDATE_DAEMON, _("if it listens on %s"), system);
    if ((err = validateConnect(system)) == 0) {
        validatePass();
        return;
    }

    if (geteuid() == 0) {
        validateWarn(_("%s: start it with 'systemctl enable --now virtnitrod.socket'"),
                     g_strerror(err));
        return;
    }
    validateWarn(_("%s: nitro:///system needs it"), g_strerror(err));

    rundir = virGetUserRuntimeDirectory();
    session = g_strconcat(root, rundir, "/" SOCKET, NULL);
    validateCheck(VALIDATE_DAEMON, _("if it listens on %s"), session);
    if ((err = validateConnect(session)) == 0) {
        validatePass();
    } else {
        validateWarn(_("%s: nitro:///session needs it, start it with 'virtnitrod --daemon'"),
                     g_strerror(err));
    }
}


void
validateDaemon(const char *root)
{
    validateListens(root);
    if (geteuid() == 0)
        validateAsides(root);
}
