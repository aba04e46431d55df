/*
 * nitro_domain_services_ns.c: the element <nitro:services>
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * <nitro:services> -> services[] of nitroDomainXmlNsDef -> <nitro:services>. What an attribute
 * leaves to the default is 0 there, so that it is not in the XML that comes out.
 */

#include <config.h>

#include "nitro_domain_services_ns.h"
#include "nitro_domain_host.h"
#include "nitro_domain_ns.h"
#include "nitro_domain_services.h"
#include "nitro_domain_tree.h"
#include "services_protocol.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

#define NITRO_SERVICE_TCP_PORT_MAX 65535
#define NITRO_SERVICE_INTERVAL_MAX 3600 /* seconds */
#define NITRO_SERVICE_FAILURES_MAX 100


void
nitroDomainServicesClear(nitroDomainXmlNsDef *ns)
{
    size_t i;

    for (i = 0; i < ns->nservices; i++)
        g_strfreev(ns->services[i].allow);

    g_clear_pointer(&ns->services, g_free);
    ns->nservices = 0;
}


/* Reads the attribute @name of @node, a number from 1 to @max; @required or left as it is. */
static int
nitroDomainServicesParseNumber(xmlNodePtr node,
                               const char *name,
                               bool required,
                               unsigned int max,
                               unsigned int *number)
{
    g_autofree char *text = virXMLPropString(node, name);

    if (!text && !required)
        return 0;

    if (!text) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("element 'nitro:%s' needs the attribute '%s', a number from 1 to %u"),
                       node->name, name, max);
        return -1;
    }

    if (!nitroDomainHostParseNumber(text, max, number)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("%s='%s' of element 'nitro:%s' is not a number from 1 to %u"),
                       name, text, node->name, max);
        return -1;
    }
    return 0;
}


/* Returns "HOST:PORT" of @node, <nitro:allow>; or NULL with an error set. */
static char *
nitroDomainServicesParseAllow(xmlNodePtr node)
{
    const char *known[] = { "host", "port", NULL };
    g_autofree char *host = NULL;
    g_autofree char *port = NULL;
    unsigned int number;

    if (nitroDomainNsCheckAttributes(node, known) < 0 ||
        nitroDomainNsCheckContent(node, false) < 0)
        return NULL;

    host = virXMLPropString(node, "host");
    port = virXMLPropString(node, "port");

    if (!nitroDomainHostIsPattern(host)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("host='%s' of element 'nitro:allow' is neither a name, '*.' and a name, an IP address, a network such as '10.0.0.0/8' with no bits beyond its prefix, nor '*'"),
                       NULLSTR_EMPTY(host));
        return NULL;
    }

    if (STRNEQ_NULLABLE(port, "*") &&
        !nitroDomainHostParseNumber(port, NITRO_SERVICE_TCP_PORT_MAX, &number)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("port='%s' of element 'nitro:allow' is neither a number from 1 to %d nor '*'"),
                       NULLSTR_EMPTY(port), NITRO_SERVICE_TCP_PORT_MAX);
        return NULL;
    }

    if (strchr(host, ':'))
        return g_strdup_printf("[%s]:%s", host, port);
    return g_strdup_printf("%s:%s", host, port);
}


static int
nitroDomainServicesParseProxy(xmlNodePtr node,
                              nitroServiceDef *service)
{
    const char *known[] = { "port", NULL };
    g_autoptr(GPtrArray) allow = g_ptr_array_new_with_free_func(g_free);
    xmlNodePtr child;
    char *rule;

    if (nitroDomainNsCheckAttributes(node, known) < 0 ||
        nitroDomainNsCheckChildren(node, "allow") < 0)
        return -1;

    for (child = xmlFirstElementChild(node); child; child = xmlNextElementSibling(child)) {
        if (!(rule = nitroDomainServicesParseAllow(child)))
            return -1;
        g_ptr_array_add(allow, rule);
    }

    if (allow->len > 0) {
        g_ptr_array_add(allow, NULL);
        g_ptr_array_set_free_func(allow, NULL);
        service->allow = (char **) g_ptr_array_free(g_steal_pointer(&allow), false);
    }
    return 0;
}


static int
nitroDomainServicesParseHealth(xmlNodePtr node,
                               nitroServiceDef *service)
{
    const char *known[] = { "port", "interval", "failures", NULL };

    if (nitroDomainNsCheckAttributes(node, known) < 0 ||
        nitroDomainNsCheckContent(node, false) < 0)
        return -1;

    if (nitroDomainServicesParseNumber(node, "interval", false, NITRO_SERVICE_INTERVAL_MAX,
                                       &service->interval) < 0 ||
        nitroDomainServicesParseNumber(node, "failures", false, NITRO_SERVICE_FAILURES_MAX,
                                       &service->failures) < 0)
        return -1;

    return 0;
}


static int
nitroDomainServicesParseOther(xmlNodePtr node)
{
    const char *known[] = { "port", NULL };

    if (nitroDomainNsCheckAttributes(node, known) < 0 ||
        nitroDomainNsCheckContent(node, false) < 0)
        return -1;
    return 0;
}


static int
nitroDomainServicesParseOne(xmlNodePtr node,
                            nitroServiceDef *service)
{
    int type = nitroServiceTypeFromString((const char *) node->name);

    if (nitroDomainServicesParseNumber(node, "port", true, NITRO_SERVICE_PORT_MAX,
                                       &service->port) < 0)
        return -1;

    service->type = type;
    if (type == NITRO_SERVICE_PROXY)
        return nitroDomainServicesParseProxy(node, service);
    if (type == NITRO_SERVICE_HEALTH)
        return nitroDomainServicesParseHealth(node, service);
    return nitroDomainServicesParseOther(node);
}


/* Whether @node is a service that is no channel */
static int
nitroDomainServicesCheckName(xmlNodePtr node)
{
    switch ((int) nitroServiceTypeFromString((const char *) node->name)) {
    case NITRO_SERVICE_PROXY:
    case NITRO_SERVICE_SYSLOG:
    case NITRO_SERVICE_TIME:
    case NITRO_SERVICE_HEALTH:
    case NITRO_SERVICE_EXIT:
        return 0;

    case NITRO_SERVICE_OUTBOUND:
    case NITRO_SERVICE_INBOUND:
    case NITRO_SERVICE_LOG:
        virReportError(VIR_ERR_XML_ERROR,
                       _("element 'nitro:%s' is not supported: write it as a <channel> of <devices>"),
                       node->name);
        return -1;
    }

    virReportError(VIR_ERR_XML_ERROR,
                   _("unknown element 'nitro:%s' in 'nitro:services'"), node->name);
    return -1;
}


/* Those before @node are looked through, as an empty one leaves nothing behind. */
static int
nitroDomainServicesCheckOnce(xmlNodePtr node)
{
    xmlNodePtr before = node;

    while ((before = xmlPreviousElementSibling(before))) {
        if (nitroDomainTreeIsOurs(before) && virXMLNodeNameEqual(before, "services")) {
            virReportError(VIR_ERR_XML_ERROR, "%s",
                           _("element 'nitro:services' can only appear once"));
            return -1;
        }
    }
    return 0;
}


int
nitroDomainServicesParse(xmlNodePtr node,
                         nitroDomainXmlNsDef *ns)
{
    const char *known[] = { NULL };
    size_t n = xmlChildElementCount(node);
    xmlNodePtr child;

    if (nitroDomainServicesCheckOnce(node) < 0)
        return -1;

    if (nitroDomainNsCheckAttributes(node, known) < 0 ||
        nitroDomainNsCheckChildren(node, NULL) < 0)
        return -1;

    if (n > NITRO_SERVICES_MAX) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("%zu services are not supported: an enclave can have %d"),
                       n, NITRO_SERVICES_MAX);
        return -1;
    }

    ns->services = g_new0(nitroServiceDef, n);
    for (child = xmlFirstElementChild(node); child; child = xmlNextElementSibling(child)) {
        if (nitroDomainServicesCheckName(child) < 0 ||
            nitroDomainServicesParseOne(child, &ns->services[ns->nservices++]) < 0)
            return -1;
    }
    return 0;
}


/* @rule: "HOST:PORT", as nitroDomainServicesParseAllow() has made it */
static void
nitroDomainServicesFormatAllow(virBuffer *buf,
                               const char *rule)
{
    const char *colon = strrchr(rule, ':');
    bool brackets = *rule == '[';
    g_autofree char *host = g_strndup(rule + brackets, colon - rule - 2 * brackets);

    virBufferEscapeString(buf, "<nitro:allow host='%s'", host);
    virBufferEscapeString(buf, " port='%s'/>\n", colon + 1);
}


static void
nitroDomainServicesFormatOne(virBuffer *buf,
                             const nitroServiceDef *service)
{
    const char *name = nitroServiceTypeToString(service->type);
    char **rule;

    virBufferAsprintf(buf, "<nitro:%s port='%u'", name, service->port);
    if (service->interval > 0)
        virBufferAsprintf(buf, " interval='%u'", service->interval);
    if (service->failures > 0)
        virBufferAsprintf(buf, " failures='%u'", service->failures);

    if (!service->allow) {
        virBufferAddLit(buf, "/>\n");
        return;
    }

    virBufferAddLit(buf, ">\n");
    virBufferAdjustIndent(buf, 2);
    for (rule = service->allow; *rule; rule++)
        nitroDomainServicesFormatAllow(buf, *rule);
    virBufferAdjustIndent(buf, -2);
    virBufferAsprintf(buf, "</nitro:%s>\n", name);
}


void
nitroDomainServicesFormat(virBuffer *buf,
                          const nitroDomainXmlNsDef *ns)
{
    size_t i;

    if (ns->nservices == 0)
        return;

    virBufferAddLit(buf, "<nitro:services>\n");
    virBufferAdjustIndent(buf, 2);
    for (i = 0; i < ns->nservices; i++)
        nitroDomainServicesFormatOne(buf, &ns->services[i]);
    virBufferAdjustIndent(buf, -2);
    virBufferAddLit(buf, "</nitro:services>\n");
}
