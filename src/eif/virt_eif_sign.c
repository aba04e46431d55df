/*
 * virt_eif_sign.c: virt-eif sign
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: image -> whole and measured -> a signature section, of a key or of a signature that was
 * made elsewhere -> the image with that section, in a file without its name yet -> is it good? ->
 * it takes the name. Or, for a key that is elsewhere: what it has to sign -> standard output.
 */

#include "virt_eif_sign.h"
#include "virt_eif.h"
#include "virt_eif_output.h"

#include <gnutls/gnutls.h>
#include <gnutls/urls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct _SignOptions SignOptions;
struct _SignOptions {
    char *key;
    char *certificate;
    char *attach;
    char *output;
    gboolean printPayload;
    gboolean printDigest;
};

static void
optionsClear(SignOptions *options)
{
    g_free(options->key);
    g_free(options->certificate);
    g_free(options->attach);
    g_free(options->output);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SignOptions, optionsClear)

/* @key without what may be a PIN, for messages (g_free) */
static char *
nameOfUrl(const char *key)
{
    size_t len = strcspn(key, "?");
    const char *pin = strstr(key, "pin-");

    return g_strndup(key, pin ? MIN(len, (size_t)(pin - key)) : len);
}

static int
setKey(EifSigner *signer, const char *key)
{
    g_autofree char *name = NULL;
    g_autofree char *pem = NULL;
    g_autoptr(GError) error = NULL;
    size_t len = 0;
    int ret;

    if (gnutls_url_is_supported(key)) {
        name = nameOfUrl(key);
        ret = eifSignerSetKeyUrl(signer, key, name, &error);
    } else {
        if (!(pem = virtEifReadSmall(key, VIRT_EIF_SMALL_MAX, &len)))
            return -1;
        ret = eifSignerSetKey(signer, pem, len, key, &error);
        explicit_bzero(pem, len);
    }

    if (ret < 0)
        virtEifError("%s", error->message);
    return ret;
}

static EifSigner *
openCertificate(const char *path)
{
    g_autofree char *pem = NULL;
    g_autoptr(EifSigner) signer = NULL;
    g_autoptr(GError) error = NULL;
    size_t len;

    if (!(pem = virtEifReadSmall(path, VIRT_EIF_SMALL_MAX, &len)))
        return NULL;
    if (!(signer = eifSignerNew(pem, len, path, &error)) ||
        eifSignerCheck(signer, g_get_real_time() / G_USEC_PER_SEC, &error) < 0) {
        virtEifError("%s", error->message);
        return NULL;
    }
    return g_steal_pointer(&signer);
}

EifSigner *
virtEifSignerOpen(const char *certificate, const char *key)
{
    g_autoptr(EifSigner) signer = openCertificate(certificate);

    if (!signer || (key && setKey(signer, key) < 0))
        return NULL;

    if (strcmp(eifSignerGetAlgorithm(signer), "ES384") != 0)
        virtEifWarning(_("certificate '%s' is for %s signatures, and AWS's examples of policies go "
                         "by ES384: a key on the curve P-384 is the usual one"), certificate,
                       eifSignerGetAlgorithm(signer));
    return g_steal_pointer(&signer);
}

int
virtEifSignCheck(int fd, const char *path)
{
    EifMeasurements measurements;
    EifImage image;

    return virtEifCheckImage(fd, path, true, virtEifOutputProgress, &image, &measurements);
}

void
virtEifSignReport(const EifSigner *signer)
{
    EifMeasurements measurements = { .valid[8] = true };

    eifSignerGetPcr8(signer, measurements.pcr[8]);
    virtEifPrintMeasurements(&measurements);
}

/* The section with a signature of what measures to @pcr0, or NULL when an error was printed */
static GByteArray *
makeSection(const EifSigner *signer, const SignOptions *options, const uint8_t *pcr0,
            const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *signature = NULL;
    GByteArray *section;
    size_t len;

    if (!options->attach) {
        section = eifSignerSign(signer, pcr0, &error);
    } else {
        if (!(signature = virtEifReadSmall(options->attach, VIRT_EIF_SMALL_MAX, &len)))
            return NULL;
        section = eifSignerAttach(signer, pcr0, signature, len, options->attach, &error);
    }

    if (!section)
        virtEifError("%s: %s", path, error->message);
    return section;
}

/* @image of @fd with @section, by the name @path. Returns 0, or -1 when an error was printed. */
static int
writeSigned(const EifImage *image, int fd, const GByteArray *section, const char *path,
            int replaced)
{
    EifChange change = {
        .version = image->version, .type = EIF_SECTION_SIGNATURE,
        .content = section->data, .len = section->len,
    };
    VirtEifProgress progress = virtEifProgressBegin("Writing");
    g_autoptr(GError) error = NULL;
    VirtEifOutput output;
    int ret;

    if (virtEifOutputBegin(&output, path, replaced) < 0)
        return -1;

    ret = eifImageRewrite(image, fd, &change, output.fd, virtEifOutputProgress, &progress, &error);
    virtEifProgressEnd(&progress);
    if (ret < 0)
        virtEifError("%s: %s", path, error->message);
    else
        ret = virtEifSignCheck(output.fd, path);
    return virtEifOutputEnd(&output, ret, true);
}

/* What has to be signed, for a key that is elsewhere */
static int
printToSign(const EifSigner *signer, const SignOptions *options, const uint8_t *pcr0)
{
    g_autoptr(GByteArray) bytes = options->printDigest ? eifSignerGetDigest(signer, pcr0) :
                                                         eifSignerGetToSign(signer, pcr0);

    fwrite(bytes->data, 1, bytes->len, stdout);
    return 0;
}

static int
signImage(const EifSigner *signer, const SignOptions *options, const char *path, int fd)
{
    g_autoptr(GByteArray) section = NULL;
    EifMeasurements measurements;
    EifImage image;

    /* Whether a signature that is replaced was good does not matter. */
    if (virtEifCheckImage(fd, path, false, virtEifProgressShow, &image, &measurements) < 0)
        return -1;
    if (options->printPayload || options->printDigest)
        return printToSign(signer, options, measurements.pcr[0]);

    if (!(section = makeSection(signer, options, measurements.pcr[0], path)) ||
        writeSigned(&image, fd, section, options->output ? options->output : path,
                    options->output ? -1 : fd) < 0)
        return -1;
    virtEifSignReport(signer);
    return 0;
}

/* Returns 0, or -1 when an error was printed. */
static int
checkOptions(const SignOptions *options)
{
    int ways = !!options->key + !!options->attach + options->printPayload + options->printDigest;
    bool prints = options->printPayload || options->printDigest;

    if (ways != 1) {
        virtEifError("exactly one of the options --key, --print-payload, --print-digest and "
                     "--attach is needed; see 'virt-eif sign --help'");
        return -1;
    }
    if (!options->certificate) {
        virtEifError("option --certificate is missing; see 'virt-eif sign --help'");
        return -1;
    }
    if (prints && options->output) {
        virtEifError("option --output is for a signed image: what is to be signed goes to standard "
                     "output");
        return -1;
    }
    if (prints && isatty(STDOUT_FILENO)) {
        virtEifError("what is to be signed is no text: redirect standard output to a file");
        return -1;
    }
    return 0;
}

int
virtEifSign(int argc, char **argv)
{
    g_auto(SignOptions) options = { 0 };
    g_autoptr(EifSigner) signer = NULL;
    const GOptionEntry entries[] = {
        { "key", 'k', 0, G_OPTION_ARG_FILENAME, &options.key,
          N_("Private key: a PEM file, or a URL such as pkcs11:..."), "KEY" },
        { "certificate", 'c', 0, G_OPTION_ARG_FILENAME, &options.certificate,
          N_("Certificate of the key, a PEM file (required)"), "FILE" },
        { "print-payload", 0, 0, G_OPTION_ARG_NONE, &options.printPayload,
          N_("Print the bytes that are to be signed elsewhere"), NULL },
        { "print-digest", 0, 0, G_OPTION_ARG_NONE, &options.printDigest,
          N_("Print the digest of these"), NULL },
        { "attach", 0, 0, G_OPTION_ARG_FILENAME, &options.attach,
          N_("Add a signature that was made elsewhere"), "FILE" },
        { "output", 'o', 0, G_OPTION_ARG_FILENAME, &options.output,
          N_("Image to write (default: the image is replaced)"), "FILE" },
        { NULL },
    };
    int fd;
    int ret;

    if (virtEifParseOptions(&argc, &argv, entries, "--certificate FILE FILE",
                            N_("Signs an image, or replaces its signature."), 1) < 0 ||
        checkOptions(&options) < 0 ||
        !(signer = virtEifSignerOpen(options.certificate, options.key)) ||
        (fd = virtEifOpen(argv[1])) < 0)
        return EXIT_FAILURE;

    ret = signImage(signer, &options, argv[1], fd);
    close(fd);
    return ret < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
