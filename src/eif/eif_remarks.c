/*
 * eif_remarks.c: what is unusual in an image, but no fault
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: the EifImage that eif_read.c has checked -> sentences. What they name has no
 * meaning in the format ("reserved", which readers ignore), or only a part of the readers
 * take it.
 */

#include "eif_internal.h"

#include <inttypes.h>

static void
addSectionRemarks(GPtrArray *remarks, const EifImage *image, size_t i)
{
    const EifSection *section = &image->sections[i];
    const char *type = eifSectionTypeToString(section->type);
    uint64_t gap = eifImageGetGap(image, section);

    if (gap > 0)
        g_ptr_array_add(remarks, g_strdup_printf(
            _("the %" PRIu64 " bytes before section %zu (%s) belong to no section, and nitro-cli "
              "cannot read such an image"), gap, i, type));
    if (section->flags != 0)
        g_ptr_array_add(remarks, g_strdup_printf(
            _("section %zu (%s): flags is 0x%04x, and all of its bits are reserved"), i, type,
            section->flags));
    if (section->type == EIF_SECTION_SIGNATURE && section->size > EIF_SIGNATURE_FORMAT_MAX)
        g_ptr_array_add(remarks, g_strdup_printf(
            _("section %zu (signature) has %" PRIu64 " bytes, more than the %d that the format "
              "allows"), i, section->size, EIF_SIGNATURE_FORMAT_MAX));
}

char **
eifImageGetRemarks(const EifImage *image)
{
    GPtrArray *remarks = g_ptr_array_new();
    size_t i;

    if (image->flags & ~EIF_HEADER_FLAG_AARCH64)
        g_ptr_array_add(remarks, g_strdup_printf(
            _("EIF header: flags is 0x%04x, and all bits but bit 0 (aarch64) are reserved"),
            image->flags));
    for (i = 0; i < image->nsections; i++)
        addSectionRemarks(remarks, image, i);

    g_ptr_array_add(remarks, NULL);
    return (char **)g_ptr_array_free(remarks, FALSE);
}
