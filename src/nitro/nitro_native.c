/*
 * nitro_native.c: definitions in the formats of other tools
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Reading: text -> one of nativeFormats -> a bare definition -> the defaults and checks
 * that domain XML gets. Writing: a definition -> a check for what no format can say ->
 * one of nativeFormats -> text.
 */

#include <config.h>

#include "domain_postparse.h"
#include "domain_validate.h"
#include "nitro_domain_conf.h"
#include "nitro_domain_services.h"
#include "nitro_native.h"
#include "viralloc.h"
#include "virerror.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

typedef struct {
    const char *name;
    int (*parse)(const char *config, virDomainDef *def, virDomainXMLOption *xmlopt);
    char *(*format)(virDomainDef *def);
} nitroNative;

static const nitroNative nativeFormats[] = {
    { NITRO_NATIVE_CLI, nitroNativeParseCli, nitroNativeFormatCli },
    { NITRO_NATIVE_QEMU, nitroNativeParseQemu, nitroNativeFormatQemu },
};


static const nitroNative *
nitroNativeFind(const char *name)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(nativeFormats); i++) {
        if (STREQ(nativeFormats[i].name, name))
            return &nativeFormats[i];
    }

    virReportError(VIR_ERR_INVALID_ARG,
                   _("unknown format '%s': the formats of enclaves are '%s' and '%s'"),
                   name, NITRO_NATIVE_CLI, NITRO_NATIVE_QEMU);
    return NULL;
}


/* A definition with what all formats have in common. */
static virDomainDef *
nitroNativeDefNew(virArch arch,
                  virDomainXMLOption *xmlopt)
{
    g_autoptr(virDomainDef) def = virDomainDefNew(xmlopt);

    if (!def)
        return NULL;

    def->id = -1;
    def->virtType = VIR_DOMAIN_VIRT_NITRO;
    def->ns = *virDomainXMLOptionGetNamespace(xmlopt);
    def->os.type = VIR_DOMAIN_OSTYPE_HVM;
    def->os.arch = arch;
    def->os.machine = g_strdup(nitroMachineTypeToString(NITRO_MACHINE_NITRO));
    /* These tools start nothing again. */
    def->onPoweroff = VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY;
    def->onReboot = VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY;
    def->onCrash = VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY;
    return g_steal_pointer(&def);
}


/* As these tools do it: the name of the image without its suffix. */
static char *
nitroNativeNameFromImage(const char *path)
{
    char *name = g_path_get_basename(path);
    char *dot = strrchr(name, '.');

    if (dot && dot != name)
        *dot = '\0';
    return name;
}


static int
nitroNativeDefComplete(virDomainDef *def,
                       virDomainXMLOption *xmlopt)
{
    if (!virUUIDIsValid(def->uuid) && virUUIDGenerate(def->uuid) < 0) {
        virReportError(VIR_ERR_INTERNAL_ERROR, "%s", _("cannot generate a UUID"));
        return -1;
    }
    if (!def->name)
        def->name = nitroNativeNameFromImage(def->os.kernel);

    if (virDomainDefPostParse(def, VIR_DOMAIN_DEF_PARSE_INACTIVE, xmlopt, NULL) < 0 ||
        virDomainDefValidate(def, VIR_DOMAIN_DEF_PARSE_INACTIVE, xmlopt, NULL) < 0)
        return -1;
    return 0;
}


virDomainDef *
nitroNativeParse(const char *format,
                 const char *config,
                 virArch arch,
                 virDomainXMLOption *xmlopt)
{
    const nitroNative *native = nitroNativeFind(format);
    g_autoptr(virDomainDef) def = NULL;

    if (!native)
        return NULL;

    if (strlen(config) > NITRO_NATIVE_CONFIG_MAX) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("the description in format '%s' has %zu bytes, more than the %d that are "
                         "read"),
                       format, strlen(config), NITRO_NATIVE_CONFIG_MAX);
        return NULL;
    }

    if (!(def = nitroNativeDefNew(arch, xmlopt)) ||
        native->parse(config, def, xmlopt) < 0 ||
        nitroNativeDefComplete(def, xmlopt) < 0)
        return NULL;
    return g_steal_pointer(&def);
}


/* These tools leave an enclave's vsock to other programs. */
static int
nitroNativeCheckServices(const virDomainDef *def,
                         const char *format)
{
    size_t n;
    g_autofree nitroServiceDef *services = nitroDomainDefGetServices(def, &n);

    if (n == 0)
        return 0;

    if (services[0].channel)
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("format '%s' has no counterpart of the <channel> with the target '%s': "
                         "remove it first"),
                       format, services[0].channel->target.name);
    else
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("format '%s' has no counterpart of <nitro:%s port='%u'>: remove it first"),
                       format, nitroServiceTypeToString(services[0].type), services[0].port);
    return -1;
}


/* What a start depends on, and none of the formats has a word for. */
static int
nitroNativeCheckFormat(const virDomainDef *def,
                       const char *format)
{
    const virDomainChrDef *console = nitroDomainDefGetConsole(def);
    unsigned int pcr;

    for (pcr = 0; pcr < NITRO_PCR_COUNT; pcr++) {
        if (nitroDomainDefGetMeasurement(def, pcr)) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("format '%s' has no counterpart of <nitro:measurement pcr='%u'>: "
                             "remove it first"),
                           format, pcr);
            return -1;
        }
    }

    if (!nitroDomainDefHasHeartbeat(def) || nitroDomainDefGetHeartbeatTimeout(def) > 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("format '%s' has no counterpart of <nitro:heartbeat>: remove it first"),
                       format);
        return -1;
    }
    if (nitroDomainDefGetPageSize(def) > 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("format '%s' has no counterpart of <page size='%llu'> of <hugepages>: "
                         "remove it first"),
                       format, nitroDomainDefGetPageSize(def));
        return -1;
    }
    if (virDomainNumatuneGetNodeset(def->numa, NULL, -1)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("format '%s' has no counterpart of <numatune>: remove it first"),
                       format);
        return -1;
    }
    if (console && console->source->type == VIR_DOMAIN_CHR_TYPE_UNIX) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("format '%s' has no counterpart of a console of type '%s': use type "
                         "'pty'"),
                       format, virDomainChrTypeToString(console->source->type));
        return -1;
    }
    if (console && console->source->logfile) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("format '%s' has no counterpart of <log file='%s'> of a console: "
                         "remove it first"),
                       format, console->source->logfile);
        return -1;
    }
    return nitroNativeCheckServices(def, format);
}


char *
nitroNativeFormat(const char *format,
                  virDomainDef *def)
{
    const nitroNative *native = nitroNativeFind(format);

    if (!native || nitroNativeCheckFormat(def, format) < 0)
        return NULL;
    return native->format(def);
}


void
nitroNativeSetMemory(virDomainDef *def,
                     unsigned long long memory)
{
    virDomainDefSetMemoryTotal(def, memory);
    def->mem.cur_balloon = memory;
}


int
nitroNativeSetVcpus(virDomainDef *def,
                    unsigned long long vcpus,
                    virDomainXMLOption *xmlopt)
{
    if (vcpus < 1 || vcpus > NITRO_VCPUS_MAX) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("number of vCPUs %llu is not supported: an enclave has from 1 to %d"),
                       vcpus, NITRO_VCPUS_MAX);
        return -1;
    }
    if (virDomainDefSetVcpusMax(def, vcpus, xmlopt) < 0)
        return -1;
    return virDomainDefSetVcpus(def, vcpus);
}


int
nitroNativeSetCid(virDomainDef *def,
                  unsigned long long cid)
{
    if (cid == 0)
        return 0;

    if (cid < NITRO_CID_MIN || cid >= UINT_MAX) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("CID %llu is not supported: an enclave has one from %u to %u, or 0 for "
                         "any"),
                       cid, NITRO_CID_MIN, UINT_MAX - 1);
        return -1;
    }

    if (!def->vsock && !(def->vsock = virDomainVsockDefNew(NULL)))
        return -1;
    def->vsock->auto_cid = VIR_TRISTATE_BOOL_NO;
    def->vsock->guest_cid = cid;
    return 0;
}


void
nitroNativeSetDebug(virDomainDef *def)
{
    nitroDomainXmlNsDef *ns = def->namespaceData;

    if (!ns)
        ns = def->namespaceData = g_new0(nitroDomainXmlNsDef, 1);
    ns->debug = VIR_TRISTATE_BOOL_YES;
}


int
nitroNativeAddConsole(virDomainDef *def,
                      virDomainChrType type,
                      const char *path,
                      virDomainXMLOption *xmlopt)
{
    virDomainChrDef *console = virDomainChrDefNew(xmlopt);

    if (!console)
        return -1;

    console->deviceType = VIR_DOMAIN_CHR_DEVICE_TYPE_CONSOLE;
    console->targetType = VIR_DOMAIN_CHR_CONSOLE_TARGET_TYPE_SERIAL;
    console->source->type = type;
    if (path)
        console->source->data.file.path = g_strdup(path);

    VIR_APPEND_ELEMENT(def->consoles, def->nconsoles, console);
    return 0;
}


unsigned int
nitroNativeGetCid(const virDomainDef *def)
{
    return def->vsock && def->vsock->auto_cid != VIR_TRISTATE_BOOL_YES ?
        def->vsock->guest_cid : 0;
}
