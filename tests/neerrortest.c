/*
 * neerrortest.c: every errno of every call of the device is one sentence
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the kernel driver returns by itself is known from its source, and listed here for each
 * call; all other numbers are the hypervisor's, and nobody knows more than their text.
 */

#include <errno.h>
#include <glib.h>
#include <linux/nitro_enclaves.h>
#include <string.h>

#include "device/ne_error.h"
#include "helper_protocol.h"

#define ERRNO_MAX 600 /* above all numbers of Linux and of the driver */

static const NeCall calls[] = {
    NE_CALL_CREATE_VM, NE_CALL_GET_IMAGE_LOAD_INFO, NE_CALL_SET_USER_MEMORY_REGION,
    NE_CALL_ADD_VCPU, NE_CALL_START_ENCLAVE,
};

static const char *const codes[] = {
    NITRO_FAILURE_CONFIG, NITRO_FAILURE_DEVICE, NITRO_FAILURE_RESOURCE, NITRO_FAILURE_UNSUPPORTED,
    NITRO_FAILURE_INTERNAL, NULL,
};

/* Whether the driver's source has this number for this call, or for any */
static bool
isDrivers(NeCall call, int err)
{
    if (err >= NE_ERR_VCPU_ALREADY_USED && err <= NE_ERR_INVALID_ENCLAVE_CID)
        return true;
    if (err == ENOTTY || err == ETIMEDOUT)
        return true;
    switch (call) {
    case NE_CALL_CREATE_VM:
        return err == ENOMEM || err == EMFILE || err == ENFILE;
    case NE_CALL_SET_USER_MEMORY_REGION:
        return err == ENOMEM || err == EFAULT;
    default:
        return false;
    }
}

static void
checkSentence(NeCall call, int err, const NeContext *context)
{
    g_auto(Failure) failure = {0};
    g_autofree char *refused = g_strdup_printf("The Nitro Hypervisor refused %s: %s: ",
                                               neCallToString(call), g_strerror(err));

    neSetFailure(&failure, call, err, context);
    g_assert_cmpstr(failure.ioctl, ==, neCallToString(call));
    g_assert_cmpint(failure.err, ==, err);
    g_assert_true(g_strv_contains(codes, failure.code));
    g_assert_cmpuint(strlen(failure.text), >, 40);
    g_assert_null(strpbrk(failure.text, "\n{}"));
    if (isDrivers(call, err)) {
        g_assert_null(strstr(failure.text, "refused"));
    } else {
        /* Never "internal": an error of the hypervisor is none of ours. */
        g_assert_cmpstr(failure.code, ==, NITRO_FAILURE_DEVICE);
        g_assert_true(g_str_has_prefix(failure.text, refused));
        g_assert_nonnull(strstr(failure.text, "try again"));
        g_assert_null(strstr(failure.text, "group ne"));
    }
}

static void
testEveryNumber(void)
{
    const unsigned int cpus[] = {1, 5};
    const EnclaveRegion region = {.size = 64 << 20, .pageSize = 2 << 20};
    const Options options = {.memory = 64 << 20, .vcpus = 2, .numaNode = -1};
    NeContext context = {.options = &options, .cpus = cpus, .ncpus = 2, .region = &region};
    NeContext asked = {.options = &options, .cpu = 7, .cid = 4294967294};
    size_t i;
    int err;

    for (i = 0; i < G_N_ELEMENTS(calls); i++) {
        for (err = 1; err <= ERRNO_MAX; err++) {
            checkSentence(calls[i], err, &context);
            checkSentence(calls[i], err, &asked);
        }
    }
}

static void
testAdvice(void)
{
    const EnclaveRegion region = {.size = 64 << 20, .pageSize = 2 << 20};
    const Options options = {.memory = 64 << 20, .vcpus = 2, .numaNode = -1};
    const struct {
        NeCall call;
        NeContext context;
        const char *text;
    } cases[] = {
        {NE_CALL_CREATE_VM, {.options = &options},
         "an EC2 instance runs 4 enclaves at most, so end another one, or try again"},
        {NE_CALL_SET_USER_MEMORY_REGION, {.options = &options, .region = &region},
         "it was to take a memory region of 65536 KiB (huge pages of 2048 KiB), so make <memory> "
         "smaller, use huge pages of another size, or try again"},
        {NE_CALL_ADD_VCPU, {.options = &options, .cpu = 7},
         "it was to take CPU 7, so choose others, use fewer vCPUs, or try again"},
        {NE_CALL_ADD_VCPU, {.options = &options},
         "it was to take a CPU of the pool, so choose others, use fewer vCPUs, or try again"},
        {NE_CALL_START_ENCLAVE, {.options = &options, .cid = 16},
         "it was to start it with the CID 16, so choose another CID, which no other enclave has, "
         "end another enclave, or try again"},
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Failure) failure = {0};
        g_autofree char *expected = g_strdup_printf(
            "The Nitro Hypervisor refused %s: Operation not permitted: %s",
            neCallToString(cases[i].call), cases[i].text);

        neSetFailure(&failure, cases[i].call, EPERM, &cases[i].context);
        g_assert_cmpstr(failure.text, ==, expected);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/neerror/every-number", testEveryNumber);
    g_test_add_func("/neerror/advice", testAdvice);
    return g_test_run();
}
