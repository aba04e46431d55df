/*
 * nitrotestutils.h: what the tests of the XML model share
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "domain_conf.h"

/* The emulator of the test domains that name none. */
#define NITRO_TEST_EMULATOR "/usr/libexec/libvirt_nitro"

/*
 * g_test_init() and libvirt's own initialisation, without printing errors to stderr.
 * Returns the parser configuration, to be released with virObjectUnref().
 */
virDomainXMLOption *nitroTestInit(int *argc, char ***argv);

/* The path @dir/@name@suffix in the source directory of the tests; free with g_free(). */
char *nitroTestPath(const char *dir, const char *name, const char *suffix);

/*
 * The path of @dir/NAME.libvirt-VERSION.xml, of this very libvirt, or where there is none of
 * @dir/NAME.xml, what the newest writes; free with g_free().
 */
char *nitroTestOutPath(const char *dir, const char *name);

/*
 * Fails the test and prints both texts when @actual is not what the file @path holds.
 * With VIR_TEST_REGENERATE_OUTPUT=1 in the environment the file is written instead.
 */
void nitroTestCompareToFile(const char *actual, const char *path);

/*
 * The last libvirt error as two lines, its code and its message; free with g_free().
 * Forgets the error.
 */
char *nitroTestTakeError(void);

/*
 * Fails the test when the source directory @dir has a file NAME.xml, or NAME.SOMETHING.xml, whose
 * name is not in the @ncases names, which start at @names and are @stride bytes apart.
 */
void nitroTestCheckComplete(const char *dir, const void *names, size_t stride, size_t ncases);
