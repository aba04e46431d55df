/*
 * nitro_command.h: from a domain definition to the command line of libvirt_nitro
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "domain_conf.h"
#include "vircommand.h"

/*
 * What the start has opened and found out for one helper. Descriptors are -1
 * when the definition needs none; they stay the caller's.
 */
typedef struct _nitroCommandContext nitroCommandContext;
struct _nitroCommandContext {
    int controlFd;    /* listening UNIX stream socket */
    int imageFd;      /* the EIF file or the Linux kernel, read-only */
    int initrdFd;     /* the ramdisk that goes with a Linux kernel */
    int vsockDirFd;    /* directory of the host's sockets; emulated machine only */
    int vsockListenFd; /* listening UNIX socket in it; likewise */
    int consoleFd;    /* pty master, file, or listening or connected UNIX socket */
    int consoleLogFd; /* file that gets the console's output as well */
    const char *qemu; /* path of QEMU; emulated machine only, else NULL */
    const char *accel; /* "kvm" or "tcg"; NULL: the helper finds out; emulated machine only */
};

/*
 * Builds the command that runs the helper for @def; the descriptors of @ctxt are
 * passed on (virCommandPassFD without closing them in the parent).
 *
 * Returns the command, owned by the caller, or NULL with a libvirt error set.
 */
virCommand *nitroCommandBuild(const virDomainDef *def,
                              const nitroCommandContext *ctxt);
