/*
 * nitrocidtest.c: tests of src/nitro/nitro_cid.c
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "nitro_cid.h"
#include "virerror.h"

static void
testLowestFree(void)
{
    nitroCids *cids = nitroCidsNew();
    unsigned int cid[4] = { 0 };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(cid); i++) {
        g_assert_cmpint(nitroCidsTake(cids, "d", &cid[i]), ==, 0);
        g_assert_cmpuint(cid[i], ==, 4 + i);
    }

    nitroCidsRelease(cids, cid[1]);
    cid[1] = 0;
    g_assert_cmpint(nitroCidsTake(cids, "d", &cid[1]), ==, 0);
    g_assert_cmpuint(cid[1], ==, 5);
    nitroCidsFree(cids);
}


static void
testFixed(void)
{
    nitroCids *cids = nitroCidsNew();
    unsigned int most = 4294967294;
    unsigned int first = 4;
    unsigned int any = 0;

    g_assert_cmpint(nitroCidsTake(cids, "first", &first), ==, 0);
    g_assert_cmpint(nitroCidsTake(cids, "most", &most), ==, 0);
    g_assert_cmpuint(most, ==, 4294967294);
    g_assert_cmpint(nitroCidsTake(cids, "any", &any), ==, 0);
    g_assert_cmpuint(any, ==, 5);

    /* in use: by whom, and nothing changes */
    g_assert_cmpint(nitroCidsTake(cids, "second", &most), ==, -1);
    g_assert_cmpint(virGetLastErrorCode(), ==, VIR_ERR_OPERATION_INVALID);
    g_assert_nonnull(strstr(virGetLastErrorMessage(), "4294967294"));
    g_assert_nonnull(strstr(virGetLastErrorMessage(), "'most'"));
    virResetLastError();

    nitroCidsRelease(cids, most);
    g_assert_cmpint(nitroCidsTake(cids, "second", &most), ==, 0);
    nitroCidsRelease(cids, 0);
    nitroCidsFree(cids);
}


int
main(int argc,
     char **argv)
{
    if (virErrorInitialize() < 0)
        return 1;

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cid/lowest-free", testLowestFree);
    g_test_add_func("/cid/fixed", testFixed);
    return g_test_run();
}
