/*
 * fuzz_check.c: fuzz target for what libvirt_nitro_check does with an image
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The input is a certificate in DER and what is signed, and comes to the checker in all the
 * layers that it has in an image, whose lengths and encodings no mutation would keep: PEM, CBOR,
 * section, table of contents. In order:
 *
 *   1 byte   options: bits 0: a PCR0 is expected, 1: a PCR8, 2: the parts are byte strings, not
 *            arrays of bytes; 3: the rest is a whole image instead
 *   2 bytes  length of the certificate, little endian; then so many bytes
 *   1 byte   length of the protected header; then so many bytes
 *   2 bytes  length of the payload; then so many bytes
 *   the rest is the raw signature
 */

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check_image.h"
#include "eif_internal.h"
#include "helper_protocol.h"

#define MEMORY (64 << 20)

typedef struct {
    const uint8_t *data;
    size_t len;
} Bytes;

/* The next @len bytes of @input, or as many as there are */
static Bytes
take(Bytes *input, size_t len)
{
    Bytes part = {input->data, MIN(len, input->len)};

    input->data += part.len;
    input->len -= part.len;
    return part;
}

static size_t
takeNumber(Bytes *input, size_t bytes)
{
    Bytes part = take(input, bytes);
    size_t number = 0;
    size_t i;

    for (i = 0; i < part.len; i++)
        number |= (size_t)part.data[i] << (8 * i);
    return number;
}

static void
cborHead(GByteArray *out, uint8_t major, size_t number)
{
    const uint8_t head[] = {major << 5 | 26, number >> 24, number >> 16, number >> 8, number};

    g_byte_array_append(out, head, sizeof(head));
}

static void
cborBytes(GByteArray *out, Bytes bytes)
{
    cborHead(out, 2, bytes.len);
    g_byte_array_append(out, bytes.data, bytes.len);
}

static void
cborText(GByteArray *out, const char *text)
{
    cborHead(out, 3, strlen(text));
    g_byte_array_append(out, (const uint8_t *)text, strlen(text));
}

/* As AWS's tools write bytes */
static void
cborArray(GByteArray *out, Bytes bytes)
{
    size_t i;

    cborHead(out, 4, bytes.len);
    for (i = 0; i < bytes.len; i++) {
        const uint8_t item[] = {0x18, bytes.data[i]};

        g_byte_array_append(out, item, sizeof(item));
    }
}

/* The signature section that @input, behind its options, stands for */
static GByteArray *
makeSection(Bytes *input, void (*encode)(GByteArray *out, Bytes bytes))
{
    Bytes der = take(input, takeNumber(input, 2));
    g_autofree char *base64 = g_base64_encode(der.data, der.len);
    g_autofree char *pem = g_strdup_printf("-----BEGIN CERTIFICATE-----\n%s\n"
                                           "-----END CERTIFICATE-----\n", base64);
    g_autoptr(GByteArray) cose = g_byte_array_new();
    GByteArray *section = g_byte_array_new();

    cborHead(cose, 4, 4);
    cborBytes(cose, take(input, takeNumber(input, 1)));
    cborHead(cose, 5, 0);
    cborBytes(cose, take(input, takeNumber(input, 2)));
    cborBytes(cose, *input);

    cborHead(section, 4, 1);
    cborHead(section, 5, 2);
    cborText(section, "signing_certificate");
    encode(section, (Bytes){(const uint8_t *)pem, strlen(pem)});
    cborText(section, "signature");
    encode(section, (Bytes){cose->data, cose->len});
    return section;
}

/* Adds the section of @type with @content to @image, and to the table in @header. */
static void
addSection(GByteArray *image, EifHeader *header, EifSectionType type, Bytes content)
{
    const EifSectionHeader section = {.type = type, .size = content.len};
    uint8_t raw[EIF_SECTION_HEADER_SIZE];

    header->offsets[header->nsections] = image->len;
    header->sizes[header->nsections++] = content.len;
    eifSectionHeaderEncode(&section, raw);
    g_byte_array_append(image, raw, sizeof(raw));
    g_byte_array_append(image, content.data, content.len);
}

/* A kernel, a command line, metadata, and @signature */
static GByteArray *
makeImage(Bytes signature)
{
    EifHeader header = {.magic = EIF_MAGIC, .version = EIF_VERSION};
    GByteArray *image = g_byte_array_new();

    g_byte_array_set_size(image, EIF_HEADER_SIZE);
    addSection(image, &header, EIF_SECTION_KERNEL, (Bytes){(const uint8_t *)"kernel", 6});
    addSection(image, &header, EIF_SECTION_CMDLINE, (Bytes){(const uint8_t *)"quiet", 5});
    addSection(image, &header, EIF_SECTION_METADATA, (Bytes){(const uint8_t *)"{}", 2});
    addSection(image, &header, EIF_SECTION_SIGNATURE, signature);
    eifHeaderEncode(&header, image->data);
    return image;
}

static void
check(CheckOptions *options, Bytes image)
{
    g_auto(Failure) failure = {0};
    g_autofree char *signature = NULL; /* PCR0, PCR8 and the digest of the section */

    if (ftruncate(options->imageFd, 0) < 0 ||
        pwrite(options->imageFd, image.data, image.len, 0) != (ssize_t)image.len)
        abort();
    if (checkImage(options, &signature, &failure) == 0) {
        if (failure.code || (signature && strlen(signature) != 3 * 2 * EIF_PCR_SIZE + 2))
            abort();
    } else if (signature || !failure.code || g_str_equal(failure.code, NITRO_FAILURE_INTERNAL) ||
               !g_utf8_validate(failure.text, -1, NULL)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char name[] = "image";
    static int fd = -1;
    CheckOptions options = {
        .imageName = name, .initrdFd = -1, .arch = EIF_ARCH_X86_64, .memory = MEMORY,
    };
    g_autoptr(GByteArray) section = NULL;
    g_autoptr(GByteArray) image = NULL;
    Bytes input = {data, size};
    size_t bits = takeNumber(&input, 1);

    if (fd < 0 && (fd = memfd_create("image", MFD_CLOEXEC)) < 0)
        abort();
    options.imageFd = fd;
    options.expectsPcr0 = bits & 1;
    options.expectsPcr8 = bits & 2;
    if (bits & 8) {
        check(&options, input);
        return 0;
    }
    section = makeSection(&input, bits & 4 ? cborBytes : cborArray);
    image = makeImage((Bytes){section->data, section->len});
    check(&options, (Bytes){image->data, image->len});
    return 0;
}
