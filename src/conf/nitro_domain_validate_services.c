/*
 * nitro_domain_validate_services.c: checks on the vsock services of enclave domains
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each <channel> by itself, then all services together. What <nitro:services> can say wrong by
 * itself its parser has refused: nitro_domain_services_ns.c.
 */

#include <config.h>

#include <sys/un.h>

#include "nitro_domain_validate.h"
#include "nitro_domain_conf.h"
#include "nitro_domain_host.h"
#include "nitro_domain_services.h"
#include "nitro_domain_text.h"
#include "services_protocol.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

#define NITRO_TCP_PORT_MAX 65535

/* With these and the most services the services process can read its configuration, of up to
 * NITRO_SERVICES_CONFIG_MAX bytes, whatever the names and paths are. */
#define NITRO_ALLOW_MAX 100


static int
nitroDomainChannelValidateType(const virDomainChrDef *chr)
{
    if (chr->source->type == VIR_DOMAIN_CHR_TYPE_TCP ||
        chr->source->type == VIR_DOMAIN_CHR_TYPE_UNIX ||
        chr->source->type == VIR_DOMAIN_CHR_TYPE_FILE)
        return 0;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("channel type '%s' is not supported: for an enclave 'tcp', 'unix' and 'file' are"),
                   virDomainChrTypeToString(chr->source->type));
    return -1;
}


static int
nitroDomainChannelValidateTarget(const virDomainChrDef *chr)
{
    if (chr->targetType != VIR_DOMAIN_CHR_CHANNEL_TARGET_TYPE_VIRTIO) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<channel> without <target type='virtio' name='%sPORT'/> is not supported for an enclave"),
                       NITRO_CHANNEL_NAME_PREFIX);
        return -1;
    }

    if (nitroDomainTextCheck("target name=", chr->target.name, false) < 0)
        return -1;

    if (nitroDomainChannelGetPort(chr) == 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<channel> with the target name '%s' is not supported: for an enclave it is '%sPORT', with a vsock port from 1 to %u"),
                       NULLSTR_EMPTY(chr->target.name), NITRO_CHANNEL_NAME_PREFIX,
                       NITRO_SERVICE_PORT_MAX);
        return -1;
    }
    return 0;
}


static int
nitroDomainChannelValidatePath(const virDomainChrDef *chr,
                               const char *path)
{
    const char *type = virDomainChrTypeToString(chr->source->type);

    if (nitroDomainTextCheck("source path=", path, false) < 0)
        return -1;

    if (!path || !g_path_is_absolute(path)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("channel '%s' of type '%s' needs a <source> with an absolute path, not '%s'"),
                       chr->target.name, type, NULLSTR_EMPTY(path));
        return -1;
    }
    return 0;
}


/* Where clients of an inbound service connect to */
static int
nitroDomainChannelValidateListen(const virDomainChrDef *chr)
{
    const char *host = chr->source->data.tcp.host;
    const char *service = chr->source->data.tcp.service;
    unsigned int port;

    if (!nitroDomainHostIsAddress(host)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("channel '%s' with mode='bind' needs an IP address of the host to listen on, not host='%s'"),
                       chr->target.name, NULLSTR_EMPTY(host));
        return -1;
    }

    if (!nitroDomainHostParseNumber(service, NITRO_TCP_PORT_MAX, &port)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("channel '%s' with mode='bind' needs a TCP port from 1 to %d, not service='%s'"),
                       chr->target.name, NITRO_TCP_PORT_MAX, NULLSTR_EMPTY(service));
        return -1;
    }
    return 0;
}


/* Where an outbound service leads to */
static int
nitroDomainChannelValidateConnect(const virDomainChrDef *chr)
{
    const char *host = chr->source->data.tcp.host;
    const char *service = chr->source->data.tcp.service;

    if (!nitroDomainHostIsAddress(host) && !nitroDomainHostIsName(host)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("channel '%s' with mode='connect' needs the name or IP address of a host, not host='%s'"),
                       chr->target.name, NULLSTR_EMPTY(host));
        return -1;
    }

    if (!nitroDomainHostIsService(service)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("channel '%s' with mode='connect' needs a TCP port from 1 to %d or the name of a service, not service='%s'"),
                       chr->target.name, NITRO_TCP_PORT_MAX, NULLSTR_EMPTY(service));
        return -1;
    }
    return 0;
}


static int
nitroDomainChannelValidateTcp(const virDomainChrDef *chr)
{
    const virDomainChrSourceDef *source = chr->source;

    if (source->data.tcp.protocol != VIR_DOMAIN_CHR_TCP_PROTOCOL_RAW) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<protocol type='%s'> is not supported: a channel of an enclave has the protocol 'raw'"),
                       virDomainChrTcpProtocolTypeToString(source->data.tcp.protocol));
        return -1;
    }

    if (source->data.tcp.listen)
        return nitroDomainChannelValidateListen(chr);
    return nitroDomainChannelValidateConnect(chr);
}


static int
nitroDomainChannelValidateUnix(const virDomainChrDef *chr)
{
    const virDomainChrSourceDef *source = chr->source;
    const char *path = source->data.nix.path;
    struct sockaddr_un addr;

    /* the driver makes one, see nitroDomainChannelDefPostParse() */
    if (!path && source->data.nix.listen)
        return 0;

    if (nitroDomainChannelValidatePath(chr, path) < 0)
        return -1;

    if (strlen(path) >= sizeof(addr.sun_path)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("channel '%s' has a socket whose path '%s' has %zu bytes: it can have %zu"),
                       chr->target.name, path, strlen(path), sizeof(addr.sun_path) - 1);
        return -1;
    }
    return 0;
}


static int
nitroDomainChannelValidateFile(const virDomainChrDef *chr)
{
    if (chr->source->data.file.append == VIR_TRISTATE_SWITCH_OFF) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("append='off' of channel '%s' is not supported: the log of a service is always appended to"),
                       chr->target.name);
        return -1;
    }
    return nitroDomainChannelValidatePath(chr, chr->source->data.file.path);
}


static int
nitroDomainChannelValidateSource(const virDomainChrDef *chr)
{
    if (chr->source->type == VIR_DOMAIN_CHR_TYPE_TCP)
        return nitroDomainChannelValidateTcp(chr);
    if (chr->source->type == VIR_DOMAIN_CHR_TYPE_UNIX)
        return nitroDomainChannelValidateUnix(chr);
    return nitroDomainChannelValidateFile(chr);
}


/* "USER:GROUP", as libvirt's DAC driver has it */
static bool
nitroDomainChannelLabelIsGood(const char *label)
{
    const char *colon = label ? strchr(label, ':') : NULL;

    return colon && colon > label && colon[1] != '\0' && !strchr(colon + 1, ':');
}


/* Whose socket it is that the daemon makes, at the path that the definition names */
static int
nitroDomainChannelValidateSeclabels(const virDomainChrDef *chr)
{
    const virDomainChrSourceDef *source = chr->source;
    const virSecurityDeviceLabelDef *label;

    if (source->nseclabels == 0)
        return 0;

    label = source->seclabels[0];
    if (nitroDomainTextCheck("seclabel model=", label->model, false) < 0 ||
        nitroDomainTextCheck("label", label->label, false) < 0)
        return -1;

    if (source->type != VIR_DOMAIN_CHR_TYPE_UNIX || !source->data.nix.listen ||
        !source->data.nix.path) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<seclabel> of channel '%s' is not supported: it is for the type 'unix' with mode='bind' and a path"),
                       chr->target.name);
        return -1;
    }

    if (source->nseclabels > 1 || STRNEQ_NULLABLE(label->model, "dac") || !label->relabel ||
        !nitroDomainChannelLabelIsGood(label->label)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<seclabel model='%s'> with the label '%s' of channel '%s' is not supported: a socket can have one, with model='dac', relabel='yes' and the label USER:GROUP"),
                       NULLSTR_EMPTY(label->model), NULLSTR_EMPTY(label->label),
                       chr->target.name);
        return -1;
    }
    return 0;
}


int
nitroDomainChannelDefValidate(const virDomainChrDef *chr)
{
    /* <log>, <reconnect> and tls= have been refused by nitroDomainTreeCheckDevice(). */
    if (nitroDomainChannelValidateType(chr) < 0 ||
        nitroDomainChannelValidateTarget(chr) < 0 ||
        nitroDomainChannelValidateSource(chr) < 0 ||
        nitroDomainChannelValidateSeclabels(chr) < 0)
        return -1;

    return nitroDomainDeviceInfoValidate(&chr->info, "channel");
}


/* Only one service of this kind makes sense. */
static bool
nitroDomainServiceIsSingle(nitroServiceType type)
{
    return type == NITRO_SERVICE_EXIT || type == NITRO_SERVICE_HEALTH;
}


/* The host connects to the enclave for both: the health is that of what the inbound one leads to. */
static bool
nitroDomainServicesCanShare(nitroServiceType a,
                            nitroServiceType b)
{
    return a != b && !nitroServiceIsServed(a) && !nitroServiceIsServed(b);
}


/* @services: all up to the one at @pos, which is checked */
static int
nitroDomainServiceValidate(const virDomainDef *def,
                           const nitroServiceDef *services,
                           size_t pos)
{
    const nitroServiceDef *service = &services[pos];
    const char *type = nitroServiceTypeToString(service->type);
    size_t i;

    if (service->port == NITRO_HEARTBEAT_PORT && nitroServiceIsServed(service->type)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("service '%s' cannot have the vsock port %u, which is the boot heartbeat's: take another one"),
                       type, service->port);
        return -1;
    }

    for (i = 0; i < pos; i++) {
        if (services[i].port == service->port &&
            !nitroDomainServicesCanShare(services[i].type, service->type)) {
            virReportError(VIR_ERR_XML_ERROR,
                           _("services '%s' and '%s' have the vsock port %u both: each needs one of its own"),
                           nitroServiceTypeToString(services[i].type), type, service->port);
            return -1;
        }

        if (services[i].type == service->type && nitroDomainServiceIsSingle(service->type)) {
            virReportError(VIR_ERR_XML_ERROR,
                           _("element 'nitro:%s' with port='%u' is the second one: an enclave can have one"),
                           type, service->port);
            return -1;
        }
    }
    if (service->port < NITRO_SERVICE_PORT_UNPRIVILEGED && nitroServiceIsServed(service->type) &&
        nitroDomainDefGetMachine(def) == NITRO_MACHINE_NITRO) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("service '%s' cannot have the vsock port %u with machine '%s': take one from %d on, as the host's kernel gives the lower ones to privileged processes alone"),
                       type, service->port, def->os.machine, NITRO_SERVICE_PORT_UNPRIVILEGED);
        return -1;
    }
    return 0;
}


int
nitroDomainDefValidateServices(const virDomainDef *def)
{
    size_t n;
    g_autofree nitroServiceDef *services = nitroDomainDefGetServices(def, &n);
    size_t nallow = 0;
    size_t i;

    if (n > NITRO_SERVICES_MAX) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("%zu services are not supported: an enclave can have %d"),
                       n, NITRO_SERVICES_MAX);
        return -1;
    }

    for (i = 0; i < n; i++) {
        if (services[i].channel && nitroDomainChannelDefValidate(services[i].channel) < 0)
            return -1;
        if (nitroDomainServiceValidate(def, services, i) < 0)
            return -1;
        if (services[i].allow)
            nallow += g_strv_length(services[i].allow);
    }

    if (nallow > NITRO_ALLOW_MAX) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("%zu elements 'nitro:allow' are not supported: an enclave can have %d"),
                       nallow, NITRO_ALLOW_MAX);
        return -1;
    }
    return 0;
}
