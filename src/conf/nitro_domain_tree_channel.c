/*
 * nitro_domain_tree_channel.c: what stands in a <channel> and would be read by nobody
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which attributes of a <source> libvirt reads depends on the type of the channel, and its schema
 * lets all stand in all. Here an address that is passed over would be a way into an enclave, or out
 * of it, other than the one that is written.
 */

#include <config.h>

#include "nitro_domain_tree.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

#define LIST(...) ((const char *const []) { __VA_ARGS__, NULL })

/* The attributes of elements in a channel; @type: of channels of this type alone */
static const struct {
    const char *type;
    const char *name;
    const char *const *known;
} elements[] = {
    { NULL, "target", LIST("type", "name", "state") },
    { "tcp", "source", LIST("mode", "host", "service", "tlsFromConfig") }, /* that: in a status */
    { "unix", "source", LIST("mode", "path") },
    { "file", "source", LIST("path", "append") },
    { "tcp", "protocol", LIST("type") },
};


/* @known: the names of the attributes that @node can have */
static int
nitroDomainTreeCheckChannelAttributes(xmlNodePtr node,
                                      const char *const *known,
                                      const char *type)
{
    xmlAttrPtr attr;

    for (attr = node->properties; attr; attr = attr->next) {
        const char *name = (const char *) attr->name;

        if (attr->ns || !g_strv_contains(known, name)) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("<%s %s=> is not supported for a channel of type '%s' of an enclave"),
                           node->name, name, type);
            return -1;
        }
    }
    return 0;
}


static int
nitroDomainTreeCheckChannelElement(xmlNodePtr node,
                                   const char *type)
{
    bool other = false;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(elements); i++) {
        if (!virXMLNodeNameEqual(node, elements[i].name))
            continue;

        if (!elements[i].type || STREQ(elements[i].type, type))
            return nitroDomainTreeCheckChannelAttributes(node, elements[i].known, type);
        other = true;
    }

    if (other) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<%s> is not supported for a channel of type '%s' of an enclave"),
                       node->name, type);
        return -1;
    }
    return 0;
}


/*
 * libvirt does not tell a UNIX socket without a path from none at all, and leaves its mode out when
 * it writes it.
 */
static int
nitroDomainTreeCheckChannelMode(xmlNodePtr source,
                                const char *type)
{
    g_autofree char *mode = virXMLPropString(source, "mode");
    g_autofree char *path = virXMLPropString(source, "path");

    if (STREQ(type, "unix") && !path && STREQ_NULLABLE(mode, "connect")) {
        virReportError(VIR_ERR_XML_ERROR, "%s",
                       _("channel of type 'unix' with mode='connect' needs a <source> with an absolute path"));
        return -1;
    }
    return 0;
}


int
nitroDomainTreeCheckChannel(xmlNodePtr node)
{
    g_autofree char *type = virXMLPropString(node, "type");
    xmlNodePtr child;

    if (nitroDomainTreeCheckChannelAttributes(node, LIST("type"), type) < 0)
        return -1;

    for (child = xmlFirstElementChild(node); child; child = xmlNextElementSibling(child)) {
        if (nitroDomainTreeCheckChannelElement(child, type) < 0 ||
            (virXMLNodeNameEqual(child, "source") &&
             nitroDomainTreeCheckChannelMode(child, type) < 0))
            return -1;
    }
    return 0;
}
