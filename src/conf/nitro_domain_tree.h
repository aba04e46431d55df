/*
 * nitro_domain_tree.h: what stands in a domain's XML and would be read by nobody
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "virxml.h"

/* Whether @node is an element of NITRO_DOMAIN_NS_URI. */
bool nitroDomainTreeIsOurs(const xmlNode *node);

/*
 * Looks through all that is in the element @domain, but for <metadata>, for what libvirt's
 * parser and the driver's would pass over without a word:
 *
 * - the driver's own elements without their namespace, in another one or with a prefix that is
 *   not declared, at another place than directly in <domain>; attributes likewise,
 * - elements of other namespaces, which configure other hypervisors,
 * - elements that no version of libvirt knows at their place, or that libvirt 9.0 does not read
 *   there, and a second one of those of which it reads the first only,
 * - entities, whose elements no XPath expression finds.
 *
 * Returns 0, or -1 with VIR_ERR_XML_ERROR set (VIR_ERR_CONFIG_UNSUPPORTED for what has a meaning
 * for other hypervisors) that names the element and what to change.
 */
int nitroDomainTreeCheck(xmlNodePtr domain);

/* The same for the text @xml of a single device; elements of the driver's own are never in one. */
int nitroDomainTreeCheckDevice(const char *xml);

/*
 * For nitro_domain_tree.c: checks the attributes of @node, a <channel> of a type that an enclave can
 * have, and of what is in it (nitro_domain_tree_channel.c). Returns 0, or -1 with an error set:
 * VIR_ERR_XML_ERROR, or VIR_ERR_CONFIG_UNSUPPORTED where libvirt has a meaning for it.
 */
int nitroDomainTreeCheckChannel(xmlNodePtr node);
