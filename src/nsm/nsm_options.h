/*
 * nsm_options.h: the command line of libvirt_nitro_nsm
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>
#include <stdbool.h>

typedef enum {
    NSM_OPTIONS_RUN,
    NSM_OPTIONS_ISSUE,
    NSM_OPTIONS_HELP,
    NSM_OPTIONS_VERSION,
} NsmOptionsAction;

/* Descriptors are -1 when not given; they are close-on-exec from here on. */
typedef struct _NsmOptions NsmOptions;
struct _NsmOptions {
    NsmOptionsAction action;
    int identityFd;   /* to read, or with NSM_OPTIONS_ISSUE to write */
    int vhostUserFd;  /* connected with QEMU */
    int registersFd;  /* -1: the enclave is in debug mode */
    bool debug;
    char *role;       /* of the parent; NULL: none, likewise below */
    char *instance;
    int directoryFd;  /* of the root certificate */
    char *directory;  /* its path, for messages */
    char *moduleId;
};

/* Reads the command line. Returns NULL with *@error set to a sentence (g_free) when it is wrong. */
NsmOptions *nsmOptionsParse(int argc, char **argv, char **error);
void nsmOptionsFree(NsmOptions *options);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NsmOptions, nsmOptionsFree)

/* The text of --help */
const char *nsmOptionsHelp(void);
