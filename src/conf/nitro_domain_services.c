/*
 * nitro_domain_services.c: the vsock services that a domain's XML names
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The <channel> devices of a definition and the services[] of its namespace -> one list. What can
 * be in either, nitro_domain_validate_services.c checks.
 */

#include <config.h>

#include "nitro_domain_services.h"
#include "nitro_domain_conf.h"
#include "nitro_domain_host.h"

#define NITRO_SERVICE_INTERVAL_DEFAULT 10 /* seconds */
#define NITRO_SERVICE_FAILURES_DEFAULT 3

VIR_ENUM_IMPL(nitroService,
              NITRO_SERVICE_LAST,
              "outbound",
              "inbound",
              "proxy",
              "log",
              "syslog",
              "time",
              "health",
              "exit",
);


unsigned int
nitroDomainChannelGetPort(const virDomainChrDef *channel)
{
    const char *name = NULL;
    unsigned int port;

    if (channel->deviceType == VIR_DOMAIN_CHR_DEVICE_TYPE_CHANNEL &&
        channel->targetType == VIR_DOMAIN_CHR_CHANNEL_TARGET_TYPE_VIRTIO)
        name = channel->target.name;

    if (!name || !(name = STRSKIP(name, NITRO_CHANNEL_NAME_PREFIX)))
        return 0;

    nitroDomainHostParseNumber(name, NITRO_SERVICE_PORT_MAX, &port);
    return port;
}


char *
nitroDomainChannelMakePath(const char *dir,
                           const virDomainChrDef *channel)
{
    return g_strdup_printf("%s/channel-%u", dir, nitroDomainChannelGetPort(channel));
}


bool
nitroDomainChannelIsMadePath(const virDomainChrDef *channel,
                             const char *path)
{
    g_autofree char *dir = path ? g_path_get_dirname(path) : NULL;
    g_autofree char *name = dir ? g_path_get_basename(dir) : NULL;
    g_autofree char *made = dir ? nitroDomainChannelMakePath(dir, channel) : NULL;
    const char *id = name ? STRSKIP(name, "domain-") : NULL;

    return id && g_ascii_isdigit(*id) && STREQ(path, made);
}


static nitroServiceType
nitroDomainChannelGetType(const virDomainChrDef *channel)
{
    const virDomainChrSourceDef *source = channel->source;

    if (source->type == VIR_DOMAIN_CHR_TYPE_FILE)
        return NITRO_SERVICE_LOG;

    if (source->type == VIR_DOMAIN_CHR_TYPE_TCP ? source->data.tcp.listen :
                                                  source->data.nix.listen)
        return NITRO_SERVICE_INBOUND;
    return NITRO_SERVICE_OUTBOUND;
}


nitroServiceDef *
nitroDomainDefGetServices(const virDomainDef *def,
                          size_t *n)
{
    const nitroDomainXmlNsDef *ns = def->namespaceData;
    size_t nservices = ns ? ns->nservices : 0;
    nitroServiceDef *services;
    size_t i;

    if ((*n = def->nchannels + nservices) == 0)
        return NULL;

    services = g_new0(nitroServiceDef, *n);
    for (i = 0; i < def->nchannels; i++) {
        services[i].type = nitroDomainChannelGetType(def->channels[i]);
        services[i].port = nitroDomainChannelGetPort(def->channels[i]);
        services[i].channel = def->channels[i];
    }

    for (i = 0; i < nservices; i++) {
        nitroServiceDef *service = &services[def->nchannels + i];

        *service = ns->services[i];
        if (service->type != NITRO_SERVICE_HEALTH)
            continue;
        if (service->interval == 0)
            service->interval = NITRO_SERVICE_INTERVAL_DEFAULT;
        if (service->failures == 0)
            service->failures = NITRO_SERVICE_FAILURES_DEFAULT;
    }
    return services;
}


bool
nitroServiceIsServed(nitroServiceType type)
{
    switch (type) {
    case NITRO_SERVICE_OUTBOUND:
    case NITRO_SERVICE_PROXY:
    case NITRO_SERVICE_LOG:
    case NITRO_SERVICE_SYSLOG:
    case NITRO_SERVICE_TIME:
    case NITRO_SERVICE_EXIT:
        return true;

    case NITRO_SERVICE_INBOUND:
    case NITRO_SERVICE_HEALTH:
    case NITRO_SERVICE_LAST:
        break;
    }
    return false;
}
