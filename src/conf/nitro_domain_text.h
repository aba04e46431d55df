/*
 * nitro_domain_text.h: texts that can be names and files
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

/* The bytes of a name at most: it is a file NAME.xml, which is written as NAME.xml.new first. */
#define NITRO_NAME_MAX (255 - 8)

/*
 * Checks that @text, that of @element, comes back as it is from the XML in which the driver
 * keeps it, and shows as one line where it is printed: that it is UTF-8 without control
 * characters and what XML cannot have. @lines: newlines and tabs are good as well. Good is also
 * NULL.
 *
 * Returns 0, or -1 with VIR_ERR_XML_ERROR set that names the element and the character.
 */
int nitroDomainTextCheck(const char *element, const char *text, bool lines);

/*
 * The same for @name, the name of a domain, which has to be the name of a file, too. (Of its XML
 * libvirt's parser refuses the slash.) Returns 0, or -1 with VIR_ERR_XML_ERROR set, for a newline
 * VIR_ERR_XML_DETAIL as libvirt's drivers have it.
 */
int nitroDomainNameCheck(const char *name);
