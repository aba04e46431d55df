/*
 * console_calls.h: the system calls of consoles
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * sandbox/filter_rule.h says what this is.
 */

#pragma once

#include <asm/ioctls.h>

#include "sandbox/filter_rule.h"

static const FilterRule consoleCalls[] = {
    /* the other end of the console's own terminal, to throw away what nobody has read */
    {"ioctl", FILTER_ALWAYS, {FILTER_IS(1, TIOCGPTPEER)}},
    {"ioctl", FILTER_ALWAYS, {FILTER_IS(1, FIONREAD)}},
    {"ioctl", FILTER_ALWAYS, {FILTER_IS(1, TCFLSH)}},
};
