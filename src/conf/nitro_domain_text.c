/*
 * nitro_domain_text.c: texts that can be names and files
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * libvirt writes a carriage return into XML as it is, and reads it back as a newline; other
 * control characters it leaves out, and in an attribute a newline comes back as a space. A name
 * that has changed this way is not the name of its file any more: undefine leaves the file, and
 * the domain comes back with the next daemon.
 */

#include <config.h>

#include "nitro_domain_text.h"
#include "virerror.h"
#include "virxml.h"

#define VIR_FROM_THIS VIR_FROM_NITRO


int
nitroDomainTextCheck(const char *element,
                     const char *text,
                     bool lines)
{
    const char *end;
    const char *at;

    if (!text)
        return 0;

    if (!g_utf8_validate(text, -1, &end)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("the text of <%s> is not valid UTF-8 after %zu bytes"),
                       element, (size_t) (end - text));
        return -1;
    }

    for (at = text; *at; at = g_utf8_next_char(at)) {
        gunichar c = g_utf8_get_char(at);

        if (lines && (c == '\n' || c == '\t'))
            continue;

        if (g_unichar_iscntrl(c) || c == 0xfffe || c == 0xffff) {
            virReportError(VIR_ERR_XML_ERROR,
                           _("the text of <%s> has the control character U+%04X after %zu bytes: leave it out"),
                           element, c, (size_t) (at - text));
            return -1;
        }
    }

    return 0;
}


int
nitroDomainNameCheck(const char *name)
{
    if (strlen(name) > NITRO_NAME_MAX) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("a name of %zu bytes is too long: it can have %u"),
                       strlen(name), NITRO_NAME_MAX);
        return -1;
    }

    /* every driver of libvirt says this of the newline */
    if (virXMLCheckIllegalChars("name", name, "\n") < 0)
        return -1;

    return nitroDomainTextCheck("name", name, false);
}
