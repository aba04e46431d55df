/*
 * trailer.h: what a test program has been told by the test that made a copy of it
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A program in a sandbox has no file, no environment and no argument of its test's. So the
 * test appends lines of text to a copy of the executable, see fakeqemu.py: the text, its
 * length in eight decimal digits, and the word TRAILER with a newline.
 */

#pragma once

/*
 * Reads the trailer of the running executable, which /proc/self/exe must lead to. Returns the
 * text, static and terminated by 0; it is empty when there is none.
 */
char *trailerRead(void);
