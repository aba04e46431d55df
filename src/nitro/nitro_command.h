/*
 * nitro_command.h: from a domain definition to the command line of libvirt_nitro
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "domain_conf.h"
#include "nitro_outputs.h"
#include "vircommand.h"

/*
 * What the start has opened and found out for one helper. Descriptors are -1
 * when the definition needs none; they stay the caller's.
 */
typedef struct _nitroCommandContext nitroCommandContext;
struct _nitroCommandContext {
    int controlFd;    /* listening UNIX stream socket */
    int deviceFd;     /* of the Nitro Hypervisor; machine nitro only */
    int imageFd;      /* the EIF file or the Linux kernel, read-only */
    int initrdFd;     /* the ramdisk that goes with a Linux kernel */
    int vsockDirFd;    /* directory of the host's sockets; emulated machine only */
    int vsockListenFd; /* listening UNIX socket in it; likewise */
    int brokerFd;     /* connected with the heartbeat broker; machine nitro with a heartbeat only */
    int servicesListenFd; /* listening UNIX socket, for links of services; emulated machine only */
    int consoleFd;    /* pty master, or listening or connected UNIX socket */
    const nitroOutputs *outputs; /* files that are written to; NULL: none, as in tests */
    const char *qemu; /* path of QEMU; emulated machine only, else NULL */
    const char *accel; /* "kvm" or "tcg"; NULL: the helper finds out; emulated machine only */
    unsigned long long pageSize;   /* of the memory, KiB; 0: any */
    int numaNode;                  /* of the memory; -1: any */
    unsigned int heartbeatTimeout; /* seconds, of a definition that names none; 0: by size */
    char *const *without;   /* NITRO_UNPROTECTED_*: what of its confinement this host lacks; NULL: nothing */
    const char *nsm;       /* path of libvirt_nitro_nsm; NULL: no NSM, and the next two mean nothing */
    const char *nsmDevice; /* what QEMU calls it */
    int nsmIdentityFd;     /* what its --issue has written */
    const char *signature; /* of the image, as in a verdict on it; NULL: not signed */
};

/*
 * Builds the command that runs the helper for @def; the descriptors of @ctxt are
 * passed on (virCommandPassFD without closing them in the parent).
 *
 * Returns the command, owned by the caller, or NULL with a libvirt error set.
 */
virCommand *nitroCommandBuild(const virDomainDef *def,
                              const nitroCommandContext *ctxt);

/* Adds @option and the descriptor @fd, which stays the caller's, to @cmd. */
void nitroCommandAddFd(virCommand *cmd,
                       const char *option,
                       int fd);

/*
 * Adds @option and the descriptors of old output that @output is moved to, "20,21,22", which stay the
 * caller's, to @cmd; nothing when there are none.
 */
void nitroCommandAddBackups(virCommand *cmd,
                            const char *option,
                            const nitroOutput *output);
