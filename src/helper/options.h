/*
 * options.h: the command line of libvirt_nitro
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Long options only, each at most once but --expect-pcr. Values are checked
 * strictly here as far as the command line alone tells; what depends on the image
 * or the host is a failure of the start (event "failed").
 */

#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/options_table.h"
#include "eif.h"
#include "nitro_limits.h"

#define OPTIONS_NUMA_NODE_MAX 1023

typedef enum {
    OPTIONS_RUN,     /* run an enclave */
    OPTIONS_PROBE,   /* --probe was given */
    OPTIONS_PROBE_QEMU, /* --probe-qemu was given, with what is .qemu then */
    OPTIONS_BROKER,  /* --broker was given: be the heartbeat broker */
} OptionsAction;

typedef enum {
    OPTIONS_MACHINE_NITRO,    /* "nitro" */
    OPTIONS_MACHINE_EMULATED, /* "nitro-enclave" */
} OptionsMachine;

typedef enum {
    OPTIONS_ACCEL_AUTO,
    OPTIONS_ACCEL_KVM,
    OPTIONS_ACCEL_TCG,
} OptionsAccel;

typedef enum {
    OPTIONS_CONSOLE_NONE,
    OPTIONS_CONSOLE_PTY,
    OPTIONS_CONSOLE_FILE,
    OPTIONS_CONSOLE_UNIX,
} OptionsConsole;

/* Descriptors are -1 when not given; they are close-on-exec from here on. */
typedef struct _Options Options;
struct _Options {
    OptionsAction action;
    char *name;
    char *uuid;
    OptionsMachine machine;
    EifArch arch;
    int deviceFd; /* /dev/nitro_enclaves; machine "nitro" only */
    int controlFd;
    int imageFd;
    int initrdFd;
    char *cmdline;     /* NULL: not given */
    uint64_t memory;   /* bytes */
    uint64_t pageSize; /* bytes; 0: any */
    int numaNode;      /* of the huge pages; -1: any */
    bool lockMemory;   /* machine "nitro-enclave" only: huge pages are not swapped out */
    unsigned int vcpus;
    GArray *cpus;      /* of unsigned int, as given; NULL: not given */
    bool hasCid;
    uint32_t cid;
    int vsockDirFd;
    int vsockListenFd;
    int servicesListenFd; /* machine "nitro-enclave" only */
    bool debug;
    OptionsConsole consoleType;
    int consoleFd;
    GArray *consoleBackupFds; /* of int; NULL: not given, likewise below */
    int consoleLogFd;  /* -1: no log of the console */
    GArray *consoleLogBackupFds;
    GArray *logBackupFds;
    uint64_t logMaxSize; /* bytes, of a console's file, its log and stderr; 0: no limit */
    bool heartbeat;
    unsigned int heartbeatTimeout; /* seconds; 0: the default */
    bool endWithClient;            /* the enclave ends when the last client has gone */
    int brokerFd;                  /* connected with the heartbeat broker */
    int listenFd;                  /* of the broker itself */
    bool expectsPcr;               /* whether the image is measured for one of the next two */
    EifMeasurements expected;
    EifSigned *signature;          /* of the image as it was checked; NULL: it is not signed */
    char *qemu; /* NULL: look for it in PATH */
    OptionsAccel accel;
    char *nsmProgram;  /* path of libvirt_nitro_nsm; NULL: the machine has no NSM */
    char *nsmDevice;   /* what QEMU calls the device of that */
    int nsmIdentityFd; /* for the program */
    char *nsmRole;     /* of the parent; NULL: none, likewise below */
    char *nsmInstance;
    unsigned int without; /* UNPROTECTED_...: what this host lacks, and is done without */
};

/* What optionsTableRead() reads the command line into, and by what */
Options *optionsNew(void);
void optionsFree(Options *options);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Options, optionsFree)

extern const OptionsTable optionsTable;
