/*
 * lifecycle.h: one enclave from its image to its end
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "common/startup.h"
#include "options.h"

/* Exit status of the helper, beside STARTUP_EXIT_USAGE */
typedef enum {
    /* the enclave has run (or was ended on request) */
    LIFECYCLE_EXIT_ENDED = STARTUP_EXIT_ENDED,
    /* the enclave could not be started, or --probe found nothing out */
    LIFECYCLE_EXIT_FAILED = STARTUP_EXIT_FAILED,
    /* --probe: no enclave can be run on this host */
    LIFECYCLE_EXIT_UNSUPPORTED = 3,
} LifecycleExit;

/*
 * Runs the enclave that @options describe, with its control socket and its console, and
 * returns when it has ended and everybody has been told.
 */
LifecycleExit lifecycleRun(const Options *options);
