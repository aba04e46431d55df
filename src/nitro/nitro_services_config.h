/*
 * nitro_services_config.h: from the services of a domain to the configuration of their process
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The form is described in src/services/services_protocol.h. Pure: nothing is opened.
 */

#pragma once

#include "nitro_domain_services.h"
#include "nitro_outputs.h"

/* What a service has got; descriptors stay the caller's */
typedef struct _nitroServiceFds nitroServiceFds;
struct _nitroServiceFds {
    int listener;              /* of inbound: a listening stream socket; else -1 */
    const nitroOutput *output; /* of log; else NULL */
};

/*
 * The configuration of the @n @services of the domain @name, of which each has what stands at its
 * place in @fds. @maxSize is that of files that are written to, bytes; 0: without limit.
 *
 * Returns the text (g_free), or NULL with VIR_ERR_CONFIG_UNSUPPORTED set when it is too large.
 */
char *nitroServicesConfigFormat(const char *name,
                                const nitroServiceDef *services,
                                size_t n,
                                const nitroServiceFds *fds,
                                unsigned long long maxSize);
