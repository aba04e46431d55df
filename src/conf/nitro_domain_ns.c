/*
 * nitro_domain_ns.c: the elements of the nitro namespace
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * <domain> element -> nitroDomainXmlNsDef -> <domain> element. The schema for the
 * same elements is in libvirt's domaincommon.rng ("nitroenclave").
 */

#include <config.h>

#include "nitro_domain_ns.h"
#include "nitro_domain_conf.h"
#include "nitro_domain_services_ns.h"
#include "nitro_domain_tree.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

#define NITRO_PCR_HEX_LEN 96 /* SHA-384 */

/* What AWS's resource names of roles, with their paths, and its ids of instances look like */
#define NITRO_ROLE_REGEX "arn:[a-z-]+:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]{1,576}\\z"
#define NITRO_INSTANCE_REGEX "i-([0-9a-f]{8}|[0-9a-f]{17})\\z"


static void
nitroDomainXmlNsDefFree(nitroDomainXmlNsDef *ns)
{
    size_t i;

    if (!ns)
        return;

    for (i = 0; i < NITRO_PCR_COUNT; i++)
        g_free(ns->pcr[i]);

    nitroDomainServicesClear(ns);
    g_free(ns->vsockDirectory);
    g_free(ns->parentRole);
    g_free(ns->parentId);
    g_free(ns);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(nitroDomainXmlNsDef, nitroDomainXmlNsDefFree);


int
nitroDomainNsCheckAttributes(xmlNodePtr node,
                             const char **known)
{
    xmlAttrPtr attr;

    for (attr = node->properties; attr; attr = attr->next) {
        if (attr->ns || !g_strv_contains(known, (const char *) attr->name)) {
            virReportError(VIR_ERR_XML_ERROR,
                           _("unknown attribute '%s' in element 'nitro:%s'"),
                           attr->name, node->name);
            return -1;
        }
    }

    return 0;
}


int
nitroDomainNsCheckContent(xmlNodePtr node,
                          bool text)
{
    xmlNodePtr child;

    for (child = node->children; child; child = child->next) {
        if (child->type == XML_COMMENT_NODE || xmlIsBlankNode(child) ||
            (text && (child->type == XML_TEXT_NODE || child->type == XML_CDATA_SECTION_NODE)))
            continue;

        virReportError(VIR_ERR_XML_ERROR,
                       text ? _("element 'nitro:%s' has something other than text in it") :
                       _("element 'nitro:%s' must be empty"),
                       node->name);
        return -1;
    }

    return 0;
}


int
nitroDomainNsCheckChildren(xmlNodePtr node,
                           const char *child)
{
    xmlNodePtr inside;

    for (inside = node->children; inside; inside = inside->next) {
        if (inside->type == XML_COMMENT_NODE || xmlIsBlankNode(inside) ||
            (inside->type == XML_ELEMENT_NODE && nitroDomainTreeIsOurs(inside) &&
             (!child || virXMLNodeNameEqual(inside, child))))
            continue;

        if (inside->type == XML_ELEMENT_NODE && nitroDomainTreeIsOurs(inside)) {
            virReportError(VIR_ERR_XML_ERROR,
                           _("element 'nitro:%s' does not belong into element 'nitro:%s'"),
                           inside->name, node->name);
        } else if (inside->type == XML_ELEMENT_NODE) {
            virReportError(VIR_ERR_XML_ERROR,
                           _("element '%s' in element 'nitro:%s' has no namespace, and nobody would read it: write <nitro:%s> if that is meant"),
                           inside->name, node->name, inside->name);
        } else {
            virReportError(VIR_ERR_XML_ERROR,
                           _("element 'nitro:%s' has something other than elements in it"),
                           node->name);
        }
        return -1;
    }

    return 0;
}


static int
nitroDomainNsParseEnclave(xmlNodePtr node,
                          nitroDomainXmlNsDef *ns)
{
    const char *known[] = { "debug", NULL };

    if (ns->debug != VIR_TRISTATE_BOOL_ABSENT) {
        virReportError(VIR_ERR_XML_ERROR, "%s",
                       _("element 'nitro:enclave' can only appear once"));
        return -1;
    }

    if (nitroDomainNsCheckAttributes(node, known) < 0 ||
        nitroDomainNsCheckContent(node, false) < 0)
        return -1;

    return virXMLPropTristateBool(node, "debug", VIR_XML_PROP_REQUIRED, &ns->debug);
}


static int
nitroDomainNsParseHeartbeat(xmlNodePtr node,
                            nitroDomainXmlNsDef *ns)
{
    const char *known[] = { "enabled", "timeout", NULL };

    if (ns->heartbeat != VIR_TRISTATE_BOOL_ABSENT) {
        virReportError(VIR_ERR_XML_ERROR, "%s",
                       _("element 'nitro:heartbeat' can only appear once"));
        return -1;
    }

    if (nitroDomainNsCheckAttributes(node, known) < 0 ||
        nitroDomainNsCheckContent(node, false) < 0)
        return -1;

    if (virXMLPropTristateBool(node, "enabled", VIR_XML_PROP_REQUIRED, &ns->heartbeat) < 0 ||
        virXMLPropUInt(node, "timeout", 10, VIR_XML_PROP_NONZERO, &ns->heartbeatTimeout) < 0)
        return -1;

    if (ns->heartbeatTimeout > NITRO_HEARTBEAT_TIMEOUT_MAX) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("heartbeat timeout of %u seconds is more than the greatest, %u"),
                       ns->heartbeatTimeout, NITRO_HEARTBEAT_TIMEOUT_MAX);
        return -1;
    }

    if (ns->heartbeat == VIR_TRISTATE_BOOL_NO && ns->heartbeatTimeout > 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("heartbeat timeout '%u' needs a heartbeat with enabled='yes'"),
                       ns->heartbeatTimeout);
        return -1;
    }

    return 0;
}


static int
nitroDomainNsParseMeasurement(xmlNodePtr node,
                              nitroDomainXmlNsDef *ns)
{
    const char *known[] = { "pcr", NULL };
    g_autofree char *hex = NULL;
    unsigned int pcr;

    if (nitroDomainNsCheckAttributes(node, known) < 0 ||
        nitroDomainNsCheckContent(node, true) < 0 ||
        virXMLPropUInt(node, "pcr", 10, VIR_XML_PROP_REQUIRED, &pcr) < 0)
        return -1;

    if (pcr > 2 && pcr != 8) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("measurement of PCR %u: the PCRs of an image are 0, 1, 2 and 8"),
                       pcr);
        return -1;
    }

    if (ns->pcr[pcr]) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("more than one measurement of PCR %u"), pcr);
        return -1;
    }

    if (!(hex = virXMLNodeContentString(node)))
        return -1;

    g_strstrip(hex);
    if (strlen(hex) != NITRO_PCR_HEX_LEN ||
        strspn(hex, "0123456789abcdefABCDEF") != NITRO_PCR_HEX_LEN) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("measurement of PCR %u is not %u hexadecimal digits: '%s'"),
                       pcr, NITRO_PCR_HEX_LEN, hex);
        return -1;
    }

    ns->pcr[pcr] = g_ascii_strdown(hex, -1);
    return 0;
}


/* What a client got with the XML of a running domain: it means nothing in a definition. */
static int
nitroDomainNsParseVsock(xmlNodePtr node,
                        nitroDomainXmlNsDef *ns)
{
    const char *known[] = { "directory", NULL };

    if (ns->vsockDirectory) {
        virReportError(VIR_ERR_XML_ERROR, "%s",
                       _("element 'nitro:vsock' can only appear once"));
        return -1;
    }

    if (nitroDomainNsCheckAttributes(node, known) < 0 ||
        nitroDomainNsCheckContent(node, false) < 0 ||
        !(ns->vsockDirectory = virXMLPropStringRequired(node, "directory")))
        return -1;

    return 0;
}


static int
nitroDomainNsParseNsm(xmlNodePtr node,
                      nitroDomainXmlNsDef *ns)
{
    const char *known[] = { "enabled", NULL };

    if (ns->nsm != VIR_TRISTATE_BOOL_ABSENT) {
        virReportError(VIR_ERR_XML_ERROR, "%s",
                       _("element 'nitro:nsm' can only appear once"));
        return -1;
    }

    if (nitroDomainNsCheckAttributes(node, known) < 0 ||
        nitroDomainNsCheckContent(node, false) < 0)
        return -1;

    return virXMLPropTristateBool(node, "enabled", VIR_XML_PROP_REQUIRED, &ns->nsm);
}


static int
nitroDomainNsParseParent(xmlNodePtr node,
                         nitroDomainXmlNsDef *ns)
{
    const char *known[] = { "role", "id", NULL };

    if (ns->parentRole || ns->parentId) {
        virReportError(VIR_ERR_XML_ERROR, "%s",
                       _("element 'nitro:parent' can only appear once"));
        return -1;
    }

    if (nitroDomainNsCheckAttributes(node, known) < 0 ||
        nitroDomainNsCheckContent(node, false) < 0)
        return -1;

    ns->parentRole = virXMLPropString(node, "role");
    ns->parentId = virXMLPropString(node, "id");
    if (!ns->parentRole && !ns->parentId) {
        virReportError(VIR_ERR_XML_ERROR, "%s",
                       _("element 'nitro:parent' says nothing: give it the attribute 'role', 'id', or both"));
        return -1;
    }
    if (ns->parentRole &&
        !g_regex_match_simple(NITRO_ROLE_REGEX, ns->parentRole, 0, G_REGEX_MATCH_ANCHORED)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("role '%s' of element 'nitro:parent' is not the ARN of an IAM role, such as 'arn:aws:iam::123456789012:role/name'"),
                       ns->parentRole);
        return -1;
    }
    if (ns->parentId &&
        !g_regex_match_simple(NITRO_INSTANCE_REGEX, ns->parentId, 0, G_REGEX_MATCH_ANCHORED)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("id '%s' of element 'nitro:parent' is not that of an instance, 'i-' with 8 or 17 hexadecimal digits in lower case"),
                       ns->parentId);
        return -1;
    }
    return 0;
}


static int
nitroDomainNsParseElement(xmlNodePtr node,
                          nitroDomainXmlNsDef *ns)
{
    if (virXMLNodeNameEqual(node, "enclave"))
        return nitroDomainNsParseEnclave(node, ns);

    if (virXMLNodeNameEqual(node, "heartbeat"))
        return nitroDomainNsParseHeartbeat(node, ns);

    if (virXMLNodeNameEqual(node, "measurement"))
        return nitroDomainNsParseMeasurement(node, ns);

    if (virXMLNodeNameEqual(node, "vsock"))
        return nitroDomainNsParseVsock(node, ns);

    if (virXMLNodeNameEqual(node, "nsm"))
        return nitroDomainNsParseNsm(node, ns);

    if (virXMLNodeNameEqual(node, "parent"))
        return nitroDomainNsParseParent(node, ns);

    if (virXMLNodeNameEqual(node, "services"))
        return nitroDomainServicesParse(node, ns);

    virReportError(VIR_ERR_XML_ERROR,
                   _("unknown element 'nitro:%s'"), node->name);
    return -1;
}


static int
nitroDomainNsParse(xmlXPathContextPtr ctxt,
                   void **data)
{
    g_autoptr(nitroDomainXmlNsDef) ns = NULL;
    xmlNodePtr node;

    if (nitroDomainTreeCheck(ctxt->node) < 0)
        return -1;

    for (node = xmlFirstElementChild(ctxt->node); node; node = xmlNextElementSibling(node)) {
        if (!nitroDomainTreeIsOurs(node))
            continue;

        if (!ns)
            ns = g_new0(nitroDomainXmlNsDef, 1);

        if (nitroDomainNsParseElement(node, ns) < 0)
            return -1;
    }

    *data = g_steal_pointer(&ns);
    return 0;
}


static void
nitroDomainNsFormatNsm(virBuffer *buf,
                       const nitroDomainXmlNsDef *ns)
{
    if (ns->nsm != VIR_TRISTATE_BOOL_ABSENT)
        virBufferAsprintf(buf, "<nitro:nsm enabled='%s'/>\n",
                          virTristateBoolTypeToString(ns->nsm));

    if (!ns->parentRole && !ns->parentId)
        return;
    virBufferAddLit(buf, "<nitro:parent");
    virBufferEscapeString(buf, " role='%s'", ns->parentRole);
    virBufferEscapeString(buf, " id='%s'", ns->parentId);
    virBufferAddLit(buf, "/>\n");
}


static int
nitroDomainNsFormat(virBuffer *buf,
                    void *data)
{
    const nitroDomainXmlNsDef *ns = data;
    size_t i;

    if (ns->debug != VIR_TRISTATE_BOOL_ABSENT) {
        virBufferAsprintf(buf, "<nitro:enclave debug='%s'/>\n",
                          virTristateBoolTypeToString(ns->debug));
    }

    if (ns->heartbeat != VIR_TRISTATE_BOOL_ABSENT) {
        virBufferAsprintf(buf, "<nitro:heartbeat enabled='%s'",
                          virTristateBoolTypeToString(ns->heartbeat));
        if (ns->heartbeatTimeout > 0)
            virBufferAsprintf(buf, " timeout='%u'", ns->heartbeatTimeout);
        virBufferAddLit(buf, "/>\n");
    }

    if (ns->vsockDirectory)
        virBufferEscapeString(buf, "<nitro:vsock directory='%s'/>\n", ns->vsockDirectory);

    for (i = 0; i < NITRO_PCR_COUNT; i++) {
        if (ns->pcr[i]) {
            virBufferAsprintf(buf, "<nitro:measurement pcr='%zu'>%s</nitro:measurement>\n",
                              i, ns->pcr[i]);
        }
    }

    nitroDomainNsFormatNsm(buf, ns);
    nitroDomainServicesFormat(buf, ns);
    return 0;
}


static void
nitroDomainNsFree(void *data)
{
    nitroDomainXmlNsDefFree(data);
}


virXMLNamespace nitroDomainXMLNamespace = {
    .parse = nitroDomainNsParse,
    .free = nitroDomainNsFree,
    .format = nitroDomainNsFormat,
    .prefix = "nitro",
    .uri = NITRO_DOMAIN_NS_URI,
};
