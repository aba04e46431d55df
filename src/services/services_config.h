/*
 * services_config.h: what the daemon says of an enclave's services
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * services_protocol.h describes the text.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "proxy_allow.h"

typedef enum {
    SERVICE_OUTBOUND,
    SERVICE_INBOUND,
    SERVICE_PROXY,
    SERVICE_LOG,
    SERVICE_SYSLOG,
    SERVICE_TIME,
    SERVICE_HEALTH,
    SERVICE_EXIT,
} ServiceType;

typedef struct _ServiceConfig ServiceConfig;
struct _ServiceConfig {
    ServiceType type;
    uint32_t port;        /* of vsock */
    char *host;           /* outbound: a name or an address; NULL: @path */
    uint16_t hostPort;
    char *path;
    int fd;               /* inbound: listens; log: open for appending; or -1 */
    GArray *backups;      /* log: of int, or NULL */
    uint64_t maxSize;     /* log: bytes; 0: without limit */
    ProxyAllow *allow;    /* proxy */
    char *name;           /* syslog */
    unsigned int interval; /* health: seconds */
    unsigned int failures;
};

typedef struct _ServicesConfig ServicesConfig;
struct _ServicesConfig {
    GPtrArray *services; /* of ServiceConfig, in their order */
    bool looksUp;        /* names are looked up */
    bool unixSockets;    /* are destinations */
};

/* "outbound" */
const char *serviceTypeToString(ServiceType type);

/* Whether the enclave connects to the port, and the host does not */
bool serviceTypeListens(ServiceType type);

/*
 * Reads the configuration from @fd to its end, and closes it. Descriptors that it names become
 * close-on-exec. Returns NULL with *@error set to a sentence (g_free) when anything is wrong with it.
 */
ServicesConfig *servicesConfigRead(int fd, char **error);
void servicesConfigFree(ServicesConfig *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ServicesConfig, servicesConfigFree)
