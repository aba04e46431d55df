/*
 * nsm_process.h: the process that is the emulated machine's NSM
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * libvirt_nitro_nsm (src/nsm) is a child of the helper: it has the enclave's key, and parses what the
 * enclave asks. This process has neither, and only tells it what the image measures to.
 */

#pragma once

#include <sys/types.h>

#include "common/failure.h"
#include "options.h"

typedef struct _NsmProcess NsmProcess;
struct _NsmProcess {
    pid_t pid;       /* 0: none, or it has been waited for */
    int pidFd;
    guint watch;     /* for its end */
    int registersFd; /* -1: the registers have been told, or there are none to tell */
    int qemuFd;      /* QEMU's end of its connection; -1: there is no NSM, or it has been given away */
};

#define NSM_PROCESS_NONE (NsmProcess){.pidFd = -1, .registersFd = -1, .qemuFd = -1}

/*
 * Runs the program for the enclave of @options; nothing when they have no NSM. There must be one
 * thread. It is killed when this process ends. Returns 0, or -1 with @failure set ("resource",
 * "unsupported"); nsmProcessClear() is to be called in either case.
 */
int nsmProcessStart(NsmProcess *process, const Options *options, Failure *failure);

/* Has its end logged from now on, for which the main loop must run. */
void nsmProcessWatch(NsmProcess *process);

/* Tells the registers of the image; nothing when there is nobody to tell. In any thread, once. */
void nsmProcessTell(NsmProcess *process, const EifMeasurements *measurements);

/* Closes all, and kills what is left. */
void nsmProcessClear(NsmProcess *process);
