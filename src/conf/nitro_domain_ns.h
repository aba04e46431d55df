/*
 * nitro_domain_ns.h: the elements of the nitro namespace
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "virxml.h"

#define NITRO_DOMAIN_NS_URI "http://libvirt.org/schemas/domain/nitro/1.0"

/*
 * The callbacks by which libvirt's parser reads, writes and frees the elements of
 * NITRO_DOMAIN_NS_URI. Their data is a nitroDomainXmlNsDef; it stays NULL when a
 * domain has none of these elements.
 *
 * An unknown element, an unknown attribute and an element at the wrong place are
 * errors (VIR_ERR_XML_ERROR): a check on a measurement that is misspelt must not
 * be a check that never happens. For the same reason all else in the domain is
 * looked through for what nobody would read: see nitro_domain_tree.h.
 */
extern virXMLNamespace nitroDomainXMLNamespace;

/*
 * For elements of the namespace that have a file of their own. Each returns 0, or -1 with
 * VIR_ERR_XML_ERROR set: an attribute of @node that is not in the NULL-terminated list @known is
 * refused; anything in it but spaces and comments, or, if @text, but these and text; and anything
 * but spaces, comments and elements of the namespace, which have the name @child unless it is NULL.
 */
int nitroDomainNsCheckAttributes(xmlNodePtr node, const char **known);
int nitroDomainNsCheckContent(xmlNodePtr node, bool text);
int nitroDomainNsCheckChildren(xmlNodePtr node, const char *child);
