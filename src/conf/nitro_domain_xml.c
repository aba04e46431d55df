/*
 * nitro_domain_xml.c: the XML of a domain, read in two steps
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Text -> tree of libxml2 -> name, UUID, type -> (the caller checks the access) ->
 * numbers that libvirt's parser would allocate memory by -> libvirt's parser. The tree is
 * made once, unless the schema is asked for: both steps cost what parsing alone does.
 */

#include <config.h>

#include "nitro_domain_conf.h"
#include "nitro_domain_validate.h"
#include "nitro_domain_xml.h"
#include "services_protocol.h"
#include "virerror.h"
#include "virstring.h"
#include "viruuid.h"
#include "virxml.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

struct _nitroDomainXml {
    const char *text; /* the caller's */
    xmlDocPtr tree;
    xmlXPathContextPtr ctxt;
    virDomainDef ids; /* name and UUID alone */
};


void
nitroDomainXmlFree(nitroDomainXml *doc)
{
    if (!doc)
        return;

    xmlXPathFreeContext(doc->ctxt);
    xmlFreeDoc(doc->tree);
    g_free(doc->ids.name);
    g_free(doc);
}


virDomainDef *
nitroDomainXmlGetIDs(nitroDomainXml *doc)
{
    return &doc->ids;
}


/* Step one */

static int
nitroDomainXmlReadTree(nitroDomainXml *doc)
{
    /* as virDomainDefParseString() does */
    int keepBlanks = xmlKeepBlanksDefault(0);

    doc->tree = virXMLParse(NULL, doc->text, _("(domain_definition)"), "domain", &doc->ctxt,
                            NULL, false);
    xmlKeepBlanksDefault(keepBlanks);
    if (!doc->tree)
        return -1;

    /* A few entities of entities are any size when the text of an element is asked for. */
    if (doc->tree->intSubset) {
        virReportError(VIR_ERR_XML_ERROR, "%s",
                       _("a domain definition with a document type (<!DOCTYPE>) is not "
                         "supported: leave it out"));
        return -1;
    }
    return 0;
}


static int
nitroDomainXmlReadIDs(nitroDomainXml *doc)
{
    g_autofree char *uuid = NULL;

    doc->ids.id = -1;

    if (!(doc->ids.name = virXPathString("string(./name[1])", doc->ctxt))) {
        virReportError(VIR_ERR_NO_NAME, NULL);
        return -1;
    }

    if ((uuid = virXPathString("string(./uuid[1])", doc->ctxt)) &&
        virUUIDParse(uuid, doc->ids.uuid) < 0) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("<uuid> is '%s', which is not a UUID"), uuid);
        return -1;
    }
    return 0;
}


static int
nitroDomainXmlReadType(nitroDomainXml *doc)
{
    virDomainVirtType type;

    if (virXMLPropEnum(doc->ctxt->node, "type", virDomainVirtTypeFromString,
                       VIR_XML_PROP_REQUIRED, &type) < 0)
        return -1;
    return nitroDomainVirtTypeValidate(type);
}


nitroDomainXml *
nitroDomainXmlRead(const char *xml)
{
    g_autoptr(nitroDomainXml) doc = g_new0(nitroDomainXml, 1);

    doc->text = xml;
    if (nitroDomainXmlReadTree(doc) < 0 ||
        nitroDomainXmlReadIDs(doc) < 0 ||
        nitroDomainXmlReadType(doc) < 0)
        return NULL;
    return g_steal_pointer(&doc);
}


/* Step two */

/*
 * libvirt allocates all vCPUs that the text asks for before a driver can look at them,
 * and reads "-1" as 4294967295. What is no number is left to its own message.
 */
static int
nitroDomainXmlCheckVcpus(nitroDomainXml *doc)
{
    g_autofree char *machine = virXPathString("string(./os/type[1]/@machine)", doc->ctxt);
    xmlNodePtr node = virXPathNode("./vcpu[1]", doc->ctxt);
    g_autofree char *text = NULL;
    unsigned int max = nitroMachineGetVcpusMax(machine);
    unsigned int vcpus;

    if (!node)
        return 0;
    if (!(text = virXMLNodeContentString(node)))
        return -1;

    if (virStrToLong_ui(text, NULL, 10, &vcpus) == 0 && vcpus > max) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("%s vCPUs are not supported: machine '%s' can have 1 to %u"),
                       text, machine ? machine : nitroMachineTypeToString(NITRO_MACHINE_NITRO),
                       max);
        return -1;
    }
    return 0;
}


/* The same for I/O threads, of which an enclave can have none */
static int
nitroDomainXmlCheckIOThreads(nitroDomainXml *doc)
{
    g_autofree char *text = virXPathString("string(./iothreads[1])", doc->ctxt);
    unsigned int count;

    if (text && virStrToLong_uip(text, NULL, 10, &count) == 0 && count > 0)
        return nitroDomainReportCputune("<iothreads>");
    return 0;
}


/*
 * Devices for which libvirt adds a controller for each number up to the one that their
 * address or name has. An enclave has none of them, which would be found out after that.
 */
static int
nitroDomainXmlCheckDevices(nitroDomainXml *doc)
{
    const struct {
        const char *path;
        const char *element;
    } refused[] = {
        { "./devices/disk[1]", "disk" },
        { "./devices/hostdev[1]", "hostdev" },
        { "./devices/smartcard[1]", "smartcard" },
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(refused); i++) {
        if (virXPathNode(refused[i].path, doc->ctxt))
            return nitroDomainReportDevice(refused[i].element);
    }
    return 0;
}


/*
 * Each channel may name a controller of its own, which libvirt looks for among all that it has added
 * for those before.
 */
static int
nitroDomainXmlCheckChannels(nitroDomainXml *doc)
{
    g_autofree char *path = g_strdup_printf("./devices/channel[%d]", NITRO_SERVICES_MAX + 1);

    if (!virXPathNode(path, doc->ctxt))
        return 0;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("more than %d elements <channel> are not supported: an enclave can have %d services"),
                   NITRO_SERVICES_MAX, NITRO_SERVICES_MAX);
    return -1;
}


/* Each of the cells gets a table of the distances to all of them. */
static int
nitroDomainXmlCheckCells(nitroDomainXml *doc)
{
    if (virXPathNode("./cpu/numa/cell[1]", doc->ctxt))
        return nitroDomainReportCells();
    return 0;
}


virDomainDef *
nitroDomainXmlParse(nitroDomainXml *doc,
                    virDomainXMLOption *xmlopt,
                    bool validate)
{
    if (nitroDomainXmlCheckVcpus(doc) < 0 ||
        nitroDomainXmlCheckIOThreads(doc) < 0 ||
        nitroDomainXmlCheckDevices(doc) < 0 ||
        nitroDomainXmlCheckChannels(doc) < 0 ||
        nitroDomainXmlCheckCells(doc) < 0)
        return NULL;

    /* Only that of a text is checked against the schema. */
    if (validate)
        return virDomainDefParseString(doc->text, xmlopt, NULL,
                                       VIR_DOMAIN_DEF_PARSE_INACTIVE |
                                       VIR_DOMAIN_DEF_PARSE_VALIDATE_SCHEMA);
    return virDomainDefParseNode(doc->ctxt, xmlopt, NULL, VIR_DOMAIN_DEF_PARSE_INACTIVE);
}
