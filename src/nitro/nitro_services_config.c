/*
 * nitro_services_config.c: from the services of a domain to the configuration of their process
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "nitro_services_config.h"
#include "services_protocol.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_NITRO


static void
nitroServicesConfigAddDestination(GKeyFile *file,
                                  const char *group,
                                  const virDomainChrSourceDef *source)
{
    if (source->type == VIR_DOMAIN_CHR_TYPE_UNIX) {
        g_key_file_set_string(file, group, "path", source->data.nix.path);
        return;
    }
    g_key_file_set_string(file, group, "host", source->data.tcp.host);
    g_key_file_set_string(file, group, "service", source->data.tcp.service);
}


static void
nitroServicesConfigAddOutput(GKeyFile *file,
                             const char *group,
                             const nitroOutput *output,
                             unsigned long long maxSize)
{
    g_key_file_set_integer(file, group, "fd", output->fd);
    if (output->nbackups > 0)
        g_key_file_set_integer_list(file, group, "backups", output->backups, output->nbackups);
    if (maxSize > 0)
        g_key_file_set_uint64(file, group, "max-size", maxSize);
}


static void
nitroServicesConfigAdd(GKeyFile *file,
                       const char *name,
                       const nitroServiceDef *service,
                       const nitroServiceFds *fds,
                       unsigned long long maxSize)
{
    g_autofree char *group = g_strdup_printf("%s %u", nitroServiceTypeToString(service->type),
                                             service->port);

    /* A group without keys is written only if it has had one. */
    g_key_file_set_string(file, group, "x", "");
    g_key_file_remove_key(file, group, "x", NULL);

    switch (service->type) {
    case NITRO_SERVICE_OUTBOUND:
        nitroServicesConfigAddDestination(file, group, service->channel->source);
        break;
    case NITRO_SERVICE_INBOUND:
        g_key_file_set_integer(file, group, "fd", fds->listener);
        break;
    case NITRO_SERVICE_PROXY:
        if (service->allow)
            g_key_file_set_string_list(file, group, "allow", (const char *const *) service->allow,
                                       g_strv_length(service->allow));
        break;
    case NITRO_SERVICE_LOG:
        nitroServicesConfigAddOutput(file, group, fds->output, maxSize);
        break;
    case NITRO_SERVICE_SYSLOG:
        g_key_file_set_string(file, group, "name", name);
        break;
    case NITRO_SERVICE_HEALTH:
        g_key_file_set_integer(file, group, "interval", service->interval);
        g_key_file_set_integer(file, group, "failures", service->failures);
        break;
    case NITRO_SERVICE_TIME:
    case NITRO_SERVICE_EXIT:
    case NITRO_SERVICE_LAST:
        break;
    }
}


char *
nitroServicesConfigFormat(const char *name,
                          const nitroServiceDef *services,
                          size_t n,
                          const nitroServiceFds *fds,
                          unsigned long long maxSize)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autofree char *text = NULL;
    gsize len;
    size_t i;

    if (n > NITRO_SERVICES_MAX) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("domain '%s' has %zu services: at most %d are supported"),
                       name, n, NITRO_SERVICES_MAX);
        return NULL;
    }
    for (i = 0; i < n; i++)
        nitroServicesConfigAdd(file, name, &services[i], &fds[i], maxSize);

    text = g_key_file_to_data(file, &len, NULL);
    if (len > NITRO_SERVICES_CONFIG_MAX) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("the services of domain '%s' take %zu bytes of configuration, at most %d are supported: allow fewer hosts"),
                       name, (size_t) len, NITRO_SERVICES_CONFIG_MAX);
        return NULL;
    }
    return g_steal_pointer(&text);
}
