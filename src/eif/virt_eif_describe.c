/*
 * virt_eif_describe.c: virt-eif describe and virt-eif verify
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: file -> Description (all that is to know about the image) -> text or
 * JSON on standard output; or, for verify, the verdict.
 *
 * An image may come from anywhere: its texts are shown with control characters
 * replaced, so that they cannot command the terminal.
 */

#include "eif_certificate.h"
#include "virt_eif.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct _Description Description;
struct _Description {
    EifImage image;
    EifMeasurements measurements;
    bool checksumOk;
    char *cmdline;
    char *metadata;      /* NULL when the image has none */
    char *metadataWrong; /* NULL when the metadata is a JSON object, else why not */
    EifCertificate certificate; /* of signed images; no names when it cannot be read */
    char *signatureWrong; /* NULL when the signature is good for this image, now, else why not */
};

static void
descriptionClear(Description *description)
{
    g_free(description->cmdline);
    g_free(description->metadata);
    g_free(description->metadataWrong);
    g_free(description->signatureWrong);
    eifCertificateClear(&description->certificate);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Description, descriptionClear)

static int
readTexts(int fd, Description *description, GError **error)
{
    const EifImage *image = &description->image;
    const EifSection *cmdline = eifImageFindSection(image, EIF_SECTION_CMDLINE);
    const EifSection *metadata = eifImageFindSection(image, EIF_SECTION_METADATA);

    if (!(description->cmdline = eifImageReadSection(fd, cmdline, VIRT_EIF_TEXT_MAX, error)))
        return -1;

    if (!metadata)
        return 0;
    if (!(description->metadata = eifImageReadSection(fd, metadata, VIRT_EIF_TEXT_MAX, error)))
        return -1;

    description->metadataWrong = virtEifJsonCheck(description->metadata,
                                                  strlen(description->metadata));
    return 0;
}

/* Whether @image is signed; it may be signed wrongly. */
static bool
isSigned(const EifImage *image)
{
    return eifImageFindSection(image, EIF_SECTION_SIGNATURE) != NULL;
}

/* The signer, and whether the signature is good for what has been measured */
static void
readSignature(int fd, Description *description)
{
    g_autoptr(GError) error = NULL;
    EifCertificate *certificate = &description->certificate;

    if (!isSigned(&description->image))
        return;

    if (eifCertificateRead(fd, &description->image, certificate, &error) < 0 ||
        eifCertificateCheck(certificate, g_get_real_time() / G_USEC_PER_SEC, &error) < 0 ||
        eifCertificateCheckPcr0(certificate, &description->measurements, &error) < 0)
        description->signatureWrong = g_strdup(error->message);
}

/*
 * Fills in @description from the image @fd, which is @path in messages; of its signature nothing
 * unless @signature. Returns 0, or -1 when an error was printed.
 */
static int
readImage(int fd, const char *path, bool signature, EifProgress show, Description *description)
{
    VirtEifProgress progress = virtEifProgressBegin("Measuring");
    g_autoptr(GError) error = NULL;
    int ret;

    ret = eifImageRead(fd, &description->image, &error);
    if (ret == 0)
        ret = readTexts(fd, description, &error);
    if (ret == 0)
        ret = eifImageMeasureThreaded(&description->image, fd, &description->measurements,
                                      &description->checksumOk, show, &progress, &error);
    if (ret == 0 && signature)
        ret = eifImageMeasureCertificate(&description->image, fd, &description->measurements,
                                         &error);
    if (ret == 0 && signature)
        readSignature(fd, description);

    virtEifProgressEnd(&progress);
    if (ret < 0)
        virtEifError("%s: %s", path, error->message);
    return ret;
}

/* The same of the image at @path */
static int
readDescription(const char *path, Description *description)
{
    int fd = virtEifOpen(path);
    int ret;

    if (fd < 0)
        return -1;
    ret = readImage(fd, path, true, virtEifProgressShow, description);
    close(fd);
    return ret;
}

static void
printHeader(const Description *description)
{
    const EifImage *image = &description->image;

    printf("%-16s %u\n", "Version:", image->version);
    printf("%-16s %s\n", "Architecture:", eifArchToString(image->arch));
    printf("%-16s 0x%04x\n", "Flags:", image->flags);
    printf("%-16s %" PRIu64 " bytes\n", "Default memory:", image->defaultMemory);
    printf("%-16s %" PRIu64 "\n", "Default vCPUs:", image->defaultCpus);
    printf("%-16s %" PRIu64 " bytes\n", "File size:", image->fileSize);
    printf("%-16s 0x%08x (%s)\n", "Checksum:", image->crc32,
           description->checksumOk ? "ok" : "wrong: the image is damaged");
    printf("%-16s %s\n", "Signed:", isSigned(image) ? "yes" : "no");
}

static void
printName(const char *what, const char *name)
{
    printf("%-16s ", what);
    virtEifPrintSafely(name, strlen(name), false);
    putchar('\n');
}

static void
printSignature(const Description *description)
{
    const EifCertificate *certificate = &description->certificate;

    if (!isSigned(&description->image))
        return;

    if (certificate->subject) {
        g_autofree char *before = eifCertificateFormatTime(certificate->notBefore);
        g_autofree char *after = eifCertificateFormatTime(certificate->notAfter);

        printName("Signer:", certificate->subject);
        printName("Issuer:", certificate->issuer);
        printf("%-16s from %s to %s\n", "Valid:", before, after);
        printf("%-16s %s\n", "Algorithm:", certificate->algorithm);
    }
    printName("Signature:", description->signatureWrong ? description->signatureWrong : "ok");
}

static void
printSections(const EifImage *image)
{
    size_t i;

    printf("\n %-7s %-10s %-7s %-14s %s\n", "Section", "Type", "Flags", "Offset", "Size");
    printf("-----------------------------------------------------\n");
    for (i = 0; i < image->nsections; i++) {
        const EifSection *section = &image->sections[i];
        uint64_t gap = eifImageGetGap(image, section);

        if (gap > 0)
            printf(" %-7s %-10s %-7s %-14" PRIu64 " %" PRIu64 "\n", "-", "gap", "-",
                   section->offset - EIF_SECTION_HEADER_SIZE - gap, gap);
        printf(" %-7zu %-10s 0x%04x  %-14" PRIu64 " %" PRIu64 "\n", i,
               eifSectionTypeToString(section->type), section->flags, section->offset,
               section->size);
    }
}

/* What verify warns of */
static void
printRemarks(const EifImage *image)
{
    g_auto(GStrv) remarks = eifImageGetRemarks(image);
    size_t i;

    if (remarks[0])
        printf("\nRemarks:\n");
    for (i = 0; remarks[i]; i++)
        printf("%s\n", remarks[i]);
}

void
virtEifPrintMeasurements(const EifMeasurements *measurements)
{
    size_t i;

    for (i = 0; i < EIF_PCR_COUNT; i++) {
        g_autofree char *hex = eifPcrToString(measurements->pcr[i]);

        if (measurements->valid[i])
            printf("PCR%zu: %s\n", i, hex);
    }
}

static void
printJsonSafely(void *opaque, const char *text, size_t len)
{
    /* The text is the generator's: line ends in strings are escaped already. */
    virtEifPrintSafely(text, len, true);
}

static void
printMetadata(const Description *description)
{
    yajl_gen gen;

    if (!description->metadata)
        return;
    if (description->metadataWrong) {
        printf("\nMetadata: wrong: %s\n", description->metadataWrong);
        return;
    }

    printf("\nMetadata:\n");
    gen = yajl_gen_alloc(NULL);
    yajl_gen_config(gen, yajl_gen_beautify, 1);
    yajl_gen_config(gen, yajl_gen_indent_string, "  ");
    yajl_gen_config(gen, yajl_gen_print_callback, printJsonSafely, NULL);
    virtEifJsonCopy(gen, description->metadata, strlen(description->metadata));
    yajl_gen_free(gen);
}

static void
printText(const Description *description)
{
    printHeader(description);
    printSignature(description);
    printSections(&description->image);
    printRemarks(&description->image);
    putchar('\n');
    virtEifPrintMeasurements(&description->measurements);

    printf("\nCommand line:\n");
    virtEifPrintSafely(description->cmdline, strlen(description->cmdline), false);
    putchar('\n');

    printMetadata(description);
}

/* The JSON form: names are those of nitro-cli describe-eif where it has the same thing. */

static void
genString(yajl_gen gen, const char *text)
{
    yajl_gen_string(gen, (const unsigned char *)text, strlen(text));
}

/* As a number with all digits: yajl's integers are signed */
static void
genUint(yajl_gen gen, const char *key, uint64_t value)
{
    g_autofree char *text = g_strdup_printf("%" PRIu64, value);

    genString(gen, key);
    yajl_gen_number(gen, text, strlen(text));
}

static void
genBool(yajl_gen gen, const char *key, bool value)
{
    genString(gen, key);
    yajl_gen_bool(gen, value);
}

static void
genText(yajl_gen gen, const char *key, const char *value)
{
    g_autofree char *valid = g_utf8_make_valid(value, -1);

    genString(gen, key);
    genString(gen, valid);
}

static void
genSections(yajl_gen gen, const EifImage *image)
{
    size_t i;

    genString(gen, "Sections");
    yajl_gen_array_open(gen);
    for (i = 0; i < image->nsections; i++) {
        yajl_gen_map_open(gen);
        genText(gen, "Type", eifSectionTypeToString(image->sections[i].type));
        genUint(gen, "Flags", image->sections[i].flags);
        genUint(gen, "Gap", eifImageGetGap(image, &image->sections[i]));
        genUint(gen, "Offset", image->sections[i].offset);
        genUint(gen, "Size", image->sections[i].size);
        yajl_gen_map_close(gen);
    }
    yajl_gen_array_close(gen);
}

static void
genRemarks(yajl_gen gen, const EifImage *image)
{
    g_auto(GStrv) remarks = eifImageGetRemarks(image);
    size_t i;

    genString(gen, "Remarks");
    yajl_gen_array_open(gen);
    for (i = 0; remarks[i]; i++)
        genString(gen, remarks[i]);
    yajl_gen_array_close(gen);
}

void
virtEifGenMeasurements(yajl_gen gen, const EifMeasurements *measurements)
{
    size_t i;

    genString(gen, "Measurements");
    yajl_gen_map_open(gen);
    genText(gen, "HashAlgorithm", "SHA384");
    for (i = 0; i < EIF_PCR_COUNT; i++) {
        g_autofree char *key = g_strdup_printf("PCR%zu", i);
        g_autofree char *hex = eifPcrToString(measurements->pcr[i]);

        if (measurements->valid[i])
            genText(gen, key, hex);
    }
    yajl_gen_map_close(gen);
}

static void
genSignature(yajl_gen gen, const Description *description)
{
    const EifCertificate *certificate = &description->certificate;

    genBool(gen, "IsSigned", isSigned(&description->image));
    if (!isSigned(&description->image))
        return;

    if (certificate->subject) {
        g_autofree char *before = eifCertificateFormatTime(certificate->notBefore);
        g_autofree char *after = eifCertificateFormatTime(certificate->notAfter);

        genString(gen, "SigningCertificate");
        yajl_gen_map_open(gen);
        genText(gen, "SubjectName", certificate->subject);
        genText(gen, "IssuerName", certificate->issuer);
        genText(gen, "Algorithm", certificate->algorithm);
        genText(gen, "NotBefore", before);
        genText(gen, "NotAfter", after);
        genText(gen, "Signature", certificate->signature);
        yajl_gen_map_close(gen);
    }
    genBool(gen, "SignatureCheck", !description->signatureWrong);
    if (description->signatureWrong)
        genText(gen, "SignatureError", description->signatureWrong);
}

/* Of the metadata, what nitro-cli has a name for beside them */
static void
genName(yajl_gen gen, const Description *description, const char *key)
{
    g_autofree char *value = NULL;

    if (description->metadata && !description->metadataWrong &&
        (value = virtEifJsonGetString(description->metadata, key)))
        genText(gen, key, value);
}

static void
genMetadata(yajl_gen gen, const Description *description)
{
    genName(gen, description, "ImageName");
    genName(gen, description, "ImageVersion");
    genString(gen, "Metadata");
    if (description->metadata && !description->metadataWrong)
        virtEifJsonCopyFlat(gen, description->metadata, "BuildMetadata");
    else
        yajl_gen_null(gen);

    if (description->metadataWrong)
        genText(gen, "MetadataError", description->metadataWrong);
}

static void
printJson(const Description *description)
{
    const EifImage *image = &description->image;
    g_autofree char *crc = g_strdup_printf("%08x", image->crc32);
    yajl_gen gen = virtEifJsonPrinter();

    yajl_gen_map_open(gen);
    genUint(gen, "EifVersion", image->version);
    genText(gen, "Architecture", eifArchToString(image->arch));
    genUint(gen, "Flags", image->flags);
    genUint(gen, "DefaultMemory", image->defaultMemory);
    genUint(gen, "DefaultCpus", image->defaultCpus);
    genUint(gen, "FileSize", image->fileSize);
    genText(gen, "Crc32", crc);
    genBool(gen, "CheckCRC", description->checksumOk);
    genSignature(gen, description);
    genSections(gen, image);
    genRemarks(gen, image);
    virtEifGenMeasurements(gen, &description->measurements);
    genText(gen, "CommandLine", description->cmdline);
    genMetadata(gen, description);
    yajl_gen_map_close(gen);

    yajl_gen_free(gen);
}

int
virtEifDescribe(int argc, char **argv)
{
    g_auto(Description) description = { 0 };
    gboolean json = FALSE;
    const GOptionEntry entries[] = {
        { "json", 'j', 0, G_OPTION_ARG_NONE, &json, N_("Print one JSON object"), NULL },
        { NULL },
    };

    if (virtEifParseOptions(&argc, &argv, entries, "FILE",
                            N_("Shows the header, sections, measurements and metadata of an "
                               "image."),
                            1) < 0 ||
        readDescription(argv[1], &description) < 0)
        return EXIT_FAILURE;

    if (json)
        printJson(&description);
    else
        printText(&description);
    return EXIT_SUCCESS;
}

/* Returns 0, or -1 when an error was printed. */
static int
checkDescription(const char *path, const Description *description)
{
    if (!description->checksumOk) {
        virtEifError("%s: EIF header: checksum is 0x%08x, which is not that of the content: "
                     "the image is damaged", path, description->image.crc32);
        return -1;
    }
    if (description->metadataWrong) {
        virtEifError("%s: the metadata section is wrong: %s", path, description->metadataWrong);
        return -1;
    }
    if (description->signatureWrong) {
        virtEifError("%s: %s", path, description->signatureWrong);
        return -1;
    }
    return 0;
}

int
virtEifCheckImage(int fd, const char *path, bool signature, EifProgress show, EifImage *image,
                  EifMeasurements *measurements)
{
    g_auto(Description) description = { 0 };

    if (readImage(fd, path, signature, show, &description) < 0 ||
        checkDescription(path, &description) < 0)
        return -1;

    *image = description.image;
    *measurements = description.measurements;
    return 0;
}

int
virtEifVerify(int argc, char **argv)
{
    g_auto(Description) description = { 0 };
    g_auto(GStrv) remarks = NULL;
    size_t i;
    const GOptionEntry entries[] = {
        { NULL },
    };

    if (virtEifParseOptions(&argc, &argv, entries, "FILE",
                            N_("Checks the structure, checksum, metadata and signature of an "
                               "image."), 1) < 0 ||
        readDescription(argv[1], &description) < 0)
        return EXIT_FAILURE;

    remarks = eifImageGetRemarks(&description.image);
    for (i = 0; remarks[i]; i++)
        virtEifWarning("%s: %s", argv[1], remarks[i]);
    if (checkDescription(argv[1], &description) < 0)
        return EXIT_FAILURE;

    printf("%s: good image of EIF version %u\n", argv[1], description.image.version);
    return EXIT_SUCCESS;
}
