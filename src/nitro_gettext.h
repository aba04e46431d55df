/*
 * nitro_gettext.h: messages in the user's language
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * _() finds the translation of a message in the catalogue of this project, whose text
 * domain is "libvirt-nitro". In code that uses libvirt's internal headers it takes the place
 * of libvirt's _(), and so has to know libvirt's own messages too: macros of these headers
 * have some (virCheckFlags). The compiler includes this file there before any other.
 */

#pragma once

#ifdef IN_LIBVIRT
# include <config.h>
# include "internal.h"
# undef _
#else
# define N_(str) str
#endif

#include <libintl.h>
#include <locale.h>
#include <stdlib.h>

#define NITRO_TEXT_DOMAIN "libvirt-nitro"

/* Returns the translation of @msgid, or @msgid itself; nobody's to free. */
static inline const char *__attribute__((format_arg(1)))
nitroGettext(const char *msgid)
{
    const char *text = dgettext(NITRO_TEXT_DOMAIN, msgid);

#ifdef IN_LIBVIRT
    if (text == msgid)
        text = dgettext(PACKAGE, msgid);
#endif
    return text;
}

#define _(str) nitroGettext(str)

/*
 * Says where the catalogues are: once in a process, which has set its locale. Messages
 * are in @codeset; NULL: in that of the locale. The environment counts for programs that run
 * from the build tree.
 */
static inline void
nitroGettextInitialize(const char *codeset)
{
    const char *dir = getenv("LIBVIRT_NITRO_LOCALEDIR");

    bindtextdomain(NITRO_TEXT_DOMAIN, dir ? dir : NITRO_LOCALEDIR);
    if (codeset)
        bind_textdomain_codeset(NITRO_TEXT_DOMAIN, codeset);
}

/*
 * Reads the catalogues of the locale: for a process that can open no file later. What is asked for
 * is in none of them, so that those of all languages are searched.
 */
static inline void
nitroGettextLoad(void)
{
    static const char *const domains[] = {NITRO_TEXT_DOMAIN, "libc", "glib20"};
    size_t i;

    for (i = 0; i < sizeof(domains) / sizeof(domains[0]); i++)
        dgettext(domains[i], "There is no such message");
}
