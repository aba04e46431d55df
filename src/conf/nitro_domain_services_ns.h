/*
 * nitro_domain_services_ns.h: the element <nitro:services>
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_domain_conf.h"
#include "virbuffer.h"
#include "virxml.h"

/*
 * Reads @node, the element <nitro:services>, into @ns. All in it is checked that can be without
 * the rest of the domain.
 *
 * Returns 0, or -1 with VIR_ERR_XML_ERROR set, or VIR_ERR_CONFIG_UNSUPPORTED for more than the
 * driver can do. What was read until then is in @ns.
 */
int nitroDomainServicesParse(xmlNodePtr node,
                             nitroDomainXmlNsDef *ns);

/* Writes the services of @ns to @buf; nothing when it has none. */
void nitroDomainServicesFormat(virBuffer *buf,
                               const nitroDomainXmlNsDef *ns);

/* Frees the services of @ns, and leaves it without any. */
void nitroDomainServicesClear(nitroDomainXmlNsDef *ns);
