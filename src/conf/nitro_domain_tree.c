/*
 * nitro_domain_tree.c: what stands in a domain's XML and would be read by nobody
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * libvirt asks the XML tree for what it knows, and passes over the rest. A measurement that is
 * passed over is a check that never happens, so the whole tree is looked through here. It is
 * walked node by node, which takes a tenth of what XPath does: each definition comes through
 * here at its daemon's start.
 */

#include <config.h>

#include "nitro_domain_tree.h"
#include "nitro_domain_ns.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_DOMAIN

#define NITRO_DOMAIN_NS_PREFIX "nitro"

/* Without a namespace <vsock> is a device of libvirt's: it is told by its place alone. */
static const char *ourNames[] = { "enclave", "heartbeat", "measurement", "services", NULL };

/* The elements of libvirt's schema, of all versions to date. */

static const char *domainOnce[] = {
    "name", "uuid", "hwuuid", "genid", "title", "description", "metadata", "memory", "maxMemory",
    "currentMemory", "memoryBacking", "vcpu", "vcpus", "iothreads", "iothreadids",
    "defaultiothread", "throttlegroups", "blkiotune", "memtune", "cputune", "numatune", "resource",
    "bootloader", "bootloader_args", "os", "clock", "features", "cpu", "pm", "perf", "idmap",
    "keywrap", "launchSecurity", "on_reboot", "on_poweroff", "on_crash", "on_lockfailure",
    "devices", NULL
};
static const char *domainMany[] = { "sysinfo", "seclabel", NULL };

static const char *osOnce[] = {
    "type", "firmware", "loader", "nvram", "varstore", "kernel", "initrd", "root", "cmdline",
    "shim", "dtb", "bootmenu", "smbios", "bios", "acpi", "init", "initdir", "inituser",
    "initgroup", NULL
};
static const char *osMany[] = { "boot", "initarg", "initenv", NULL };

static const char *devicesOnce[] = { "emulator", NULL };
static const char *devicesMany[] = {
    "disk", "controller", "lease", "filesystem", "interface", "input", "sound", "audio", "hostdev",
    "graphics", "video", "console", "parallel", "serial", "channel", "smartcard", "hub",
    "redirdev", "redirfilter", "rng", "tpm", "shmem", "memory", "watchdog", "memballoon", "nvram",
    "panic", "iommu", "vsock", "crypto", "pstore", NULL
};


bool
nitroDomainTreeIsOurs(const xmlNode *node)
{
    return node->ns && xmlStrEqual(node->ns->href, BAD_CAST NITRO_DOMAIN_NS_URI);
}


/* The element of ours that @name means, in whatever case it is written; or NULL. */
static const char *
nitroDomainTreeFindOurName(const char *name)
{
    size_t i;

    for (i = 0; ourNames[i]; i++) {
        if (g_ascii_strcasecmp(name, ourNames[i]) == 0)
            return ourNames[i];
    }

    return NULL;
}


/* @name has the prefix @prefix, with or without a declaration of it. */
static int
nitroDomainTreeReportUndeclared(const char *name)
{
    virReportError(VIR_ERR_XML_ERROR,
                   _("the prefix of '%s' is not declared: nobody would read it, add xmlns:%.*s='%s' to <domain> if it is meant for the nitro driver"),
                   name, (int) (strchr(name, ':') - name), name, NITRO_DOMAIN_NS_URI);
    return -1;
}


/* An element or attribute whose name the parser leaves with its colon has an unknown prefix. */
static bool
nitroDomainTreeIsUndeclared(const xmlNs *ns,
                            const xmlChar *name)
{
    return !ns && strchr((const char *) name, ':');
}


/* The namespace of one element; @belongs: elements of ours may stand here. */
static int
nitroDomainTreeCheckNamespace(const xmlNode *node,
                              bool belongs)
{
    const char *name = (const char *) node->name;
    const char *meant = nitroDomainTreeFindOurName(name);

    if (nitroDomainTreeIsOurs(node)) {
        if (belongs)
            return 0;
        virReportError(VIR_ERR_XML_ERROR,
                       _("element 'nitro:%s' belongs directly into <domain>, not into <%s>"),
                       name, node->parent->name);
        return -1;
    }

    if (nitroDomainTreeIsUndeclared(node->ns, node->name))
        return nitroDomainTreeReportUndeclared(name);

    if (!node->ns && meant) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("element '%s' has no namespace, and nobody would read it: write <nitro:%s> and add xmlns:nitro='%s' to <domain>"),
                       name, meant, NITRO_DOMAIN_NS_URI);
        return -1;
    }

    if (node->ns && (meant ||
                     STREQ_NULLABLE((const char *) node->ns->prefix, NITRO_DOMAIN_NS_PREFIX))) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("element '%s' is in the namespace '%s', and nobody would read it: add xmlns:nitro='%s' to <domain>"),
                       name, node->ns->href, NITRO_DOMAIN_NS_URI);
        return -1;
    }

    if (node->ns) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("element '%s' of namespace '%s' does not apply to an enclave"),
                       name, node->ns->href);
        return -1;
    }

    return 0;
}


static int
nitroDomainTreeReportEntity(const xmlNode *entity)
{
    virReportError(VIR_ERR_XML_ERROR,
                   _("entity '&%s;' is not supported: write what it stands for"), entity->name);
    return -1;
}


static int
nitroDomainTreeCheckAttributes(const xmlNode *node)
{
    const xmlAttr *attr;
    const xmlNode *text;

    for (attr = node->properties; attr; attr = attr->next) {
        if (nitroDomainTreeIsUndeclared(attr->ns, attr->name))
            return nitroDomainTreeReportUndeclared((const char *) attr->name);

        if (attr->ns &&
            (xmlStrEqual(attr->ns->href, BAD_CAST NITRO_DOMAIN_NS_URI) ||
             STREQ_NULLABLE((const char *) attr->ns->prefix, NITRO_DOMAIN_NS_PREFIX))) {
            virReportError(VIR_ERR_XML_ERROR,
                           _("attribute 'nitro:%s' of element '%s': the nitro namespace has elements only"),
                           attr->name, node->name);
            return -1;
        }

        for (text = attr->children; text; text = text->next) {
            if (text->type == XML_ENTITY_REF_NODE)
                return nitroDomainTreeReportEntity(text);
        }
    }

    return 0;
}


/* All in @parent but for the <metadata> of a domain; @isDomain: it is the element <domain>. */
static int
nitroDomainTreeCheckInside(const xmlNode *parent,
                           bool isDomain)
{
    const xmlNode *node;

    if (nitroDomainTreeCheckAttributes(parent) < 0)
        return -1;

    for (node = parent->children; node; node = node->next) {
        if (node->type == XML_ENTITY_REF_NODE)
            return nitroDomainTreeReportEntity(node);

        if (node->type != XML_ELEMENT_NODE ||
            (isDomain && !node->ns && xmlStrEqual(node->name, BAD_CAST "metadata")))
            continue;

        if (nitroDomainTreeCheckNamespace(node, isDomain) < 0 ||
            nitroDomainTreeCheckInside(node, false) < 0)
            return -1;
    }

    return 0;
}


/* Refuses what of @parent is in neither list, and a second one of @once. */
static int
nitroDomainTreeCheckKnown(xmlNodePtr parent,
                          const char *const *once,
                          const char *const *many)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    xmlNodePtr node;

    for (node = xmlFirstElementChild(parent); node; node = xmlNextElementSibling(node)) {
        const char *name = (const char *) node->name;

        if (node->ns || g_strv_contains(many, name))
            continue;

        if (!g_strv_contains(once, name)) {
            virReportError(VIR_ERR_XML_ERROR,
                           _("element <%s> is not one of <%s>: nobody would read it"),
                           name, parent->name);
            return -1;
        }

        if (!g_hash_table_add(seen, (char *) name)) {
            virReportError(VIR_ERR_XML_ERROR,
                           _("element <%s> stands in <%s> more than once: the second one would be read by nobody"),
                           name, parent->name);
            return -1;
        }
    }

    return 0;
}


int
nitroDomainTreeCheck(xmlNodePtr domain)
{
    xmlNodePtr node;

    if (nitroDomainTreeCheckInside(domain, true) < 0 ||
        nitroDomainTreeCheckKnown(domain, domainOnce, domainMany) < 0)
        return -1;

    for (node = xmlFirstElementChild(domain); node; node = xmlNextElementSibling(node)) {
        if ((virXMLNodeNameEqual(node, "os") &&
             nitroDomainTreeCheckKnown(node, osOnce, osMany) < 0) ||
            (virXMLNodeNameEqual(node, "devices") &&
             nitroDomainTreeCheckKnown(node, devicesOnce, devicesMany) < 0))
            return -1;
    }

    return 0;
}


int
nitroDomainTreeCheckDevice(const char *xml)
{
    g_autoptr(xmlDoc) doc = NULL;
    xmlNodePtr root;

    if (!(doc = virXMLParseStringCtxt(xml, _("(device_definition)"), NULL)))
        return -1;

    root = xmlDocGetRootElement(doc);
    if (nitroDomainTreeIsOurs(root)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("element 'nitro:%s' belongs directly into <domain>, it is not a device"),
                       root->name);
        return -1;
    }

    if (nitroDomainTreeCheckNamespace(root, false) < 0)
        return -1;

    return nitroDomainTreeCheckInside(root, false);
}
