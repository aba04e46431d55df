/*
 * testdriver.c: libvirt's test driver as a module of virtnitrod, for bench-api
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The module has the name, the entry point, the URI scheme and the type of the nitro
 * driver, so that virtnitrod loads and serves it unchanged: what differs between two
 * daemons that are compared is the driver alone. Nothing of this is installed.
 */

#include "test/test_driver.c"

int nitroRegister(void);


/* What it is about: a host, and nothing on it but the domains that clients define */
static const char *hostXML =
    "<node>"
    "  <cpu><nodes>2</nodes><sockets>2</sockets><cores>2</cores><threads>2</threads></cpu>"
    "  <memory>3145728</memory>"
    "</node>";


static const char *
benchConnectGetType(virConnectPtr conn G_GNUC_UNUSED)
{
    return "nitro";
}


int
nitroRegister(void)
{
    static const char *schemes[] = { "nitro", NULL };

    defaultConnXML = hostXML;
    testConnectDriver.uriSchemes = schemes;
    testHypervisorDriver.connectGetType = benchConnectGetType;
    return testRegister();
}


/* What libvirt does not export, for objects that are not on that host */

void
virNodeDeviceObjSetSkipUpdateCaps(virNodeDeviceObj *obj G_GNUC_UNUSED,
                                  bool skipUpdateCaps G_GNUC_UNUSED)
{
}


virStoragePoolDef *
virStoragePoolDefParseXML(xmlXPathContextPtr ctxt G_GNUC_UNUSED)
{
    return NULL;
}


virDomainSnapshotDef *
virDomainSnapshotDefParse(xmlXPathContextPtr ctxt G_GNUC_UNUSED,
                          virDomainXMLOption *xmlopt G_GNUC_UNUSED,
                          void *parseOpaque G_GNUC_UNUSED,
                          bool *current G_GNUC_UNUSED,
                          unsigned int flags G_GNUC_UNUSED)
{
    return NULL;
}
