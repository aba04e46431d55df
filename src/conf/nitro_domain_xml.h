/*
 * nitro_domain_xml.h: the XML of a domain, read in two steps
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a client sends is parsed only when it is known that the client may do what it asks
 * for: step one finds out which domain the text is about, and the access is checked with
 * that; step two parses. No number in the text decides how much memory step one takes, and
 * none that an enclave cannot have reaches libvirt's parser in step two.
 */

#pragma once

#include "domain_conf.h"

typedef struct _nitroDomainXml nitroDomainXml;

/*
 * Step one: reads name, UUID and type out of @xml, which stays in use.
 *
 * Returns the document, the caller's to free; or NULL with an error set:
 * VIR_ERR_XML_DETAIL or VIR_ERR_XML_ERROR where @xml is not a <domain>, VIR_ERR_NO_NAME,
 * VIR_ERR_CONFIG_UNSUPPORTED for a domain of another driver.
 */
nitroDomainXml *nitroDomainXmlRead(const char *xml);

/*
 * What the checks of the access take (vir*EnsureACL): a definition of nothing but the name
 * and the UUID, which is zero where the document has none. Owned by @doc.
 */
virDomainDef *nitroDomainXmlGetIDs(nitroDomainXml *doc);

/*
 * Step two: parses the document to an inactive definition. @validate: against the schema,
 * too. Call it once for a document.
 *
 * Returns the definition, the caller's to free; or NULL with an error set. Numbers that
 * no enclave can have are VIR_ERR_CONFIG_UNSUPPORTED.
 */
virDomainDef *nitroDomainXmlParse(nitroDomainXml *doc,
                                  virDomainXMLOption *xmlopt,
                                  bool validate);

void nitroDomainXmlFree(nitroDomainXml *doc);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(nitroDomainXml, nitroDomainXmlFree);
