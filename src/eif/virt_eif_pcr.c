/*
 * virt_eif_pcr.c: virt-eif pcr
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: an image, any file, or a certificate -> what it measures to -> text, or the JSON that
 * nitro-cli prints of it.
 */

#include "eif_signer.h"
#include "virt_eif.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_SIZE (64 * 1024)

typedef struct _PcrOptions PcrOptions;
struct _PcrOptions {
    char *input;
    char *certificate;
    gboolean json;
};

static void
optionsClear(PcrOptions *options)
{
    g_free(options->input);
    g_free(options->certificate);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PcrOptions, optionsClear)

/* One register with the name that nitro-cli gives it */
static void
printOne(const char *name, const uint8_t pcr[EIF_PCR_SIZE], bool json)
{
    g_autofree char *hex = eifPcrToString(pcr);
    yajl_gen gen;

    if (!json) {
        printf("%s: %s\n", name, hex);
        return;
    }

    gen = virtEifJsonPrinter();
    yajl_gen_map_open(gen);
    yajl_gen_string(gen, (const unsigned char *)name, strlen(name));
    yajl_gen_string(gen, (const unsigned char *)hex, strlen(hex));
    yajl_gen_map_close(gen);
    yajl_gen_free(gen);
}

static void
printAll(const EifMeasurements *measurements, bool json)
{
    yajl_gen gen;

    if (!json) {
        virtEifPrintMeasurements(measurements);
        return;
    }

    gen = virtEifJsonPrinter();
    yajl_gen_map_open(gen);
    virtEifGenMeasurements(gen, measurements);
    yajl_gen_map_close(gen);
    yajl_gen_free(gen);
}

/* Reads @fd to its end into @measurer. Of a pipe there is no percentage to show. */
static int
measureAll(EifMeasurer *measurer, int fd, const char *path, VirtEifProgress *progress)
{
    g_autofree char *piece = g_malloc(PIECE_SIZE);
    struct stat sb;
    uint64_t total = fstat(fd, &sb) == 0 && S_ISREG(sb.st_mode) ? sb.st_size : 0;
    uint64_t done = 0;
    ssize_t got;

    while ((got = read(fd, piece, PIECE_SIZE)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            virtEifError("cannot read '%s': %s", path, g_strerror(errno));
            return -1;
        }
        eifMeasurerUpdate(measurer, piece, got);
        done += got;
        virtEifProgressShow(MIN(done, total), total, progress);
    }
    return 0;
}

/* A register that nothing but the file is measured into: what PCR0 is of a kernel alone */
static int
measureFile(const char *path, bool json)
{
    VirtEifProgress progress = virtEifProgressBegin("Measuring");
    g_autoptr(EifMeasurer) measurer = eifMeasurerNew();
    EifMeasurements measurements;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int ret;

    if (fd < 0) {
        virtEifError("cannot open '%s': %s", path, g_strerror(errno));
        return -1;
    }
    eifMeasurerBeginSection(measurer, EIF_SECTION_KERNEL);
    ret = measureAll(measurer, fd, path, &progress);
    virtEifProgressEnd(&progress);
    close(fd);
    if (ret < 0)
        return -1;

    eifMeasurerFinish(measurer, &measurements);
    printOne("PCR", measurements.pcr[0], json);
    return 0;
}

/* Also of one that is not in date, or for another kind of key: it is measured, not used. */
static int
measureCertificate(const char *path, bool json)
{
    g_autoptr(EifSigner) signer = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *pem = NULL;
    uint8_t pcr8[EIF_PCR_SIZE];
    size_t len;

    if (!(pem = virtEifReadSmall(path, VIRT_EIF_SMALL_MAX, &len)))
        return -1;
    if (!(signer = eifSignerNew(pem, len, path, &error))) {
        virtEifError("%s", error->message);
        return -1;
    }
    eifSignerGetPcr8(signer, pcr8);
    printOne("PCR8", pcr8, json);
    return 0;
}

static int
measureImage(const char *path, bool json)
{
    VirtEifProgress progress = virtEifProgressBegin("Measuring");
    g_autoptr(GError) error = NULL;
    EifMeasurements measurements;
    EifImage image;
    int fd = virtEifOpen(path);
    int ret;

    if (fd < 0)
        return -1;

    ret = eifImageRead(fd, &image, &error);
    if (ret == 0)
        ret = eifImageMeasureThreaded(&image, fd, &measurements, NULL, virtEifProgressShow, &progress,
                              &error);
    if (ret == 0)
        ret = eifImageMeasureCertificate(&image, fd, &measurements, &error);
    close(fd);

    virtEifProgressEnd(&progress);
    if (ret < 0)
        virtEifError("%s: %s", path, error->message);
    else
        printAll(&measurements, json);
    return ret;
}

int
virtEifPcr(int argc, char **argv)
{
    g_auto(PcrOptions) options = { 0 };
    const GOptionEntry entries[] = {
        { "input", 'i', 0, G_OPTION_ARG_FILENAME, &options.input,
          N_("Measure any file by itself"), "FILE" },
        { "signing-certificate", 's', 0, G_OPTION_ARG_FILENAME, &options.certificate,
          N_("Measure the first certificate of a PEM file"), "FILE" },
        { "json", 'j', 0, G_OPTION_ARG_NONE, &options.json, N_("Print one JSON object"), NULL },
        { NULL },
    };
    bool image;
    int ret;

    if (virtEifParseOptions(&argc, &argv, entries,
                            "FILE | --input FILE | --signing-certificate FILE",
                            N_("Prints what an image, a file or a certificate measures to."),
                            -1) < 0)
        return EXIT_FAILURE;

    image = argc > 1;
    if (argc > 2 || image + !!options.input + !!options.certificate != 1) {
        virtEifError("exactly one of an image, --input and --signing-certificate is needed; see "
                     "'virt-eif pcr --help'");
        return EXIT_FAILURE;
    }

    ret = image ? measureImage(argv[1], options.json) :
          options.input ? measureFile(options.input, options.json) :
                          measureCertificate(options.certificate, options.json);
    return ret < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
