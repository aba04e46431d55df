/*
 * services_options.h: the command line of libvirt_nitro_services
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>
#include <stdint.h>

#include "common/options_table.h"

/* Descriptors are close-on-exec from here on. */
typedef struct _ServicesOptions ServicesOptions;
struct _ServicesOptions {
    char *name;           /* of the domain */
    char *uuid;
    int controlFd;
    int configFd;
    uint64_t logMaxSize;  /* bytes; 0: without limit */
    GArray *logBackupFds; /* of int, or NULL */
};

/* What optionsTableRead() reads the command line into, and by what */
ServicesOptions *servicesOptionsNew(void);
void servicesOptionsFree(ServicesOptions *options);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ServicesOptions, servicesOptionsFree)

extern const OptionsTable servicesOptionsTable;
