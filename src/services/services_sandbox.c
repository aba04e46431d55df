/*
 * services_sandbox.c: what the process of an enclave's services gives up
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "services_sandbox.h"

#include <errno.h>
#include <sys/resource.h>

#include "common/log.h"
#include "helper_protocol.h"
#include "sandbox/landlock.h"
#include "services.h"

/* Of a connection: two sockets. Others: pipes of relays, listeners, files, lookups, the control */
#define SERVICES_FDS_EACH 2
#define SERVICES_FDS_OTHER 1536
#define SERVICES_FDS (SERVICES_CONNECTIONS_MAX * SERVICES_FDS_EACH + SERVICES_FDS_OTHER)

/*
 * The files themselves would not do: who changes one puts another one in its place, which is at the
 * same path and is another file. Links lead to the other directories.
 */
static const char *const servicesResolverDirectories[] = {
    "/etc",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/netconfig",
    "/run/connman",
    NULL,
};

unsigned int
servicesRaiseLimits(void)
{
    struct rlimit limit;
    rlim_t each;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        logWarning("The limit of descriptors cannot be found out: %s", g_strerror(errno));
        return 1;
    }
    if (limit.rlim_cur < SERVICES_FDS) {
        limit.rlim_cur = MIN(limit.rlim_max, SERVICES_FDS);
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            logWarning("The limit of descriptors cannot be raised: %s", g_strerror(errno));
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= SERVICES_FDS)
        return SERVICES_CONNECTIONS_MAX;
    /* Pipes of relays, half as many as connections, take another quarter of the descriptors. */
    each = limit.rlim_cur / 2 / SERVICES_FDS_EACH;
    logWarning("There can be %lu connections, not %d, as this process may have %lu descriptors: "
               "raise the limit (LimitNOFILE=)", (unsigned long)each, SERVICES_CONNECTIONS_MAX,
               (unsigned long)limit.rlim_cur);
    return (unsigned int)MAX(each, 1);
}

int
servicesRestrict(const ServicesConfig *config, Failure *failure)
{
    static const char *const nothing[] = {NULL};

    if (!landlockIsThere()) {
        logWarning("This host has no Landlock: what the services' process can read is not limited "
                   "to the files by which names are looked up");
        return 0;
    }
    if (landlockRestrictFiles(config->looksUp ? servicesResolverDirectories : nothing) == 0)
        return 0;
    failure->err = errno;
    failureSet(failure, NITRO_FAILURE_UNSUPPORTED, "This process cannot be confined: %s: %s",
               "Landlock", g_strerror(failure->err));
    return -1;
}
