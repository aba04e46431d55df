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

typedef enum {
    SERVICES_OPTIONS_RUN,
    SERVICES_OPTIONS_HELP,
    SERVICES_OPTIONS_VERSION,
} ServicesOptionsAction;

typedef struct _ServicesOptions ServicesOptions;
struct _ServicesOptions {
    ServicesOptionsAction action;
    char *name;           /* of the domain */
    char *uuid;
    int controlFd;
    int configFd;
    uint64_t logMaxSize;  /* bytes; 0: without limit */
    GArray *logBackupFds; /* of int, or NULL */
};

/*
 * Reads the command line. Returns NULL with *@error set to a sentence (g_free) when it is wrong.
 * Descriptors that it names become close-on-exec.
 */
ServicesOptions *servicesOptionsParse(int argc, char **argv, char **error);
void servicesOptionsFree(ServicesOptions *options);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ServicesOptions, servicesOptionsFree)

/* The text of --help */
const char *servicesOptionsHelp(void);
