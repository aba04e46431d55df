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

#define VIR_FROM_THIS VIR_FROM_NITRO

#define NITRO_DOMAIN_NS_PREFIX "nitro"

/* Without a namespace <vsock> is a device of libvirt's: it is told by its place alone. */
static const char *ourNames[] = { "enclave", "heartbeat", "measurement", "nsm", "parent",
                                  "services", NULL };

/*
 * The elements of libvirt's schema in those that a domain of ours can have: what all versions to
 * date have in them once (of a second one nobody reads), and any number of times; and what they
 * have, too, but the parser of libvirt 9.0 passes over, at least for an enclave.
 */
typedef struct {
    const char *parent;
    const char *name;
    const char *const *once;
    const char *const *many;
    const char *const *unread;
} nitroDomainTreeElement;

#define LIST(...) ((const char *const []) { __VA_ARGS__, NULL })
#define NO_LIST ((const char *const []) { NULL })

static const nitroDomainTreeElement elements[] = {
    { NULL, "domain",
      LIST("name", "uuid", "genid", "title", "description", "metadata", "memory", "maxMemory",
           "currentMemory", "memoryBacking", "vcpu", "vcpus", "iothreads", "iothreadids",
           "defaultiothread", "blkiotune", "memtune", "cputune", "numatune", "resource",
           "bootloader", "bootloader_args", "os", "clock", "features", "cpu", "pm", "perf",
           "idmap", "keywrap", "launchSecurity", "on_reboot", "on_poweroff", "on_crash",
           "on_lockfailure", "devices"),
      LIST("sysinfo", "seclabel"),
      LIST("hwuuid", "throttlegroups") },
    { "domain", "os",
      LIST("type", "loader", "nvram", "kernel", "initrd", "root", "cmdline", "dtb", "bootmenu",
           "smbios", "bios", "acpi"),
      LIST("boot"),
      LIST("firmware", "init", "initarg", "initenv", "initdir", "inituser", "initgroup", "shim",
           "varstore") },
    { "domain", "memoryBacking",
      LIST("hugepages", "nosharepages", "locked", "source", "access", "allocation", "discard"),
      NO_LIST, NO_LIST },
    { "memoryBacking", "hugepages", NO_LIST, LIST("page"), NO_LIST },
    { "domain", "cputune",
      LIST("shares", "period", "quota", "global_period", "global_quota", "emulator_period",
           "emulator_quota", "iothread_period", "iothread_quota", "emulatorpin", "emulatorsched"),
      LIST("vcpupin", "iothreadpin", "vcpusched", "iothreadsched", "cachetune", "memorytune"),
      NO_LIST },
    { "domain", "numatune", LIST("memory"), LIST("memnode"), NO_LIST },
    { "domain", "resource", LIST("partition", "fibrechannel"), NO_LIST, NO_LIST },
    { "domain", "cpu",
      LIST("model", "vendor", "topology", "cache", "maxphysaddr", "numa"),
      LIST("feature"),
      LIST("arch", "signature", "microcode", "counter") },
    { "domain", "clock", NO_LIST, LIST("timer"), NO_LIST },
    { "domain", "pm", LIST("suspend-to-mem", "suspend-to-disk"), NO_LIST, NO_LIST },
    { "domain", "perf", NO_LIST, LIST("event"), NO_LIST },
    { "domain", "seclabel", LIST("label", "imagelabel", "baselabel"), NO_LIST, NO_LIST },
    { "domain", "devices",
      LIST("emulator"),
      LIST("disk", "controller", "lease", "filesystem", "interface", "input", "sound", "audio",
           "hostdev", "graphics", "video", "console", "parallel", "serial", "channel", "smartcard",
           "hub", "redirdev", "redirfilter", "rng", "tpm", "shmem", "memory", "watchdog",
           "memballoon", "nvram", "panic", "iommu", "vsock"),
      LIST("crypto", "pstore") },
    { "devices", "vsock",
      LIST("cid", "driver", "alias", "address", "acpi"),
      NO_LIST,
      LIST("source", "boot", "rom") },
    { "devices", "console",
      LIST("source", "target", "log", "alias", "address", "acpi"),
      NO_LIST,
      LIST("protocol", "boot", "rom") },
    { "devices", "serial",
      LIST("source", "target", "log", "alias", "address", "acpi"),
      NO_LIST,
      LIST("protocol", "boot", "rom") },
    { "devices", "channel",
      LIST("source", "target", "protocol", "alias", "address"),
      NO_LIST,
      LIST("log", "acpi", "boot", "rom") },
    { "console", "target", LIST("model"), NO_LIST, NO_LIST },
    { "serial", "target", LIST("model"), NO_LIST, NO_LIST },
    { "console", "source", LIST("reconnect"), LIST("seclabel"), NO_LIST },
    { "serial", "source", LIST("reconnect"), LIST("seclabel"), NO_LIST },
    { "channel", "target", NO_LIST, NO_LIST, NO_LIST },
    { "channel", "protocol", NO_LIST, NO_LIST, NO_LIST },
    { "channel", "source", NO_LIST, LIST("seclabel"), LIST("reconnect") },
    { "source", "seclabel", LIST("label"), NO_LIST, NO_LIST },
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

        /* libvirt reads it of a TCP socket alone, and what it protects is not one */
        if (xmlStrEqual(node->name, BAD_CAST "source") &&
            xmlStrEqual(attr->name, BAD_CAST "tls") &&
            !xmlStrEqual(node->parent->name, BAD_CAST "channel")) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                           _("<source tls=> is not supported for the console of an enclave"));
            return -1;
        }

        for (text = attr->children; text; text = text->next) {
            if (text->type == XML_ENTITY_REF_NODE)
                return nitroDomainTreeReportEntity(text);
        }
    }

    return 0;
}


/* Whether elements of ours have others of ours in them */
static bool
nitroDomainTreeIsParent(const xmlNode *node)
{
    return nitroDomainTreeIsOurs(node) &&
           (xmlStrEqual(node->name, BAD_CAST "services") ||
            xmlStrEqual(node->name, BAD_CAST "proxy"));
}


/* All in @parent but for the <metadata> of a domain; @isDomain: it is the element <domain>. */
static int
nitroDomainTreeCheckInside(const xmlNode *parent,
                           bool isDomain)
{
    bool belongs = isDomain || nitroDomainTreeIsParent(parent);
    const xmlNode *node;

    if (nitroDomainTreeCheckAttributes(parent) < 0)
        return -1;

    for (node = parent->children; node; node = node->next) {
        if (node->type == XML_ENTITY_REF_NODE)
            return nitroDomainTreeReportEntity(node);

        if (node->type != XML_ELEMENT_NODE ||
            (isDomain && !node->ns && xmlStrEqual(node->name, BAD_CAST "metadata")))
            continue;

        if (nitroDomainTreeCheckNamespace(node, belongs) < 0 ||
            nitroDomainTreeCheckInside(node, false) < 0)
            return -1;
    }

    return 0;
}


static const nitroDomainTreeElement *
nitroDomainTreeFindElement(const char *parent,
                           const char *name)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(elements); i++) {
        if (STREQ(elements[i].name, name) && STREQ_NULLABLE(elements[i].parent, parent))
            return &elements[i];
    }

    return NULL;
}


/* Whether @node may stand in an element as @known; @seen: the names of those before it */
static int
nitroDomainTreeCheckChild(const xmlNode *node,
                          const nitroDomainTreeElement *known,
                          GHashTable *seen)
{
    const char *name = (const char *) node->name;

    if (g_strv_contains(known->many, name))
        return 0;

    if (g_strv_contains(known->unread, name)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<%s> of <%s> is not supported for an enclave"), name, known->name);
        return -1;
    }

    if (!g_strv_contains(known->once, name)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("element <%s> is not one of <%s>: nobody would read it"),
                       name, known->name);
        return -1;
    }

    if (!g_hash_table_add(seen, (char *) name)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("element <%s> stands in <%s> more than once: the second one would be read by nobody"),
                       name, known->name);
        return -1;
    }

    return 0;
}


/*
 * Whether @node is something else with other elements in it: an OS that is no 'hvm', a console
 * that is a TCP socket, a channel that is a terminal. It is refused for that, later on.
 */
static bool
nitroDomainTreeIsOtherKind(xmlNodePtr node)
{
    const char *const consoles[] = { "pty", "file", "unix", "null", NULL };
    const char *const channels[] = { "tcp", "unix", "file", NULL };
    xmlNodePtr child;

    if (virXMLNodeNameEqual(node, "console") || virXMLNodeNameEqual(node, "serial")) {
        g_autofree char *type = virXMLPropString(node, "type");

        return type && !g_strv_contains(consoles, type);
    }

    if (virXMLNodeNameEqual(node, "channel")) {
        g_autofree char *type = virXMLPropString(node, "type");

        return !type || !g_strv_contains(channels, type);
    }

    if (!virXMLNodeNameEqual(node, "os"))
        return false;

    for (child = xmlFirstElementChild(node); child; child = xmlNextElementSibling(child)) {
        if (virXMLNodeNameEqual(child, "type")) {
            g_autofree char *type = virXMLNodeContentString(child);

            return STRNEQ_NULLABLE(type, "hvm");
        }
    }

    return false;
}


/* Checks that libvirt's elements in @node, which is one of @parent, are read. */
static int
nitroDomainTreeCheckKnown(xmlNodePtr node,
                          const char *parent)
{
    const char *name = (const char *) node->name;
    const nitroDomainTreeElement *known = nitroDomainTreeFindElement(parent, name);
    g_autoptr(GHashTable) seen = NULL;
    xmlNodePtr child;

    if (!known || nitroDomainTreeIsOtherKind(node))
        return 0;

    if (virXMLNodeNameEqual(node, "channel") && nitroDomainTreeCheckChannel(node) < 0)
        return -1;

    seen = g_hash_table_new(g_str_hash, g_str_equal);
    for (child = node->children; child; child = child->next) {
        if (child->type != XML_ELEMENT_NODE || child->ns)
            continue;

        if (nitroDomainTreeCheckChild(child, known, seen) < 0 ||
            nitroDomainTreeCheckKnown(child, name) < 0)
            return -1;
    }

    return 0;
}


int
nitroDomainTreeCheck(xmlNodePtr domain)
{
    if (nitroDomainTreeCheckInside(domain, true) < 0)
        return -1;

    return nitroDomainTreeCheckKnown(domain, NULL);
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

    if (nitroDomainTreeCheckNamespace(root, false) < 0 ||
        nitroDomainTreeCheckInside(root, false) < 0)
        return -1;

    return nitroDomainTreeCheckKnown(root, "devices");
}
