/*
 * virt_eif_convert.c: virt-eif convert
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: image -> whole? -> the same with another version, with a metadata section from version 4
 * on and without one before -> is it good? -> it takes the name. Measurements and signature stay.
 */

#include "virt_eif.h"
#include "virt_eif_output.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* From this version on, an image needs metadata; a reader of an older one knows none. */
#define VERSION_METADATA 4

/* How @image has to change to be of @version; static texts only */
static EifChange
planChange(const EifImage *image, int version)
{
    const EifSection *metadata = eifImageFindSection(image, EIF_SECTION_METADATA);
    EifChange change = { .version = version };

    if (version >= VERSION_METADATA && !metadata) {
        change.type = EIF_SECTION_METADATA;
        change.content = "{}";
        change.len = strlen(change.content);
    } else if (version < VERSION_METADATA && metadata) {
        change.type = EIF_SECTION_METADATA;
    }
    return change;
}

static int
convert(int fd, const char *path, int version, const char *outputPath)
{
    VirtEifProgress progress = virtEifProgressBegin("Writing");
    g_autoptr(GError) error = NULL;
    EifMeasurements measurements;
    VirtEifOutput output;
    EifChange change;
    EifImage image;
    int ret;

    if (virtEifCheckImage(fd, path, false, virtEifProgressShow, &image, &measurements) < 0)
        return -1;

    change = planChange(&image, version);
    if (virtEifOutputBegin(&output, outputPath ? outputPath : path, outputPath ? -1 : fd) < 0)
        return -1;

    ret = eifImageRewrite(&image, fd, &change, output.fd, virtEifOutputProgress, &progress, &error);
    virtEifProgressEnd(&progress);
    if (ret < 0)
        virtEifError("%s: %s", output.path, error->message);
    else
        ret = virtEifCheckImage(output.fd, output.path, false, virtEifOutputProgress, &image,
                                &measurements);
    return virtEifOutputEnd(&output, ret, true);
}

int
virtEifConvert(int argc, char **argv)
{
    g_autofree char *output = NULL;
    int version = 0;
    const GOptionEntry entries[] = {
        { "eif-version", 'e', 0, G_OPTION_ARG_INT, &version,
          N_("Version of the format: 2, 3 or 4 (required)"), "NUMBER" },
        { "output", 'o', 0, G_OPTION_ARG_FILENAME, &output,
          N_("Image to write (default: the image is replaced)"), "FILE" },
        { NULL },
    };
    int fd;
    int ret;

    if (virtEifParseOptions(&argc, &argv, entries, "--eif-version NUMBER FILE",
                            N_("Writes an image in another version of the format."), 1) < 0)
        return EXIT_FAILURE;
    if (version < EIF_VERSION_MIN || version > EIF_VERSION) {
        virtEifError("option --eif-version is missing or wrong: it takes a number from %d to %d",
                     EIF_VERSION_MIN, EIF_VERSION);
        return EXIT_FAILURE;
    }
    if ((fd = virtEifOpen(argv[1])) < 0)
        return EXIT_FAILURE;

    ret = convert(fd, argv[1], version, output);
    close(fd);
    return ret < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
