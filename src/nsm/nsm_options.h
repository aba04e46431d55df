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

#include "common/options_table.h"

/* Descriptors are -1 when not given; they are close-on-exec from here on. */
typedef struct _NsmOptions NsmOptions;
struct _NsmOptions {
    bool issue;       /* make a key, and do nothing else */
    int identityFd;   /* to read, or with @issue to write */
    int vhostUserFd;  /* connected with QEMU */
    int registersFd;  /* -1: the enclave is in debug mode */
    bool debug;
    char *role;       /* of the parent; NULL: none, likewise below */
    char *instance;
    int directoryFd;  /* of the root certificate */
    char *directory;  /* its path, for messages */
    char *moduleId;
};

/* What optionsTableRead() reads the command line into, and by what */
NsmOptions *nsmOptionsNew(void);
void nsmOptionsFree(NsmOptions *options);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NsmOptions, nsmOptionsFree)

extern const OptionsTable nsmOptionsTable;
