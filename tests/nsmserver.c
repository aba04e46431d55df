/*
 * nsmserver.c: an emulated NSM behind a pipe, for nsmtest.py
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * nsmserver DIRECTORY MODULE [IMAGE|- [ROLE [INSTANCE]]] has the root of DIRECTORY, which it makes
 * when there is none, and an NSM of the enclave MODULE: in debug mode, or with the registers of
 * IMAGE ("-": none) and of its parent. Standard input has requests, each behind its length, two bytes, big
 * endian; standard output the replies in the same form. The length 65535 starts the enclave anew,
 * and 65534 has the next call of the NSM fail.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "eif.h"
#include "nsm_authority.h"
#include "nsm_key.h"

#define LENGTH_RESET 65535
#define LENGTH_FAIL 65534

static NsmKey *key;
static bool failNext;

static void
fail(const char *what)
{
    fprintf(stderr, "nsmserver: %s\n", what);
    exit(1);
}

static bool
callFails(void)
{
    bool fails = failNext;

    failNext = false;
    return fails;
}

static bool
onRandom(void *opaque, uint8_t *buf, size_t len)
{
    return !callFails() && getrandom(buf, len, 0) == (ssize_t)len;
}

static bool
onNow(void *opaque, uint64_t *milliseconds)
{
    *milliseconds = g_get_real_time() / 1000;
    return true;
}

static bool
onSign(void *opaque, const uint8_t *data, size_t len, uint8_t signature[NSM_SIGNATURE_SIZE])
{
    uint8_t seed[NSM_KEY_SIZE];

    if (callFails() || getrandom(seed, sizeof(seed), 0) != sizeof(seed))
        return false;
    nsmKeySign(key, seed, data, len, signature);
    return true;
}

static const NsmCalls calls = {.random = onRandom, .now = onNow, .sign = onSign};

/* The NSM of the enclave @module, with the root in @directory */
static Nsm *
makeNsm(const char *directory, const char *module)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(NsmAuthority) authority = NULL;
    g_autoptr(GBytes) certificate = NULL;
    g_autoptr(GPtrArray) bundle = g_ptr_array_new();
    uint8_t secret[NSM_KEY_SIZE];
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    Nsm *nsm;

    if (fd < 0)
        fail(strerror(errno));
    if (!(authority = nsmAuthorityOpen(fd, directory, &error)) ||
        !(certificate = nsmAuthorityIssue(authority, module, time(NULL), secret, &error)))
        fail(error->message);
    close(fd);
    if (!(key = nsmKeyNew(secret)))
        fail("the key is none");
    g_ptr_array_add(bundle, nsmAuthorityGetCertificate(authority));
    nsm = nsmNew(module, certificate, bundle, &calls);
    return nsm;
}

static void
measure(Nsm *nsm, const char *path)
{
    g_autoptr(GError) error = NULL;
    EifMeasurements measurements;
    EifImage image;
    unsigned int i;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        fail(strerror(errno));
    if (eifImageRead(fd, &image, &error) < 0 ||
        eifImageMeasure(&image, fd, &measurements, NULL, NULL, NULL, &error) < 0 ||
        eifImageMeasureCertificate(&image, fd, &measurements, &error) < 0)
        fail(error->message);
    close(fd);
    for (i = 0; i < EIF_PCR_COUNT; i++) {
        if (measurements.valid[i])
            nsmSetPcr(nsm, i, measurements.pcr[i]);
    }
}

static void
setText(Nsm *nsm, unsigned int index, const char *text)
{
    uint8_t value[NSM_PCR_SIZE];

    nsmMeasureText(text, value);
    nsmSetPcr(nsm, index, value);
}

/* Answers the request of @len bytes that follows. Returns whether it was there. */
static bool
serve(Nsm *nsm, size_t len)
{
    /* of the exact size, so that one byte too far is seen */
    g_autofree uint8_t *request = g_malloc(len);
    g_autoptr(GByteArray) reply = NULL;
    uint8_t head[2];

    if (fread(request, 1, len, stdin) != len)
        return false;
    reply = nsmHandle(nsm, request, len);
    head[0] = reply->len >> 8;
    head[1] = reply->len & 0xff;
    return fwrite(head, 1, sizeof(head), stdout) == sizeof(head) &&
        fwrite(reply->data, 1, reply->len, stdout) == reply->len && fflush(stdout) == 0;
}

int
main(int argc, char **argv)
{
    g_autoptr(Nsm) nsm = NULL;
    uint8_t head[2];

    if (argc < 3)
        fail("usage: nsmserver DIRECTORY MODULE [IMAGE|- [ROLE [INSTANCE]]]");
    nsm = makeNsm(argv[1], argv[2]);
    if (argc > 3 && strcmp(argv[3], "-") != 0)
        measure(nsm, argv[3]);
    if (argc > 4 && *argv[4])
        setText(nsm, NSM_PCR_ROLE, argv[4]);
    if (argc > 5)
        setText(nsm, NSM_PCR_INSTANCE, argv[5]);

    while (fread(head, 1, sizeof(head), stdin) == sizeof(head)) {
        size_t len = head[0] << 8 | head[1];

        if (len == LENGTH_RESET)
            nsmReset(nsm);
        else if (len == LENGTH_FAIL)
            failNext = true;
        else if (!serve(nsm, len))
            fail("a request or reply is cut off");
    }
    nsmKeyFree(key);
    return 0;
}
