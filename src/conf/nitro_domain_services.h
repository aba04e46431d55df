/*
 * nitro_domain_services.h: the vsock services that a domain's XML names
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What <channel> can say is a channel, whose target's name is "vsock.PORT"; the rest stands in
 * <nitro:services>:
 *
 *   <channel type='tcp'> or 'unix', source mode 'connect'   outbound
 *   <channel type='tcp'> or 'unix', source mode 'bind'      inbound
 *   <channel type='file'>                                   log
 *   <nitro:proxy port=><nitro:allow host= port=/>           proxy
 *   <nitro:syslog port=/>, <nitro:time port=/>, <nitro:exit port=/>
 *   <nitro:health port= interval= failures=/>
 */

#pragma once

#include "domain_conf.h"

typedef enum {
    NITRO_SERVICE_OUTBOUND,
    NITRO_SERVICE_INBOUND,
    NITRO_SERVICE_PROXY,
    NITRO_SERVICE_LOG,
    NITRO_SERVICE_SYSLOG,
    NITRO_SERVICE_TIME,
    NITRO_SERVICE_HEALTH,
    NITRO_SERVICE_EXIT,

    NITRO_SERVICE_LAST
} nitroServiceType;
VIR_ENUM_DECL(nitroService);

/* The lowest is 1, the highest of all means "any". */
#define NITRO_SERVICE_PORT_MAX (UINT_MAX - 1)

/* Who listens on a lower one on the host's vsock needs CAP_NET_BIND_SERVICE (vsock(7)). */
#define NITRO_SERVICE_PORT_UNPRIVILEGED 1024

/* The name of a channel's target, before its port */
#define NITRO_CHANNEL_NAME_PREFIX "vsock."

/*
 * One service. Pointers are the domain definition's. The source of a channel has been checked: TCP
 * has a host and a service, to listen on an address and a number; a UNIX socket has a path, or none
 * to listen on (see nitroDomainChannelMakePath()), and maybe a label "USER:GROUP" of the model "dac"
 * (seclabels[0]) with the path; a file has a path. All paths are absolute.
 */
typedef struct _nitroServiceDef nitroServiceDef;
struct _nitroServiceDef {
    nitroServiceType type;
    unsigned int port;
    virDomainChrDef *channel; /* of outbound, inbound and log; NULL of the others */
    char **allow;             /* of proxy: "HOST:PORT", NULL at the end; NULL: nothing is allowed */
    unsigned int interval;    /* of health: seconds, never 0 */
    unsigned int failures;    /* of health: in a row until it counts as lost, never 0 */
};

/*
 * The services of a definition that has been through the parser, channels first, each in the
 * order of the XML. Returns an array of *@n services, owned by the caller (g_free); NULL and 0 when
 * it has none.
 */
nitroServiceDef *nitroDomainDefGetServices(const virDomainDef *def, size_t *n);

/* Whether the enclave connects to the port of this service, and not the host to the enclave's. */
bool nitroServiceIsServed(nitroServiceType type);

/* The vsock port that the target of @channel names, or 0: it names none. */
unsigned int nitroDomainChannelGetPort(const virDomainChrDef *channel);

/*
 * The path of the socket that the driver makes for @channel, of type 'unix' and without one, in the
 * run directory @dir. It belongs into the live definition: in an inactive one, which may have been
 * made of that, the parser drops such a path. Returns the path (g_free); never NULL.
 */
char *nitroDomainChannelMakePath(const char *dir, const virDomainChrDef *channel);

/* Whether @path, or NULL, is one that nitroDomainChannelMakePath() has made for @channel. */
bool nitroDomainChannelIsMadePath(const virDomainChrDef *channel, const char *path);
