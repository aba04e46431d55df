/*
 * virt_eif_attest.c: virt-eif attest verify
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: options -> Expected: what the document has to say -> the document (attest.h): read,
 * verified, compared -> text or JSON on standard output. Nothing of a document is shown that is
 * not good.
 *
 * The exit status says what is wrong, as scripts want to know.
 */

#include "attest.h"
#include "eif_certificate.h"
#include "virt_eif.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATUS_TROUBLE EXIT_FAILURE /* with the command line, or with a file */
#define STATUS_FORMAT 2             /* this is no document */
#define STATUS_UNTRUSTED 3
#define STATUS_MISMATCH 4

/* The largest file with a root certificate that is read, in bytes */
#define ROOT_MAX (64 * 1024)

/* What the command line says */
typedef struct _Options Options;
struct _Options {
    char **operands;
    char *root;
    char **pcrs;
    char *image;
    char *nonce;
    char *time;
    gboolean json;
};

static void
optionsClear(Options *options)
{
    g_strfreev(options->operands);
    g_free(options->root);
    g_strfreev(options->pcrs);
    g_free(options->image);
    g_free(options->nonce);
    g_free(options->time);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, optionsClear)

/* What the document has to say */
typedef struct _Expected Expected;
struct _Expected {
    uint8_t root[ATTEST_FINGERPRINT_SIZE];
    uint32_t pcrs; /* bit N: @pcr[N] counts */
    uint8_t pcr[ATTEST_PCR_COUNT][ATTEST_PCR_SIZE];
    GBytes *nonce;     /* NULL: any, or none */
    bool documentTime; /* certificates have to be in date when the document was made */
    int64_t time;      /* otherwise: then, in seconds since 1970 */
};

static void
expectedClear(Expected *expected)
{
    g_clear_pointer(&expected->nonce, g_bytes_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Expected, expectedClear)

/* The bytes that @text has in hexadecimal digits, or NULL when it has not */
static GBytes *
parseHex(const char *text)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    for (; *text; text += 2) {
        uint8_t byte;

        if (!g_ascii_isxdigit(text[0]) || !g_ascii_isxdigit(text[1]))
            return NULL;
        byte = g_ascii_xdigit_value(text[0]) << 4 | g_ascii_xdigit_value(text[1]);
        g_byte_array_append(bytes, &byte, 1);
    }
    return g_byte_array_free_to_bytes(g_steal_pointer(&bytes));
}

/* The nonce @text, of at least a byte. Returns 0, or -1 when an error was printed. */
static int
parseNonce(const char *text, Expected *expected)
{
    if (!text)
        return 0;
    /* A script whose variable is not set must not have checked anything. */
    if (!*text) {
        virtEifError("--nonce is empty, which no request is known by: give the one that was sent");
        return -1;
    }
    if ((expected->nonce = parseHex(text)))
        return 0;
    virtEifError("--nonce '%s' is not made of pairs of hexadecimal digits", text);
    return -1;
}

/* Reads up to @len bytes, fewer only at the end. Returns how many, or -1. */
static ssize_t
readUpTo(int fd, uint8_t *buf, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = read(fd, buf + done, len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += n;
    }
    return done;
}

/*
 * Reads the file at @path, which may be a pipe, of at most @max bytes: one more is read, so that
 * the caller sees that there are too many. Returns NULL when an error was printed.
 */
static GByteArray *
readFile(const char *path, size_t max)
{
    g_autoptr(GByteArray) content = g_byte_array_new();
    int fd = virtEifOpen(path);
    ssize_t n;

    if (fd < 0)
        return NULL;

    g_byte_array_set_size(content, max + 1);
    /* To open a pipe did not wait for its other end; to read does. */
    if (fcntl(fd, F_SETFL, 0) < 0 || (n = readUpTo(fd, content->data, max + 1)) < 0) {
        virtEifError("cannot read '%s': %s", path, g_strerror(errno));
        close(fd);
        return NULL;
    }
    close(fd);
    g_byte_array_set_size(content, n);
    return g_steal_pointer(&content);
}

/* The root: the one that is named, or AWS's. Returns 0, or -1 when an error was printed. */
static int
readRoot(const char *path, Expected *expected)
{
    g_autoptr(GByteArray) content = NULL;
    g_autoptr(GError) error = NULL;

    if (!path) {
        memcpy(expected->root, attestAwsRoot, sizeof(expected->root));
        return 0;
    }
    if (!(content = readFile(path, ROOT_MAX)))
        return -1;
    if (content->len > ROOT_MAX) {
        virtEifError("'%s' is no certificate: it has more than %d bytes", path, ROOT_MAX);
        return -1;
    }
    if (attestRootFingerprint(content->data, content->len, expected->root, &error) < 0) {
        virtEifError("'%s' is no certificate: %s", path, error->message);
        return -1;
    }
    return 0;
}

/* Another value that register @index has to have. Returns 0, or -1 when an error was printed. */
static int
expectPcr(Expected *expected, unsigned int index, const uint8_t value[ATTEST_PCR_SIZE])
{
    if (expected->pcrs & (1U << index) &&
        memcmp(expected->pcr[index], value, ATTEST_PCR_SIZE) != 0) {
        virtEifError("PCR%u is to have two values: name one only, by --pcr or by --image", index);
        return -1;
    }
    expected->pcrs |= 1U << index;
    memcpy(expected->pcr[index], value, ATTEST_PCR_SIZE);
    return 0;
}

/* The registers that are named, as N=HEX. Returns 0, or -1 when an error was printed. */
static int
parsePcrs(char **texts, Expected *expected)
{
    for (; texts && *texts; texts++) {
        g_autoptr(GBytes) value = NULL;
        char *end = *texts;
        guint64 index = ATTEST_PCR_COUNT;

        if (g_ascii_isdigit(**texts))
            index = g_ascii_strtoull(*texts, &end, 10);
        if (index >= ATTEST_PCR_COUNT || *end != '=') {
            virtEifError("--pcr '%s' is not of the form N=HEX, with N from 0 to 31", *texts);
            return -1;
        }
        value = parseHex(end + 1);
        if (!value || g_bytes_get_size(value) != ATTEST_PCR_SIZE) {
            virtEifError("--pcr '%s' has no value of 96 hexadecimal digits", *texts);
            return -1;
        }
        if (expectPcr(expected, index, g_bytes_get_data(value, NULL)) < 0)
            return -1;
    }
    return 0;
}

/* The registers of the image at @path. Returns 0, or -1 when an error was printed. */
static int
measureImage(const char *path, Expected *expected)
{
    VirtEifProgress progress = virtEifProgressBegin("Measuring");
    g_autoptr(GError) error = NULL;
    EifMeasurements measurements;
    EifImage image;
    unsigned int i;
    int fd;
    int rc;

    if (!path)
        return 0;
    if ((fd = virtEifOpen(path)) < 0)
        return -1;
    rc = eifImageRead(fd, &image, &error);
    if (rc == 0)
        rc = eifImageMeasureThreaded(&image, fd, &measurements, NULL, virtEifProgressShow, &progress,
                             &error);
    if (rc == 0)
        rc = eifImageMeasureCertificate(&image, fd, &measurements, &error);
    close(fd);
    virtEifProgressEnd(&progress);
    if (rc < 0)
        virtEifError("%s: %s", path, error->message);

    for (i = 0; rc == 0 && i < EIF_PCR_COUNT; i++) {
        if (measurements.valid[i])
            rc = expectPcr(expected, i, measurements.pcr[i]);
    }
    return rc;
}

/* When certificates have to be in date. Returns 0, or -1 when an error was printed. */
static int
parseTime(const char *text, Expected *expected)
{
    g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
    g_autoptr(GDateTime) when = NULL;

    expected->documentTime = !text;
    if (!text)
        return 0;
    if (strcmp(text, "now") == 0) {
        expected->time = g_get_real_time() / G_USEC_PER_SEC;
        return 0;
    }
    if (!(when = g_date_time_new_from_iso8601(text, utc))) {
        virtEifError("--time '%s' is neither 'now' nor a time as 2026-11-30T17:00:00Z", text);
        return -1;
    }
    expected->time = g_date_time_to_unix(when);
    return 0;
}

/* Returns 0, or -1 when an error was printed. */
static int
makeExpected(const Options *options, Expected *expected)
{
    if (parseNonce(options->nonce, expected) < 0 || parseTime(options->time, expected) < 0 ||
        parsePcrs(options->pcrs, expected) < 0 || readRoot(options->root, expected) < 0)
        return -1;
    return measureImage(options->image, expected);
}

/* Returns 0, or -1 with @error set (ATTEST_ERROR). */
static int
verify(const GByteArray *content, const Expected *expected, AttestDocument *document,
       GError **error)
{
    unsigned int i;

    if (attestDocumentRead(content->data, content->len, document, error) < 0 ||
        attestDocumentVerify(document, expected->root,
                             expected->documentTime ? (int64_t)(document->timestamp / 1000) :
                                                      expected->time, error) < 0)
        return -1;
    for (i = 0; i < ATTEST_PCR_COUNT; i++) {
        if (expected->pcrs & (1U << i) &&
            attestDocumentCheckPcr(document, i, expected->pcr[i], error) < 0)
            return -1;
    }
    return expected->nonce ? attestDocumentCheckNonce(document, expected->nonce, error) : 0;
}

static int
statusOf(const GError *error)
{
    if (g_error_matches(error, ATTEST_ERROR, ATTEST_ERROR_UNTRUSTED))
        return STATUS_UNTRUSTED;
    if (g_error_matches(error, ATTEST_ERROR, ATTEST_ERROR_MISMATCH))
        return STATUS_MISMATCH;
    return STATUS_FORMAT;
}

/* @bytes in hexadecimal digits, or NULL when there are none (g_free) */
static char *
hexOf(GBytes *bytes)
{
    return bytes ? attestFormatHex(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes)) : NULL;
}

static void
printLine(const char *what, const char *text)
{
    printf("%-16s ", what);
    virtEifPrintSafely(text, strlen(text), false);
    putchar('\n');
}

static void
printBytes(const char *what, GBytes *bytes)
{
    g_autofree char *hex = hexOf(bytes);

    printLine(what, hex ? hex : "none");
}

static void
printText(const AttestDocument *document)
{
    g_autofree char *made = eifCertificateFormatTime(document->timestamp / 1000);
    g_autofree char *root = attestDocumentGetRootName(document);
    unsigned int i;

    printLine("Enclave:", document->moduleId);
    printLine("Made:", made);
    printLine("Root:", root);
    printLine("Debug mode:", attestDocumentIsDebug(document) ? "yes" : "no");
    printBytes("Public key:", document->publicKey);
    printBytes("User data:", document->userData);
    printBytes("Nonce:", document->nonce);
    putchar('\n');
    for (i = 0; i < ATTEST_PCR_COUNT; i++) {
        g_autofree char *hex = attestFormatHex(document->pcr[i], ATTEST_PCR_SIZE);

        if (document->pcrs & (1U << i))
            printf("PCR%u: %s\n", i, hex);
    }
}

/* The pair @key and @value, which is null when it is NULL */
static void
genPair(yajl_gen gen, const char *key, const char *value)
{
    g_autofree char *valid = value ? g_utf8_make_valid(value, -1) : NULL;

    yajl_gen_string(gen, (const unsigned char *)key, strlen(key));
    if (valid)
        yajl_gen_string(gen, (const unsigned char *)valid, strlen(valid));
    else
        yajl_gen_null(gen);
}

static void
genBytes(yajl_gen gen, const char *key, GBytes *bytes)
{
    g_autofree char *hex = hexOf(bytes);

    genPair(gen, key, hex);
}

static void
genPcrs(yajl_gen gen, const AttestDocument *document)
{
    unsigned int i;

    yajl_gen_string(gen, (const unsigned char *)"Measurements", strlen("Measurements"));
    yajl_gen_map_open(gen);
    genPair(gen, "HashAlgorithm", "SHA384");
    for (i = 0; i < ATTEST_PCR_COUNT; i++) {
        g_autofree char *key = g_strdup_printf("PCR%u", i);
        g_autofree char *hex = attestFormatHex(document->pcr[i], ATTEST_PCR_SIZE);

        if (document->pcrs & (1U << i))
            genPair(gen, key, hex);
    }
    yajl_gen_map_close(gen);
}

static void
printJson(const AttestDocument *document, const Expected *expected)
{
    yajl_gen gen = yajl_gen_alloc(NULL);
    g_autofree char *root = attestDocumentGetRootName(document);
    g_autofree char *fingerprint = attestFormatHex(expected->root, sizeof(expected->root));
    const unsigned char *text;
    size_t len;

    yajl_gen_config(gen, yajl_gen_beautify, 1);
    yajl_gen_config(gen, yajl_gen_indent_string, "  ");
    yajl_gen_map_open(gen);
    genPair(gen, "ModuleId", document->moduleId);
    yajl_gen_string(gen, (const unsigned char *)"Timestamp", strlen("Timestamp"));
    yajl_gen_integer(gen, (long long)document->timestamp);
    genPair(gen, "Root", root);
    genPair(gen, "RootFingerprint", fingerprint);
    yajl_gen_string(gen, (const unsigned char *)"DebugMode", strlen("DebugMode"));
    yajl_gen_bool(gen, attestDocumentIsDebug(document));
    genPcrs(gen, document);
    genBytes(gen, "PublicKey", document->publicKey);
    genBytes(gen, "UserData", document->userData);
    genBytes(gen, "Nonce", document->nonce);
    yajl_gen_map_close(gen);

    yajl_gen_get_buf(gen, &text, &len);
    fwrite(text, 1, len, stdout);
    yajl_gen_free(gen);
}

static int
verifyFile(const char *path, const Options *options)
{
    g_autoptr(GByteArray) content = NULL;
    g_autoptr(GError) error = NULL;
    g_auto(Expected) expected = { 0 };
    g_auto(AttestDocument) document = { 0 };

    if (makeExpected(options, &expected) < 0 || !(content = readFile(path, ATTEST_DOCUMENT_MAX)))
        return STATUS_TROUBLE;
    if (verify(content, &expected, &document, &error) < 0) {
        virtEifError("%s: %s", path, error->message);
        return statusOf(error);
    }
    if (attestDocumentIsDebug(&document))
        virtEifWarning(_("%s: the enclave runs in debug mode, in which nothing of it is attested"),
                       path);
    if (options->json)
        printJson(&document, &expected);
    else
        printText(&document);
    return EXIT_SUCCESS;
}

static int
runVerify(int argc, char **argv)
{
    g_auto(Options) options = { 0 };
    const GOptionEntry entries[] = {
        { "root", 'r', 0, G_OPTION_ARG_FILENAME, &options.root,
          N_("The certificate of the root, instead of AWS's"), N_("FILE") },
        { "pcr", 'p', 0, G_OPTION_ARG_STRING_ARRAY, &options.pcrs,
          N_("A register's value; can be given for each"), N_("N=HEX") },
        { "image", 'i', 0, G_OPTION_ARG_FILENAME, &options.image,
          N_("The image that the enclave has to run"), N_("FILE") },
        { "nonce", 'n', 0, G_OPTION_ARG_STRING, &options.nonce,
          N_("The nonce that the document has to have"), N_("HEX") },
        { "time", 't', 0, G_OPTION_ARG_STRING, &options.time,
          N_("When certificates have to be in date: 'now' or a time, instead of the document's"),
          N_("TIME") },
        { "json", 'j', 0, G_OPTION_ARG_NONE, &options.json, N_("Print one JSON object"), NULL },
        { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &options.operands, NULL, NULL },
        { NULL },
    };

    if (virtEifParseOptions(&argc, &argv, entries, "DOCUMENT",
                            N_("Verifies an attestation document, and shows it when it is good."),
                            0) < 0)
        return STATUS_TROUBLE;
    if (!options.operands) {
        virtEifError("no attestation document is named; see '%s --help'", g_get_prgname());
        return STATUS_TROUBLE;
    }
    if (options.operands[1]) {
        virtEifError("unexpected argument '%s'; see '%s --help'", options.operands[1],
                     g_get_prgname());
        return STATUS_TROUBLE;
    }
    return verifyFile(options.operands[0], &options);
}

int
virtEifAttest(int argc, char **argv)
{
    const GOptionEntry entries[] = {
        { NULL },
    };

    if (argc > 1 && strcmp(argv[1], "verify") == 0) {
        argv[1] = (char *)"attest verify"; /* as the usage line and errors have it */
        return runVerify(argc - 1, argv + 1);
    }
    if (virtEifParseOptions(&argc, &argv, entries, "verify [OPTION…] DOCUMENT",
                            N_("Verifies attestation documents; see 'virt-eif attest verify "
                               "--help'."), 0) == 0)
        virtEifError("no command of attest is named; see '%s --help'", g_get_prgname());
    return STATUS_TROUBLE;
}
