/*
 * backend.h: what runs an enclave
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The interface between the life cycle, which is the same for every enclave, and what
 * makes one run: the device of the Nitro Hypervisor, or QEMU for the emulated machine. A backend is a struct of callbacks, in
 * the order in which they are called; lifecycle.c calls all of them in the main thread
 * but for those that say otherwise.
 */

#pragma once

#include "common/failure.h"
#include "image.h"
#include "options.h"

/* What is known of a running enclave */
typedef struct _BackendStatus BackendStatus;
struct _BackendStatus {
    bool hasCid;
    uint32_t cid;
    const unsigned int *cpus; /* ids of the host's CPUs, owned by the backend; NULL: not chosen */
    size_t ncpus;
    const char *accel; /* "kvm" or "tcg", static; NULL: not emulated */
};

/*
 * What a backend tells, in the main thread and never from within one of its own callbacks
 * below. After ended() or failed() it tells nothing more.
 */
typedef struct _BackendEvents BackendEvents;
struct _BackendEvents {
    /* The vCPUs run. */
    void (*started)(const BackendStatus *status, void *opaque);
    /* The enclave has sent its heartbeat, or none is waited for. */
    void (*booted)(void *opaque);
    /* Console output */
    void (*output)(const void *buf, size_t len, void *opaque);
    /* The enclave is gone and has left nothing; @reason is one of NITRO_EXIT_..., static. */
    void (*ended)(const char *reason, void *opaque);
    /* It could not be started, and has left nothing. @failure is taken over. */
    void (*failed)(Failure *failure, void *opaque);
};

typedef struct _Backend Backend;
struct _Backend {
    /*
     * Whether @options can work with this backend on this host at all, as far as that is
     * known at no cost. Returns 0, or -1 with @failure set.
     */
    int (*check)(const Options *options, Failure *failure);

    /* An instance for one enclave; never NULL. @options must outlive it. */
    void *(*create)(const Options *options, const BackendEvents *events, void *opaque);

    /*
     * Opens what it needs of the host, and makes the processes that it needs: afterwards this
     * process can reach nothing but what it has open. There is one thread. Returns 0, or -1 with
     * @failure set.
     */
    int (*open)(void *instance, Failure *failure);

    /*
     * Reads the image to where it will be booted from, with all that it takes to get there;
     * @expected (or NULL) and @cancel as for imageUnpack(). The backend closes @image as soon
     * as it does not need its files. Blocks; called in a thread of its own. Returns 0, or -1
     * with @failure set.
     */
    int (*load)(void *instance, Image *image, const EifMeasurements *expected,
                const int *cancel, Failure *failure);

    /*
     * Starts the vCPUs; events tell of the success or the later failure.
     * Returns 0, or -1 with @failure set, and nothing left.
     */
    int (*start)(void *instance, Failure *failure);

    /*
     * Measures what was loaded; called in a thread of its own while the enclave runs.
     * Returns 0, or -1 with @error set.
     */
    int (*measure)(void *instance, const int *cancel, EifMeasurements *measurements,
                   GError **error);

    /*
     * Ends the enclave, at any time after a successful start(): ended() or failed() follows
     * within seconds, whatever state the enclave is in.
     */
    void (*terminate)(void *instance);

    /* Frees the instance; an enclave that still runs dies with it. */
    void (*destroy)(void *instance);
};

/* QEMU's microvm or virt, the machine "nitro-enclave" */
extern const Backend backendEmulated;

/* /dev/nitro_enclaves, the machine "nitro" */
extern const Backend backendDevice;
