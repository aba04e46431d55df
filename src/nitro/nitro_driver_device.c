/*
 * nitro_driver_device.c: entry points that change the devices of a stored definition
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An enclave has a vsock, a console and channels, which are there from its start. Every
 * definition has a vsock, so that one with a CID that is chosen at the start counts as
 * none that could be attached or detached. The console has a serial twin: see
 * nitroDomainDefGetConsole(). A channel is told by the vsock port in the name of its target.
 */

#include <config.h>

#include "datatypes.h"
#include "domain_postparse.h"
#include "nitro_conf.h"
#include "nitro_domain.h"
#include "nitro_domain_conf.h"
#include "nitro_domain_services.h"
#include "nitro_domain_tree.h"
#include "nitro_driver_config.h"
#include "nitro_driver_device.h"
#include "viraccessapicheck.h"
#include "viralloc.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

/* What a change does to @def with the device @dev, which it may take parts of */
typedef int (*nitroDeviceChange)(virDomainDef *def, virDomainDeviceDef *dev);


static bool
nitroDeviceVsockIsFixed(const virDomainDef *def)
{
    return def->vsock && def->vsock->auto_cid != VIR_TRISTATE_BOOL_YES;
}


static void
nitroDeviceSetVsock(virDomainDef *def,
                    virDomainDeviceDef *dev)
{
    virDomainVsockDefFree(def->vsock);
    def->vsock = g_steal_pointer(&dev->data.vsock);
}


static void
nitroDeviceRemoveConsole(virDomainDef *def)
{
    size_t i;

    for (i = 0; i < def->nconsoles; i++)
        virDomainChrDefFree(def->consoles[i]);
    g_clear_pointer(&def->consoles, g_free);
    def->nconsoles = 0;

    for (i = 0; i < def->nserials; i++)
        virDomainChrDefFree(def->serials[i]);
    g_clear_pointer(&def->serials, g_free);
    def->nserials = 0;
}


/* The twin is made by the defaults that follow every change. */
static void
nitroDeviceAddConsole(virDomainDef *def,
                      virDomainDeviceDef *dev)
{
    virDomainChrDef *chr = g_steal_pointer(&dev->data.chr);

    if (chr->deviceType == VIR_DOMAIN_CHR_DEVICE_TYPE_SERIAL)
        VIR_APPEND_ELEMENT(def->serials, def->nserials, chr);
    else
        VIR_APPEND_ELEMENT(def->consoles, def->nconsoles, chr);
}


/* Checks that @def has a console such as @chr: of its type, with its path if it names one */
static int
nitroDeviceFindConsole(const virDomainDef *def,
                       const virDomainChrDef *chr)
{
    const virDomainChrDef *console = nitroDomainDefGetConsole(def);
    const char *path = virDomainChrSourceDefGetPath(chr->source);

    if (console && console->source->type == chr->source->type &&
        (!path || STREQ_NULLABLE(path, virDomainChrSourceDefGetPath(console->source))))
        return 0;

    virReportError(VIR_ERR_DEVICE_MISSING,
                   _("domain '%s' has no console of type '%s'%s%s"),
                   def->name, virDomainChrTypeToString(chr->source->type),
                   path ? ": " : "", NULLSTR_EMPTY(path));
    return -1;
}


/* Returns the place in def->channels of the one with the vsock port of @chr, or -1. */
static ssize_t
nitroDeviceFindChannel(const virDomainDef *def,
                       const virDomainChrDef *chr)
{
    size_t i;

    for (i = 0; i < def->nchannels; i++) {
        if (nitroDomainChannelGetPort(def->channels[i]) == nitroDomainChannelGetPort(chr))
            return i;
    }
    return -1;
}


/* The same for one that has to be there, with an error set if it is not; @type: of the type of @chr */
static ssize_t
nitroDeviceRequireChannel(const virDomainDef *def,
                          const virDomainChrDef *chr,
                          bool type)
{
    ssize_t pos = nitroDeviceFindChannel(def, chr);

    if (pos >= 0 && (!type || def->channels[pos]->source->type == chr->source->type))
        return pos;

    virReportError(VIR_ERR_DEVICE_MISSING,
                   _("domain '%s' has no channel '%s' of type '%s'"),
                   def->name, chr->target.name, virDomainChrTypeToString(chr->source->type));
    return -1;
}


static int
nitroDeviceAttachChannel(virDomainDef *def,
                         virDomainDeviceDef *dev)
{
    virDomainChrDef *chr = dev->data.chr;

    if (nitroDeviceFindChannel(def, chr) >= 0) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("domain '%s' has a channel '%s' already: update that one"),
                       def->name, chr->target.name);
        return -1;
    }
    dev->data.chr = NULL;
    VIR_APPEND_ELEMENT(def->channels, def->nchannels, chr);
    return 0;
}


static int
nitroDeviceDetachChannel(virDomainDef *def,
                         virDomainDeviceDef *dev)
{
    ssize_t pos = nitroDeviceRequireChannel(def, dev->data.chr, true);

    if (pos < 0)
        return -1;
    virDomainChrDefFree(def->channels[pos]);
    VIR_DELETE_ELEMENT(def->channels, pos, def->nchannels);
    return 0;
}


static int
nitroDeviceUpdateChannel(virDomainDef *def,
                         virDomainDeviceDef *dev)
{
    ssize_t pos = nitroDeviceRequireChannel(def, dev->data.chr, false);

    if (pos < 0)
        return -1;
    virDomainChrDefFree(def->channels[pos]);
    def->channels[pos] = g_steal_pointer(&dev->data.chr);
    return 0;
}


static bool
nitroDeviceIsChannel(const virDomainDeviceDef *dev)
{
    return dev->type == VIR_DOMAIN_DEVICE_CHR &&
           dev->data.chr->deviceType == VIR_DOMAIN_CHR_DEVICE_TYPE_CHANNEL;
}


static int
nitroDeviceReportOther(const virDomainDeviceDef *dev)
{
    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("device <%s> is not supported: an enclave can have a vsock, a console and channels only"),
                   virDomainDeviceTypeToString(dev->type));
    return -1;
}


static int
nitroDeviceAttach(virDomainDef *def,
                  virDomainDeviceDef *dev)
{
    if (dev->type == VIR_DOMAIN_DEVICE_VSOCK) {
        if (nitroDeviceVsockIsFixed(def)) {
            virReportError(VIR_ERR_OPERATION_INVALID,
                           _("domain '%s' has a vsock already, with CID %u: update that one"),
                           def->name, def->vsock->guest_cid);
            return -1;
        }
        nitroDeviceSetVsock(def, dev);
        return 0;
    }

    if (nitroDeviceIsChannel(dev))
        return nitroDeviceAttachChannel(def, dev);

    if (dev->type == VIR_DOMAIN_DEVICE_CHR) {
        if (nitroDomainDefGetConsole(def)) {
            virReportError(VIR_ERR_OPERATION_INVALID,
                           _("domain '%s' has a console already: update that one"), def->name);
            return -1;
        }
        nitroDeviceAddConsole(def, dev);
        return 0;
    }
    return nitroDeviceReportOther(dev);
}


static int
nitroDeviceDetach(virDomainDef *def,
                  virDomainDeviceDef *dev)
{
    if (dev->type == VIR_DOMAIN_DEVICE_VSOCK) {
        if (!nitroDeviceVsockIsFixed(def) ||
            (dev->data.vsock->auto_cid != VIR_TRISTATE_BOOL_YES &&
             dev->data.vsock->guest_cid != def->vsock->guest_cid)) {
            virReportError(VIR_ERR_DEVICE_MISSING,
                           _("domain '%s' has no vsock with CID %u: the one that every enclave has stays"),
                           def->name, dev->data.vsock->guest_cid);
            return -1;
        }
        /* The defaults that follow give it one whose CID is chosen. */
        g_clear_pointer(&def->vsock, virDomainVsockDefFree);
        return 0;
    }

    if (nitroDeviceIsChannel(dev))
        return nitroDeviceDetachChannel(def, dev);

    if (dev->type == VIR_DOMAIN_DEVICE_CHR) {
        if (nitroDeviceFindConsole(def, dev->data.chr) < 0)
            return -1;
        nitroDeviceRemoveConsole(def);
        return 0;
    }
    return nitroDeviceReportOther(dev);
}


static int
nitroDeviceUpdate(virDomainDef *def,
                  virDomainDeviceDef *dev)
{
    if (dev->type == VIR_DOMAIN_DEVICE_VSOCK) {
        nitroDeviceSetVsock(def, dev);
        return 0;
    }

    if (nitroDeviceIsChannel(dev))
        return nitroDeviceUpdateChannel(def, dev);

    if (dev->type == VIR_DOMAIN_DEVICE_CHR) {
        if (!nitroDomainDefGetConsole(def)) {
            virReportError(VIR_ERR_DEVICE_MISSING,
                           _("domain '%s' has no console: attach one"), def->name);
            return -1;
        }
        nitroDeviceRemoveConsole(def);
        nitroDeviceAddConsole(def, dev);
        return 0;
    }
    return nitroDeviceReportOther(dev);
}


static int
nitroDeviceDoChange(nitroDriver *driver,
                    virDomainObj *vm,
                    const char *xml,
                    unsigned int flags,
                    nitroDeviceChange change)
{
    g_autoptr(virDomainDef) def = NULL;
    g_autoptr(virDomainDeviceDef) dev = NULL;

    if (!(def = nitroConfigCopy(driver, vm, flags)) ||
        nitroDomainTreeCheckDevice(xml) < 0 ||
        !(dev = virDomainDeviceDefParse(xml, def, driver->xmlopt, NULL,
                                        VIR_DOMAIN_DEF_PARSE_INACTIVE)) ||
        change(def, dev) < 0 ||
        virDomainDefPostParse(def, VIR_DOMAIN_DEF_PARSE_INACTIVE, driver->xmlopt, NULL) < 0)
        return -1;

    return nitroConfigCheckAndStore(driver, vm, &def);
}


int
nitroDomainAttachDeviceFlags(virDomainPtr dom,
                             const char *xml,
                             unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE |
                  VIR_DOMAIN_AFFECT_CONFIG, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainAttachDeviceFlagsEnsureACL(dom->conn, vm->def, flags) == 0)
        ret = nitroDeviceDoChange(driver, vm, xml, flags, nitroDeviceAttach);

    virDomainObjEndAPI(&vm);
    return ret;
}


/* libvirt says of this one and the next that they are for running domains only. */
int
nitroDomainAttachDevice(virDomainPtr dom,
                        const char *xml)
{
    return nitroDomainAttachDeviceFlags(dom, xml, VIR_DOMAIN_AFFECT_LIVE);
}


int
nitroDomainDetachDeviceFlags(virDomainPtr dom,
                             const char *xml,
                             unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE |
                  VIR_DOMAIN_AFFECT_CONFIG, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainDetachDeviceFlagsEnsureACL(dom->conn, vm->def, flags) == 0)
        ret = nitroDeviceDoChange(driver, vm, xml, flags, nitroDeviceDetach);

    virDomainObjEndAPI(&vm);
    return ret;
}


int
nitroDomainDetachDevice(virDomainPtr dom,
                        const char *xml)
{
    return nitroDomainDetachDeviceFlags(dom, xml, VIR_DOMAIN_AFFECT_LIVE);
}


int
nitroDomainUpdateDeviceFlags(virDomainPtr dom,
                             const char *xml,
                             unsigned int flags)
{
    nitroDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE |
                  VIR_DOMAIN_AFFECT_CONFIG, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainUpdateDeviceFlagsEnsureACL(dom->conn, vm->def, flags) == 0)
        ret = nitroDeviceDoChange(driver, vm, xml, flags, nitroDeviceUpdate);

    virDomainObjEndAPI(&vm);
    return ret;
}
