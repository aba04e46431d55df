/*
 * check_options.h: the command line of libvirt_nitro_check
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Long options only, each at most once. Values are checked strictly.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/options_table.h"
#include "eif.h"

/* Descriptors are close-on-exec from here on. */
typedef struct _CheckOptions CheckOptions;
struct _CheckOptions {
    int imageFd;
    char *imageName;  /* for messages */
    int initrdFd;     /* -1: not given */
    bool cmdline;     /* the definition has a command line */
    EifArch arch;
    uint64_t memory;  /* bytes */
    bool expectsPcr0;
    uint8_t pcr0[EIF_PCR_SIZE];
    bool expectsPcr8; /* whatever its value */
};

/* What optionsTableRead() reads the command line into, and by what */
CheckOptions *checkOptionsNew(void);
void checkOptionsFree(CheckOptions *options);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CheckOptions, checkOptionsFree)

extern const OptionsTable checkOptionsTable;
