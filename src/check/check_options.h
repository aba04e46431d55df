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

#include "eif.h"

typedef enum {
    CHECK_OPTIONS_RUN,     /* check an image */
    CHECK_OPTIONS_HELP,    /* --help was given */
    CHECK_OPTIONS_VERSION, /* --version was given */
} CheckOptionsAction;

/* Descriptors are close-on-exec from here on. */
typedef struct _CheckOptions CheckOptions;
struct _CheckOptions {
    CheckOptionsAction action;
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

/*
 * Parses the command line. Returns the options (checkOptionsFree), or NULL with *@error set to
 * one new sentence that names the option and value at fault.
 */
CheckOptions *checkOptionsParse(int argc, char **argv, char **error);
void checkOptionsFree(CheckOptions *options);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CheckOptions, checkOptionsFree)

/* The text of --help; static. */
const char *checkOptionsHelp(void);
