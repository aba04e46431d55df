/*
 * violation.h: the end of a process that has made a system call that it may not make
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

/* From now on SIGSYS, which a filter sends, writes the name of the call to stderr and exits. */
void violationCatch(void);

/* With this status */
#define VIOLATION_EXIT 31
