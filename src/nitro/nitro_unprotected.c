/*
 * nitro_unprotected.c: what of an enclave's confinement is missing
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "helper_protocol.h"
#include "nitro_unprotected.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

/* Of a helper's codes and the driver's own */
#define NITRO_UNPROTECTED_LIST_MAX (NITRO_UNPROTECTED_MAX + 5)

static const struct {
    const char *code;
    const char *text;
} nitroUnprotectedTexts[] = {
    { NITRO_UNPROTECTED_NAMESPACES,
      N_("user namespaces are refused to the helper, so it has the host's file system and network") },
    { NITRO_UNPROTECTED_QEMU_NAMESPACES,
      N_("QEMU has no namespaces of its own: install bubblewrap, and allow user namespaces") },
    { NITRO_UNPROTECTED_LANDLOCK,
      N_("the kernel has no Landlock, which would stand in for namespaces") },
    { NITRO_UNPROTECTED_USER,
      N_("helpers run as root, or in root's group: name another 'user' or 'group' in nitro.conf") },
    { NITRO_UNPROTECTED_ACL,
      N_("the file system of the state directory has no access control lists, so any program of the helpers' group can connect to the sockets that programs make for the enclave") },
    { NITRO_UNPROTECTED_SERVICES,
      N_("the kernel has no Landlock, so the process of vsock services can read what its user can") },
    { NITRO_UNPROTECTED_UNKNOWN,
      N_("the helper is of an earlier version, and does not tell: restart the domain to have it confined, without an <emulator> that names such a helper") },
};


void
nitroUnprotectedAdd(char ***list,
                    const char *code)
{
    size_t n;

    if (!*list)
        *list = g_new0(char *, 1);
    n = g_strv_length(*list);
    if (n >= NITRO_UNPROTECTED_LIST_MAX || g_strv_contains((const char *const *)*list, code))
        return;
    *list = g_renew(char *, *list, n + 2);
    (*list)[n] = g_strdup(code);
    (*list)[n + 1] = NULL;
}


void
nitroUnprotectedAddAll(char ***list,
                       char *const *codes)
{
    size_t i;

    if (!*list)
        *list = g_new0(char *, 1);
    for (i = 0; codes && codes[i]; i++)
        nitroUnprotectedAdd(list, codes[i]);
}


char *
nitroUnprotectedDescribe(const char *code)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(nitroUnprotectedTexts); i++) {
        if (STREQ(code, nitroUnprotectedTexts[i].code))
            return g_strdup(_(nitroUnprotectedTexts[i].text));
    }
    return g_strdup_printf(_("the helper, which is newer than the daemon, says that '%s' is missing"),
                           code);
}


char *
nitroUnprotectedJoin(char *const *list)
{
    return list ? g_strjoinv(", ", (char **)list) : g_strdup("");
}


int
nitroUnprotectedCheck(char *const *list,
                      bool required)
{
    g_autofree char *text = NULL;

    if (!required || !list || !list[0])
        return 0;

    text = nitroUnprotectedDescribe(list[0]);
    virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                   _("a part of the enclave's confinement is missing ('%s'), and nitro.conf has security_required = 1: %s"),
                   list[0], text);
    return -1;
}


int
nitroUnprotectedFindLandlock(void)
{
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0)
        return 1;
    /* the kernel is without it, or it is switched off; or a filter, which the process has as well */
    if (errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM || errno == EACCES)
        return 0;
    virReportSystemError(errno, "%s", _("cannot find out whether the kernel has Landlock"));
    return -1;
}
