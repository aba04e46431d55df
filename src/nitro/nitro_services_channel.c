/*
 * nitro_services_channel.c: streams of clients to the vsock ports of an enclave
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An inbound service with a UNIX socket is a channel that virDomainOpenChannel() can open: the daemon
 * connects to it as any program of the host would.
 */

#include <config.h>

#include "nitro_file.h"
#include "nitro_services_channel.h"
#include "virerror.h"
#include "virfdstream.h"
#include "virfile.h"

#define VIR_FROM_THIS VIR_FROM_NITRO


/* Whether clients can open @channel */
static bool
nitroServicesCanOpen(const virDomainChrDef *channel)
{
    return channel->source->type == VIR_DOMAIN_CHR_TYPE_UNIX && channel->source->data.nix.listen;
}


virDomainChrDef *
nitroServicesFindChannel(const virDomainDef *def,
                         const char *name)
{
    virDomainChrDef *found = NULL;
    size_t nfound = 0;
    size_t i;

    for (i = 0; i < def->nchannels; i++) {
        virDomainChrDef *channel = def->channels[i];

        if (name ? STREQ_NULLABLE(name, channel->target.name) ||
                   STREQ_NULLABLE(name, channel->info.alias) : nitroServicesCanOpen(channel)) {
            found = channel;
            nfound++;
        }
    }
    if (nfound != 1) {
        if (name)
            virReportError(VIR_ERR_INVALID_ARG, _("domain '%s' has no channel '%s'"), def->name, name);
        else
            virReportError(VIR_ERR_INVALID_ARG,
                           _("domain '%s' has %zu channels that can be opened: name one, as 'vsock.5000'"),
                           def->name, nfound);
        return NULL;
    }
    if (!nitroServicesCanOpen(found)) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("the channel '%s' of domain '%s' cannot be opened through libvirt: only one of type 'unix' with mode 'bind' can"),
                       name, def->name);
        return NULL;
    }
    return found;
}


int
nitroServicesOpenChannel(const virDomainChrDef *channel,
                         virStreamPtr st)
{
    const char *path = channel->source->data.nix.path;
    g_auto(nitroFilePlace) place = NITRO_FILE_PLACE_INIT;
    VIR_AUTOCLOSE fd = -1;

    if (nitroFileFind(path, &place) < 0)
        return -1;
    if ((fd = nitroFileConnect(&place)) < 0) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("cannot connect to the UNIX socket '%s' of the channel '%s' (%s): try again when the channel's state is connected"),
                       path, NULLSTR(channel->target.name), g_strerror(-fd));
        return -1;
    }
    if (virFDStreamOpen(st, fd) < 0)
        return -1;
    fd = -1;
    return 0;
}
